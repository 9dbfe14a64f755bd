"""The types of the values in params.yaml: what they may be, and the sentence for what they may not."""

import difflib
import re
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from pydantic_core import ErrorDetails, PydanticCustomError

from annealed_lm.common.intervals import parse_interval
from annealed_lm.config.wording import shown

LONGEST_NAME = 1024
LONGEST_PART_OF_A_PATH = 255
LONGEST_INTERVAL_SECONDS = 366 * 24 * 3600
LONGEST_INTERVAL_STEPS = 1_000_000_000


def nearest(name: str, known: list[str]) -> str:
    """Return the known name that is most like `name`, as a question to the user, or nothing if none is."""
    matches = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""


def contradiction(sentence: str) -> PydanticCustomError:
    """Return the error for values that do not go together; `sentence` of this module quotes it as it is."""
    return PydanticCustomError("contradiction", "{reason}", {"reason": sentence})


def known_keys(model: Any, location: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the section of `model` that holds the key at `location`."""
    for name in location[:-1]:
        model = model.model_fields[name].annotation
    return list(model.model_fields)


def sentence(error: ErrorDetails, source: str, model: type[BaseModel]) -> str:
    """Return one finding of pydantic about `model` as a sentence: file: key = value, and what is allowed."""
    key = shown(".".join(str(part) for part in error["loc"]), str)
    where = f"{source}: {key}" if key else source
    match error["type"]:
        case "extra_forbidden":
            return f"{where} is not a known key{nearest(str(error['loc'][-1]), known_keys(model, error['loc']))}"
        case "missing":
            return f"{where} is missing"
        case "contradiction":
            return f"{where}: {error['msg']}"
        case "unknown_name":
            return f"{where} = {shown(error['input'], str)} {error['msg']}"
    allowed = re.sub("^(Input|String|List|Value) ", "", error["msg"]).replace("input ", "")
    return f"{where} = {shown(error['input'])}: it {allowed}"


def one_of(names: dict[str, Any]) -> AfterValidator:
    """Return a validator that accepts the names of a registry and suggests the nearest one for any other."""

    def check(name: str) -> str:
        if name not in names:
            raise PydanticCustomError(
                "unknown_name", "{reason}", {"reason": f"is not one of {', '.join(names)}{nearest(name, list(names))}"}
            )
        return name

    return AfterValidator(check)


def without_repeats(values: list[Any]) -> list[Any]:
    """Return `values` if no entry comes twice.

    Raises:
        PydanticCustomError: one does.
    """
    if len(set(values)) < len(values):
        raise PydanticCustomError("repeats", "should name each entry once")
    return values


def steps_or_time(value: Any) -> Any:
    """Return `value` if it is an interval (`parse_interval`).

    Raises:
        PydanticCustomError: it is none.
    """
    try:
        interval = parse_interval(value)
    except ValueError as error:
        raise PydanticCustomError("interval", "{reason}", {"reason": str(error)}) from error
    if (interval.steps or 0) > LONGEST_INTERVAL_STEPS or (interval.seconds or 0) > LONGEST_INTERVAL_SECONDS:
        raise PydanticCustomError("interval", "should be at most 1000000000 steps, or at most a year (8784h)")
    return value


def model_name(name: str) -> str:
    """Return `name` if it can be that of a folder or of a model on the hub.

    Raises:
        PydanticCustomError: it cannot.
    """
    allowed = f"should be a name on the hub or a folder: up to {LONGEST_NAME} printable characters"
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise PydanticCustomError("model_name", "{reason}", {"reason": allowed})
    if any(len(part.encode()) > LONGEST_PART_OF_A_PATH for part in PurePath(name).parts):
        reason = f"{allowed}, no part of a path longer than {LONGEST_PART_OF_A_PATH} bytes"
        raise PydanticCustomError("model_name", "{reason}", {"reason": reason})
    try:
        Path(name).expanduser()
    except RuntimeError as error:
        reason = "should begin with ~ only for the home folder of a user whom this machine knows"
        raise PydanticCustomError("model_name", "{reason}", {"reason": reason}) from error
    return name


ModelName = Annotated[str, AfterValidator(model_name)]
StepsOrTime = Annotated[int | str, BeforeValidator(steps_or_time)]
PositiveInt = Annotated[int, Field(gt=0)]
"""Of other files than params.yaml, whose numbers stand in `numbers`."""
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Revision = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
Optimizer = Literal["adamw", "lion", "muon"]
DatasetName = Literal["restaurants", "e2e", "roc", "sst2", "ag_news", "text"]
Tracker = Literal["wandb", "tensorboard", "dvclive"]
Tokenizer = Literal["word", "bpe"]
MauveFeatures = Literal["sentence", "language_model"]
DecodingStrategy = Literal["greedy", "beam", "nucleus"]
LearningRateSchedule = Literal[
    "constant",
    "constant_with_warmup",
    "linear",
    "cosine",
    "inverse_sqrt",
    "warmup_stable_decay",
]
