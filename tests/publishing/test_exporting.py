"""One folder from which a model is read wherever the package is."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import read_json, write_json
from annealed_lm.publishing.exporting import CARD, export_model
from annealed_lm.publishing.model_folder import DESCRIPTION, ModelFolder
from annealed_lm.publishing.text_generator import TextGenerator
from support.checkouts import LABELS, write_checkout
from support.tiny import ROOT

SAMPLE = "import sys; from annealed_lm import TextGenerator; print(TextGenerator.from_pretrained(sys.argv[1]).sample(3, steps=4))"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, trained_autoencoders: dict[str, Autoencoder]) -> Path:
    return write_checkout(tmp_path_factory.mktemp("checkout"), trained_autoencoders["per_token"], labelled=True)


@pytest.fixture
def exported(checkout: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "a model"
    export_model(ModelFolder.find(checkout), folder, "# A card\n", {"dataset_name": "text"})
    return folder


def test_texts_are_those_of_the_checkout(checkout: Path, exported: Path) -> None:
    here, there = TextGenerator.from_pretrained(checkout), TextGenerator.from_pretrained(exported)
    assert there.sample(5, seed=3, steps=4) == here.sample(5, seed=3, steps=4)
    assert there.sample(2, label="red", steps=4) == here.sample(2, label="red", steps=4)
    assert there.labels == LABELS
    assert there.words.tolist() == here.words.tolist()


@pytest.mark.parametrize("weight", [1.0, 50.0])
def test_a_guide_goes_along_where_it_is_used(weight: float, checkout: Path, tmp_path: Path) -> None:
    found = ModelFolder.find(checkout)
    parts = replace(found, section=found.section.model_copy(update={"autoguidance_weight": weight}))
    export_model(parts, tmp_path / "model", "# A card\n", {"dataset_name": "text"})
    assert (tmp_path / "model" / "diffusion" / "guide.safetensors").exists() == (weight != 1)
    texts = TextGenerator.from_pretrained(tmp_path / "model").sample(5, seed=3, steps=4)
    assert (texts == TextGenerator.from_pretrained(checkout).sample(5, seed=3, steps=4)) == (weight == 1)


@pytest.mark.slow  # two more imports of torch
def test_another_process_elsewhere_reads_it_without_a_network(exported: Path, checkout: Path, tmp_path: Path) -> None:
    """Of the checkout nothing but the package is there, as if it were installed."""
    environment = {
        "PYTHONPATH": str(ROOT / "src"),
        "HOME": str(tmp_path),
        "https_proxy": "http://127.0.0.1:1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", SAMPLE, exported], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{TextGenerator.from_pretrained(checkout).sample(3, steps=4)}\n"
    assert done.stderr == ""


def test_it_holds_what_sampling_needs_and_anyone_may_read_it(exported: Path) -> None:
    files = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert {CARD, DESCRIPTION, "diffusion/denoiser.safetensors", "autoencoder/tokenizer.json", "latents/mean.npy"} <= files
    assert not files & {"latents/train.npy", "latents/valid.npy"}
    assert (exported / CARD).read_text() == "# A card\n"
    modes = {path.stat().st_mode & 0o777 for path in exported.rglob("*") if path.is_file()}
    assert modes == {0o644}
    assert {path.stat().st_mode & 0o777 for path in [exported, *exported.iterdir()] if path.is_dir()} == {0o755}


def test_only_an_exported_model_is_replaced(checkout: Path, exported: Path, tmp_path: Path) -> None:
    parts = ModelFolder.find(checkout)
    export_model(parts, exported, "# Another\n", {})
    assert (exported / CARD).read_text() == "# Another\n"
    (tmp_path / "mine").mkdir()
    export_model(parts, tmp_path / "mine", "", {})  # an empty folder
    for name, path in (("file", tmp_path / "file"), ("folder", tmp_path / "folder" / "notes.txt")):
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
        with pytest.raises(InputError, match=f"{name} is there and is no exported model"):
            export_model(parts, tmp_path / name, "", {})
        assert path.read_text() == "mine"


def test_what_lies_beside_an_exported_model_is_not_lost(checkout: Path, exported: Path, tmp_path: Path) -> None:
    parts = ModelFolder.find(checkout)
    (exported / ".git").mkdir()  # a clone of the hub's repository
    with pytest.raises(InputError, match=r"holds more than an exported model \(\.git\)"):
        export_model(parts, exported, "", {})
    assert (exported / ".git").is_dir()
    for name, content in {"other": '{"learner": 1}', "list": "[1]", "text": "x"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / DESCRIPTION).write_text(content)
        with pytest.raises(InputError, match=f"{name} is there and is no exported model"):
            export_model(parts, tmp_path / name, "", {})
        assert (tmp_path / name / DESCRIPTION).read_text() == content


def test_a_folder_of_another_version_is_told(exported: Path) -> None:
    description = read_json(exported / DESCRIPTION)
    for changed in ({"format": 2}, description | {"sample_texts": description["sample_texts"] | {"new": 1}}):
        write_json(exported / DESCRIPTION, changed)
        with pytest.raises(InputError, match=r"model\.json is of another version of annealed_lm"):
            TextGenerator.from_pretrained(exported)
