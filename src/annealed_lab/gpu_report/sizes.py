"""At which sizes the report is made: the thesis's, and one at which a CPU makes every part in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from annealed_lab.benchmarks.sizes import SIZES, Size
from annealed_lm.training.batching import WINDOW_BATCHES


@dataclass(frozen=True)
class ReportSize:
    """How large everything in the report is.

    Attributes:
        size: of the models that are timed on random latents of E2E's lengths.
        matrix: rows of the matrices whose product measures the device.
        compiles: whether there are rows with torch.compile, which takes as long for a small model as for a large one.
        window: steps of a warm-up, and of what is timed in a row: all batches there are, so that every text comes once.
        windows: how many are timed.
        whole_steps: in a row, from which the minutes of the whole training are told.
        large_batch: texts.
        sampled_texts, sampling_batch: how many texts are sampled and decoded, and how many at once.
        ddim_steps, solver_steps: evaluations of the network, by the solvers ddim and dpm_solver.
        presets, experiment: overlays on the base that make the training from texts to samples, in this order.
    """

    name: str
    size: Size
    matrix: int
    compiles: bool
    window: int
    windows: int
    whole_steps: int
    large_batch: int
    sampled_texts: int
    sampling_batch: int
    ddim_steps: int
    solver_steps: int
    presets: tuple[str, ...]
    experiment: Mapping[str, Any]


EXPERIMENT = {
    "train_diffusion": {
        "tx_dim": 256,
        "tx_depth": 6,
        "tx_heads": 8,
        "num_train_steps": 10_000,
        "learning_rate": 0.001,
        "mixed_precision": "bf16",
        "evaluate_every": 2_000,
        "validate_every": 500,
        "checkpoint_every": "30s",
    },
    "sample_texts": {"mixed_precision": "bf16"},
}
THESIS = ReportSize(
    name="thesis",
    size=SIZES["thesis"],
    matrix=8192,
    compiles=True,
    window=WINDOW_BATCHES,
    windows=3,
    whole_steps=2000,
    large_batch=256,
    sampled_texts=1000,
    sampling_batch=250,
    ddim_steps=250,
    solver_steps=25,
    presets=("e2e_scratch",),
    experiment=EXPERIMENT,
)
TINY = replace(
    THESIS,
    name="tiny",
    size=Size(
        {
            "train_autoencoder": {"d_model": 16, "layers": 1, "heads": 2, "vocab_size": 64, "max_tokens": 12, "latent_dim": 16},
            "train_diffusion": {"tx_dim": 16, "tx_depth": 2, "tx_heads": 2, "train_batch_size": 4},
        },
        presets=("thesis",),
    ),
    matrix=64,
    compiles=False,
    window=4,
    windows=1,
    whole_steps=8,
    large_batch=8,
    sampled_texts=6,
    sampling_batch=3,
    ddim_steps=5,
    solver_steps=2,
    presets=("e2e_scratch", "tiny"),
    experiment={
        "train_autoencoder": {"heads": 2},
        "train_language_model": {"heads": 2},
        "train_diffusion": {"mixed_precision": "bf16", "num_train_steps": 6, "evaluate_every": 3, "validate_every": 6},
        "sample_texts": {"mixed_precision": "bf16", "num_samples": 20},
    },
)
