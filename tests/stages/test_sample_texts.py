"""The stage sample_texts: what each of its parameters changes."""

import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sample_texts
from annealed_lm.common.errors import one_sentence_errors
from annealed_lm.common.files import read_labels, read_texts
from annealed_lm.config.sections import SampleTexts
from support.tiny import LATENT_DIM, make_autoencoder, make_diffusion_model, write_latents, write_params

NUM_SAMPLES = 20
ALL_STRATEGIES = ["greedy", "beam", "nucleus"]
EFFECTS: list[tuple[dict[str, Any], list[str]]] = [
    ({"eval_seeds": [7]}, ALL_STRATEGIES),
    ({"sampling_timesteps": 4}, ALL_STRATEGIES),
    ({"ddim_sampling_eta": 0}, ["greedy", "nucleus"]),
    ({"num_beams": 2}, ["beam"]),
    ({"top_p": 0.2}, ["nucleus"]),
    ({"min_length": 11}, ["nucleus"]),
    ({"no_repeat_ngram_size": 1}, ALL_STRATEGIES),
    ({"repetition_penalty": 2.0}, ALL_STRATEGIES),
    ({"guidance_weight": 3}, ["greedy", "nucleus"]),
    ({"autoguidance_weight": 3}, ["greedy", "nucleus"]),
    ({"solver": "dpm_solver"}, ["nucleus"]),
    ({"spacing": "log_snr"}, ["nucleus"]),
    ({"decode_at": 0.4}, ["greedy", "nucleus"]),
    ({"mixed_precision": "bf16"}, ["nucleus"]),
]
LABELS = ("cheap", "dear", "fair")
Sample = Callable[..., dict[str, list[str]]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_latents(folder / "latents", LABELS)
    autoencoder = make_autoencoder("per_token", latent_dim=LATENT_DIM)
    autoencoder.save(folder / "autoencoder", "0123456789abcdef", "text")
    for normalize_latent in (False, True):
        make_diffusion_model(normalize_latent=normalize_latent).save(folder / f"diffusion {normalize_latent}")
    make_diffusion_model(LABELS).save(folder / "diffusion conditional")
    return folder


@pytest.fixture
def sample(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sample:
    """Run the stage with these changes of its parameters; the texts of each strategy, those of all seeds after each other."""

    def run(model: str = "True", **changes: Any) -> dict[str, list[str]]:
        section = {"num_samples": NUM_SAMPLES, "batch_size": 8, "strategies": ALL_STRATEGIES} | changes
        conditional = {"class_conditional": model == "conditional"}
        write_params(tmp_path / "params.yaml", {"sample_texts": section, "train_diffusion": conditional})
        paths = {"params": tmp_path / "params.yaml", "diffusion": models / f"diffusion {model}"}
        paths |= {name: models / name for name in ("latents", "autoencoder")} | {"out": tmp_path / "out"}
        arguments = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
        monkeypatch.setattr(sys, "argv", ["sample_texts.py", *arguments])
        sample_texts.main()
        texts: dict[str, list[str]] = {}
        for path in sorted((tmp_path / "out").rglob("*.jsonl")):
            texts[path.stem] = texts.get(path.stem, []) + read_texts(path)
        return texts

    return run


def test_every_parameter_is_tried_here() -> None:
    tried = {name for changes, _ in EFFECTS for name in changes}
    assert tried | {"num_samples", "batch_size", "strategies"} == set(SampleTexts.model_fields)


@pytest.mark.parametrize(("changes", "strategies"), EFFECTS, ids=str)
def test_a_parameter_changes_what_it_is_for(changes: dict[str, Any], strategies: list[str], sample: Sample) -> None:
    model = "conditional" if "guidance_weight" in changes else "True"
    before, after = sample(model), sample(model, **changes)
    assert {len(texts) for texts in before.values()} == {NUM_SAMPLES}
    changed = {strategy for strategy in ALL_STRATEGIES if before[strategy] != after[strategy]}
    assert changed >= set(strategies)
    if set(changes) <= {"num_beams", "top_p"}:
        assert changed == set(strategies)


@pytest.mark.parametrize("strategy", ALL_STRATEGIES)
def test_only_the_strategies_asked_for_are_written(strategy: str, sample: Sample) -> None:
    everything = sample()
    assert sample(strategies=[strategy]) == {strategy: everything[strategy]}


def test_the_first_samples_do_not_depend_on_their_number_or_batch(sample: Sample) -> None:
    few, many = sample(), sample(num_samples=30, batch_size=30)
    assert {strategy: texts[:NUM_SAMPLES] for strategy, texts in many.items()} == few
    assert {len(texts) for texts in many.values()} == {30}


def test_each_seed_has_samples_of_its_own(sample: Sample) -> None:
    one, other, both = sample(eval_seeds=[7]), sample(eval_seeds=[8]), sample(eval_seeds=[7, 8])
    assert both == {strategy: one[strategy] + other[strategy] for strategy in one}
    assert one != other


def test_a_conditional_model_writes_the_label_that_each_text_was_asked_for(sample: Sample, tmp_path: Path) -> None:
    sample("conditional")
    labels = read_labels(tmp_path / "out" / "42" / "greedy.jsonl")
    assert set(labels) == set(LABELS)
    sample("True")
    assert set(read_labels(tmp_path / "out" / "42" / "greedy.jsonl")) == {None}


def test_a_diffusion_of_plain_latents_is_not_brought_to_another_scale(sample: Sample) -> None:
    assert sample("False") != sample("True")


def test_a_terminal_that_knows_few_letters_loses_no_text(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arabic = "\u0645\u0637\u0639\u0645\n" + "\u062c\u064a\u062f " * 1000
    monkeypatch.setattr(sample_texts.TextSampler, "texts", lambda *_: [arabic] * NUM_SAMPLES)
    for tolerant in (False, True):
        printed = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", printed)
        with one_sentence_errors() if tolerant else pytest.raises(UnicodeEncodeError):
            assert sample(strategies=["greedy"]) == {"greedy": [arabic] * NUM_SAMPLES}
        assert read_texts(tmp_path / "out" / "42" / "greedy.jsonl") == [arabic] * NUM_SAMPLES
        shutil.rmtree(tmp_path / "out")
    printed.flush()
    (line,) = printed.buffer.getvalue().decode("ascii").splitlines()
    assert r"the first: \u0645\u0637\u0639\u0645\n\u062c" in line
