"""Training the autoencoder, so that its decoder reads noisy latents and does not write from habit.

Noise on the latents makes the decoder robust to what the diffusion gets wrong, and lets it take over from latents that are still
noisy. Dropping its own inputs makes it read the latents: a decoder that sees every word before the next is a language model, and
writes fluently from noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.autoencoder.noising import NOISE_LEVELS, NOT_TOLD
from annealed_lm.common.padding import pad_ids
from annealed_lm.training.batching import BatchOrder
from annealed_lm.training.checkpoints import CheckpointStore
from annealed_lm.training.loop import LoopSettings, numbered, run_steps
from annealed_lm.training.optimizers import OptimizerSettings, make_schedulers, muon

LATENT_NOISE_RAMP = 0.25
"""Share of training over which the noise on the latents grows to its full level."""
WITHHELD_LEVELS = 0.5
"""Share of texts whose noise level the decoder is not told: it then reads x_start of the diffusion, whose errors are unknown."""
CHECKPOINT_EVERY: int | str = "30s"
SHOW_EVERY = 20


@dataclass(frozen=True)
class AutoencoderTraining:
    """The parameters of the stage train_autoencoder that its training reads, under their names in params.yaml.

    Attributes:
        latent_noise: the highest noise level.
        latent_noise_levels: a name in `NOISE_LEVELS`: how levels are drawn below it.
        full_noise_share: share of texts of which the decoder gets noise alone, so that it learns to write without latents.
    """

    seed: int
    token_dropout: float
    latent_noise: float
    latent_noise_levels: str
    full_noise_share: float
    num_train_steps: int
    batch_size: int
    learning_rate: float
    lr_warmup_steps: int
    weight_decay: float


def draw_levels(count: int, training: AutoencoderTraining, ramp: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Draw the noise levels of a batch, and what the decoder is told of them, both [count].

    Args:
        ramp: share of `latent_noise` that has been reached, in (0, 1].
    """
    drawn = ramp * training.latent_noise * NOISE_LEVELS[training.latent_noise_levels](torch.rand(count, device=device))
    levels = drawn.masked_fill(torch.rand(count, device=device) < training.full_noise_share, 1.0)
    return levels, levels.masked_fill(torch.rand(count, device=device) < WITHHELD_LEVELS, NOT_TOLD)


def decoder_inputs(autoencoder: Autoencoder, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the decoder's inputs and labels, both [batch, tokens]: it starts with the token that its BART starts with."""
    start = autoencoder.bart.config.decoder_start_token_id
    assert start is not None  # every BART has one
    if start == autoencoder.tokenizer.bos_token_id:  # <s> is the start: it need not be written
        return ids[:, :-1], ids[:, 1:]
    return torch.cat([torch.full_like(ids[:, :1], start), ids[:, :-1]], dim=1), ids


def drop_tokens(autoencoder: Autoencoder, inputs: Tensor, share: float) -> Tensor:
    """Replace `share` of the inputs by <unk>, but never the first one, which only says where to begin."""
    dropped = torch.rand(inputs.shape, device=inputs.device) < share
    dropped[:, 0] = False
    return inputs.masked_fill(dropped, autoencoder.tokenizer.unk_token_id)


def reconstruction_loss(
    autoencoder: Autoencoder, ids: Tensor, mask: Tensor, token_dropout: float, levels: Tensor, told: Tensor
) -> Tensor:
    """Return the cross-entropy of the texts' tokens given their noisy latents, a mean over real tokens.

    Args:
        levels, told: noise levels of the latents, and what the decoder is told of them, both [batch].
    """
    assert autoencoder.reader is not None  # it is what reads noisy latents
    latents, latent_mask = autoencoder.encode(ids, mask)
    noising = autoencoder.reader.noising
    if noising.training:
        noising.observe(latents, latent_mask)
    inputs, labels = decoder_inputs(autoencoder, ids)
    inputs = drop_tokens(autoencoder, inputs, token_dropout)
    logits = autoencoder.logits(noising(latents, levels), latent_mask, inputs, told)
    labels = labels.masked_fill(labels == autoencoder.tokenizer.pad_token_id, -100)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def train_autoencoder(
    autoencoder: Autoencoder,
    token_ids: Sequence[Sequence[int]],
    training: AutoencoderTraining,
    store: CheckpointStore,
    device: torch.device,
) -> None:
    """Train in place whatever of the autoencoder is not frozen, on texts given as token ids.

    Raises:
        InputError: the training diverges or is stopped (`run_steps`).
    """
    learner = autoencoder.to(device).eval().learner()
    learner.train()  # a frozen BART keeps its own dropout off
    optimizers = muon(learner, OptimizerSettings(training.learning_rate, (0.9, 0.98), training.weight_decay))
    schedulers = make_schedulers(optimizers, "cosine", training.lr_warmup_steps, training.num_train_steps)
    order = BatchOrder([len(row) for row in token_ids], training.batch_size, training.seed)

    def train_step(step: int) -> dict[str, float | Tensor] | None:
        ids, mask = pad_ids([token_ids[row] for row in order.batch(step)], autoencoder.tokenizer.pad_token_id)
        ramp = min(1.0, (step + 1) / (LATENT_NOISE_RAMP * training.num_train_steps))
        levels, told = draw_levels(len(ids), training, ramp, device)
        loss = reconstruction_loss(autoencoder, ids.to(device), mask.to(device), training.token_dropout, levels, told)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0, foreach=True)
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
        return {"loss": loss.detach(), "learning_rate": schedulers[-1].get_last_lr()[0]} if step % SHOW_EVERY == 0 else None

    settings = LoopSettings(training.num_train_steps, training.seed, CHECKPOINT_EVERY, "autoencoder")
    state = {"learner": learner} | numbered("optimizer", optimizers) | numbered("scheduler", schedulers)
    run_steps(settings, train_step, state, {}, store)
    autoencoder.eval()
