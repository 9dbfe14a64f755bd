import itertools
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from annealed_lm.autoencoder.latents import Floats
from annealed_lm.common.errors import InputError
from annealed_lm.diffusion.denoiser import DenoisingTransformer
from annealed_lm.diffusion.noise_schedules import rounded_up
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.diffusion.process import GaussianDiffusion
from annealed_lm.generation.sampling import SamplingSettings, autoguided, guided, per_text_noise, sample_latents, take_steps
from annealed_lm.generation.solvers import solver_steps
from support.tiny import CPU, LATENT_DIM, SAMPLING, denoiser_settings

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


SETTINGS = replace(SAMPLING, batch_size=4, sampling_timesteps=5)


def sampled(
    lengths: list[int] = LENGTHS,
    batch_size: int = 4,
    seed: int = 0,
    num_classes: int = 0,
    objective: str = "pred_x0",
    denoiser: DenoisingTransformer | None = None,
    class_ids: list[int] | None = None,
    guide: DenoisingTransformer | None = None,
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
        guide,
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
    "changes",
    [
        {"seed": 1},
        {"ddim_sampling_eta": 0.0},
        {"ddim_sampling_eta": 0.5},
        {"sampling_timesteps": 6},
        {"solver": "dpm_solver"},
        {"solver": "sde_dpm_solver"},
        {"spacing": "uniform"},
        {"spacing": "log_snr"},
        {"decode_at": 0.5},
    ],
)
def test_seed_and_settings_have_an_effect(changes: dict[str, Any]) -> None:
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
            taken = solver_steps(diffusion.alphas_cumprod.numpy(), "ddim", "trailing", steps, 1.0, 0.0)
            take_steps(diffusion, denoiser, mask, noise, taken, class_id)
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


@pytest.mark.parametrize("objective", PREDICTION_TYPES)
def test_autoguidance_of_weight_1_is_the_model_itself_and_of_weight_0_its_guide(objective: str) -> None:
    strong, weak = make_denoiser(), make_denoiser()
    nn.init.normal_(weak.output.weight, std=0.2)
    options: dict[str, Any] = {"denoiser": strong, "guide": weak, "objective": objective}
    assert all(map(np.array_equal, sampled(**options, autoguidance_weight=1.0), sampled(denoiser=strong, objective=objective)))
    for one, other in zip(sampled(**options, autoguidance_weight=0.0), sampled(denoiser=weak, objective=objective), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3, rtol=2e-3)


def test_more_autoguidance_goes_further_from_the_guide() -> None:
    guide = make_denoiser()
    nn.init.normal_(guide.output.weight, std=0.2)
    at_0, at_1, at_3 = (sampled(guide=guide, autoguidance_weight=weight, sampling_timesteps=1) for weight in (0.0, 1.0, 3.0))
    for none, once, thrice in zip(at_0, at_1, at_3, strict=True):
        np.testing.assert_allclose(thrice - none, 3 * (once - none), atol=1e-3, rtol=1e-3)


def test_a_model_that_guides_itself_is_not_guided() -> None:
    for one, other in zip(sampled(guide=make_denoiser(), autoguidance_weight=3.0), sampled(), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3, rtol=2e-3)


def test_both_guidances_go_together_and_count_their_evaluations() -> None:
    denoiser, weak = Linear(), Linear()
    both = guided(autoguided(denoiser, weak, 2.0), CLASSES, 3.0)
    x_t, level, class_id = torch.ones(2, 3, LATENT_DIM), torch.tensor([0.25, 0.5]), torch.tensor([0, 2])
    inputs = x_t, level, torch.ones(2, 3, dtype=torch.bool), None, class_id
    assert torch.equal(both(*inputs), guided(Linear(), CLASSES, 3.0)(*inputs))  # the guide says the same
    assert denoiser.batches == weak.batches == [4]
    settings: SamplingSettings = replace(SETTINGS, sampling_timesteps=5)
    assert settings.evaluations == 5
    assert replace(settings, autoguidance_weight=2.0).evaluations == 10
    assert replace(settings, autoguidance_weight=2.0, guidance_weight=0.0).evaluations == 20


def test_autoguidance_without_a_guide_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"^sample_texts\.autoguidance_weight = 2 moves away from an earlier model.*set 1$"):
        sampled(autoguidance_weight=2.0)


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


def test_what_sampling_ends_at_is_as_noisy_as_was_asked() -> None:
    denoiser = make_denoiser()
    with torch.no_grad():  # it says that there is nothing but noise
        denoiser.output.weight.zero_()
        denoiser.output.bias.zero_()
    level = 0.6
    rows = sampled([8] * 200, batch_size=200, denoiser=denoiser, decode_at=level, sampling_timesteps=10)
    found = STATISTICS.normalise(torch.from_numpy(np.stack(rows)))
    alphas_cumprod = make_diffusion().alphas_cumprod
    reached = float((1 - alphas_cumprod).sqrt()[(1 - alphas_cumprod).sqrt() <= level].max())
    assert float(found.std()) == pytest.approx(reached, abs=0.01)


@pytest.mark.parametrize("decode_at", [0.0, 0.7])
def test_a_network_is_not_asked_about_noise_that_it_was_not_trained_on(decode_at: float) -> None:
    diffusion = GaussianDiffusion("cosine", TIMESTEPS, 9, "pred_x0", "l2", first_timestep=50)
    with pytest.raises(
        InputError, match=r"decode_at = 0(\.7)? is less noise than the denoiser was trained down to.*at least 0\.7\d+"
    ):
        replace(SETTINGS, decode_at=decode_at).steps(diffusion)
    allowed = float((1 - diffusion.alphas_cumprod[49]).sqrt()) + 1e-6
    assert min(step.t for step in replace(SETTINGS, decode_at=allowed, sampling_timesteps=50).steps(diffusion)) == 50


def test_noise_below_that_of_every_timestep_is_not_taken_for_x_start() -> None:
    diffusion = GaussianDiffusion("sqrt", TIMESTEPS, 9, "pred_x0", "l2")
    least = float((1 - diffusion.alphas_cumprod[0]).sqrt())
    settings = replace(SETTINGS, sampling_timesteps=5)
    with pytest.raises(InputError, match=rf"decode_at = 0\.1 is less noise than x_t has at t = 0: .* least {rounded_up(least)}"):
        replace(settings, decode_at=0.1).steps(diffusion)
    for decode_at in (0, least + 1e-6):
        assert len(replace(settings, decode_at=decode_at).steps(diffusion)) == 5


def test_more_steps_than_there_are_timesteps_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"sampling_timesteps = 99 is more than the \d+ timesteps above decode_at = 0\.5"):
        sampled(decode_at=0.5, sampling_timesteps=99)
