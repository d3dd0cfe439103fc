"""Answers as people read them: how likely, who is known, when, a list that no spreadsheet runs."""

import csv
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float64

from reidlib.gallery.rows import KNOWN

LIKELY = 0.5  # P(same) from which on one that passes the threshold is called known
CLOCK = (1e9, 5e9)  # times that are all seconds since 1970 of the years 2001 to 2128 are told as dates
WORDS = (
    (0.95, "almost certainly the same"),
    (0.7, "probably the same"),
    (0.3, "perhaps the same"),
    (0.05, "probably not the same"),
    (0.0, "almost certainly not the same"),
)
_FORMULA = re.compile(r"\s*[=+\-@]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")


def in_words(probability: float) -> str:
    """Say how likely two pictures show the same.

    >>> in_words(0.99), in_words(0.5), in_words(0.0)
    ('almost certainly the same', 'perhaps the same', 'almost certainly not the same')
    """
    return next(words for least, words in WORDS if probability >= least)


def are_dates(times: Float64[np.ndarray, "n"]) -> bool:
    """Return whether times (NaN: unknown) are such that they are told as dates."""
    known = times[~np.isnan(times)]
    return bool(len(known) and known.min() >= CLOCK[0] and known.max() <= CLOCK[1])


def time_in_words(time: float, *, dates: bool) -> str:
    """Say a time in seconds, as a date or as a number; nothing where it is unknown.

    >>> time_in_words(1.7e9, dates=True), time_in_words(18.25, dates=False), time_in_words(float("nan"), dates=False)
    ('2023-11-14T22:13:20', '18.25', '')
    """
    if np.isnan(time):
        return ""
    return pd.Timestamp(time, unit="s").isoformat(timespec="seconds") if dates else f"{time:.10g}"


def verdict(likely: Sequence[float | None], passes: Sequence[bool], *, false_match_rate: float) -> str:
    """Say in a sentence or two what came of a search.

    A threshold of pairs is passed by some stranger in a large gallery; so one that passes is known only where it is
    likely the same, too.

    Args:
        likely: P(same) of each answer, most similar first; None where the model is not calibrated.
        passes: whether each reaches the threshold of the rate.
        false_match_rate: share of pairs of strangers that reach it.
    """
    if not likely:
        return "No answer: nothing in the gallery passes the limits."
    first = likely[0]
    if first is None:
        return (
            "The most alike, by similarity alone. The model is not calibrated, so nobody can say whether they are the "
            "same (reidlib calibrate)."
        )
    threshold = f"the threshold that {100 * false_match_rate:.3g} % of strangers pass"
    if not any(passes):
        return f"Nobody known: none passes {threshold}. The nearest are below."
    count = f"{sum(passes)} of {len(passes)} pass" if sum(passes) > 1 else f"One of {len(passes)} passes"
    opening = "Known: the first is" if first >= LIKELY else "Probably nobody known: the first is"
    return f"{opening} {in_words(first)}, P(same) {first:.2f}. {count} {threshold}."


def as_csv(answers: pd.DataFrame) -> str:
    """Return answers as CSV in which no text is a formula to a spreadsheet."""
    texts = {name: answers[name].astype(str).map(no_formula) for name in ("path", *KNOWN) if name != "time"}
    told = answers.assign(**texts)
    return told.to_csv(index=False, float_format="%.6g", lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)


def no_formula(text: str) -> str:
    """Return a text with an apostrophe before what a spreadsheet would run; numbers stay as they are.

    >>> no_formula("=1+1"), no_formula("-1"), no_formula("door")
    ("'=1+1", '-1', 'door')
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text
