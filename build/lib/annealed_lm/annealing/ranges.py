"""Ranges of timesteps that grow with the training step.

`T_schedule: linear` and the other shapes of `t_schedules.T_SCHEDULES` draw from the low noise up, as the thesis does. `reverse`
draws from the high noise down.
"""

from collections import Counter

import numpy as np

from annealed_lm.annealing.settings import HIGHEST_LOG_SNR, Array, ScheduleSettings, Unobserving, share_of_way

ROUNDING = 1e-12


class GrowingRange(Unobserving):
    """A uniform distribution over a range of timesteps that starts at one end of [0, T) and grows.

    Its size is T_now of the T schedule. With `range_in: log_snr` it is the number of timesteps within the same share of the way
    along log-SNR, so that one T_schedule means the same noise under every noise schedule: from 10 to -10, or from where
    range_start lies.

    Args:
        T_schedule: a name in `t_schedules.T_SCHEDULES`.
        from_noise: whether the range is {T - size, ..., T - 1}, and not {0, ..., size - 1}.
    """

    def __init__(self, settings: ScheduleSettings, T_schedule: str, from_noise: bool) -> None:
        self.diffusion_range = settings.diffusion_range(T_schedule)
        self.from_noise = from_noise
        self.way: Array | None = None
        """The share of the way along log-SNR, from the range's first end on, that lies before t, [timesteps], never falling.
        None: count t."""
        if settings.range_in == "log_snr":
            log_snr = settings.log_snr()
            highest = min(float(log_snr[0]), HIGHEST_LOG_SNR) if settings.first_timestep else HIGHEST_LOG_SNR
            level = share_of_way(log_snr, highest)
            self.way = 1 - level[::-1] if from_noise else level

    def size(self, step: int) -> int:
        """Return how many timesteps the range holds, in [1, T]."""
        if self.way is None:
            return self.diffusion_range.max_timestep(step)
        return max(int(np.searchsorted(self.way, self.diffusion_range.share(step) + ROUNDING, side="right")), 1)

    def density(self, step: int) -> Array:
        """Return the probability of every t at `step`, [timesteps]."""
        return self.density_of(self.size(step))

    def density_of(self, size: int) -> Array:
        """Return the density of a range of `size` timesteps, [timesteps]."""
        density = np.zeros(self.diffusion_range.timesteps)
        density[:size] = 1 / size
        return density[::-1].copy() if self.from_noise else density

    def weights(self, step: int) -> Array | None:
        """Return None: the loss is not weighted."""
        return None

    def average(self) -> Array:
        """Return the mean of the densities of all steps, [timesteps]."""
        steps = self.diffusion_range.total_steps
        average = np.zeros(self.diffusion_range.timesteps)
        for size, count in self.steps_by_size().items():
            average[:size] += count / steps / size
        return average[::-1].copy() if self.from_noise else average

    def steps_by_size(self) -> Counter[int]:
        """Count the steps of every size, by bisection: a range never shrinks, so steps between two of one size have it too."""
        last = self.diffusion_range.total_steps - 1
        counts = Counter([self.size(0)])
        between = [(0, self.size(0), last, self.size(last))]
        while between:
            first, size, last, last_size = between.pop()  # counts the steps after the first up to the last
            if size == last_size or last - first == 1:
                counts[last_size] += last - first
            else:
                middle = (first + last) // 2
                middle_size = self.size(middle)
                between += [(first, size, middle, middle_size), (middle, middle_size, last, last_size)]
        return counts


def reverse(settings: ScheduleSettings) -> GrowingRange:
    """Draw from the high noise down: t in {T - T_now, ..., T - 1}, T_now of the T schedule `base_schedule`.

    Kim et al. 2025 (Denoising Task Difficulty-based Curriculum, arXiv 2403.10348) go this way, in N stages that each end when
    the loss stops falling, because the tasks of low noise are the slowest to converge. Here `base_schedule: unsmooth` has stages,
    of fixed length.
    """
    return GrowingRange(settings, settings.base_schedule, from_noise=True)
