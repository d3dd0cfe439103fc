"""Who is in which image, by the identities.csv of a user's own archive; only evaluation sees it."""

import re
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath

from reidlib.archives.archive import Contents
from reidlib.archives.path_list import read_path_list
from reidlib.files import listed

_FILE = "identities.csv"
_LIKELY = re.compile(
    r"(?:.*(?:identit|label|annot|person|people).*|ids?|pids?)\.(?:csv|tsv|txt|xlsx?|json|ods)(?:\.\w+)?"
)
_WORDS_FOR_UNKNOWN = {"unknown", "none", "nan", "null", "na", "n/a", "?", "-"}
_NUMBER = re.compile(r"(-?[0-9]{1,18})(?:\.0+)?")
_LARGEST = 2**31 - 1
UNKNOWN = -1


def read_identity_list(contents: Contents, *, base: str, names: Collection[str]) -> dict[str, int]:
    """Return the identity of each image that identities.csv names; empty where there is no such file.

    It lies in the archive's root or in a folder that wraps everything (`base`, or one above it); its paths count from
    there, or from the root. -1 and an empty cell are `UNKNOWN`, 0 is a distractor, 17.0 is 17; words are names and
    numbered from 1 in their order.

    Raises:
        ValueError: several files, no table, paths that are not there or have two identities, numbers beside words.
    """
    where, cells = read_path_list(
        contents, _FILE, base=base, names=names, headers=("path,identity",), what=("an identity", "identities")
    )
    return _numbers({name: cell for name, (cell,) in cells.items()}, where)


def likely_lists(contents: Contents) -> list[str]:
    """Return files whose names say that they may hold identities, for a hint where none was read."""
    return [name for name in contents.names if _LIKELY.fullmatch(PurePosixPath(name).name.lower())]


def _numbers(cells: Mapping[str, str], where: str) -> dict[str, int]:
    """Return cells as numbers from 0, and `UNKNOWN`; see `read_identity_list`."""
    numbers = {cell: int(found[1]) for cell in set(cells.values()) if (found := _NUMBER.fullmatch(cell))}
    words = set(cells.values()) - numbers.keys() - {""}
    if blank := {word for word in words if word.lower() in _WORDS_FOR_UNKNOWN}:
        raise ValueError(f"{where}: identity {listed(blank)}: where it is not known, leave the cell empty or write -1")
    people = {cell for cell, number in numbers.items() if number != UNKNOWN}
    if words and people:
        raise ValueError(
            f"{where}: expected numbers or names, found both: {listed(people, 3)} and {listed(words, 3)}; "
            "write all of them as numbers, or all as names"
        )
    if wrong := [cell for cell in people if numbers[cell] < 0]:
        raise ValueError(f"{where}: identity {listed(wrong)}; expected -1 (unknown), 0 (distractor) or more")
    known = {cell: numbers[cell] for cell in people}
    if words:
        known = {word: number for number, word in enumerate(sorted(words), start=1)}
    elif max(known.values(), default=0) > _LARGEST:  # such as a date before the number: people in the same order
        places = {number: place for place, number in enumerate(sorted({0, *known.values()}))}
        known = {cell: places[number] for cell, number in known.items()}
    return {name: known.get(cell, UNKNOWN) for name, cell in cells.items()}
