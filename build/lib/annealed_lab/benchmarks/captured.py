"""Training steps whose losses and gradients are one CUDA graph for every shape of batch: the CPU starts one thing, not thousands.

A graph is what the device did for the first batch of a shape, to be done again on what stands in the same memory by then. So a
step writes its inputs there, replays, and updates the weights as ever, by few kernels. Batches are padded to a multiple of
`LENGTHS` so that there are few shapes. On a CPU there are no graphs: the same work is done again on the same memory.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from annealed_lm.trainers.denoiser import DiffusionTrainer

LENGTHS = 8
"""Attention with a mask reads rows of 16 bytes, which is so many numbers in half precision."""
WARM_UP = 3
"""Times that work is done before it is captured: what is made at first use is no part of a graph."""


class Buffers(NamedTuple):
    """The memory that a graph reads, as `GaussianDiffusion.losses` takes it, and the weights of the losses."""

    x_start: Tensor
    t: Tensor
    noise: Tensor
    mask: Tensor
    self_cond_rows: Tensor
    weights: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """The length of the texts, and how many of them are self-conditioned."""
        return self.x_start.shape[1], len(self.self_cond_rows)


class CapturedLosses:
    """Losses and gradients of the batches of one shape.

    Args:
        example: of such a batch.
    """

    def __init__(self, trainer: DiffusionTrainer, example: Buffers) -> None:
        self.trainer = trainer
        self.buffers = Buffers(*(value.clone() for value in example))
        self.parameters = list(trainer.denoiser.parameters())
        self.gradients: list[Tensor | None] = []
        self.loss = example.x_start.new_zeros(())
        self.replay = captured(self.compute, trainer.accelerator.device)

    def compute(self) -> None:
        """Compute the loss of what stands in the buffers, and its gradients."""
        for parameter in self.parameters:
            parameter.grad = None  # so that a graph writes gradients to memory of its own and adds to none
        x_start, t, noise, mask, rows, weights = self.buffers
        losses = self.trainer.diffusion.losses(self.trainer.network, x_start, t, noise, mask, rows, None)
        loss = (losses * weights).sum() / len(weights)
        self.trainer.accelerator.backward(loss)
        self.loss = loss.detach()
        self.gradients = [parameter.grad for parameter in self.parameters]

    def run(self, inputs: Buffers) -> Tensor:
        """Leave the gradients of a batch with the parameters and return its loss."""
        for buffer, value in zip(self.buffers, inputs, strict=True):
            buffer.copy_(value, non_blocking=True)
        self.replay()
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        return self.loss.clone()  # the next batch of this shape writes over it


def captured(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Return what does `work` again: as a CUDA graph, or on a CPU by itself."""
    if device.type == "cpu":
        return work
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


class CapturedSteps:
    """The steps of a training by one process on unlabelled texts, in single precision or bf16."""

    def __init__(self, trainer: DiffusionTrainer) -> None:
        self.trainer = trainer
        self.by_shape: dict[tuple[int, int], CapturedLosses] = {}

    def inputs(self, step: int) -> Buffers:
        """Return what the losses of `step` are computed from."""
        x_start, mask, draws, _ = self.trainer.inputs(step)
        rows = draws.self_conditioned.nonzero()[:, 0].to(x_start.device, non_blocking=True)
        weights = torch.ones(len(draws.t), device=x_start.device) if draws.weights is None else draws.weights
        return Buffers(x_start, draws.t, draws.noise, mask, rows, weights)

    def train_step(self, step: int) -> Tensor:
        """Take one optimizer step on the batch of `step` and return its loss, a scalar on the device."""
        inputs = self.inputs(step)
        if inputs.shape not in self.by_shape:
            self.by_shape[inputs.shape] = CapturedLosses(self.trainer, inputs)
        loss = self.by_shape[inputs.shape].run(inputs)
        self.trainer.updates.update(step)
        return loss


def rounded_up(length: int, longest: int) -> int:
    """Return the next multiple of `LENGTHS`, or the longest there may be."""
    return min(-(-length // LENGTHS) * LENGTHS, longest)


def with_few_lengths(trainer: DiffusionTrainer) -> None:
    """Let `trainer` pad its batches to multiples of `LENGTHS`."""
    needed, longest = trainer.padded_length, trainer.denoiser.settings.max_length

    def padded_length(texts: npt.NDArray[np.int64]) -> int:
        return rounded_up(needed(texts), longest)

    trainer.padded_length = padded_length  # type: ignore[method-assign]


def with_captured_steps(trainer: DiffusionTrainer) -> None:
    """Let `trainer` capture every step's losses and gradients."""
    with_few_lengths(trainer)
    trainer.train_step = CapturedSteps(trainer).train_step  # type: ignore[method-assign]
