import itertools
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from scipy import stats
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from annealed_lm.autoencoder.latents import Floats
from annealed_lm.common.errors import InputError
from annealed_lm.diffusion.denoiser import DenoisingTransformer
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.diffusion.process import GaussianDiffusion
from annealed_lm.generation.solvers import (
    SamplingSettings,
    ddim_sample,
    ddim_steps,
    ddim_timesteps,
    guided,
    per_text_noise,
    sample_latents,
)
from support.tiny import CPU, LATENT_DIM, denoiser_settings

TIMESTEPS = 100
MAX_LENGTH = 8
STATISTICS = LatentStatistics(torch.linspace(-2, 2, LATENT_DIM)[None], torch.linspace(0.5, 3, LATENT_DIM)[None])
PREDICTION_TYPES = {"pred_x0": "sample", "pred_noise": "epsilon", "pred_v": "v_prediction"}
LENGTHS = [3, 8, 1, 5, 5, 2, 7, 4, 6, 3]
CLASSES = 3
CLASS_IDS = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
NO_CLASS = [CLASSES] * len(LENGTHS)


def make_diffusion(objective: str = "pred_x0", timesteps: int = TIMESTEPS, noise_schedule: str = "cosine") -> GaussianDiffusion:
    return GaussianDiffusion(noise_schedule, timesteps, 9, objective, "l2")


def make_denoiser(self_condition: bool = True, num_classes: int = 0) -> DenoisingTransformer:
    torch.manual_seed(0)
    settings = denoiser_settings(max_length=MAX_LENGTH, dropout=0.5, self_condition=self_condition, num_classes=num_classes)
    denoiser = DenoisingTransformer(settings)
    for parameter in denoiser.parameters():
        nn.init.normal_(parameter, std=0.3)
    return denoiser.eval()


class Oracle:
    """A denoiser that knows x_start and answers with the exact target; it counts how often it is asked."""

    def __init__(self, diffusion: GaussianDiffusion, x_start: Tensor) -> None:
        self.diffusion = diffusion
        self.x_start = x_start
        self.timesteps: list[int] = []
        self.conditions: list[Tensor | None] = []

    def __call__(
        self, x_t: Tensor, noise_level: Tensor, mask: Tensor, self_cond: Tensor | None, class_id: Tensor | None
    ) -> Tensor:
        t = (noise_level * self.diffusion.timesteps - 1).round().long()
        self.timesteps.append(int(t[0]))
        self.conditions.append(self_cond)
        signal, noise_scale = self.diffusion.signal_and_noise(t)
        return self.diffusion.target(self.x_start, t, (x_t - signal * self.x_start) / noise_scale)


@pytest.mark.parametrize("objective", PREDICTION_TYPES)
@pytest.mark.parametrize("steps", [1, 7, TIMESTEPS])
@pytest.mark.parametrize("eta", [0, 1])
def test_with_a_perfect_denoiser_the_sample_is_x_start(objective: str, steps: int, eta: float) -> None:
    diffusion = make_diffusion(objective, noise_schedule="linear")
    x_start = torch.randn(3, 5, LATENT_DIM, generator=torch.Generator().manual_seed(0))
    oracle = Oracle(diffusion, x_start)
    noise = per_text_noise(range(3), [5] * 3, LATENT_DIM, 0, CPU)
    found = ddim_sample(diffusion, oracle, torch.ones(3, 5, dtype=torch.bool), noise, ddim_steps(diffusion, steps, eta), None)
    torch.testing.assert_close(found, x_start, atol=1e-3, rtol=1e-3)
    assert oracle.timesteps == [t for t, _ in ddim_timesteps(TIMESTEPS, steps)]
    assert oracle.conditions[0] is None
    for condition in oracle.conditions[1:]:  # each step is conditioned on the x_start of the step before
        assert condition is not None
        torch.testing.assert_close(condition, x_start, atol=0.2, rtol=0.1)


@pytest.mark.parametrize(
    ("timesteps", "steps"), [(1, 1), (100, 1), (100, 7), (100, 50), (100, 67), (100, 100), (1000, 250), (999, 998)]
)
def test_steps_go_from_the_last_timestep_to_x_start_in_even_strides(timesteps: int, steps: int) -> None:
    pairs = ddim_timesteps(timesteps, steps)
    assert len(pairs) == steps
    assert pairs[0][0] == timesteps - 1
    assert pairs[-1][1] == -1
    assert all(one[1] == other[0] for one, other in itertools.pairwise(pairs))
    strides = {t - next_t for t, next_t in pairs}
    assert strides <= {timesteps // steps, timesteps // steps + 1}


@pytest.mark.parametrize("objective", PREDICTION_TYPES)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("steps", [10, TIMESTEPS])
def test_samples_equal_those_of_diffusers(objective: str, eta: float, steps: int) -> None:
    diffusion = make_diffusion(objective)
    diffusion.largest_rms = 1e12  # theirs bind x_start to another shape, or not at all
    denoiser = make_denoiser(self_condition=False)
    mask = torch.ones(2, 5, dtype=torch.bool)
    noises = torch.randn(steps, 2, 5, LATENT_DIM, generator=torch.Generator().manual_seed(0))
    left = list(noises)
    found = ddim_sample(diffusion, denoiser, mask, lambda: left.pop(0), ddim_steps(diffusion, steps, eta), None)
    assert len(left) == (0 if eta else steps - 1)  # none is drawn that is of no effect

    alphas = diffusion.alphas_cumprod
    betas = 1 - alphas / torch.cat([alphas.new_ones(1), alphas[:-1]])
    scheduler = DDIMScheduler(
        TIMESTEPS, trained_betas=betas.numpy(), clip_sample=False, prediction_type=PREDICTION_TYPES[objective]
    )
    scheduler.alphas_cumprod = alphas  # theirs are in single precision
    scheduler.set_timesteps(steps)
    sample = noises[0]
    for i, (t, _) in enumerate(ddim_timesteps(TIMESTEPS, steps)):
        with torch.inference_mode():
            output = denoiser(sample, diffusion.noise_level(torch.full((2,), t)), mask)
        fresh = noises[min(i + 1, steps - 1)]
        sample = scheduler.step(output, t, sample, eta=eta, variance_noise=fresh).prev_sample.float()
    torch.testing.assert_close(found, sample, atol=2e-4, rtol=2e-3)


SETTINGS = SamplingSettings(batch_size=4, mixed_precision="no", sampling_timesteps=5, ddim_sampling_eta=1.0, guidance_weight=1.0)


def sampled(
    lengths: list[int] = LENGTHS,
    batch_size: int = 4,
    seed: int = 0,
    num_classes: int = 0,
    objective: str = "pred_x0",
    denoiser: DenoisingTransformer | None = None,
    class_ids: list[int] | None = None,
    **changes: Any,
) -> list[Floats]:
    return sample_latents(
        make_diffusion(objective),
        denoiser or make_denoiser(num_classes=num_classes),
        STATISTICS,
        lengths,
        class_ids,
        replace(SETTINGS, batch_size=batch_size, **changes),
        seed,
    )


def test_each_length_gets_latents_of_that_length_in_its_place() -> None:
    assert [row.shape for row in sampled()] == [(length, LATENT_DIM) for length in LENGTHS]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_a_text_does_not_depend_on_the_batch(batch_size: int) -> None:
    for one, other in zip(sampled(batch_size=4), sampled(batch_size=batch_size), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-4)


def test_a_text_does_not_depend_on_the_number_of_texts() -> None:
    for one, other in zip(sampled(LENGTHS[:4]), sampled(), strict=False):
        np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"ddim_sampling_eta": 0.0}, {"ddim_sampling_eta": 0.5}, {"sampling_timesteps": 6}]
)
def test_seed_eta_and_steps_have_an_effect(changes: dict[str, Any]) -> None:
    for one, other in zip(sampled(), sampled(**changes), strict=True):
        assert not np.isclose(one, other).any()


def test_texts_differ_from_each_other() -> None:
    latents = sampled([5] * 6)
    assert not any(np.isclose(one, other).any() for one, other in itertools.combinations(latents, 2))


def test_samples_are_brought_back_to_the_scale_of_the_latents() -> None:
    denoiser = make_denoiser()
    with torch.no_grad():  # it says the same x_start of everything
        denoiser.output.weight.zero_()
        denoiser.output.bias.copy_(torch.tensor([1.0, 0.0, -1.0, 2.0]))
    found = sampled([5] * 6, batch_size=6, denoiser=denoiser, sampling_timesteps=3)
    expected = STATISTICS.unnormalise(denoiser.output.bias.detach().expand(5, LATENT_DIM))
    for row in found:
        np.testing.assert_allclose(row, expected.numpy(), atol=1e-4)


def test_noise_is_standard_normal_and_other_at_each_call() -> None:
    noise = per_text_noise(range(200), [8] * 200, LATENT_DIM, 0, CPU)
    first, second = noise(), noise()
    assert first.shape == (200, 8, LATENT_DIM)
    assert first.dtype == torch.float32
    assert stats.kstest(first.flatten().numpy(), "norm").pvalue > 0.001
    assert not torch.isclose(first, second).all(-1).any()


def test_the_noise_of_a_text_depends_on_seed_text_length_and_call_only() -> None:
    lengths = [1 + number % 8 for number in range(20)]
    many = per_text_noise(range(20), lengths, LATENT_DIM, 0, CPU)
    everything = [many() for _ in range(3)]
    for indices in ([7], [7, 2], [19, 0, 4]):
        few = per_text_noise(indices, [lengths[i] for i in indices], LATENT_DIM, 0, CPU)
        for call in everything:
            rows = few()
            assert torch.equal(rows, call[indices, : rows.shape[1]])
    assert not torch.isclose(per_text_noise(range(20), lengths, LATENT_DIM, 1, CPU)(), everything[0])[everything[0] != 0].any()


def test_noise_is_padded_with_zeros() -> None:
    rows = per_text_noise(range(3), [2, 5, 1], LATENT_DIM, 0, CPU)()
    assert (rows != 0).all(-1).sum(-1).tolist() == [2, 5, 1]


def test_texts_have_noise_of_their_own() -> None:
    rows = per_text_noise(range(300), [8] * 300, LATENT_DIM, 0, CPU)().flatten(1)
    correlations = np.corrcoef(rows.numpy())[np.triu_indices(300, 1)] * rows.shape[1] ** 0.5
    assert abs(correlations.mean()) < 4 / len(correlations) ** 0.5
    assert correlations.std() == pytest.approx(1, abs=0.05)


class Recorder(TorchDispatchMode):
    """Records the operations that a device would be waited for: their result decides what comes next, or its shape."""

    WAITING = ("item", "_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique", "repeat_interleave")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.waiting: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.count += 1
        masks = name == "index" and any(each is not None and each.dtype == torch.bool for each in args[1])
        if name.startswith(self.WAITING) or masks:
            self.waiting.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("guidance_weight", [1.0, 2.0])
def test_no_step_waits_for_the_device_or_loops_over_texts_but_for_their_noise(guidance_weight: float) -> None:
    counts = {}
    for steps, texts in itertools.product((2, 3), (2, 40)):
        diffusion, denoiser = make_diffusion(), guided(make_denoiser(num_classes=CLASSES), CLASSES, guidance_weight)
        mask, class_id = torch.ones(texts, 5, dtype=torch.bool), torch.zeros(texts, dtype=torch.long)
        recorder, drawing = Recorder(), Recorder()
        with recorder:
            noise = partial(torch.zeros, texts, 5, LATENT_DIM)
            ddim_sample(diffusion, denoiser, mask, noise, ddim_steps(diffusion, steps, 1.0), class_id)
        counts[steps, texts] = recorder.count
        with drawing:
            per_text_noise(range(texts), [5] * texts, LATENT_DIM, 0, CPU)()
        assert recorder.waiting == drawing.waiting == []
    assert counts[2, 2] == counts[2, 40] < counts[3, 2] == counts[3, 40]


def test_a_text_depends_on_its_class_and_on_no_other() -> None:
    by_class = [sampled(class_ids=[class_id] * 10, num_classes=CLASSES) for class_id in range(CLASSES)]
    for one, other in itertools.combinations(by_class, 2):
        assert not any(np.isclose(*rows).all(-1).any() for rows in zip(one, other, strict=True))
    for i, row in enumerate(sampled(class_ids=CLASS_IDS, num_classes=CLASSES)):
        np.testing.assert_allclose(row, by_class[CLASS_IDS[i]][i], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("guidance_weight", [1.0, 2.5])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_a_guided_text_does_not_depend_on_the_batch(batch_size: int, guidance_weight: float) -> None:
    options: dict[str, Any] = {"num_classes": CLASSES, "guidance_weight": guidance_weight}
    expected = sampled(class_ids=CLASS_IDS, **options)
    for one, other in zip(sampled(class_ids=CLASS_IDS, batch_size=batch_size, **options), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3, rtol=1e-3)
    for one, other in zip(sampled(LENGTHS[:4], class_ids=CLASS_IDS[:4], **options), expected, strict=False):
        np.testing.assert_allclose(one, other, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("objective", PREDICTION_TYPES)
def test_weight_1_is_the_conditional_model_and_weight_0_the_unconditional_one(objective: str) -> None:
    options: dict[str, Any] = {"num_classes": CLASSES, "objective": objective}
    conditional, unconditional = (sampled(class_ids=ids, **options) for ids in (CLASS_IDS, NO_CLASS))
    without = sampled(class_ids=None, **options)
    assert all(np.array_equal(*rows) for rows in zip(without, unconditional, strict=True))
    for guidance_weight, expected in ((1, conditional), (1 + 1e-6, conditional), (0, unconditional)):
        guided_rows = sampled(class_ids=CLASS_IDS, guidance_weight=guidance_weight, **options)
        for one, other in zip(guided_rows, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-3, rtol=2e-3)
    for one, other in zip(conditional, unconditional, strict=True):
        assert not np.isclose(one, other, atol=2e-3, rtol=2e-3).all(-1).any()


class Linear:
    """A denoiser that adds up what it reads, class and self_cond included."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(
        self, x_t: Tensor, noise_level: Tensor, mask: Tensor, self_cond: Tensor | None, class_id: Tensor | None
    ) -> Tensor:
        assert class_id is not None
        self.batches.append(len(x_t))
        known = torch.zeros_like(x_t) if self_cond is None else self_cond
        return (x_t + 2 * known + (noise_level + 100 * class_id)[:, None, None]) * mask[..., None]


@pytest.mark.parametrize("guidance_weight", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("self_conditioned", [False, True])
def test_guidance_moves_away_from_the_unconditional_output(self_conditioned: bool, guidance_weight: float) -> None:
    random = torch.Generator().manual_seed(0)
    x_t, known = torch.randint(-9, 10, (2, 2, 3, LATENT_DIM), generator=random).float()  # exact arithmetic
    level, mask, class_id = torch.tensor([0.25, 0.5]), torch.ones(2, 3, dtype=torch.bool), torch.tensor([0, 2])
    inputs = x_t, level, mask, known if self_conditioned else None
    denoiser = Linear()
    found = guided(denoiser, CLASSES, guidance_weight)(*inputs, class_id)
    assert denoiser.batches == [2 if guidance_weight == 1 else 4]  # twice the batch, once
    cond, uncond = denoiser(*inputs, class_id), denoiser(*inputs, torch.full((2,), CLASSES))
    assert torch.equal(found, uncond + guidance_weight * (cond - uncond))
    shift = 100 * (CLASSES + guidance_weight * (class_id - CLASSES))
    assert torch.equal(found, x_t + 2 * known * self_conditioned + (level + shift)[:, None, None])


def test_more_guidance_goes_further_from_the_unconditional_model() -> None:
    options: dict[str, Any] = {"num_classes": CLASSES, "sampling_timesteps": 1}
    at_0, at_1, at_3 = (sampled(class_ids=CLASS_IDS, guidance_weight=weight, **options) for weight in (0, 1, 3))
    for none, once, thrice in zip(at_0, at_1, at_3, strict=True):
        np.testing.assert_allclose(thrice - none, 3 * (once - none), atol=1e-3, rtol=1e-3)


def test_guidance_of_a_model_without_classes_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"guidance_weight = 2 guides towards a class.*class_conditional: true"):
        sampled(guidance_weight=2.0)


def make_smooth_denoiser() -> DenoisingTransformer:
    """With weights of the size that a trained network has: what it says changes gently with what it reads."""
    torch.manual_seed(0)
    denoiser = DenoisingTransformer(denoiser_settings(max_length=MAX_LENGTH, tx_dim=32))
    nn.init.normal_(denoiser.output.weight, std=0.2)
    return denoiser.eval()


@pytest.mark.parametrize("objective", ["pred_x0", "pred_v"])
def test_latents_in_bf16_are_float32_and_close_to_those_in_full_precision(objective: str) -> None:
    options: dict[str, Any] = {"denoiser": make_smooth_denoiser(), "objective": objective, "sampling_timesteps": 20}
    full, half = (np.concatenate(sampled(mixed_precision=each, **options)) for each in ("no", "bf16"))
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).max() < 0.05 * full.std()
    assert not np.array_equal(half, torch.from_numpy(half).bfloat16().float().numpy())


def test_only_the_network_computes_in_lower_precision() -> None:
    denoiser = make_denoiser()
    with torch.no_grad():  # what it says is exact in bf16, and the same of everything
        denoiser.output.weight.zero_()
        denoiser.output.bias.copy_(torch.tensor([1.0, 0.0, -1.0, 2.0]))
    seen: list[tuple[torch.dtype, torch.dtype]] = []
    denoiser.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0].dtype, output.dtype)))
    options: dict[str, Any] = {"denoiser": denoiser, "objective": "pred_noise"}
    full, half = (sampled(mixed_precision=each, **options) for each in ("no", "bf16"))
    assert all(np.array_equal(*rows) for rows in zip(full, half, strict=True))
    assert set(seen[: len(seen) // 2]) == {(torch.float32, torch.float32)}
    assert set(seen[len(seen) // 2 :]) == {(torch.float32, torch.bfloat16)}


def test_guidance_in_bf16_is_mixed_in_full_precision() -> None:
    inputs = torch.zeros(2, 3, LATENT_DIM), torch.ones(2), torch.ones(2, 3, dtype=torch.bool), None, torch.tensor([0, 1])

    def denoiser(x_t: Tensor, *others: Any) -> Tensor:
        values = torch.tensor([1.0, 1.0, 1.0078125, 1.0078125], dtype=torch.bfloat16)  # with class, without
        return values[:, None, None].expand(x_t.shape)

    output = guided(denoiser, CLASSES, 1.25)(*inputs)
    assert output.unique().item() == 1 - 2**-9  # which bf16 does not have


def test_fp16_on_a_cpu_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"^sample_texts\.mixed_precision = fp16 needs a GPU.*should be no or bf16$"):
        sampled(mixed_precision="fp16")
