"""Types of parameters with their ranges, and settings checked against the signature of what they are meant for.

A module of a room (a loss, an attention, a backbone) says by the annotations of its keyword-only parameters what may be
set; nothing else has to be written for a new one.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

Count = Annotated[int, Field(ge=1)]
Epochs = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """A block of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def values(self) -> dict[str, Any]:
        """Return what is set, as plain Python values to be passed on by keyword."""
        return self.model_dump(exclude_none=True)


def checked(settings: Mapping[str, Any], *, of: Callable[..., Any], where: str) -> dict[str, Any]:
    """Return settings that fit the keyword-only parameters of a function or class, defaults filled in.

    Its annotations, ranges included, are the schema; `where` is the key of params.yaml that holds the settings.

    Raises:
        ValueError: naming every key that is unknown, missing, of the wrong type or out of range.
    """
    parameters = inspect.signature(of).parameters.values()
    known = {
        parameter.name: (parameter.annotation, ... if parameter.default is parameter.empty else parameter.default)
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    name, strict = getattr(of, "__name__", "settings"), Section.model_config
    model = create_model(name, __config__=strict, **known)  # type: ignore[call-overload]
    try:
        return dict(model.model_validate(dict(settings)))
    except ValidationError as error:
        lines = problems(error, where=where)
        raise ValueError(f"{where}: expected {', '.join(known) or 'no settings'}:\n" + "\n".join(lines)) from None


def problems(error: ValidationError, *, where: str = "") -> list[str]:
    """Return a line for each key that does not fit, with what was found there."""
    lines = []
    for problem in error.errors():
        key = ".".join(part for part in (where, *map(str, problem["loc"])) if part) or "params"
        found = "" if problem["type"] == "missing" else f" (found: {problem['input']!r})"
        lines.append(f"  {key}: {problem['msg']}{found if len(found) < 120 else ''}")
    return lines
