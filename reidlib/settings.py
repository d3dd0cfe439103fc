"""Values of params.yaml: read, and checked against the annotations of the function or dataclass that uses them.

The annotations of the keyword-only parameters, ranges included, are the only schema there is: adding a value means
adding a parameter and a line in conf/. Nothing here changes a value, so no stage names this file as a dependency.
"""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import ConfigDict, Field, ValidationError, create_model

Count = Annotated[int, Field(ge=1)]
Epochs = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]

STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)


def load_params(*names: str, path: Path = Path("params.yaml")) -> dict[str, Any]:
    """Read the named values of params.yaml (``section`` or ``section.key``) and no other, nested as they are there.

    Args:
        names: what the stage's results depend on, which dvc.yaml lists under its `params`.
        path: in the working directory by default; DVC runs every stage in the repository's root.

    Raises:
        ValueError: where there is no such file, or a value is not in it.
    """
    if not path.is_file():
        raise ValueError(f"{path}: not found; run from the repository's root, or write it: python -m reidlib compose")
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    chosen: dict[str, Any] = {}
    for name in names:
        found, place = values, chosen
        *above, last = name.split(".")
        for key in above:
            found, place = _inside(found, key, name, path), place.setdefault(key, {})
        place[last] = _inside(found, last, name, path)
    return chosen


def arguments(
    values: Mapping[str, Any], *, of: Callable[..., Any], where: str, given: Collection[str] = ()
) -> dict[str, Any]:
    """Return values as the keyword arguments of a function or class, checked against its annotations; defaults added.

    Args:
        values: of params.yaml.
        of: what uses them; its keyword-only parameters are the schema.
        where: the key of params.yaml that holds the values, for messages.
        given: parameters that do not come from params.yaml.

    Raises:
        ValueError: naming every key that is unknown, missing, of the wrong type or out of range.
    """
    return arguments_of_each(values, of=[of], where=where, given=given)[0]


def arguments_of_each(
    values: Mapping[str, Any], *, of: Sequence[Callable[..., Any]], where: str, given: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Return for each of several uses of one section its own keyword arguments; see `arguments`."""
    schemas = [_schema(use, given) for use in of]
    known = {name: field for schema in schemas for name, field in schema.items()}
    model = create_model(where or "params", __config__=STRICT, **known)  # type: ignore[call-overload]
    try:
        checked = dict(model.model_validate(dict(values)))
    except ValidationError as error:
        lines = "\n".join(problems(error, where=where))
        raise ValueError(f"{where}: expected {', '.join(known) or 'no settings'}:\n{lines}") from None
    return [{name: checked[name] for name in schema} for schema in schemas]


def choice(
    values: Mapping[str, Any], *, among: Mapping[str, Callable[..., Any]], where: str, given: Collection[str] = ()
) -> tuple[str, dict[str, Any]]:
    """Return the chosen name and its checked arguments of a block ``{name: …, **settings}``.

    Raises:
        ValueError: for a name that is not there, with those that are; and as `arguments`.
    """
    settings = dict(values)
    name = settings.pop("name", None)
    if name not in among:
        raise ValueError(f"{where}.name: expected one of {', '.join(sorted(among))}; found {name!r}")
    return name, arguments(settings, of=among[name], where=where, given=given)


def problems(error: ValidationError, *, where: str = "") -> list[str]:
    """Return a line for each key that does not fit, with what was found there."""
    lines = []
    for problem in error.errors():
        key = ".".join(part for part in (where, *map(str, problem["loc"])) if part) or "params"
        found = "" if problem["type"] == "missing" else f" (found: {problem['input']!r})"
        lines.append(f"  {key}: {problem['msg']}{found if len(found) < 120 else ''}")
    return lines


def _schema(use: Callable[..., Any], given: Collection[str]) -> dict[str, tuple[Any, Any]]:
    parameters = inspect.signature(use).parameters.values()
    return {
        parameter.name: (parameter.annotation, ... if parameter.default is parameter.empty else parameter.default)
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in given
    }


def _inside(values: Any, key: str, name: str, path: Path) -> Any:
    if not isinstance(values, dict) or key not in values:
        raise ValueError(f"{path}: expected {name}, found none; write it anew: python -m reidlib compose")
    return values[key]
