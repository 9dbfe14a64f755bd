"""The metrics of sets of texts, with what each number needs beside it to be read.

A score is an entry of: value (the mean over the sets, one a sampling seed), std (over the sets, where there are several), low and
high (confidence interval over texts), and of MAUVE clustering_std (over its clusterings), mauve_star (MAUVE*, of smoothed
histograms), real and real_mauve_star (what real training texts score at the same n, its ceiling).
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tabulate import tabulate

from annealed_lm.common.errors import InputError
from annealed_lm.common.feature_sets import Features
from annealed_lm.common.files import LATENT_AGREEMENT
from annealed_lm.corpora.restaurants import label_of
from annealed_lm.evaluation.bootstrap import Replicates, mean_replicates, wilson_interval
from annealed_lm.evaluation.judges import Judges
from annealed_lm.evaluation.mauve_metric import SMALLEST_SET, MauveScore, mauve_score
from annealed_lm.evaluation.ngrams import tokenise
from annealed_lm.evaluation.references import References
from annealed_lm.evaluation.text_metrics import text_metrics
from annealed_lm.evaluation.uncertainty import INTERVALS, agreement_replicates, text_replicates
from annealed_lm.generation.language_model import LanguageModel, TextLikelihoods

Row = dict[str, float]
Entry = dict[str, float]
ScoredRow = dict[str, Entry]
FeaturesByKind = Mapping[str, Features]

RECOGNISERS: dict[str, Callable[[str], str | None]] = {"restaurants": label_of}
"""By corpus: the label that a text states, None if it is not of the corpus's language. Only an embedded grammar can tell."""
MAUVE_NAMES = {"sentence": "mauve", "language_model": "mauve_lm"}
"""Kind of features -> first part of the metric's name; the set that texts are compared with is the last."""
SHARES = ("grammatical", "has_label")
"""Metrics that are a share of the texts."""
SCORING_BATCH_SIZE = 32


@dataclass(frozen=True)
class SetScores:
    """Scores of one set of texts.

    Attributes:
        values: by metric.
        mauve: of those metrics that are one.
        replicates: of the metrics in `INTERVALS`.
        likelihoods: of each text.
    """

    values: Row
    mauve: Mapping[str, MauveScore]
    replicates: Mapping[str, Replicates]
    likelihoods: TextLikelihoods

    @property
    def texts(self) -> int:
        return len(self.likelihoods.nll)


def recognised(texts: Sequence[str], labels: Sequence[str | None] | None, references: References) -> dict[str, list[bool]]:
    """Tell of each text whether it is grammatical, and whether it states its label; nothing without a recogniser."""
    recogniser = RECOGNISERS.get(references.settings.dataset_name)
    if recogniser is None:
        return {}
    stated = [recogniser(text) for text in texts]
    flags = {"grammatical": [label is not None for label in stated]}
    if labels is not None:
        flags["has_label"] = [found is not None and found == asked for found, asked in zip(stated, labels, strict=True)]
    return flags


def mauve_row(features: FeaturesByKind, references: References, compared_with: Sequence[str]) -> dict[str, MauveScore]:
    """Return MAUVE(p = the texts of `features`, q = each reference set) by name."""
    return {
        f"{MAUVE_NAMES[kind]}_{name}": mauve_score(
            tested,
            references.features[kind][name],
            references.settings.mauve[kind]["scaling"],
            references.settings.mauve_seeds,
        )
        for kind, tested in features.items()
        for name in compared_with
    }


def likelihood_values(likelihoods: TextLikelihoods) -> Row:
    """Return both perplexities; nothing where no text has a token to be judged by."""
    perplexities = {"perplexity": likelihoods.perplexity, "perplexity_corpus": likelihoods.perplexity_corpus}
    return {name: value for name, value in perplexities.items() if value is not None}


def score_texts(
    texts: Sequence[str],
    features: FeaturesByKind,
    references: References,
    language_model: LanguageModel,
    *,
    compared_with: Sequence[str] | None = None,
    labels: Sequence[str | None] | None = None,
    agreement: Sequence[float] | None = None,
    seed: int = 0,
) -> SetScores:
    """Compute every metric of `texts`, n of them, as many as a reference set holds.

    Args:
        features: of the texts, by kind, [n, d] each.
        compared_with: reference sets for MAUVE, all unless given; a set is not compared with itself.
        labels: that the texts were to have.
        agreement: of every text with the latents that it was decoded from, if it was.
        seed: of the resampling.

    Raises:
        InputError: there are more or fewer texts than a reference set holds, or the language model is not the references' one.
    """
    require_comparable(texts, references, language_model)
    likelihoods = language_model.likelihoods(texts, SCORING_BATCH_SIZE)
    mauve = mauve_row(features, references, references.sets if compared_with is None else compared_with)
    scores = score_words(texts, labels, likelihoods, mauve, references, seed)
    return scores if agreement is None else with_agreement(scores, agreement, references, seed)


def with_agreement(scores: SetScores, agreement: Sequence[float], references: References, seed: int) -> SetScores:
    """Return the scores with the mean agreement of texts and latents."""
    drawn = agreement_replicates(agreement, references, seed)
    values = {**scores.values, LATENT_AGREEMENT: statistics.fmean(agreement)}
    return replace(scores, values=values, replicates={**scores.replicates, LATENT_AGREEMENT: drawn})


def score_alone(
    texts: Sequence[str],
    references: References,
    judges: Judges,
    *,
    labels: Sequence[str | None] | None = None,
    agreement: Sequence[float] | None = None,
    seed: int = 0,
) -> SetScores:
    """Do what `score_texts` does with one set whose features are not at hand."""
    features = judges.features_of_sets({"texts": texts})["texts"]
    return score_texts(texts, features, references, judges.language_model, labels=labels, agreement=agreement, seed=seed)


def score_words(
    texts: Sequence[str],
    labels: Sequence[str | None] | None,
    likelihoods: TextLikelihoods,
    mauve: Mapping[str, MauveScore],
    references: References,
    seed: int,
) -> SetScores:
    """Score what the words of `texts` tell, and join the MAUVEs and likelihoods already at hand."""
    flags = recognised(texts, labels, references)
    tokenised = tokenise(texts)
    values: Row = {name: sum(each) / len(texts) for name, each in flags.items()} | likelihood_values(likelihoods)
    values |= {name: score.mean for name, score in mauve.items()} | text_metrics(tokenised, references.training)
    drawn = text_replicates(likelihoods, tokenised, references, seed)
    return SetScores(values, mauve, {name: drawn[name] for name in drawn if name in values}, likelihoods)


def require_comparable(texts: Sequence[str], references: References, language_model: LanguageModel) -> None:
    settings = references.settings
    if len(texts) != settings.num_samples:
        raise InputError(
            f"there are {len(texts)} texts to score, but each reference set holds {settings.num_samples}: scores of unequal "
            "numbers of texts cannot be compared; run the stage prepare_references"
        )
    if language_model.description.sha256 != settings.perplexity["sha256"]:
        raise InputError(
            f"the references were judged by {settings.perplexity['name']} ({settings.perplexity['sha256'][:12]}), not by this "
            f"language model ({language_model.description.sha256[:12]}); run the stage prepare_references"
        )


def summarise(sets: Sequence[SetScores], real: Mapping[str, Mapping[str, float]]) -> ScoredRow:
    """Return one entry for each metric that every set has.

    Args:
        sets: of one model and decoding strategy, one a sampling seed.
        real: the row of real training texts, whose MAUVEs stand beside.
    """
    row: ScoredRow = {}
    for metric in sets[0].values:
        values = [each.values[metric] for each in sets if metric in each.values]
        if len(values) < len(sets):
            continue
        entry = {"value": statistics.fmean(values)}
        if len(values) > 1:
            entry["std"] = statistics.stdev(values)
        if metric in SHARES:
            entry |= wilson_interval(entry["value"], sum(each.texts for each in sets))._asdict()
        if all(metric in each.replicates for each in sets):
            entry |= INTERVALS[metric](mean_replicates([each.replicates[metric] for each in sets]))._asdict()
        if metric in sets[0].mauve:
            entry |= mauve_entry([each.mauve[metric] for each in sets], real.get(metric))
        row[metric] = entry
    return row


def mauve_entry(scores: Sequence[MauveScore], real: Mapping[str, float] | None) -> Entry:
    """Return what stands beside the value of a MAUVE.

    Args:
        scores: one a set.
        real: the entry of real training texts; None: there is none.
    """
    entry = {
        "clustering_std": statistics.fmean(each.std for each in scores),
        "mauve_star": statistics.fmean(each.star for each in scores),
    }
    return entry if real is None else entry | {"real": real["value"], "real_mauve_star": real["mauve_star"]}


def score_by_label(
    texts: Sequence[str],
    labels: Sequence[str],
    features: FeaturesByKind,
    references: References,
    likelihoods: TextLikelihoods,
) -> dict[str, SetScores]:
    """Score all texts of each label, with MAUVE of the first `label_texts` of them against as many training texts of that label;
    no MAUVE where one of the two has fewer."""
    scores = {}
    for label in sorted(set(labels)):
        chosen = [i for i, each in enumerate(labels) if each == label]
        of_label = [texts[i] for i in chosen]
        part = TextLikelihoods(likelihoods.nll[chosen], likelihoods.tokens[chosen])
        mauve = label_mauve(label, chosen, features, references)
        each = score_words(of_label, [label] * len(chosen), part, mauve, references, seed=0)
        scores[label] = replace(each, values={"texts": len(chosen)} | each.values)
    return scores


def label_mauve(label: str, chosen: Sequence[int], features: FeaturesByKind, references: References) -> dict[str, MauveScore]:
    size = references.settings.label_texts
    real = [i for i, each in enumerate(references.train_labels) if each == label]
    if size < SMALLEST_SET or len(chosen) < size or len(real) < size:
        return {}
    tested = {kind: each[chosen[:size]] for kind, each in features.items()}
    same_label = {kind: {"train": sets["train"][real[:size]]} for kind, sets in references.features.items()}
    return mauve_row(tested, replace(references, features=same_label), ["train"])


def summarise_labels(sets: Sequence[Mapping[str, SetScores]], real: Mapping[str, ScoredRow]) -> dict[str, ScoredRow]:
    """Do what `summarise` does for each label, over the sets that have texts of it.

    Args:
        real: by label, the row of real training texts.
    """
    labels = sorted({label for each in sets for label in each})
    return {label: summarise([each[label] for each in sets if label in each], real.get(label, {})) for label in labels}


def values_of(row: ScoredRow) -> Row:
    """Return the values alone."""
    return {metric: entry["value"] for metric, entry in row.items()}


def format_rows(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return sets of texts as columns, metrics as lines, a dash where a set has no such metric."""
    metrics = dict.fromkeys(metric for row in rows.values() for metric in row)
    lines = [[metric, *(f"{row[metric]:.4g}" if metric in row else "-" for row in rows.values())] for metric in metrics]
    alignment = ["left"] + ["right"] * len(rows)
    return tabulate(lines, headers=["", *rows], tablefmt="plain", disable_numparse=True, colalign=alignment)
