"""Training a small GPT-2 on the training texts: a baseline, and the judge of perplexity where no large one is at hand."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerBase, get_cosine_schedule_with_warmup

from annealed_lm.common.padding import pad_ids
from annealed_lm.common.seeds import derive_seed
from annealed_lm.generation.language_model import LanguageModel
from annealed_lm.training.batching import BatchOrder
from annealed_lm.training.checkpoints import CheckpointStore
from annealed_lm.training.loop import LoopSettings, run_steps

WARMUP_SHARE = 0.1
"""Share of training over which the learning rate rises."""
CHECKPOINT_EVERY: int | str = "30s"


@dataclass(frozen=True)
class LanguageModelTraining:
    """The parameters of the stage train_language_model that its training reads, under their names in params.yaml."""

    seed: int
    num_train_steps: int
    batch_size: int
    learning_rate: float


def small_gpt2(
    tokenizer: PreTrainedTokenizerBase, d_model: int, layers: int, heads: int, max_tokens: int, seed: int
) -> LanguageModel:
    """Return an untrained GPT-2 (Radford et al. 2019) without dropout.

    It is made for the vocabulary of `tokenizer` and has `max_tokens` positions; its weights are drawn by `seed`.
    """
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=max_tokens,
        n_embd=d_model,
        n_layer=layers,
        n_head=heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(derive_seed(seed, "weights"))
    return LanguageModel(GPT2LMHeadModel(config), tokenizer)


def train_language_model(
    language_model: LanguageModel,
    texts: Sequence[str],
    training: LanguageModelTraining,
    store: CheckpointStore,
    device: torch.device,
) -> None:
    """Train in place on `texts` and their ends; the loss is a mean over the real tokens of a batch.

    Raises:
        InputError: the training diverges or is stopped (`run_steps`).
    """
    model: nn.Module = language_model.model
    model.to(device).train()
    # The end is not scored, but must be learned: it is where a sampled text stops.
    end = language_model.tokenizer.eos_token_id
    token_ids = [[*row, end][: language_model.positions] for row in language_model.token_ids(texts)]
    optimizer = torch.optim.AdamW(model.parameters(), training.learning_rate, (0.9, 0.98), weight_decay=0.01, fused=True)
    warmup_steps = round(WARMUP_SHARE * training.num_train_steps)
    scheduler = get_cosine_schedule_with_warmup(optimizer, warmup_steps, training.num_train_steps)
    order = BatchOrder([len(row) for row in token_ids], training.batch_size, training.seed)

    def train_step(step: int) -> dict[str, float | Tensor] | None:
        rows = [token_ids[row] for row in order.batch(step)]
        ids, mask = (part.to(device) for part in pad_ids(rows, language_model.start_id))
        loss = language_model.token_losses(ids, mask).sum() / mask[:, 1:].sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        scheduler.step()
        return {"loss": loss.detach(), "lr": scheduler.get_last_lr()[0]} if step % 20 == 0 else None

    settings = LoopSettings(training.num_train_steps, training.seed, CHECKPOINT_EVERY, "language model")
    run_steps(settings, train_step, {"model": model, "optimizer": optimizer, "scheduler": scheduler}, {}, store)
    model.eval()
