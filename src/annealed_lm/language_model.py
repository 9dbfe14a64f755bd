"""How well a causal language model foresees texts: perplexity. Any GPT-2-like model, through the same code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from annealed_lm.errors import InputError
from annealed_lm.files import atomic_path, write_json
from annealed_lm.padding import pad_ids


@dataclass(frozen=True)
class TextLikelihoods:
    """What a language model makes of n texts.

    Attributes:
        nll: negative log-likelihood of each text in nats, [n].
        tokens: number of tokens predicted in each text, its end included, [n], so at least 1.
    """

    nll: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int64]

    @property
    def perplexity(self) -> float:
        """Mean over texts of each text's perplexity: short and strange texts weigh as much as long ones."""
        return float(np.exp(self.nll / self.tokens).mean())

    @property
    def perplexity_corpus(self) -> float:
        """exp of the mean negative log-likelihood of a token."""
        return float(np.exp(self.nll.sum() / self.tokens.sum()))


class LanguageModel:
    """A causal model and its tokenizer.

    A text is scored as its tokens and an end, given a start (<s>, or the end token where a tokenizer has no start, as GPT-2's),
    so that the empty text has a score too. What lies beyond the model's positions is not scored, the end then included.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model
        self.tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> "LanguageModel":
        """Read the folder of a causal model and its tokenizer, as transformers saves them, in evaluation mode.

        Raises:
            InputError: `folder` holds no model.
        """
        if not (folder / "config.json").exists():
            raise InputError(f"{folder} holds no language model (no config.json); the stage train_language_model writes it")
        return cls(AutoModelForCausalLM.from_pretrained(folder, device_map=device), AutoTokenizer.from_pretrained(folder))

    def save(self, folder: Path, report: Mapping[str, float]) -> None:
        """Write model and tokenizer as transformers does, and `report`, what is known of them, beside them."""
        with atomic_path(folder) as partial:
            self.model.save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)
            write_json(partial / "language_model.json", report)

    @property
    def pad_id(self) -> int:
        """Any token would do: what is predicted at and after padding is never read."""
        ids = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id)
        return int(next(number for number in ids if number is not None))

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Start, tokens, end of each text, cut to the model's positions."""
        tokenizer = self.tokenizer
        end = tokenizer.eos_token_id
        start = end if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        rows = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return [[start, *row, end][: self.model.config.max_position_embeddings] for row in rows]

    def token_losses(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Cross-entropy of each token after the first, [batch, tokens - 1] in nats, 0 where padded.

        The model sees no attention mask: padding stands behind the text, where a causal model does not look.
        """
        logits = self.model(input_ids=ids[:, :-1], use_cache=False).logits
        losses = cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none")
        return losses.view(len(ids), -1) * mask[:, 1:]

    @torch.inference_mode()
    def likelihoods(self, texts: Sequence[str], batch_size: int) -> TextLikelihoods:
        """Score `texts`, each by itself: neither the batch nor its padding changes a score beyond rounding."""
        rows = self.token_ids(texts)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        nll = np.zeros(len(rows))
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            ids, mask = (part.to(self.model.device) for part in pad_ids([rows[i] for i in batch], self.pad_id))
            nll[batch] = self.token_losses(ids, mask).double().sum(1).cpu().numpy()
        return TextLikelihoods(nll, np.array([len(row) - 1 for row in rows], dtype=np.int64))
