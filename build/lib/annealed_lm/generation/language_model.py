"""A causal language model as judge: perplexity and the features of MAUVE; and texts of its own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from annealed_lm.common.errors import InputError
from annealed_lm.common.feature_sets import Features, features_of_sets, features_of_texts
from annealed_lm.common.files import atomic_path, write_json
from annealed_lm.common.model_description import ModelDescription, source_name, weights_sha256
from annealed_lm.common.padding import pad_ids
from annealed_lm.common.seeds import derive_seed
from annealed_lm.common.token_ids import token_ids
from annealed_lm.generation.nucleus import NucleusChoice, text_uniforms

JUDGE, BASELINE = "judge", "baseline"
"""Folders of the two language models that are trained here."""
FEATURES_MAX_TOKENS = 256
"""How many tokens of a text its features are computed from; the rest is cut, as the thesis does."""
FEATURES_BATCH_SIZE = 32
"""How many texts features are computed of at once, unless the caller says otherwise: it changes none beyond rounding."""


@dataclass(frozen=True)
class TextLikelihoods:
    """What a language model makes of n texts.

    Attributes:
        nll: negative log-likelihood of every text in nats, [n].
        tokens: number of tokens predicted in every text, [n]; 0 for a text without tokens, whose nll is 0.
    """

    nll: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int64]

    @property
    def perplexity(self) -> float | None:
        """Mean of the texts' perplexities: short and strange texts weigh as much as long ones.

        A text without tokens has no perplexity and is left out; None where no text has one. Infinite where it is too large a
        number.
        """
        real = self.tokens > 0
        with np.errstate(over="ignore"):
            return float(np.exp(self.nll[real] / self.tokens[real]).mean()) if real.any() else None

    @property
    def perplexity_corpus(self) -> float | None:
        """exp of the mean negative log-likelihood of a token; None where there is no token."""
        with np.errstate(over="ignore"):
            return float(np.exp(self.nll.sum() / self.tokens.sum())) if self.tokens.any() else None


class LanguageModel:
    """A causal model and its tokenizer.

    Perplexity is that of Hugging Face evaluate's metric `perplexity` with add_start_token: a text is its tokens given one start
    token (the tokenizer's own, <|endoftext|> of GPT-2; the end token where a tokenizer has no start). Its end is not scored, nor
    what lies beyond the model's positions.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path | None = None) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.folder = folder

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> "LanguageModel":
        """Read a causal model and its tokenizer, as transformers saves them, in evaluation mode and single precision.

        Raises:
            InputError: `folder` holds no model, or its tokenizer has no token to start a text with.
        """
        if not (folder / "config.json").exists():
            raise InputError(f"{folder} holds no language model (no config.json); the stage train_language_model writes it")
        tokenizer = AutoTokenizer.from_pretrained(folder)
        if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
            raise InputError(
                f"the tokenizer in {folder} has neither a start nor an end token: that model cannot score a first word"
            )
        model = AutoModelForCausalLM.from_pretrained(folder, device_map=device, dtype=torch.float32)
        return cls(model, tokenizer, folder)

    def save(self, folder: Path, report: Mapping[str, float | None]) -> None:
        """Write model and tokenizer as transformers does, and `report`, what is known of them, beside them."""
        with atomic_path(folder) as partial:
            self.model.save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)
            write_json(partial / "language_model.json", report)

    @cached_property
    def description(self) -> ModelDescription:
        """What this model is.

        Raises:
            ValueError: it was not loaded from a folder.
        """
        if self.folder is None:
            raise ValueError("only a language model that was loaded from a folder has a description")
        return ModelDescription(source_name(self.folder), weights_sha256(self.folder), self.dimension)

    @property
    def dimension(self) -> int:
        """Width of the last hidden state, and of the features."""
        return int(self.model.get_output_embeddings().weight.shape[1])

    @property
    def start_id(self) -> int:
        """The token that a text starts with. Padding is filled with it too: what is predicted there is never read."""
        start = self.tokenizer.bos_token_id
        return int(self.tokenizer.eos_token_id if start is None else start)

    @property
    def positions(self) -> int | None:
        """The most tokens that the model takes; None: no limit."""
        return getattr(self.model.config, "max_position_embeddings", None)

    def text_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of every text, without start and end."""
        return token_ids(self.tokenizer, texts, add_special_tokens=False, verbose=False)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the start token and the tokens of every text, cut to the model's positions."""
        return [[self.start_id, *row][: self.positions] for row in self.text_ids(texts)]

    def token_losses(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the cross-entropy of every token after the first, [batch, tokens - 1] in nats, 0 where padded.

        The model sees no attention mask: padding stands behind the text, where a causal model does not look.

        Args:
            ids, mask: [batch, tokens].
        """
        logits = self.model(input_ids=ids[:, :-1], use_cache=False).logits
        losses = cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none")
        return losses.view(len(ids), -1) * mask[:, 1:]

    def batches(
        self, rows: Sequence[Sequence[int]], numbers: Iterable[int], batch_size: int
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Yield batches of the rows that `numbers` name, those of like length together.

        A batch is the numbers of its rows, their token ids int64 [batch, tokens], and the mask [batch, tokens] (True: real).
        """
        order = sorted(numbers, key=lambda i: len(rows[i]))
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            ids, mask = pad_ids([rows[i] for i in batch], self.start_id)
            yield batch, ids.to(self.model.device), mask.to(self.model.device)

    @torch.inference_mode()
    def likelihoods(self, texts: Sequence[str], batch_size: int) -> TextLikelihoods:
        """Score every text by itself: neither the batch nor its padding changes a score beyond rounding."""
        rows = self.token_ids(texts)
        tokens = np.array([len(row) - 1 for row in rows], dtype=np.int64)
        nll = np.zeros(len(rows))
        for batch, ids, mask in self.batches(rows, np.flatnonzero(tokens).tolist(), batch_size):
            nll[batch] = self.token_losses(ids, mask).double().sum(1).cpu().numpy()
        return TextLikelihoods(nll, tokens)

    @torch.inference_mode()
    def last_states(self, texts: Sequence[str], batch_size: int, max_tokens: int) -> Features:
        """Return the last hidden state at the last token of every text, cut to `max_tokens`, float32 [n, d]."""
        start = [self.start_id]
        # As the package mauve-text, which lets the tokenizer decide: GPT-2's puts no start before a text, those trained here do.
        before = start if self.tokenizer("")["input_ids"][:1] == start else []
        limit = min(max_tokens, self.positions or max_tokens)
        rows = [[*before, *row][:limit] or start for row in self.text_ids(texts)]
        states = np.zeros((len(rows), self.dimension), dtype=np.float32)
        for batch, ids, mask in self.batches(rows, range(len(rows)), batch_size):
            hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            states[batch] = hidden[torch.arange(len(ids), device=hidden.device), mask.sum(1) - 1].float().cpu().numpy()
        return states

    def features(self, texts: Sequence[str], batch_size: int, max_tokens: int = FEATURES_MAX_TOKENS) -> Features:
        """Return the features of MAUVE (Pillutla et al. 2021, arXiv 2102.01454), [n, d].

        They are the last hidden state, after the final norm, at the last token of the text cut to `max_tokens` and to the model's
        positions; an empty text is its start token alone. A text that comes again has exactly the same features.
        """
        return features_of_texts(texts, lambda distinct: self.last_states(distinct, batch_size, max_tokens))

    def features_of_sets(
        self, sets: Mapping[str, Sequence[str]], batch_size: int = FEATURES_BATCH_SIZE, max_tokens: int = FEATURES_MAX_TOKENS
    ) -> dict[str, Features]:
        """Return the `features` of several sets, by name; a text that several of them share is computed once."""
        return features_of_sets(sets, lambda distinct: self.last_states(distinct, batch_size, max_tokens))

    @torch.inference_mode()
    def sample(self, count: int, top_p: float, max_tokens: int, seed: int, batch_size: int) -> list[str]:
        """Return `count` texts that the model writes itself, from its start token to its end token.

        They are written by nucleus sampling (Holtzman et al. 2020, arXiv 1904.09751).

        Args:
            max_tokens: of a text, start and end included; at most the model's positions.
            seed: text i depends on (seed, i) only.
        """
        length = min(max_tokens, self.positions or max_tokens)
        config = GenerationConfig(
            do_sample=False,  # the choice is made in NucleusChoice
            num_beams=1,
            max_length=length,
            min_length=0,
            no_repeat_ngram_size=0,
            repetition_penalty=1.0,
            bos_token_id=self.start_id,
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.start_id,
        )
        model: Any = self.model  # generate is declared for a protocol that models do not meet
        texts: list[str] = []
        for first in range(0, count, batch_size):
            indices = range(first, min(first + batch_size, count))
            uniforms = text_uniforms(indices, length, derive_seed(seed, "language_model")).to(model.device)
            start = torch.full((len(indices), 1), self.start_id, device=model.device)
            ids = model.generate(
                start,
                attention_mask=torch.ones_like(start),
                generation_config=config,
                logits_processor=LogitsProcessorList([NucleusChoice(top_p, uniforms)]),
            )
            texts += [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]
        return texts
