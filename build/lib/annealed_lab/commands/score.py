"""Score a file of texts against another, offline.

Files are .txt, one text a line, or .jsonl, one {"text": ...} a line. MAUVE is on sentence features (mauve) and, given a language
model, on that model's too (mauve_lm). Each stands beside its control, both files shuffled together and cut in two
(shuffled_union): what two draws from one distribution score.

Reads: the two files and, if they are named, models in local folders. Writes: nothing but what --out names.
Example: python src/lab.py score --texts mine.txt --references real.txt --count 1000
"""

import annealed_lm.common.offline  # noqa: F401  (first: the model libraries read it when they are imported)

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annealed_lm.common.errors import InputError
from annealed_lm.common.files import file_sha256, write_json
from annealed_lm.common.seeds import derive_seed
from annealed_lm.corpora.text_files import read_lines, read_rows

CONTROL = "shuffled_union"
SETTINGS_SUFFIX = "_settings"
LANGUAGE_MODEL_SCALING = 5.0


def read_row(line: str, where: str) -> str:
    """Return the text of a line of a .jsonl file.

    Raises:
        InputError: it has none, or one that is no Unicode (half of a surrogate pair).
    """
    try:
        text: str = json.loads(line)["text"]
        text.encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f'{where} is not a row with a text, such as {{"text": "Ann went home."}}') from error
    return text


def read_texts(path: Path) -> list[str]:
    """Return the texts of a .txt or a .jsonl file.

    Raises:
        InputError: the file is not there, is of another kind, has a line that is no text, or has no line.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if path.suffix not in (".txt", ".jsonl"):
        raise InputError(f'{path} is neither .txt, one text a line, nor .jsonl, one {{"text": ...}} a line')
    if path.suffix == ".jsonl":
        texts = [read_row(line, f"{path} line {number}") for number, line in enumerate(read_rows(path), start=1)]
    else:
        texts = read_lines(path)
    if not texts:
        raise InputError(f"{path} holds no text")
    return texts


def draw(texts: Sequence[str], count: int, seed: int, path: Path) -> list[str]:
    """Draw `count` of `texts`, without replacement.

    Raises:
        InputError: there are fewer.
    """
    if len(texts) < count:
        raise InputError(f"--count {count}: {path} holds only {len(texts)} texts")
    return [texts[row] for row in np.random.default_rng(seed).permutation(len(texts))[:count]]


def score(
    texts: Sequence[str], references: Sequence[str], training: Sequence[str] | None, args: argparse.Namespace
) -> dict[str, Any]:
    """Return what evaluate.combine gives of the metrics whose inputs are there."""
    import evaluate  # type: ignore[import-untyped]  # it and the models take seconds: only once the texts are read

    from annealed_lm.common.devices import default_device
    from annealed_lm.evaluation.evaluate_interface import Mauve, Memorization, Perplexity, Repetition, TextMetric, UniqueWords
    from annealed_lm.evaluation.features import FeatureModel
    from annealed_lm.evaluation.scores import MAUVE_NAMES
    from annealed_lm.generation.language_model import LanguageModel

    def compute(metrics: list[TextMetric]) -> dict[str, Any]:
        for metric in metrics:
            metric.add_batch(predictions=texts, references=training if isinstance(metric, Memorization) else references)
        scores: dict[str, Any] = evaluate.combine(metrics).compute()
        return scores

    device = default_device()
    scores: dict[str, Any] = {}
    if args.language_model:
        judge = LanguageModel.load(args.language_model, device)
        judged = compute([Perplexity(judge), Mauve(judge, args.language_model_scaling, args.seeds, args.seed)])
        # The other MAUVE has the same names; combined with it, evaluate would number them.
        scores = {name.replace("mauve", MAUVE_NAMES["language_model"], 1): value for name, value in judged.items()}
    metrics = [
        Mauve(FeatureModel.load(device, args.feature_model), args.scaling, args.seeds, args.seed),
        Repetition(),
        UniqueWords(),
    ]
    return scores | compute([*metrics, Memorization()] if training else metrics)


def arrange(scores: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Keep apart the scores of the texts, those of the control, and the settings of the metrics."""
    control = {name.replace(f"_{CONTROL}", ""): scores.pop(name) for name in list(scores) if CONTROL in name}
    settings = {name.removesuffix(SETTINGS_SUFFIX): scores.pop(name) for name in list(scores) if name.endswith(SETTINGS_SUFFIX)}
    return {"scores": scores, CONTROL: control, "settings": settings}


def format_report(report: dict[str, dict[str, Any]]) -> str:
    """Return the table and, below it, what was read and the settings of the metrics, a line for each, without digests."""
    from annealed_lm.evaluation.scores import format_rows

    columns = {"texts": report["scores"], CONTROL: report[CONTROL]}
    table = format_rows({name: {key: value for key, value in row.items() if value is not None} for name, row in columns.items()})
    beside = report["files"] | report["settings"]
    lines = [
        f"{name}: {', '.join(f'{key} {value}' for key, value in values.items() if key != 'sha256')}"
        for name, values in beside.items()
    ]
    return "\n".join([table, *lines])


def parse_arguments(program: str, arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True, help="to score")
    parser.add_argument("--references", type=Path, required=True, help="real texts, for MAUVE")
    parser.add_argument("--training", type=Path, help="training texts, for memorization")
    parser.add_argument(
        "--language-model", type=Path, help="folder of a causal model as transformers saves it, for perplexity and MAUVE"
    )
    parser.add_argument("--feature-model", type=Path, help="folder of a sentence-transformers model; else all-MiniLM-L6-v2")
    parser.add_argument("--scaling", type=float, default=8.0, help="scaling factor of MAUVE on sentence features (%(default)g)")
    parser.add_argument(
        "--language-model-scaling", type=float, help=f"that of MAUVE on the language model's ({LANGUAGE_MODEL_SCALING:g})"
    )
    parser.add_argument("--seeds", type=int, default=5, help="clusterings over which MAUVE is averaged (%(default)s)")
    parser.add_argument("--count", type=int, help="draw so many texts from --texts and from --references")
    parser.add_argument("--seed", type=int, default=0, help="of the draws and of the shuffled union (%(default)s)")
    parser.add_argument("--out", type=Path, help="also write scores and settings to this .json file")
    args = parser.parse_args(arguments)
    for name in ("scaling", "language_model_scaling", "seeds", "count"):
        value = getattr(args, name)
        if value is not None and not value > 0:
            raise InputError(f"--{name.replace('_', '-')} {value}: it should be greater than 0")
    if args.language_model_scaling is None:
        args.language_model_scaling = LANGUAGE_MODEL_SCALING
    elif args.language_model is None:
        raise InputError("--language-model-scaling is for MAUVE on the features of --language-model, which is not given")
    return args


def main(program: str, arguments: Sequence[str]) -> None:
    args = parse_arguments(program, arguments)
    paths = {"texts": args.texts, "references": args.references} | ({"training": args.training} if args.training else {})
    read = {name: read_texts(path) for name, path in paths.items()}
    used = dict(read)
    if args.count:
        for name in ("texts", "references"):
            used[name] = draw(read[name], args.count, derive_seed("score_files", name, args.seed), paths[name])
    elif len(read["texts"]) != len(read["references"]):
        raise InputError(
            f"{args.texts} holds {len(read['texts'])} texts and {args.references} {len(read['references'])}, but MAUVE compares "
            "sets of one size: --count N draws N from each"
        )
    report = arrange(score(used["texts"], used["references"], used.get("training"), args))
    files = {
        name: {"file": str(path), "sha256": file_sha256(path), "texts": len(read[name]), "used": len(used[name])}
        for name, path in paths.items()
    }
    report |= {"files": files}
    if args.out:
        write_json(args.out, report)
    print(format_report(report))
