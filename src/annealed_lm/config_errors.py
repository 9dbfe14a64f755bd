"""What is wrong with params.yaml, in one sentence each: the key, the value, what is allowed."""

import difflib
import re
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails, PydanticCustomError


def nearest(name: str, known: list[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""


def contradiction(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("contradiction", "{reason}", {"reason": sentence})


def known_keys(model: Any, location: tuple[int | str, ...]) -> list[str]:
    """The keys of the section of `model` that holds the key at `location`."""
    for name in location[:-1]:
        model = model.model_fields[name].annotation
    return list(model.model_fields)


def sentence(error: ErrorDetails, source: str, model: type[BaseModel]) -> str:
    """One finding of pydantic about `model` as: file: key = value what is allowed."""
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
