import copy
import dataclasses
from functools import partialmethod
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from accelerate.state import AcceleratorState
from torch import nn

from annealed_lm.autoencoder.latents import LatentSet
from annealed_lm.generation.sampling import sample_latents
from annealed_lm.training.checkpoints import CheckpointStore
from annealed_lm.training.processes import require_compiler
from support.tiny import LATENT_DIM, SAMPLING, write_latents
from support.trainers import LABELS, make_trainer, make_validation, plain_accelerator, run


@pytest.fixture(autouse=True)
def no_precision_left_over() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def latents(tmp_path: Path) -> Path:
    return write_latents(tmp_path / "latents")


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    return write_latents(tmp_path / "labelled", LABELS)


def test_the_network_that_is_validated_is_the_average_and_drops_nothing(latents: Path) -> None:
    trainer = make_trainer(latents)
    trainer.denoiser.train()
    average = trainer.averaged_denoiser()
    assert not average.training
    assert all(one is not other for one, other in zip(average.parameters(), trainer.denoiser.parameters(), strict=True))


def test_a_steps_random_numbers_depend_on_seed_and_step_only(latents: Path) -> None:
    trainer, other = make_trainer(latents), make_trainer(latents, random_seed=1)
    shape = (8, 6, LATENT_DIM)
    first = trainer.random_numbers(3, shape)
    trainer.random_numbers(4, shape)
    torch.rand(2)
    again = trainer.random_numbers(3, shape)
    assert torch.equal(first.t, first.t_here)
    assert torch.equal(first.t, again.t)
    assert torch.equal(first.noise, again.noise)
    assert torch.equal(first.self_conditioned, again.self_conditioned)
    for different in (trainer.random_numbers(4, shape), other.random_numbers(3, shape)):
        assert not torch.equal(first.t, different.t)
        assert not torch.isclose(first.noise, different.noise).all(-1).any()


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_t_noise_and_conditioning_are_distributed_as_stated(probability: float, latents: Path) -> None:
    trainer = make_trainer(latents, self_condition=probability)
    for step, T_now in ((0, 20), (3, 60), (6, 100)):
        draws = trainer.random_numbers(step, (1000, 6, LATENT_DIM))
        assert draws.t.min() == 0
        assert draws.t.max() == T_now - 1
        assert float(draws.noise.mean()) == pytest.approx(0, abs=0.03)
        assert float(draws.noise.std()) == pytest.approx(1, abs=0.02)
        assert draws.self_conditioned.sum() == 1000 * probability
        assert draws.weights is None


def test_each_text_is_self_conditioned_as_often_as_any(latents: Path) -> None:
    trainer = make_trainer(latents, self_condition=0.3)
    rows = torch.stack([trainer.random_numbers(step, (7, 1, 1)).self_conditioned for step in range(600)])
    assert set(rows.sum(1).tolist()) == {2, 3}  # 7 x 0.3 = 2.1
    torch.testing.assert_close(rows.double().mean(0), torch.full((7,), 0.3, dtype=torch.float64), atol=0.07, rtol=0)


WEIGHTED = {"loss_weight": "min_snr", "sampling_weights": "inverse_density"}


@pytest.mark.parametrize("weights", [{}, WEIGHTED])
def test_a_step_is_the_gradient_of_the_mean_weighted_loss_of_its_texts(weights: dict[str, str], latents: Path) -> None:
    trainer = make_trainer(latents, weights=weights)
    twin = make_trainer(latents, weights=weights)
    x_start, mask = twin.latents.batch(twin.order.batch(0))
    x_start = twin.statistics.normalise(x_start)
    draws = twin.random_numbers(0, tuple(x_start.shape))
    rows = draws.self_conditioned.nonzero()[:, 0]
    losses = twin.diffusion.losses(twin.denoiser, x_start, draws.t, draws.noise, mask, rows, None)
    alphas_cumprod = twin.diffusion.alphas_cumprod[draws.t]
    snr = (alphas_cumprod / (1 - alphas_cumprod)).float()
    # T_now is T / 5 at the first step, so 1 / (T p(t)) is 1 / 5.
    loss = (losses * snr.clamp(max=5) / 5 if weights else losses).mean()
    loss.backward()
    twin.updates.update(0)
    torch.testing.assert_close(trainer.train_step(0), loss)
    for ours, theirs in zip(trainer.denoiser.parameters(), twin.denoiser.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("weights", [{}, WEIGHTED])
def test_a_sampler_that_observes_is_told_every_t_and_its_loss_without_weights(weights: dict[str, str], latents: Path) -> None:
    trainer = make_trainer(latents, T_schedule="loss_curve", weights=weights, gradient_accumulation_steps=3)
    told: list[tuple[int, npt.NDArray[np.int64], npt.NDArray[np.float64]]] = []
    trainer.timesteps.observe = lambda *seen: told.append(seen)  # type: ignore[method-assign]
    twin = make_trainer(latents)
    x_start, mask = twin.latents.batch(twin.order.batch(0))
    x_start = twin.statistics.normalise(x_start)
    draws = trainer.random_numbers(0, tuple(x_start.shape))
    rows = draws.self_conditioned.nonzero()[:, 0]
    expected = twin.diffusion.losses(twin.denoiser, x_start, draws.t, draws.noise, mask, rows, None)
    trainer.train_step(0)
    ((step, t, losses),) = told
    assert step == 0
    assert np.array_equal(t, draws.t.numpy())
    assert losses == pytest.approx(expected.detach().double().numpy(), rel=1e-4)


@pytest.mark.parametrize("parts", [2, 3, 8, 20])
def test_gradients_of_parts_add_up_to_that_of_the_batch(parts: int, latents: Path) -> None:
    whole, cut = make_trainer(latents), make_trainer(latents, gradient_accumulation_steps=parts)
    for step in range(4):
        torch.testing.assert_close(cut.train_step(step), whole.train_step(step), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_and_eager_steps_are_the_same_but_for_rounding(
    backend: str, latents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has the graphs of the second, which turns them into machine code, slowly."""
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend=backend))
    require_compiler()  # else `compile` says so, which is tested where it is made
    compiled, eager = (make_trainer(latents, compile=each) for each in (True, False))
    for step in range(4):
        torch.testing.assert_close(compiled.train_step(step), eager.train_step(step), atol=1e-4, rtol=1e-4)
    assert compiled.denoiser.state_dict().keys() == eager.denoiser.state_dict().keys()
    lengths = {compiled.padded_length(compiled.order.batch(step)) for step in range(4)}
    assert len(lengths) > 1


@pytest.mark.parametrize(("batching", "longest"), [("bucketed", 0.8), ("shuffled", 1.0)])
def test_batches_are_padded_as_asked(batching: str, longest: float, latents: Path) -> None:
    trainer = make_trainer(latents, batching=batching)
    lengths = [trainer.padded_length(trainer.order.batch(step)) for step in range(7)]
    texts = [trainer.latents.index.lengths[trainer.order.batch(step)] for step in range(7)]
    assert all(length >= each.max() for length, each in zip(lengths, texts, strict=True))
    assert np.mean(lengths) <= longest * 6
    trainer.train_step(0)


def test_gradients_are_clipped_to_the_largest_norm(latents: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    norms = []
    for max_grad_norm in (1e6, 0.01):
        trainer = make_trainer(latents, max_grad_norm=max_grad_norm)
        for optimizer in trainer.updates.optimizers:
            monkeypatch.setattr(optimizer, "zero_grad", lambda: None)
        trainer.train_step(0)
        norms.append(nn.utils.get_total_norm([p.grad for p in trainer.denoiser.parameters() if p.grad is not None]).item())
    assert norms[0] > 0.1
    assert norms[1] == pytest.approx(0.01, rel=1e-3)


def test_records_are_the_losses_of_the_steps(latents: Path, tmp_path: Path) -> None:
    trainer, twin = make_trainer(latents), make_trainer(latents)
    records = run(trainer, CheckpointStore(tmp_path / "key"), latents)
    losses = [twin.train_step(step).item() for step in range(6)]
    means = [(losses[step] + losses[step + 1]) / 2 for step in (0, 2, 4)]
    assert [row["loss"] for row in records["training"]] == pytest.approx(means, rel=1e-4)
    assert [row["T_now"] for row in records["training"]] == [33, 60, 86]  # of the steps 1, 3, 5: 20 + step / 6 * 80
    assert records["validation"][-1]["loss"] == pytest.approx(
        make_validation(latents, twin).losses(twin.averaged_denoiser()).mean().item(), rel=1e-4
    )


@pytest.mark.parametrize(("evaluate_every", "expected"), [(1, [1, 2, 3, 4, 5, 6]), (3, [3, 6]), (4, [4, 6]), (1000, [6])])
def test_snapshots_are_taken_every_so_many_steps_and_at_the_end(
    evaluate_every: int, expected: list[int], latents: Path, tmp_path: Path
) -> None:
    trainer = make_trainer(latents, evaluate_every=evaluate_every)
    taken: list[tuple[int, torch.Tensor]] = []

    def save_snapshot(step: int) -> None:
        taken.append((step, trainer.averaged_denoiser().position.detach().clone()))

    run(trainer, CheckpointStore(tmp_path / "key"), latents, save_snapshot)
    assert [step for step, _ in taken] == expected
    twin = make_trainer(latents)
    averages = []
    for step in range(6):
        twin.train_step(step)
        averages.append(twin.averaged_denoiser().position.detach().clone())
    for step, position in taken:  # of the averaged weights as they are after that step
        torch.testing.assert_close(position, averages[step - 1])


def test_a_snapshot_is_taken_before_the_checkpoint_of_its_step(latents: Path, tmp_path: Path) -> None:
    trainer = make_trainer(latents, checkpoint_every=2, evaluate_every=2)
    store = CheckpointStore(tmp_path / "key")
    checkpoints = []

    def save_snapshot(step: int) -> None:
        checkpoints.append(torch.load(store.path)["step"] if store.path.exists() else 0)

    run(trainer, store, latents, save_snapshot)
    assert checkpoints == [0, 2, 4]


@pytest.mark.parametrize("probability", [0.0, 0.1, 1.0])
def test_each_label_is_withheld_with_the_stated_probability(probability: float, labelled: Path) -> None:
    trainer = make_trainer(labelled, class_unconditional_prob=probability)
    assert trainer.latents.index.labels is not None
    before = trainer.latents.index.labels.copy()
    texts = np.arange(60).repeat(50)
    told = trainer.class_ids(3, texts)
    assert told is not None
    withheld = told == len(LABELS)
    assert float(withheld.double().mean()) == pytest.approx(probability, abs=0.02)
    assert told[~withheld].tolist() == before[texts[~withheld.numpy()]].tolist()
    assert np.array_equal(trainer.latents.index.labels, before)  # never changed in place


def test_which_labels_are_withheld_depends_on_seed_and_step_only(labelled: Path) -> None:
    texts = np.arange(60)
    trainer, other = (make_trainer(labelled, random_seed=seed, class_unconditional_prob=0.5) for seed in (0, 1))
    told = [each.class_ids(step, texts) for each, step in ((trainer, 3), (trainer, 4), (trainer, 3), (other, 3))]
    first, next_step, again, other_seed = [each for each in told if each is not None]
    assert torch.equal(first, again)
    assert not torch.equal(first, next_step)
    assert not torch.equal(first, other_seed)


@pytest.mark.parametrize("parts", [2, 3])
def test_parts_of_a_batch_are_told_the_labels_of_their_texts(parts: int, labelled: Path) -> None:
    whole, cut = make_trainer(labelled), make_trainer(labelled, gradient_accumulation_steps=parts)
    for step in range(4):
        torch.testing.assert_close(cut.train_step(step), whole.train_step(step), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("probability", "learned"), [(0.0, [True, True, True, False]), (1.0, [False, False, False, True])])
def test_what_is_told_of_the_classes_is_what_is_learned_of_them(probability: float, learned: list[bool], labelled: Path) -> None:
    trainer = make_trainer(labelled, class_unconditional_prob=probability, adam_weight_decay=0.0)
    assert trainer.denoiser.class_embedding is not None
    weight = trainer.denoiser.class_embedding.weight
    before = weight.detach().clone()
    for step in range(6):
        trainer.train_step(step)
    assert (weight != before).any(1).tolist() == learned


def test_texts_without_labels_have_no_class(latents: Path) -> None:
    assert make_trainer(latents).class_ids(0, np.arange(5)) is None


@pytest.mark.parametrize("guidance_weight", [1.0, 2.0])
def test_samples_of_a_conditional_model_are_of_their_class(guidance_weight: float, labelled: Path) -> None:
    changes = {"num_train_steps": 200, "train_batch_size": 30, "lr_schedule": "linear", "ema_power": 2 / 3}
    trainer = make_trainer(labelled, **changes)
    for step in range(200):
        trainer.train_step(step)
    assert trainer.latents.index.labels is not None
    class_ids = [i % 3 for i in range(150)]
    samples = sample_latents(
        trainer.diffusion,
        trainer.averaged_denoiser(),
        trainer.statistics,
        [4] * 150,
        class_ids,
        dataclasses.replace(SAMPLING, batch_size=150, sampling_timesteps=10, guidance_weight=guidance_weight),
        seed=0,
    )
    rows = LatentSet.load(labelled, "train")
    of_class = [
        np.concatenate([row for row, label in zip(rows, trainer.latents.index.labels, strict=True) if label == k])
        for k in range(3)
    ]
    centres = np.stack([vectors.mean(0) for vectors in of_class])
    nearest = [int(np.linalg.norm(centres - sample.mean(0), axis=1).argmin()) for sample in samples]
    assert np.mean(np.array(nearest) == class_ids) > 0.9


def test_half_precision_scales_its_gradients_and_comes_out_the_same(latents: Path, tmp_path: Path) -> None:
    accelerator = plain_accelerator()
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)  # as accelerate has one for fp16 on a GPU
    for optimizer in ("adamw", "muon"):
        scaled, plain = make_trainer(latents, accelerator, optimizer=optimizer), make_trainer(latents, optimizer=optimizer)
        accelerator.scaler, scaler = None, accelerator.scaler
        expected = [plain.train_step(step) for step in range(4)]
        accelerator.scaler = scaler
        found = [scaled.train_step(step) for step in range(4)]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        assert set(scaled.state()) == set(plain.state()) | {"scaler"}
        CheckpointStore(tmp_path / optimizer).save(4, scaled.state(), {})
        assert CheckpointStore(tmp_path / optimizer).load(scaled.state(), {}) == 4


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_whose_scaled_gradients_overflow_changes_nothing_but_the_scale(optimizer: str, latents: Path) -> None:
    accelerator = plain_accelerator()
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    trainer = make_trainer(latents, accelerator, optimizer=optimizer, lr_schedule="linear")
    overflow = [each.register_hook(lambda gradient: gradient * float("inf")) for each in trainer.denoiser.parameters()]
    trainer.updates.average.module.position.data.zero_()  # so that following the weights would move it
    before, rate = copy.deepcopy(trainer.denoiser.state_dict()), trainer.updates.learning_rate
    trainer.train_step(0)
    assert all(torch.equal(value, before[name]) for name, value in trainer.denoiser.state_dict().items())
    assert trainer.updates.learning_rate == rate
    assert not trainer.averaged_denoiser().position.any()
    assert accelerator.scaler.get_scale() == 512
    for hook in overflow:
        hook.remove()
    trainer.train_step(1)
    assert trainer.updates.learning_rate < rate
    assert trainer.averaged_denoiser().position.any()


@pytest.mark.parametrize("value", ["inf", "nan"])
@pytest.mark.parametrize("name", ["output.weight", "blocks.0.attention_out.weight"])
def test_an_overflow_of_one_optimizer_holds_back_the_other(name: str, value: str, latents: Path) -> None:
    """The first is AdamW's, the second Muon's, which moves by its momentum alone where its gradients are 0."""
    accelerator = plain_accelerator()
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    trainer = make_trainer(latents, accelerator, optimizer="muon")
    trainer.train_step(0)
    before = copy.deepcopy(trainer.denoiser.state_dict())
    trainer.denoiser.get_parameter(name).register_hook(lambda gradient: torch.full_like(gradient, float(value)))
    trainer.train_step(1)
    assert all(torch.equal(value, before[name]) for name, value in trainer.denoiser.state_dict().items())
    assert accelerator.scaler.get_scale() == 512


def test_autocast_is_that_of_the_precision(latents: Path) -> None:
    computed = []
    for mixed_precision in ("no", "bf16"):
        AcceleratorState._reset_state(reset_partial_state=True)
        trainer = make_trainer(latents, plain_accelerator(mixed_precision))
        trainer.denoiser.input.register_forward_hook(lambda *hooked: computed.append(hooked[-1].dtype))
        trainer.train_step(0)
        assert {parameter.dtype for parameter in trainer.denoiser.parameters()} == {torch.float32}
        assert {parameter.dtype for parameter in trainer.averaged_denoiser().parameters()} == {torch.float32}
    assert set(computed) == {torch.float32, torch.bfloat16}
