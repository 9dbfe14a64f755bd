import hashlib
from pathlib import Path

from annealed_lm.common.files import file_sha256, write_json
from annealed_lm.common.model_description import source_name, weights_sha256


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"weights of {name}")


def test_the_digest_is_that_of_the_weights_file_alone(tmp_path: Path) -> None:
    put(tmp_path, "config.json", "model.safetensors", "1_Pooling/config.json")
    assert weights_sha256(tmp_path) == file_sha256(tmp_path / "model.safetensors")


def test_of_several_weights_files_the_digests_are_joined_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = ["2_Dense/pytorch_model.bin", "model-1-of-2.safetensors", "model-2-of-2.safetensors"]
    put(tmp_path, *names[::-1], "config.json")
    joined = "".join(file_sha256(tmp_path / name) for name in names)
    assert weights_sha256(tmp_path) == hashlib.sha256(joined.encode()).hexdigest()


def test_a_fetched_model_has_the_name_that_it_was_asked_for_by(tmp_path: Path) -> None:
    write_json(tmp_path / "source.json", {"autoencoder": None, "language_model": {"name": "org/model", "revision": "a" * 40}})
    assert source_name(tmp_path / "language_model") == "org/model"


def test_a_model_that_was_not_fetched_has_the_name_of_its_folder(tmp_path: Path) -> None:
    assert source_name(tmp_path / "judge") == "judge"
    write_json(tmp_path / "source.json", {"autoencoder": None})
    assert source_name(tmp_path / "autoencoder") == "autoencoder"
    assert source_name(tmp_path / "other") == "other"
