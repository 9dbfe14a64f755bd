"""The diffusion process: noising, the three objectives and what they say of x_start, the loss. It takes t and the network as
arguments; it knows nothing of training steps or annealing.

Notation of Ho et al. 2020 (arXiv 2006.11239): x_t = sqrt(alphas_cumprod[t]) x_start + sqrt(1 - alphas_cumprod[t]) noise. t is
int64 [batch], 0 meaning one step of noise; x_* and noise are [batch, length, width]; mask is [batch, length], True: real.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from annealed_lm.diffusion.noise_schedules import NOISE_SCHEDULES

Denoiser = Callable[[Tensor, Tensor, Tensor, Tensor | None, Tensor | None], Tensor]
"""(x_t, noise level [batch], mask, self_cond or None, class_id [batch] or None) -> its output, [batch, length, width]."""

LOSSES: dict[str, Callable[..., Tensor]] = {"l1": F.l1_loss, "l2": F.mse_loss, "smooth_l1": F.smooth_l1_loss}
"""By value of loss_type."""

LARGEST_LATENT = 3.0
"""Root mean square of the largest vector that a noise may say of x_start, in those of all latents: nine times their mean energy.

From noise, x_start is found by a division by the signal, of which little is left at high noise: by 5e-5 at the last of a thousand
timesteps of the noise schedule cosine, where an error of .1 in the noise is one of 2,000 in x_start. Images are clipped to their
range (Ho et al. 2020) or shrunk into it (Saharia et al. 2022, Imagen, arXiv 2205.11487, section 2.3). A latent has no range, but
it has a length; whether that is bound at 1 or at 5 hardly matters.
"""


@dataclass(frozen=True)
class Prediction:
    """What one evaluation of the network says, both [batch, length, width]."""

    x_start: Tensor
    noise: Tensor


class GaussianDiffusion:
    """A noise schedule and an objective.

    Args:
        noise_schedule: a name in `NOISE_SCHEDULES`.
        timesteps: T.
        tan_d: d of the noise schedule tan.
        objective: "pred_x0", "pred_noise" or "pred_v" (Salimans & Ho 2022, arXiv 2202.00512): what the network outputs.
        loss_type: a name in `LOSSES`.
        device: where the batches are.
        latent_rms: root mean square of the latents, a mean over all their dimensions: 1 if they are normalised.
        first_timestep: the lowest that the network is trained on.
    """

    def __init__(
        self,
        noise_schedule: str,
        timesteps: int,
        tan_d: float,
        objective: str,
        loss_type: str,
        device: torch.device | str = "cpu",
        latent_rms: float = 1.0,
        first_timestep: int = 0,
    ) -> None:
        self.timesteps = timesteps
        self.first_timestep = first_timestep
        self.objective = objective
        self.loss_function = LOSSES[loss_type]
        self.largest_rms = LARGEST_LATENT * latent_rms
        self.alphas_cumprod = torch.from_numpy(NOISE_SCHEDULES[noise_schedule](timesteps, tan_d)).to(device)

    def signal_and_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return sqrt(alphas_cumprod[t]) and sqrt(1 - alphas_cumprod[t]), float32 [batch, 1, 1]."""
        alpha_cumprod = self.alphas_cumprod[t][:, None, None]
        return alpha_cumprod.sqrt().float(), (1 - alpha_cumprod).sqrt().float()

    def q_sample(self, x_start: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Return x_t, given x_start and noise (equation 4)."""
        signal, noise_scale = self.signal_and_noise(t)
        return signal * x_start + noise_scale * noise

    def target(self, x_start: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Return what the network should output, [batch, length, width]."""
        if self.objective == "pred_x0":
            return x_start
        if self.objective == "pred_noise":
            return noise
        signal, noise_scale = self.signal_and_noise(t)
        return signal * noise - noise_scale * x_start

    def interpret(self, output: Tensor, x_t: Tensor, t: Tensor) -> Prediction:
        """Return the x_start and the noise that the network's output means; both together make up x_t."""
        signal, noise_scale = self.signal_and_noise(t)
        if self.objective == "pred_noise":
            unbound = (x_t - noise_scale * output) / signal
            x_start = torch.where(signal < noise_scale, self.shortened(unbound), unbound)  # else the division enlarges no error
            return Prediction(x_start, output + signal / noise_scale * (unbound - x_start))
        x_start = output if self.objective == "pred_x0" else signal * x_t - noise_scale * output
        return Prediction(x_start, (x_t - signal * x_start) / noise_scale)

    def shortened(self, x_start: Tensor) -> Tensor:
        """Return `x_start` with every vector that is longer than a latent may be brought to the longest there may be."""
        rms = x_start.square().mean(-1, keepdim=True).sqrt()
        return x_start * (self.largest_rms / rms.clamp(min=self.largest_rms))

    def predict(
        self,
        denoiser: Denoiser,
        x_t: Tensor,
        t: Tensor,
        mask: Tensor,
        self_cond: Tensor | None,
        class_id: Tensor | None,
    ) -> Prediction:
        """Evaluate the network and interpret its output."""
        return self.interpret(denoiser(x_t, self.noise_level(t), mask, self_cond, class_id).float(), x_t, t)

    def noise_level(self, t: Tensor) -> Tensor:
        """Return (t + 1) / T in (0, 1], float32 [batch]: what the network learns of t."""
        return (t.float() + 1) / self.timesteps

    def losses(
        self,
        denoiser: Denoiser,
        x_start: Tensor,
        t: Tensor,
        noise: Tensor,
        mask: Tensor,
        self_cond_rows: Tensor,
        class_id: Tensor | None,
    ) -> Tensor:
        """Return the loss of every text, [batch]: the mean over its real positions and their channels.

        Args:
            self_cond_rows: int64 [rows], which texts are first denoised without gradient and conditioned on the result (Chen et
                al. 2023, Analog Bits, arXiv 2208.04202, algorithm 1). Numbers and no mask: how many they are is then known
                without waiting for the device.
            class_id: the class of every text in both evaluations, int64 [batch]; None: no text has a class.
        """
        x_t = self.q_sample(x_start, t, noise)
        self_cond = torch.zeros_like(x_start)
        if len(rows := self_cond_rows):
            with torch.no_grad():
                classes = None if class_id is None else class_id[rows]
                self_cond[rows] = self.predict(denoiser, x_t[rows], t[rows], mask[rows], None, classes).x_start
        output = denoiser(x_t, self.noise_level(t), mask, self_cond, class_id).float()
        loss = self.loss_function(output, self.target(x_start, t, noise), reduction="none").mean(-1)
        return (loss * mask).sum(1) / mask.sum(1)
