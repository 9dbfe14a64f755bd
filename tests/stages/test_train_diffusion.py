"""The stage train_diffusion: each parameter has an effect or says why not, and an interrupted run equals an uninterrupted one."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import Tensor

import encode_latents
import train_diffusion
from annealed_lm.annealing import loss_aware as adaptive_sampling
from annealed_lm.annealing.t_schedules import T_SCHEDULES, DiffusionRange
from annealed_lm.annealing.timesteps import DISTRIBUTIONS
from annealed_lm.annealing.weights import LOSS_WEIGHTS
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import read_json, read_tsv
from annealed_lm.config.sections import TrainDiffusion
from annealed_lm.config.types import Optimizer
from annealed_lm.diffusion.model import DiffusionModel
from annealed_lm.diffusion.noise_schedules import NOISE_SCHEDULES
from annealed_lm.diffusion.process import LOSSES
from annealed_lm.trainers.denoiser import DiffusionTrainer
from annealed_lm.training import descriptions
from support.diffusion_runs import STEPS, TOP_LEVEL, arguments, differ, outputs, stop_after_the_first_row, weights
from support.tiny import ROOT, make_autoencoder, write_latents, write_params, write_prepared

LABELS = ("bad", "fair", "good")
EFFECTS: list[dict[str, Any]] = [
    {"power": 5},
    {"random_seed": 1},
    {"start_fraction": 0.7},
    {"anneal_fraction": 1.0},
    {"timesteps": 50},
    {"self_condition": 0.0},
    {"self_condition": 1.0},
    {"normalize_latent": False},
    {"scale_shift": False},
    {"tx_dim": 16},
    {"tx_depth": 2},
    {"tx_heads": 1},
    {"tx_position": "rotary"},
    {"dropout": 0.3},
    {"num_train_steps": STEPS + 1},
    {"train_batch_size": 9},
    {"learning_rate": 0.02},
    {"lr_warmup_steps": 0},
    {"adam_beta1": 0.5},
    {"adam_beta2": 0.5},
    {"adam_weight_decay": 0.5},
    {"max_grad_norm": 0.001},
    {"ema_decay": 0.3},
    {"ema_power": 3.0},
    {"mixed_precision": "bf16"},
    {"batching": "shuffled"},
]
ALTERNATIVES: dict[str, list[str]] = {
    "T_schedule": [name for name, kind in DISTRIBUTIONS.items() if not kind.depends_on_losses],  # the others need more steps
    "loss_weight": ["none", *LOSS_WEIGHTS],
    "sampling_weights": ["none", "inverse_density"],
    "optimizer": list(get_args(Optimizer)),
    "noise_schedule": list(NOISE_SCHEDULES),
    "objective": ["pred_x0", "pred_noise", "pred_v"],
    "loss_type": list(LOSSES),
    "lr_schedule": ["constant", "linear", "cosine", "inverse_sqrt", "warmup_stable_decay"],
}
EFFECTS_WITH: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"T_schedule": "reverse"}, {"base_schedule": "cosine"}),
    ({"T_schedule": "polynomial"}, {"range_in": "log_snr"}),
    ({"T_schedule": "logit_normal"}, {"logit_normal_mean": 1.0}),
    ({"T_schedule": "logit_normal"}, {"logit_normal_std": 0.2}),
    ({"T_schedule": "laplace"}, {"laplace_mean": 2.0}),
    ({"T_schedule": "laplace"}, {"laplace_scale": 3.0}),
    ({"T_schedule": "speed"}, {"speed_tau": 0.2}),
    ({"T_schedule": "speed"}, {"speed_k": 50.0}),
    ({"T_schedule": "speed"}, {"speed_lambda": 1.0}),
    ({"T_schedule": "speed"}, {"sampling_weights": "none"}),
    ({"loss_weight": "min_snr"}, {"min_snr_gamma": 0.1}),
    ({"loss_weight": "p2"}, {"p2_k": 0.1}),
    ({"loss_weight": "p2"}, {"p2_gamma": 0.1}),
    ({"lr_schedule": "warmup_stable_decay"}, {"lr_decay_fraction": 0.7}),
]
"""Choices, and parameters that change something with them."""
WITHOUT_EFFECT = {"log_every": 3, "validate_every": 1, "evaluate_every": 5, "checkpoint_every": 3}
"""On the weights: they say when something is written down."""


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_latents(tmp_path_factory.mktemp("project") / "latents")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_latents(tmp_path_factory.mktemp("project") / "labelled", LABELS)


code_digests = cache(descriptions.code_digests)


@pytest.fixture(autouse=True)
def nothing_left_over(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each run choose its precision, which a process has for good, and read the code, which stays as it is, once."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(descriptions, "code_digests", code_digests)
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


Run = Callable[..., Path]


@pytest.fixture
def run(latents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the stage in this process, on these latents and with these changes of the reference; the folder of its outputs."""
    numbers = itertools.count()

    def run_stage(folder: Path | None = None, on: Path = latents, **changes: Any) -> Path:
        folder = folder or tmp_path / str(next(numbers))
        AcceleratorState._reset_state(reset_partial_state=True)
        monkeypatch.setattr(sys, "argv", ["train_diffusion.py", *arguments(folder, on, changes)])
        train_diffusion.main()
        return folder

    return run_stage


@pytest.fixture(scope="module")
def reference(latents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DVC_ROOT", raising=False)
        patch.setattr(sys, "argv", ["train_diffusion.py", *arguments(folder, latents, {})])
        train_diffusion.main()
    return folder


def test_every_parameter_that_the_stage_reads_is_tried_here() -> None:
    tried = {name for changes in EFFECTS for name in changes} | set(ALTERNATIVES) | set(WITHOUT_EFFECT)
    tried |= {name for _, changes in EFFECTS_WITH for name in changes}
    tried |= {"tan_d", "gradient_accumulation_steps", "class_conditional", "class_unconditional_prob"}
    tried |= {"range_start"}  # which bounds where decoding may take over: tests/annealing/test_range_start.py
    tried |= {"compile", "num_processes"}  # which change rounding only: test_training.py, test_processes.py
    assert tried == set(TrainDiffusion.model_fields) | set(TOP_LEVEL)


@pytest.mark.parametrize("changes", EFFECTS, ids=str)
def test_a_parameter_has_an_effect(changes: dict[str, Any], run: Run, reference: Path) -> None:
    assert differ(run(**changes), reference)


@pytest.mark.parametrize(("choice", "changes"), EFFECTS_WITH, ids=str)
def test_a_parameter_of_a_choice_has_an_effect_with_it(choice: dict[str, Any], changes: dict[str, Any], run: Run) -> None:
    assert differ(run(**choice), run(**choice | changes))


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_each_name_means_something_else(name: str, run: Run) -> None:
    folders = [run(**{name: value}) for value in ALTERNATIVES[name]]
    for one, other in itertools.combinations(folders, 2):
        assert differ(one, other)


def test_tan_d_has_an_effect_on_the_noise_schedule_tan(run: Run) -> None:
    assert differ(run(noise_schedule="tan", tan_d=9), run(noise_schedule="tan", tan_d=2))


def trained(folder: Path) -> dict[str, bytes]:
    """What training leaves of the network, its guide aside."""
    return {name: each for name, each in outputs(folder, ("out",)).items() if not name.endswith("guide.safetensors")}


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_when_to_write_things_down_changes_no_weight(name: str, run: Run, reference: Path) -> None:
    folder = run(**{name: WITHOUT_EFFECT[name]})
    same = name != "evaluate_every"
    assert trained(folder) == trained(reference)
    assert (outputs(folder, ("out",)) == outputs(reference, ("out",))) == same  # the guide is the first model kept
    assert (outputs(folder, ("curves",)) == outputs(reference, ("curves",))) == (name in {"evaluate_every", "checkpoint_every"})
    assert (outputs(folder, ("snapshots",)) == outputs(reference, ("snapshots",))) == same


@pytest.mark.parametrize(("evaluate_every", "steps"), [(1, range(1, STEPS + 1)), (3, [3, 6, 8]), (1000, [8])])
def test_snapshots_are_the_models_of_their_steps_and_change_nothing_else(
    evaluate_every: int, steps: Sequence[int], run: Run, reference: Path
) -> None:
    folder = run(evaluate_every=evaluate_every)
    assert trained(folder) == trained(reference)
    assert outputs(folder, ("curves",)) == outputs(reference, ("curves",))
    assert sorted(path.name for path in (folder / "snapshots").iterdir()) == [f"{step:06d}" for step in steps]
    saved = [{path.name: path.read_bytes() for path in each.iterdir()} for each in sorted((folder / "snapshots").iterdir())]
    guide = {"guide.safetensors": saved[0]["denoiser.safetensors"]}
    assert saved[-1] | guide == {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    assert len({each["denoiser.safetensors"] for each in saved}) == len(saved)
    for step in set(steps) & {3, 6}:
        assert (
            outputs(folder)[f"snapshots/{step:06d}/denoiser.safetensors"]
            == outputs(reference)[f"snapshots/{step:06d}/denoiser.safetensors"]
        )
    assert list((folder / "resume").iterdir()) == []


def test_classes_and_how_often_they_are_withheld_have_an_effect(run: Run, labelled: Path) -> None:
    changes: list[dict[str, Any]] = [
        {"class_conditional": False},
        {},
        {"class_unconditional_prob": 0.5},
        {"class_unconditional_prob": 0.9},
    ]
    folders = [run(on=labelled, **({"class_conditional": True} | each)) for each in changes]
    for one, other in itertools.combinations(folders, 2):
        assert differ(one, other)
    models = [DiffusionModel.load(folder / "out") for folder in folders]
    assert [model.labels for model in models] == [(), LABELS, LABELS, LABELS]
    assert [model.denoiser.settings.num_classes for model in models] == [0, 3, 3, 3]


def test_labels_of_the_latents_are_not_looked_at_by_an_unconditional_model(run: Run, labelled: Path, reference: Path) -> None:
    assert outputs(run(on=labelled, class_unconditional_prob=0.7)) == outputs(reference)


def test_classes_without_labels_are_one_sentence_that_names_the_corpora_with_labels(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train_diffusion.class_conditional = true needs labels.*restaurants, sst2 and ag_news"):
        run(tmp_path / "unlabelled", class_conditional=True)
    assert not (tmp_path / "unlabelled" / "resume").exists()


def test_latents_encoded_on_the_fly_train_as_cached_ones_do(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for train_latents in ("cached", "on_the_fly"):
        folder = tmp_path / train_latents
        write_prepared(folder / "texts")
        make_autoencoder("per_token").save(folder / "autoencoder", "0123456789abcdef", "text")
        write_params(folder / "encoding.yaml", {"encode_latents": {"train_latents": train_latents}})
        paths = {"params": "encoding.yaml", "texts": "texts", "autoencoder": "autoencoder", "out": "latents"}
        monkeypatch.setattr(sys, "argv", ["encode_latents.py", *(f"--{name}={folder / path}" for name, path in paths.items())])
        encode_latents.main()
        run(folder, on=folder / "latents", train_latents=train_latents, num_train_steps=20)
    curves = [read_tsv(tmp_path / folder / "curves" / "training.tsv") for folder in ("cached", "on_the_fly")]
    losses = [[float(row["loss"]) for row in rows] for rows in curves]
    assert losses[1] == pytest.approx(losses[0], rel=5e-3)
    assert losses[0][-1] < losses[0][0]


def test_a_compiler_is_looked_for_before_anything_is_loaded(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse() -> None:
        raise InputError("no compiler")

    monkeypatch.setattr(train_diffusion, "require_compiler", refuse)
    with pytest.raises(InputError, match="no compiler"):
        run(tmp_path / "compiled", compile=True, on=tmp_path / "nothing")


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_a_batch_cut_into_parts_gives_the_same_weights(parts: int, run: Run, reference: Path) -> None:
    assert not differ(run(gradient_accumulation_steps=parts), reference)


def test_the_same_parameters_give_the_same_bytes(run: Run, reference: Path) -> None:
    torch.rand(3)
    assert outputs(run()) == outputs(reference)


@pytest.mark.parametrize("T_schedule", T_SCHEDULES)
def test_T_now_is_written_down_as_the_schedule_has_it(T_schedule: str, run: Run) -> None:
    folder = run(T_schedule=T_schedule, log_every=1)
    expected = DiffusionRange(T_schedule, STEPS, 100, power=2, start_fraction=0.2, anneal_fraction=0.5)
    rows = read_tsv(folder / "curves" / "training.tsv")
    assert [int(row["step"]) for row in rows] == list(range(1, STEPS + 1))
    assert [int(row["T_now"]) for row in rows] == [expected.max_timestep(step) for step in range(STEPS)]


def test_curves_have_their_rows_and_the_last_step(run: Run) -> None:
    folder = run(num_train_steps=7, log_every=3, validate_every=5)
    curves = {path.stem: read_tsv(path) for path in (folder / "curves").glob("*.tsv")}
    assert set(curves) == {"training", "validation", "validation_by_log_snr", "timing"}
    assert [row["step"] for row in curves["training"]] == ["3", "6", "7"]
    assert [row["step"] for row in curves["timing"]] == ["3", "6", "7"]
    assert [row["step"] for row in curves["validation"]] == ["5", "7"]
    bins = len({row["log_snr"] for row in curves["validation_by_log_snr"]})
    assert bins >= 5
    assert [row["step"] for row in curves["validation_by_log_snr"]] == ["5"] * bins + ["7"] * bins
    rates = [float(row["learning_rate"]) for row in curves["training"]]
    assert rates[0] == pytest.approx(0.01)  # the third step is the first after the warm-up
    assert rates[0] > rates[1] > rates[2] > 0
    seconds = [float(row["seconds"]) for row in curves["timing"]]
    assert 0 < seconds[0] < seconds[1] < seconds[2]
    final = read_json(folder / "curves" / "training.json")
    assert final["train_loss"] == pytest.approx(float(curves["training"][-1]["loss"]), rel=1e-5)
    assert final["validation_loss"] == pytest.approx(float(curves["validation"][-1]["loss"]), rel=1e-5)
    assert final["parameters"] == sum(weight.numel() for weight in weights(folder).values())
    assert final["flops_per_step"] > 6 * 8 * 2 * final["parameters"] / 3  # a batch of 8 texts of two vectors or more


def test_T_schedules_are_compared_on_the_same_texts_timesteps_and_noise(run: Run) -> None:
    # One step, whose learning rate the warm-up holds at 0: two equal networks, trained on different t.
    changes = {"num_train_steps": 1, "lr_warmup_steps": 1, "objective": "pred_v", "anneal_fraction": 1.0}
    normal, linear = (outputs(run(T_schedule=name, **changes)) for name in ("normal", "linear"))
    assert normal["curves/validation.tsv"] == linear["curves/validation.tsv"]
    assert normal["curves/validation_by_log_snr.tsv"] == linear["curves/validation_by_log_snr.tsv"]
    assert normal["curves/training.tsv"] != linear["curves/training.tsv"]


def test_training_lowers_both_losses(run: Run) -> None:
    folder = run(num_train_steps=80, log_every=8, validate_every=8, T_schedule="normal")
    for name in ("training", "validation"):
        losses = [float(row["loss"]) for row in read_tsv(folder / "curves" / f"{name}.tsv")]
        assert losses[-1] < 0.75 * losses[0]


@pytest.mark.parametrize(
    ("optimizer", "signal_at", "T_schedule"),
    [
        *(("adamw", 5, name) for name in DISTRIBUTIONS),
        ("lion", 5, "polynomial"),
        *(("muon", at, "polynomial") for at in (0, 4, 5, 7)),
    ],
)
def test_stopped_and_resumed_equals_uninterrupted(
    optimizer: str, signal_at: int, T_schedule: str, run: Run, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"optimizer": optimizer, "dropout": 0.2, "class_conditional": True, "on": labelled, "T_schedule": T_schedule}
    # So that samplers that follow the losses do, before and after the interruption.
    changes |= {"timesteps": 5, "train_batch_size": 16}
    monkeypatch.setattr(adaptive_sampling, "REFRESH_EVERY", 2)
    monkeypatch.setattr(adaptive_sampling, "LEAST_OBSERVATIONS", 5)
    expected = outputs(run(**changes))
    train_step = DiffusionTrainer.train_step
    steps: list[int] = []

    def recorded(self: DiffusionTrainer, step: int) -> Tensor:
        steps.append(step)
        if len(steps) == signal_at + 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(self, step)

    monkeypatch.setattr(DiffusionTrainer, "train_step", recorded)
    with pytest.raises(InputError, match=rf"stopped by a signal after step {signal_at + 1} of {STEPS}"):
        run(tmp_path / "stopped", **changes)
    assert not (tmp_path / "stopped" / "out").exists()
    assert outputs(run(tmp_path / "stopped", **changes)) == expected
    assert steps == list(range(STEPS))
    assert list((tmp_path / "stopped" / "resume").iterdir()) == []


def test_a_run_with_other_parameters_does_not_take_the_checkpoint(
    run: Run, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after_the_first_row(patch)
        with pytest.raises(InputError, match="stopped by a signal after step 2"):
            run(tmp_path / "stopped", learning_rate=0.02)
    assert outputs(run(tmp_path / "stopped")) == outputs(reference)
    assert len(list((tmp_path / "stopped" / "resume").iterdir())) == 1  # that of the stopped training


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(run: Run, latents: Path, tmp_path: Path) -> None:
    changes = {"num_train_steps": 300, "checkpoint_every": 10, "evaluate_every": 8, "log_every": 7}
    expected = outputs(run(**changes))
    script = [sys.executable, str(ROOT / "src" / "train_diffusion.py"), *arguments(tmp_path / "killed", latents, changes)]
    with subprocess.Popen(script, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "killed" / "resume").glob("*/checkpoint.pt")):
            assert process.poll() is None, "the stage ended before its first checkpoint"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "out").exists()
    (checkpoint,) = (tmp_path / "killed" / "resume").glob("*/checkpoint.pt")
    assert 0 < torch.load(checkpoint)["step"] < 300
    assert outputs(run(tmp_path / "killed", **changes)) == expected


@pytest.mark.parametrize("dies_at", [1, 3, 4, 5, 7])
def test_a_run_that_died_between_snapshots_has_them_all_in_the_end(
    dies_at: int, run: Run, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_step = DiffusionTrainer.train_step

    def dies(self: DiffusionTrainer, step: int) -> Tensor:
        if step == dies_at:
            raise KeyboardInterrupt
        return train_step(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(DiffusionTrainer, "train_step", dies)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "died")
    (store,) = (tmp_path / "died" / "resume").iterdir()
    kept = sorted(path.name for path in store.glob("snapshots/[!.]*"))
    assert kept == [f"{step:06d}" for step in (3, 6) if step <= dies_at]
    half = store / "snapshots" / ".000006.99.partial"
    half.mkdir(parents=True)
    (half / "denoiser.safetensors").write_bytes(b"half of it")
    assert outputs(run(tmp_path / "died")) == outputs(reference)
    assert list((tmp_path / "died" / "resume").iterdir()) == []


def test_a_damaged_snapshot_of_an_interrupted_run_is_no_part_of_the_result(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(self: DiffusionTrainer, step: int) -> Tensor:
        raise KeyboardInterrupt

    train_step = DiffusionTrainer.train_step
    with monkeypatch.context() as patch:
        patch.setattr(DiffusionTrainer, "train_step", lambda self, step: (train_step if step < 5 else dies)(self, step))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "died")
    (weights,) = (tmp_path / "died" / "resume").glob("*/snapshots/000003/denoiser.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(InputError, match=r"000003 is damaged, .*; remove .* to start this training anew"):
        run(tmp_path / "died")
    assert not (tmp_path / "died" / "snapshots").exists()


def test_a_loss_that_is_not_finite_ends_in_one_sentence_and_keeps_the_last_good_checkpoint(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not finite after step|the loss is (nan|inf) at step") as caught:
        run(tmp_path / "diverged", learning_rate=1e30, checkpoint_every=1, num_train_steps=20)
    (checkpoint,) = (tmp_path / "diverged" / "resume").glob("*/checkpoint.pt")
    assert str(checkpoint) in str(caught.value)
    assert all(weight.isfinite().all() for weight in torch.load(checkpoint)["state"]["denoiser"].values())
    assert not (tmp_path / "diverged" / "out").exists()
