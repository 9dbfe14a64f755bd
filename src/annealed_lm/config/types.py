"""The types of the values in params.yaml: what they may be, and the sentence for what they may not."""

import difflib
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from pydantic_core import ErrorDetails, PydanticCustomError

from annealed_lm.common.intervals import parse_interval


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
    key = ".".join(str(part) for part in error["loc"])
    where = f"{source}: {key}" if key else source
    match error["type"]:
        case "extra_forbidden":
            return f"{where} is not a known key{nearest(str(error['loc'][-1]), known_keys(model, error['loc']))}"
        case "missing":
            return f"{where} is missing"
        case "contradiction":
            return f"{where}: {error['msg']}"
        case "unknown_name":
            return f"{where} = {error['input']} {error['msg']}"
    allowed = re.sub("^(Input|String|List|Value) ", "", error["msg"]).replace("input ", "")
    return f"{where} = {error['input']!r}: it {allowed}"


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
        parse_interval(value)
    except ValueError as error:
        raise PydanticCustomError("interval", "{reason}", {"reason": str(error)}) from error
    return value


StepsOrTime = Annotated[int | str, BeforeValidator(steps_or_time)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(ge=0, lt=1)]
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
