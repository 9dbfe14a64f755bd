"""The pipeline's metrics behind the interface of Hugging Face evaluate: compute, add_batch, combine.

An instance is built with the model that it needs, loads nothing by name, reaches for no network and writes nothing that
stays: texts are kept in memory, so HF_HOME need not exist. The numbers are those of the pipeline's plain functions.

Importing this module takes seconds, for evaluate does; no stage imports it.
"""

from collections.abc import Sequence
from itertools import zip_longest
from tempfile import TemporaryDirectory
from typing import Any

import datasets  # type: ignore[import-untyped]
import evaluate  # type: ignore[import-untyped]
import numpy as np

from annealed_lm.common.errors import InputError
from annealed_lm.common.feature_sets import Features
from annealed_lm.common.seeds import derive_seed
from annealed_lm.evaluation import text_metrics
from annealed_lm.evaluation.features import FeatureModel
from annealed_lm.evaluation.mauve_metric import SMALLEST_SET, mauve_buckets, mauve_score
from annealed_lm.evaluation.ngrams import TrainingNgrams, tokenise
from annealed_lm.generation.language_model import LanguageModel

PREDICTIONS = "Args:\n    predictions: list of str, the texts under test.\n"


def text_columns(*names: str) -> datasets.Features:
    return datasets.Features({name: datasets.Value("string") for name in names})


def shuffled_halves(union: Features, seed: int) -> tuple[Features, Features]:
    """Return the rows of `union` [2 n, d] in random order, cut into two halves [n, d]: two draws from one distribution."""
    order = np.random.default_rng(derive_seed("shuffled_union", seed)).permutation(len(union))
    first, second = np.split(union[order], 2)
    return first, second


class TextMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
    """A metric of texts that leaves no file behind."""

    def __init__(self) -> None:
        # evaluate makes its folder at once, wherever HF_HOME is, and does not use it while it keeps texts in memory.
        with TemporaryDirectory() as folder:
            super().__init__(keep_in_memory=True, cache_dir=folder)


class Perplexity(TextMetric):
    """Perplexity under a causal language model.

    Args:
        batch_size: texts the model sees at once; it changes no score beyond rounding.
    """

    def __init__(self, language_model: LanguageModel, batch_size: int = 32) -> None:
        self.language_model = language_model
        self.batch_size = batch_size
        super().__init__()

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="How well a causal language model foresees the tokens of each text, given a start.",
            citation="""@article{jelinek1977perplexity,
  title = {Perplexity: a measure of the difficulty of speech recognition tasks},
  author = {Jelinek, Fred and Mercer, Robert L. and Bahl, Lalit R. and Baker, James K.},
  journal = {The Journal of the Acoustical Society of America}, volume = {62}, number = {S1}, pages = {S63}, year = {1977}
}""",
            inputs_description=PREDICTIONS
            + """Returns:
    perplexity: mean over texts of each text's perplexity; None where no text has a token.
    perplexity_corpus: exp of the mean negative log-likelihood of a token; None where there is none.
    perplexity_settings: the language model's name and sha256.
""",
            features=text_columns("predictions"),
        )

    def _compute(self, predictions: Sequence[str]) -> dict[str, Any]:
        likelihoods = self.language_model.likelihoods(predictions, self.batch_size)
        description = self.language_model.description
        return {
            "perplexity": likelihoods.perplexity,
            "perplexity_corpus": likelihoods.perplexity_corpus,
            "perplexity_settings": {"model": description.name, "sha256": description.sha256},
        }


class Mauve(TextMetric):
    """MAUVE(p = predictions, q = references) on a model's features of each text, with its control.

    Args:
        model: gives the features.
        scaling: the scaling factor c of the divergence curve; the larger, the lower the score.
        seeds: k-means clusterings over which the score is averaged.
        union_seed: of the control's shuffling.
        batch_size: texts a language model sees at once.
    """

    def __init__(
        self, model: FeatureModel | LanguageModel, scaling: float, seeds: int, union_seed: int = 0, batch_size: int = 32
    ) -> None:
        self.model = model
        self.scaling = scaling
        self.seeds = seeds
        self.union_seed = union_seed
        self.batch_size = batch_size
        super().__init__()

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="How near the distribution of the predictions is to that of the references. It is not symmetric, it "
            "depends on their number, and two draws from one distribution do not reach 1: read it beside mauve_shuffled_union.",
            citation="""@inproceedings{pillutla2021mauve,
  title = {{MAUVE}: Measuring the Gap Between Neural Text and Human Text using Divergence Frontiers},
  author = {Pillutla, Krishna and Swayamdipta, Swabha and Zellers, Rowan and Thickstun, John and Welleck, Sean
    and Choi, Yejin and Harchaoui, Zaid},
  booktitle = {Advances in Neural Information Processing Systems}, year = {2021}, note = {arXiv:2102.01454}
}""",
            inputs_description=PREDICTIONS
            + f"""    references: list of str, as many as predictions, and at least {SMALLEST_SET}.
Returns:
    mauve, mauve_std: mean and standard deviation over the clusterings.
    mauve_star: the mean of MAUVE*, of smoothed histograms, for few texts.
    mauve_shuffled_union, mauve_shuffled_union_std, mauve_star_shuffled_union: the same of predictions and references shuffled
        together and cut in two.
    mauve_settings: n (texts a side), buckets, scaling, seeds, union_seed, and the feature
        model's name, sha256 and dimension.
""",
            features=text_columns("predictions", "references"),
        )

    def add_batch(self, *, predictions: Sequence[str], references: Sequence[str] | None = None, **others: Any) -> None:
        """Add predictions and as many references.

        Raises:
            InputError: there are more of the ones than of the others.
        """
        references = references or ()
        if len(predictions) != len(references):
            raise InputError(
                f"MAUVE compares sets of one size, not {len(predictions)} predictions and {len(references)} references"
            )
        super().add_batch(predictions=predictions, references=references, **others)

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
        n = len(predictions)
        if n < SMALLEST_SET:
            raise InputError(f"MAUVE needs at least {SMALLEST_SET} predictions and as many references, not {n}")
        union = self.text_features([*predictions, *references])
        score = mauve_score(union[:n], union[n:], self.scaling, self.seeds)
        control = mauve_score(*shuffled_halves(union, self.union_seed), self.scaling, self.seeds)
        description = self.model.description
        return {
            "mauve": score.mean,
            "mauve_std": score.std,
            "mauve_star": score.star,
            "mauve_shuffled_union": control.mean,
            "mauve_shuffled_union_std": control.std,
            "mauve_star_shuffled_union": control.star,
            "mauve_settings": {
                "n": n,
                "buckets": mauve_buckets(n),
                "scaling": self.scaling,
                "seeds": self.seeds,
                "union_seed": self.union_seed,
                "model": description.name,
                "sha256": description.sha256,
                "dimension": description.dimension,
            },
        }

    def text_features(self, texts: Sequence[str]) -> Features:
        """Return features [texts, d]."""
        if isinstance(self.model, LanguageModel):
            return self.model.features(texts, self.batch_size)
        return self.model.features(texts)


class Repetition(TextMetric):
    """Repeated n-grams of the whole set, and diversity."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of n-grams of the whole set that repeat another; n-grams do not cross from one text to the next.",
            citation="""@inproceedings{su2022contrastive,
  title = {A Contrastive Framework for Neural Text Generation},
  author = {Su, Yixuan and Lan, Tian and Wang, Yan and Yogatama, Dani and Kong, Lingpeng and Collier, Nigel},
  booktitle = {Advances in Neural Information Processing Systems}, year = {2022}, note = {arXiv:2202.06417}
}""",
            inputs_description=PREDICTIONS
            + """Returns:
    repetition_2, repetition_3, repetition_4: 1 - unique / total n-grams.
    diversity: product of unique / total n-grams over n = 2, 3, 4; 0 where there are none of an n.
""",
            features=text_columns("predictions"),
        )

    def _compute(self, predictions: Sequence[str]) -> dict[str, float]:
        return text_metrics.repetitions(tokenise(predictions))


class Memorization(TextMetric):
    """How much of the predictions stands in the training texts, which are the references, however many."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of the 4-grams of the predictions, each as often as it occurs, that occur in the training texts.",
            citation="""@inproceedings{lovelace2023latent,
  title = {Latent Diffusion for Language Generation},
  author = {Lovelace, Justin and Kishore, Varsha and Wan, Chao and Shekhtman, Eliot and Weinberger, Kilian Q.},
  booktitle = {Advances in Neural Information Processing Systems}, year = {2023}, note = {arXiv:2212.09462}
}""",
            inputs_description=PREDICTIONS
            + """    references: list of str, the training texts; more or fewer than predictions.
Returns:
    memorization: share in [0, 1].
""",
            features=text_columns("predictions", "references"),
        )

    def add_batch(self, *, predictions: Sequence[str], references: Sequence[str] | None = None, **others: Any) -> None:
        """Add predictions and training texts.

        Raises:
            InputError: there are no training texts.
        """
        if references is None:
            raise InputError("memorization needs the training texts, as references")
        # evaluate keeps both in one table, of rows of one text each. Empty texts fill it up: they hold no n-gram.
        rows = list(zip_longest(predictions, references, fillvalue=""))
        super().add_batch(predictions=[row[0] for row in rows], references=[row[1] for row in rows], **others)

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        training = TrainingNgrams.of(tokenise(references))
        return {"memorization": text_metrics.memorization(tokenise(predictions), training)}


class UniqueWords(TextMetric):
    """Vocabulary of the predictions."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Number of different words of the whole set, case counting; words are those of spaCy's English rules.",
            citation="""@software{honnibal2020spacy,
  title = {{spaCy}: Industrial-strength Natural Language Processing in Python},
  author = {Honnibal, Matthew and Montani, Ines and Van Landeghem, Sofie and Boyd, Adriane}, year = {2020},
  doi = {10.5281/zenodo.1212303}
}""",
            inputs_description=PREDICTIONS
            + """Returns:
    unique_words: number of different words.
""",
            features=text_columns("predictions"),
        )

    def _compute(self, predictions: Sequence[str]) -> dict[str, float]:
        return {"unique_words": text_metrics.unique_words(tokenise(predictions))}
