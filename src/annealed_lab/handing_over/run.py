"""What a checkout knows of the run that made its models."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annealed_lab.experiments.places import PLACES, first_samples
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import read_json, read_texts
from annealed_lm.config.yaml_files import flat, read_mapping

METRICS = ("dataset", "autoencoder", "training", "samples", "references")
SAMPLES = 10
"""The first so many: nobody chooses."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        params: the content of params.yaml.
        metrics: the content of metrics/, by the name of the file.
        samples: the first texts of the first strategy and sampling seed.
    """

    params: dict[str, Any]
    metrics: dict[str, Any]
    samples: list[str]

    @classmethod
    def read(cls, root: Path) -> "Run":
        """Return the run of a checkout.

        Raises:
            InputError: none has finished there, or params.yaml has changed since.
        """
        params = read_mapping(root / "params.yaml")
        require_params_of(root / "dvc.lock", params)
        missing = [name for name in METRICS if not (root / "metrics" / f"{name}.json").is_file()]
        section = params["sample_texts"]
        texts = first_samples(root / PLACES["samples"], section["eval_seeds"], section["strategies"])
        if missing or not texts.is_file():
            raise InputError(f"no run has finished in {root.resolve()}: {texts} and metrics/ are its last results; make run")
        metrics = {name: read_json(root / "metrics" / f"{name}.json") for name in METRICS}
        return cls(params, metrics, read_texts(texts)[:SAMPLES])


def require_params_of(lock: Path, params: dict[str, Any]) -> None:
    """Check that params.yaml says what dvc.lock says of the stages that ran.

    Raises:
        InputError: it does not; which key, and both values.
    """
    now = flat(params)
    for stage, entry in read_mapping(lock, hint="; no run has finished here: make run").get("stages", {}).items():
        for key, value in flat(entry.get("params", {}).get("params.yaml", {})).items():
            if now.get(key) != value:
                raise InputError(
                    f"params.yaml has changed since {stage} ran: {key} was {value} and is {now.get(key)}; run it (make run), or "
                    "take back the change (git checkout params.yaml)"
                )
