"""From latents to texts with the autoencoder's decoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm
from transformers import GenerationConfig, LogitsProcessorList
from transformers.modeling_outputs import BaseModelOutput

from annealed_lm.autoencoder.model import Autoencoder, normalise_vectors
from annealed_lm.common.devices import autocast
from annealed_lm.generation.nucleus import NucleusChoice, text_uniforms

STRATEGIES = ("greedy", "beam", "nucleus")


@dataclass(frozen=True)
class DecodingSettings:
    """The parameters of the stage sample_texts that decide how texts are decoded, under their names in params.yaml.

    Attributes:
        num_beams: of beam.
        top_p: of nucleus (Holtzman et al. 2020, arXiv 1904.09751).
        min_length, no_repeat_ngram_size, repetition_penalty: of every strategy, in tokens, as transformers defines them.
        mixed_precision: that the decoder computes in, a name in `PRECISIONS`.
    """

    num_beams: int
    top_p: float
    min_length: int
    no_repeat_ngram_size: int
    repetition_penalty: float
    mixed_precision: str = "no"


def generation_config(autoencoder: Autoencoder, strategy: str, settings: DecodingSettings) -> GenerationConfig:
    """Return the settings of transformers' generate for a decoding strategy.

    What is left open here, generate takes from the model's own settings, so all that decides how a text is written stands here;
    only forced first and last tokens are left to a pretrained model.
    """
    config = autoencoder.bart.config
    return GenerationConfig(
        do_sample=False,
        num_beams=settings.num_beams if strategy == "beam" else 1,
        max_length=autoencoder.settings.max_tokens,
        min_length=settings.min_length,
        no_repeat_ngram_size=settings.no_repeat_ngram_size,
        repetition_penalty=settings.repetition_penalty,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
        early_stopping=False,
        length_penalty=1.0,
        use_cache=True,
    )


@torch.inference_mode()
def decode_latents(
    autoencoder: Autoencoder,
    latents: Sequence[npt.NDArray[np.float32]],
    strategy: str,
    settings: DecodingSettings,
    seed: int,
    batch_size: int,
    level: float = 0.0,
) -> list[str]:
    """Decode every array [length, latent_dim] to a text, which depends on it and on (seed, i); an empty text keeps its place.

    Args:
        strategy: a name in `STRATEGIES`; only nucleus uses random numbers.
        level: of the noise on the latents, which the decoder is told; 0: they are clean, or nearly so, and it is not told.

    Raises:
        InputError: the autoencoder's device cannot compute in `settings.mixed_precision`.
    """
    device = autoencoder.bart.device
    bart: Any = autoencoder.bart  # generate is declared for a protocol that BART's own type does not meet
    config = generation_config(autoencoder, strategy, settings)
    order = sorted(range(len(latents)), key=lambda i: len(latents[i]))
    texts: dict[int, str] = {}
    for start in tqdm(range(0, len(order), batch_size), desc=f"decoding ({strategy})", disable=None):
        indices = order[start : start + batch_size]
        rows = [torch.from_numpy(latents[i]) for i in indices]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
        mask = torch.arange(padded.shape[1], device=device) < torch.tensor([len(row) for row in rows], device=device)[:, None]
        if level == 0 and autoencoder.normalised:  # back to where clean latents lie
            padded = normalise_vectors(padded)
        levels = torch.full((len(rows),), level, device=device) if level else None
        choice = LogitsProcessorList()
        if strategy == "nucleus":
            choice.append(NucleusChoice(settings.top_p, text_uniforms(indices, config.max_length, seed).to(device)))
        with autocast(device, settings.mixed_precision):
            ids = bart.generate(
                encoder_outputs=BaseModelOutput(last_hidden_state=autoencoder.memory(padded, mask, levels)),
                attention_mask=mask,
                generation_config=config,
                logits_processor=choice,
            )
        texts.update(zip(indices, autoencoder.tokenizer.batch_decode(ids, skip_special_tokens=True), strict=True))
    return [texts[i].strip() for i in range(len(latents))]
