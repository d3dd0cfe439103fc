"""When a picture was taken: a time as text, and as names of files hold it."""

import re

import pandas as pd

_IN_NAME = re.compile(r"(?P<rest>.*)_t(?P<seconds>\d{1,12}(?:\.\d{1,9})?)s", re.DOTALL)


def seconds(text: str | float | None) -> float:
    """Return a time as a number: a number as it is; ISO 8601 as seconds since 1970 (UTC without a zone); none as NaN.

    >>> seconds("17.5"), seconds("1970-01-02"), seconds("1970-01-01T01:00:00+01:00")
    (17.5, 86400.0, 0.0)

    Raises:
        ValueError: neither a number nor such a time.
    """
    if text is None or text == "":
        return float("nan")
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = pd.Timestamp.fromisoformat(str(text))
    except ValueError as error:
        raise ValueError(f"time: expected a number or a time like 2024-05-01T12:30:00, found {text!r}") from error
    return float((moment if moment.tzinfo else moment.tz_localize("UTC")).timestamp())


def time_in_name(stem: str) -> tuple[str, float]:
    """Return the name of a file, without its ending, before the time that it ends in, and this; else the name and NaN.

    The time is `_t`, seconds, `s`, as `reidlib crops` writes it.

    >>> time_in_name("000451_t18.04s"), time_in_name("000451")
    (('000451', 18.04), ('000451', nan))
    """
    found = _IN_NAME.fullmatch(stem)
    return (found["rest"], float(found["seconds"])) if found else (stem, float("nan"))


def name_with_time(stem: str, time_seconds: float) -> str:
    """Return the name of a file, without its ending, that `time_in_name` reads; the time to a millisecond, from 0.

    >>> name_with_time("000451", 18.04)
    '000451_t18.040s'
    """
    return f"{stem}_t{time_seconds:.3f}s"
