import errno
import hashlib
import json
import os
import runpy
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
from safetensors.numpy import save
from tokenizers import Tokenizer, models

from annealed_lm.common.errors import InputError
from annealed_lm.common.files import file_sha256, read_json
from annealed_lm.fetching import pretrained as pretrained_models
from annealed_lm.fetching.model_files import model_files
from annealed_lm.fetching.pretrained import KINDS, fetch_models
from support.stand_in_hub import REVISION, Hub, assert_nothing_left, names, put, serving
from support.tiny import ROOT, write_params

OTHER_REVISION = "b" * 40
WEIGHTS = save({"weight": np.arange(1000, dtype=np.float32)})
WORDS = Tokenizer(models.WordLevel({"a": 0, "b": 1}, "a")).to_str().encode()
TOKENIZER = {"tokenizer.json": WORDS, "vocab.json": b'{"a": 0}', "merges.txt": b"a b\n"}
MODULES = [
    {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{path[2:] or 'Transformer'}"}
    for number, path in enumerate(["", "1_Pooling", "2_Dense", "3_Normalize"])
]
MODELS: dict[str, dict[str, bytes]] = {
    "autoencoder": {
        **TOKENIZER,
        "config.json": b'{"model_type": "bart", "architectures": ["BartModel"]}',
        "model.safetensors": WEIGHTS,
    },
    "language_model": {
        **TOKENIZER,
        "config.json": b'{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}',
        "model.safetensors": WEIGHTS,
    },
    "feature_model": {
        "config.json": b'{"model_type": "mpnet"}',
        "modules.json": json.dumps(MODULES).encode(),
        "sentence_bert_config.json": b"{}",
        "vocab.txt": b"[PAD]\n",
        "model.safetensors": WEIGHTS,
        "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
        "2_Dense/config.json": b"{}",
        "2_Dense/model.safetensors": save({"bias": np.zeros(7, dtype=np.float32)}),
    },
}
"""By kind, the files of a small one that are needed."""
NOT_NEEDED = {
    "README.md": b"about",
    "pytorch_model.bin": b"the same weights again",
    "tf_model.h5": b"t",
    "rust_model.ot": b"r",
    "onnx/model.onnx": b"o",
    "onnx/config.json": b"{}",
    "openvino/openvino_model.xml": b"x",
}
ALL_KINDS = pytest.mark.parametrize("kind", list(KINDS))


def fetch(tmp_path: Path, kind: str, name: str, revision: str | None = None, target: str = "out/pretrained") -> Path:
    """The folder of the fetched models."""
    fetch_models({kind: (name, revision)}, [tmp_path], tmp_path / target)
    return tmp_path / target


def refuses(tmp_path: Path, kind: str, name: str, reason: str, revision: str | None = None) -> None:
    """Fetching ends in one sentence that names the parameter, and leaves nothing."""
    with pytest.raises(InputError, match=f"^{kind}_name = {name} {reason}") as caught:
        fetch(tmp_path, kind, name, revision)
    assert len(str(caught.value).splitlines()) == 1
    assert_nothing_left(tmp_path)


def refuses_damaged(tmp_path: Path, kind: str, name: str, path: str) -> None:
    """Do what `refuses` does, of a file that cannot be read, or is not what the kind of model is told by."""
    with pytest.raises(
        InputError, match=rf"^{kind}_name = {name}(: {path} is damaged \(.+\): bring it again$| has no \w+\.json )"
    ) as caught:
        fetch(tmp_path, kind, name)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500
    assert_nothing_left(tmp_path)


def make_model(folder: Path, files: Mapping[str, bytes]) -> str:
    for name, data in files.items():
        put(folder / name, data)
    return str(folder)


def use_hub(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment variables HF_ENDPOINT and HF_HUB_OFFLINE do, which are read when the library is imported."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between repeated requests


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub with the model org/<kind> of each kind."""
    with serving({f"org/{kind}": files | NOT_NEEDED for kind, files in MODELS.items()}) as address:
        use_hub(address, monkeypatch)
        yield


@pytest.mark.parametrize(
    ("weights", "needed"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["model.fp16.safetensors", "consolidated.safetensors", "model.safetensors"], ["model.safetensors"]),
        (["pytorch_model.bin"], ["pytorch_model.bin"]),
        (["pytorch_model-1-of-2.bin", "pytorch_model-2-of-2.bin"], ["pytorch_model-1-of-2.bin", "pytorch_model-2-of-2.bin"]),
        (
            ["pytorch_model.bin", "pytorch_model.bin.index.json", "model-1-of-1.safetensors", "model.safetensors.index.json"],
            ["model-1-of-1.safetensors", "model.safetensors.index.json"],
        ),
        ([], []),
    ],
)
def test_only_what_is_needed_of_a_model_is_brought(weights: list[str], needed: list[str]) -> None:
    others = ["README.md", "flax_model.msgpack", "tf_model.h5", "training_args.bin", "onnx/config.json", "onnx/x.safetensors"]
    files = [*weights, *others, "merges.txt", "config.json", "spiece.model"]
    assert model_files(files) == ["config.json", "merges.txt", "spiece.model", *needed]


def test_no_name_no_model(tmp_path: Path) -> None:
    fetch_models(dict.fromkeys(KINDS, (None, None)), [tmp_path], tmp_path / "pretrained")
    assert names(tmp_path / "pretrained") == {"source.json"}
    assert read_json(tmp_path / "pretrained" / "source.json") == dict.fromkeys(KINDS)


def test_all_kinds_are_brought_together(tmp_path: Path, hub: None) -> None:
    local = make_model(tmp_path / "mine", MODELS["language_model"])
    chosen = {"autoencoder": ("org/autoencoder", REVISION), "language_model": (local, None), "feature_model": (None, None)}
    fetch_models(chosen, [tmp_path], tmp_path / "pretrained")
    expected = {f"{kind}/{path}" for kind in ("autoencoder", "language_model") for path in MODELS[kind]}
    assert names(tmp_path / "pretrained") == {"source.json"} | expected
    sources = read_json(tmp_path / "pretrained" / "source.json")
    assert [sources[kind] and sources[kind]["name"] for kind in KINDS] == ["org/autoencoder", local, None]


@pytest.mark.parametrize(
    ("stage", "kinds"), [("fetch_pretrained", ["autoencoder"]), ("fetch_judges", ["language_model", "feature_model"])]
)
def test_each_stage_brings_the_models_of_its_section(
    stage: str, kinds: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {f"{kind}_name": make_model(tmp_path / "mine" / kind, MODELS[kind]) for kind in kinds}
    for section in ({}, chosen):
        write_params(tmp_path / "params.yaml", {stage: section})
        monkeypatch.setattr(sys, "argv", [stage, f"--params={tmp_path / 'params.yaml'}", f"--out={tmp_path / 'out'}"])
        runpy.run_path(str(ROOT / "src" / f"{stage}.py"), run_name="__main__")
        sources = read_json(tmp_path / "out" / "source.json")
        assert list(sources) == kinds
        assert [sources[kind] and sources[kind]["name"] for kind in kinds] == [section.get(f"{kind}_name") for kind in kinds]
    assert names(tmp_path / "out") == {"source.json"} | {f"{kind}/{path}" for kind in kinds for path in MODELS[kind]}


def test_a_stage_finds_models_below_the_project_when_it_runs_in_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_model(tmp_path / "project" / "mine", MODELS["language_model"])
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    write_params(Path("params.yaml"), {"fetch_judges": {"language_model_name": "mine"}})
    monkeypatch.setattr(sys, "argv", ["fetch_judges", "--params=params.yaml", "--out=judges"])
    runpy.run_path(str(ROOT / "src" / "fetch_judges.py"), run_name="__main__")
    assert names(Path("judges/language_model")) == set(MODELS["language_model"])


def test_if_one_model_cannot_be_had_none_is_brought_and_no_weights_are_loaded(tmp_path: Path, hub: None) -> None:
    put(tmp_path / "pretrained" / "source.json", b"what was there before")
    chosen = {"autoencoder": ("org/autoencoder", REVISION), "language_model": ("org/mistyped", REVISION)}
    with pytest.raises(InputError, match="language_model_name = org/mistyped is no folder and no model"):
        fetch_models(chosen, [tmp_path], tmp_path / "pretrained")
    assert (tmp_path / "pretrained" / "source.json").read_bytes() == b"what was there before"
    assert [path.name for path in tmp_path.iterdir()] == ["pretrained"]
    assert Hub.requests
    assert not any("safetensors" in request for request in Hub.requests)


# Local folders


@ALL_KINDS
def test_a_local_model_is_copied_with_links_resolved(tmp_path: Path, kind: str) -> None:
    weights = put(tmp_path / "blobs" / "1234", WEIGHTS)
    folder = tmp_path / "root" / "model"
    make_model(folder, {path: data for path, data in MODELS[kind].items() if path != "model.safetensors"} | NOT_NEEDED)
    (folder / "model.safetensors").symlink_to(weights)
    for name in (str(folder), "model"):  # absolute, or below a root
        fetch_models({kind: (name, None)}, [tmp_path, tmp_path / "root"], tmp_path / "pretrained")
        copied = tmp_path / "pretrained" / kind
        assert names(copied) == set(MODELS[kind])
        assert not (copied / "model.safetensors").is_symlink()
        source = read_json(tmp_path / "pretrained" / "source.json")[kind]
        assert (source["name"], source["revision"]) == (name, None)
        assert source["files"] == {path: file_sha256(copied / path) for path in MODELS[kind]}


@pytest.mark.parametrize("kind", ["autoencoder", "language_model"])
@pytest.mark.parametrize("config", [None, b"not JSON", b"[]", b"{}"])
def test_a_folder_without_a_model_s_settings_is_refused(tmp_path: Path, kind: str, config: bytes | None) -> None:
    files = {"model.safetensors": WEIGHTS} | ({} if config is None else {"config.json": config})
    folder = make_model(tmp_path / "model", files)
    refuses(tmp_path, kind, folder, r"has no config\.json with a model_type: it is no saved model")


@pytest.mark.parametrize("modules", [None, b"not JSON", b"1", b"[1]", b'[{"path": ""}]'])
def test_a_folder_without_the_list_of_modules_is_no_feature_model(tmp_path: Path, modules: bytes | None) -> None:
    folder = make_model(tmp_path / "model", MODELS["autoencoder"] | ({} if modules is None else {"modules.json": modules}))
    refuses(tmp_path, "feature_model", folder, r"has no modules\.json that names its modules: it is no sentence-transformers")


@pytest.mark.parametrize(
    ("kind", "config", "reason"),
    [
        ("autoencoder", {"model_type": "t5"}, "is a model of type t5: only bart"),
        ("autoencoder", {"model_type": "gpt2"}, "is a model of type gpt2: only bart"),
        ("language_model", {"model_type": "mpnet"}, "is a model of type mpnet: only causal language models"),
        (
            "language_model",
            {"model_type": "bart", "architectures": ["BartModel"]},
            "is a BartModel: only causal language models",
        ),
        ("language_model", {"model_type": "of_next_year"}, "is a model of type of_next_year: only causal language models"),
    ],
)
def test_another_kind_of_model_is_refused(tmp_path: Path, kind: str, config: dict[str, object], reason: str) -> None:
    files = MODELS[kind] | {"config.json": json.dumps(config).encode()}
    refuses(tmp_path, kind, make_model(tmp_path / "model", files), reason)


def test_a_causal_model_need_not_state_its_architecture(tmp_path: Path) -> None:
    files = MODELS["language_model"] | {"config.json": b'{"model_type": "opt"}'}
    folder = fetch(tmp_path, "language_model", make_model(tmp_path / "model", files))
    assert (folder / "language_model" / "model.safetensors").read_bytes() == WEIGHTS


def test_modules_with_code_of_their_own_are_refused(tmp_path: Path) -> None:
    modules = json.dumps([*MODULES, {"path": "4_Own", "type": "own_module.Transformer"}]).encode()
    folder = make_model(tmp_path / "model", MODELS["feature_model"] | {"modules.json": modules})
    refuses(tmp_path, "feature_model", folder, r"has the module own_module\.Transformer: only those of sentence-transformers")


@ALL_KINDS
def test_missing_weights_and_a_missing_tokenizer_are_named(tmp_path: Path, kind: str) -> None:
    weights = {path: data for path, data in MODELS[kind].items() if path.endswith(".safetensors")}
    folder = make_model(tmp_path / "without_weights", {path: MODELS[kind][path] for path in MODELS[kind] if path not in weights})
    refuses(tmp_path, kind, folder, r"has no weights \(model\.safetensors or pytorch_model\.bin\)$")
    tokenizer = {"vocab.txt", *TOKENIZER}
    folder = make_model(
        tmp_path / "without_tokenizer", {path: MODELS[kind][path] for path in MODELS[kind] if path not in tokenizer}
    )
    refuses(tmp_path, kind, folder, r"has no tokenizer \(tokenizer\.json, or a vocabulary\)$")


def test_a_missing_part_of_divided_weights_is_named(tmp_path: Path) -> None:
    parts = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = json.dumps({"weight_map": {"a": parts[0], "b": parts[1], "c": parts[1]}}).encode()
    whole = {path: data for path, data in MODELS["language_model"].items() if path != "model.safetensors"}
    whole |= {"model.safetensors.index.json": index, parts[0]: WEIGHTS}
    folder = make_model(tmp_path / "model", whole)
    refuses(
        tmp_path, "language_model", folder, f"lacks {parts[1]}, a part of its weights that model.safetensors.index.json names"
    )
    put(tmp_path / "model" / parts[1], WEIGHTS)
    assert names(fetch(tmp_path, "language_model", folder) / "language_model") == {*whole, parts[1]}


def cut(data: bytes) -> Iterator[bytes]:
    """What copying that was interrupted may leave."""
    yield from (data[: int(len(data) * share)] for share in (0, 0.01, 0.5, 0.99))
    yield data[:-1]


@ALL_KINDS
def test_files_that_are_cut_are_refused_before_anything_is_trained(tmp_path: Path, kind: str) -> None:
    damaged = [
        (path, data) for path in MODELS[kind] if path.endswith(("json", "safetensors")) for data in cut(MODELS[kind][path])
    ]
    whole = [(path, data) for path, data in damaged if data == MODELS[kind][path]]
    assert not whole
    for path, data in damaged:
        folder = make_model(tmp_path / "model", MODELS[kind] | {path: data})
        refuses_damaged(tmp_path, kind, folder, path)


@pytest.mark.parametrize("tokenizer", [b"{}", b"[]", b"not JSON", b'{"model": {"type": "BPE"}}', b"\xff" + WORDS])
def test_a_tokenizer_that_is_none_is_refused(tmp_path: Path, tokenizer: bytes) -> None:
    folder = make_model(tmp_path / "model", MODELS["language_model"] | {"tokenizer.json": tokenizer})
    refuses_damaged(tmp_path, "language_model", folder, "tokenizer.json")


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        ("model.safetensors", b"\xff" * 5000),
        ("vocab.txt", b"\xff\xfe"),
        ("special_tokens_map.json", b"[" * 10**6),
        ("model.safetensors.index.json", b'{"weight_map": {"a": '),
        ("model.safetensors.index.json", b"[]"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": 1, "b": "b"}}'),
    ],
)
def test_files_that_are_no_such_files_are_refused(tmp_path: Path, path: str, data: bytes) -> None:
    folder = make_model(tmp_path / "model", MODELS["language_model"] | {path: data})
    refuses_damaged(tmp_path, "language_model", folder, path)


@ALL_KINDS
@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00001.bin"])
def test_weights_that_are_a_pickle_alone_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    files = {path: data for path, data in MODELS[kind].items() if not path.endswith("safetensors")}
    folder = make_model(tmp_path / "model", files | {name: b"\x80\x04N."})
    refuses(tmp_path, kind, folder, rf"has {name} and no safetensors beside it: .* save it with save_pretrained$")
    if kind == "feature_model":
        files = {path: data for path, data in MODELS[kind].items() if path != "2_Dense/model.safetensors"}
        folder = make_model(tmp_path / "dense", files | {f"2_Dense/{name}": b"\x80\x04N."})
        refuses(tmp_path, kind, folder, f"has 2_Dense/{name} and no safetensors beside it")


@ALL_KINDS
def test_a_revision_goes_with_a_hub_name_and_only_with_it(tmp_path: Path, kind: str) -> None:
    folder = make_model(tmp_path / "model", MODELS[kind])
    refuses(tmp_path, kind, folder, f"is a local folder, which has no revision: set {kind}_revision to null", REVISION)
    refuses(tmp_path, kind, "org/model", f"is no local folder; a name on the hub needs {kind}_revision, 40 hex digits")


# The hub


@ALL_KINDS
def test_a_model_of_the_hub_is_downloaded(tmp_path: Path, hub: None, kind: str) -> None:
    folder = fetch(tmp_path, kind, f"org/{kind}", REVISION)
    assert names(folder) == {"source.json"} | {f"{kind}/{path}" for path in MODELS[kind]}
    for path, data in MODELS[kind].items():
        assert (folder / kind / path).read_bytes() == data
    source = read_json(folder / "source.json")[kind]
    assert (source["name"], source["revision"]) == (f"org/{kind}", REVISION)
    assert source["files"] == {path: hashlib.sha256(data).hexdigest() for path, data in MODELS[kind].items()}


@ALL_KINDS
@pytest.mark.parametrize(
    ("path", "algorithm"), [("model.safetensors", "sha256 [0-9a-f]{64}"), ("config.json", "git blob [0-9a-f]{40}")]
)
def test_other_bytes_than_the_hub_states_are_refused(tmp_path: Path, hub: None, kind: str, path: str, algorithm: str) -> None:
    Hub.misstated = path
    reason = (
        rf"came with another {path} \({algorithm}\) than the hub states \({algorithm}\): run this stage again, or give a local"
    )
    refuses(tmp_path, kind, f"org/{kind}", f"{reason} folder as {kind}_name$", REVISION)


@ALL_KINDS
def test_a_file_that_the_hub_lists_and_does_not_have_is_told(tmp_path: Path, hub: None, kind: str) -> None:
    Hub.lost = "model.safetensors"
    reason = rf"lacks a file that the hub lists \(.*model\.safetensors.*\): name another revision, or give a .* as {kind}_name$"
    refuses(tmp_path, kind, f"org/{kind}", reason, REVISION)


def test_a_hub_that_states_no_digests_is_not_trusted(tmp_path: Path, hub: None) -> None:
    Hub.states = False
    with pytest.raises(InputError, match=r"autoencoder_name = org/autoencoder: the hub states no digest of config\.json"):
        fetch(tmp_path, "autoencoder", "org/autoencoder", REVISION)
    assert_nothing_left(tmp_path)


@ALL_KINDS
def test_a_model_of_the_hub_without_weights_is_refused(tmp_path: Path, hub: None, kind: str) -> None:
    Hub.models[f"org/{kind}"] = {path: data for path, data in MODELS[kind].items() if not path.endswith(".safetensors")}
    refuses(tmp_path, kind, f"org/{kind}", "has no weights", REVISION)


@ALL_KINDS
def test_a_broken_connection_leaves_no_half_model(tmp_path: Path, hub: None, kind: str) -> None:
    Hub.broken = "model.safetensors"
    reason = rf"cannot be downloaded \(.*\): run this stage where there is a network, or give a local folder as {kind}_name$"
    refuses(tmp_path, kind, f"org/{kind}", reason, REVISION)


@ALL_KINDS
def test_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    use_hub("http://127.0.0.1:9", monkeypatch)
    reason = rf"cannot be downloaded .*refused\): run this stage where there is a network, or give a local folder as {kind}_name$"
    refuses(tmp_path, kind, f"org/{kind}", reason, REVISION)


@ALL_KINDS
def test_where_the_library_is_told_to_stay_offline(tmp_path: Path, hub: None, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    refuses(tmp_path, kind, f"org/{kind}", r"cannot be downloaded \(OfflineModeIsEnabled: .*\): run this stage where", REVISION)


@ALL_KINDS
@pytest.mark.parametrize(
    ("name", "revision", "reason"),
    [
        ("org/mistyped", REVISION, "is no folder and no model that the hub shows: check the spelling"),
        ("../no//name", REVISION, "is no folder and no model that the hub shows: check the spelling"),
        ("org/{kind}", OTHER_REVISION, f"has no revision {OTHER_REVISION} on the hub: give an existing commit"),
    ],
)
def test_unknown_names_and_revisions(tmp_path: Path, hub: None, kind: str, name: str, revision: str, reason: str) -> None:
    refuses(tmp_path, kind, name.format(kind=kind), reason, revision)


@ALL_KINDS
def test_another_kind_of_model_on_the_hub_is_refused_before_its_weights_come(tmp_path: Path, hub: None, kind: str) -> None:
    other = {"autoencoder": "language_model", "language_model": "autoencoder", "feature_model": "autoencoder"}[kind]
    refuses(tmp_path, kind, f"org/{other}", "(is a|has no modules.json)", REVISION)
    assert Hub.requests
    assert not any("safetensors" in request for request in Hub.requests)


def test_a_full_disk_is_not_taken_for_a_broken_connection(tmp_path: Path, hub: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors")

    monkeypatch.setattr(pretrained_models, "snapshot_download", full)
    with pytest.raises(OSError, match="No space left"):
        fetch(tmp_path, "autoencoder", "org/autoencoder", REVISION)
    assert_nothing_left(tmp_path)
