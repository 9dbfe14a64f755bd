"""The model card: what the model is, what it was trained on, how its texts compare, and how to use it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from safetensors import safe_open

from annealed_lab.handing_over.run import Run
from annealed_lm.common.files import one_line
from annealed_lm.config.yaml_files import value_at
from annealed_lm.diffusion.model import GUIDE
from annealed_lm.reporting.report import SHOWN_METRICS, scores_table, set_rows
from annealed_lm.reporting.tables import markdown_table

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=False,  # it is Markdown
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


class Licence(NamedTuple):
    """The licence of a corpus: its identifier on the hub, and what there is to say of it."""

    identifier: str
    about: str


LICENCES = {
    "restaurants": Licence("mit", "made by the grammar in this package, under the package's own licence"),
    "e2e": Licence("cc-by-sa-4.0", "the E2E NLG data set, under CC BY-SA 4.0"),
    "roc": Licence("unknown", "ROCStories, which its authors give out on request, without a licence for others"),
    "sst2": Licence("unknown", "SST-2, whose authors state no licence"),
    "ag_news": Licence("unknown", "AG News, which its author gives out for non-commercial use"),
    "text": Licence("unknown", "texts of whoever trained the model, who states no licence"),
}
"""By dataset_name."""
ENGLISH = ("restaurants", "e2e", "roc", "sst2", "ag_news")
SHOWN_PARAMS = (
    "T_schedule",
    "power",
    "optimizer",
    "random_seed",
    "train_diffusion.num_train_steps",
    "train_diffusion.start_fraction",
    "train_diffusion.anneal_fraction",
    "train_diffusion.noise_schedule",
    "train_diffusion.objective",
    "train_diffusion.class_conditional",
    "train_autoencoder.latent_layout",
    "train_autoencoder.num_latents",
    "train_autoencoder.latent_dim",
    "train_autoencoder.num_train_steps",
)


def count_weights(folder: Path) -> int:
    """Count the numbers in the weights of a folder, those of a guide aside, from the heads of its files."""
    count = 0
    for path in set(folder.glob("*.safetensors")) - {folder / GUIDE}:
        with safe_open(path, "np") as weights:
            count += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return count


def licence_of(dataset_name: str, named: str | None) -> Licence:
    """Return the licence of the texts, which whoever exports the model may name."""
    if named is None:
        return LICENCES[dataset_name]
    return Licence(named, f"under the licence {named}, as whoever exported the model says")


def bare_scores(metrics: Mapping[str, Any]) -> str:
    """Return the scores of generated texts, control and ceiling, real texts and baseline as a table, without their intervals."""
    samples = {name: row for name, row in metrics["samples"].items() if name != "by_label"}
    return scores_table(set_rows(samples, metrics["references"]), SHOWN_METRICS, written=lambda value: value)


def model_card(run: Run, models: Path, licence: str | None) -> str:
    """Return the model card of a run as Markdown, under the front matter that the hub reads.

    Args:
        models: folder of the autoencoder and of the diffusion model.
        licence: of the texts, by its identifier on the hub; None: the one that is known of the corpus.
    """
    params, dataset = run.params, run.metrics["dataset"]
    conditional = params["train_diffusion"]["class_conditional"]
    return TEMPLATES.get_template("card.md.j2").render(
        dataset_name=params["dataset_name"],
        T_schedule=params["T_schedule"],
        english=params["dataset_name"] in ENGLISH,
        licence=licence_of(params["dataset_name"], licence),
        labels=sorted(dataset["labels"]["train"]) if conditional else [],
        splits=markdown_table([{"split": name} | split for name, split in dataset["splits"].items()]),
        settings=markdown_table([{"parameter": key, "value": value_at(params, key)} for key in SHOWN_PARAMS]),
        sizes={name: count_weights(models / name) for name in ("autoencoder", "diffusion")},
        exact=run.metrics["autoencoder"]["noise_0.0"]["exact"],
        scores=bare_scores(run.metrics),
        sampling=params["sample_texts"],
        samples=[one_line(text) for text in run.samples],
    )
