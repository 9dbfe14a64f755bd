"""A real training: prepared texts -> autoencoder, latents, denoiser, samples, by the stages of dvc.yaml without DVC.

What scores the samples need not be where the GPU is: `samples.jsonl` is scored afterwards (docs/speed.md).
"""

import runpy
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from annealed_lab.benchmarks.sizes import merged_presets
from annealed_lab.experiments.places import first_samples
from annealed_lab.gpu_report.items import Item, Setting
from annealed_lm.common.files import read_json, read_texts, write_text
from annealed_lm.config.config import load_config, parse_config
from annealed_lm.config.yaml_files import merge_preset

LEAST = {"train_autoencoder": 40, "encode_latents": 15, "train_diffusion": 40, "sample_texts": 25}
"""By stage, the seconds that must be left for it to be begun; a training that is stopped goes on in the next report."""
FOLDERS = {
    "train_autoencoder": {"texts": "", "pretrained": "pretrained", "resume": "resume", "out": "autoencoder"},
    "encode_latents": {"texts": "", "autoencoder": "autoencoder", "out": "latents"},
    "train_diffusion": {
        "texts": "",
        "autoencoder": "autoencoder",
        "latents": "latents",
        "resume": "resume",
        "trackers": "trackers",
        "out": "diffusion",
        "snapshots": "snapshots",
        "curves": "curves",
    },
    "sample_texts": {"diffusion": "diffusion", "latents": "latents", "autoencoder": "autoencoder", "out": "samples"},
}
"""By stage, its options and the folders below that of the experiment that they name; nothing: the prepared texts."""


def experiment_items(setting: Setting) -> list[Item]:
    """Return an item for every stage, having written its params.yaml."""
    folder = setting.out / "experiment"
    values = merged_presets(setting.presets, *setting.size.presets)
    merge_preset(values, setting.size.experiment)
    config = parse_config(values)
    write_text(folder / "params.yaml", config.model_dump_json(indent=2))  # which is YAML too
    return [Item(stage, least, run_stage, (stage, folder, setting.texts)) for stage, least in LEAST.items()]


def run_stage(stage: str, folder: Path, texts: Path) -> dict[str, Any]:
    """Run a stage's script in this process and return what it left, in figures.

    Raises:
        SystemExit: the stage says in a sentence what was wrong, or that it was stopped and will go on.
    """
    script = Path(__file__).parents[2] / f"{stage}.py"
    paths = {"params": folder / "params.yaml"}
    paths |= {name: folder / inner if inner else texts for name, inner in FOLDERS[stage].items()}
    sys.argv = [str(script), *(part for name, path in paths.items() for part in (f"--{name}", str(path)))]
    start = time.perf_counter()
    runpy.run_path(str(script), run_name="__main__")
    return {"seconds": time.perf_counter() - start} | figures(stage, folder, texts)


def figures(stage: str, folder: Path, texts: Path) -> dict[str, Any]:
    """Return what a finished stage is to be remembered by."""
    if stage == "train_diffusion":
        found: dict[str, Any] = read_json(folder / "curves" / "training.json")
        return found
    if stage == "sample_texts":
        section = load_config(folder / "params.yaml").sample_texts
        samples = first_samples(folder / "samples", section.eval_seeds, section.strategies)
        shutil.copyfile(samples, folder.parent / "samples.jsonl")
        written = read_texts(samples)
        return {"texts": len(written), "distinct": len(set(written)), "first": written[:3]}
    described: dict[str, Any] = read_json(texts / "statistics.json")
    return {"dataset_name": described["dataset_name"], "fingerprint": described["fingerprint"]}
