"""Which metrics of a set of texts have an interval by resampling, and which one."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from annealed_lm.common.files import LATENT_AGREEMENT
from annealed_lm.evaluation.bootstrap import (
    Interval,
    Replicates,
    centred_interval,
    diversity_replicates,
    positive_interval,
    ratio_replicates,
    resample_weights,
    share_interval,
)
from annealed_lm.evaluation.ngrams import TokenisedTexts
from annealed_lm.evaluation.references import References
from annealed_lm.generation.language_model import TextLikelihoods

INTERVALS: dict[str, Callable[[Replicates], Interval]] = {
    "perplexity": positive_interval,
    "perplexity_corpus": positive_interval,
    "diversity": centred_interval,
    "memorization": share_interval,
    LATENT_AGREEMENT: partial(centred_interval, least=-1.0),  # a cosine
}
"""By metric: its interval."""


def text_replicates(
    likelihoods: TextLikelihoods, texts: TokenisedTexts, references: References, seed: int
) -> dict[str, Replicates]:
    """Return replicates of the metrics that words and likelihoods tell, by name, all of the same draws."""
    count = len(texts.texts)
    weights = resample_weights(count, references.settings.bootstrap_samples, seed)
    judged = likelihoods.tokens > 0
    perplexities = np.exp(likelihoods.nll / np.maximum(likelihoods.tokens, 1)) * judged
    fourgrams, text_of_fourgram = texts.ngrams(4)
    seen = text_of_fourgram[np.isin(fourgrams, references.training.fourgrams)]
    return {
        "perplexity": ratio_replicates(weights, perplexities, judged),
        "perplexity_corpus": ratio_replicates(weights, likelihoods.nll, likelihoods.tokens).exp(),
        "diversity": diversity_replicates(weights, texts),
        "memorization": ratio_replicates(
            weights, np.bincount(seen, minlength=count), np.bincount(text_of_fourgram, minlength=count)
        ),
    }


def agreement_replicates(agreement: Sequence[float], references: References, seed: int) -> Replicates:
    """Return replicates of the mean agreement of texts with their latents."""
    weights = resample_weights(len(agreement), references.settings.bootstrap_samples, seed)
    return ratio_replicates(weights, np.asarray(agreement), np.ones(len(agreement)))
