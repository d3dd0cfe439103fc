"""Who is in which image, by the identities.csv of a user's own archive; only evaluation sees it."""

import csv
import io
import re
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath

from reidlib.archives.archive import Contents
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
    parents = base.split("/")[:-1]
    wrapping = ["".join(f"{parent}/" for parent in parents[:number]) for number in range(len(parents) + 1)]
    places = {name: name[: -len(_FILE)] for name in contents.texts if name.lower().endswith(_FILE)}
    files = [name for name, place in places.items() if place in wrapping]
    if not files:
        return {}
    if len(files) > 1:
        raise ValueError(f"folder: {listed(files)} in {contents.file}: keep one")
    where = f"folder: {files[0]} of {contents.file}"
    rows = _rows(contents.texts[files[0]], where)
    cells: dict[str, str] = {}
    absent: list[str] = []
    for path, cell in rows:
        name = next((start + path for start in ("", *reversed(wrapping)) if start + path in names), None)
        if name is None:
            absent.append(path)
        elif cells.setdefault(name, cell) != cell:
            raise ValueError(f"{where}: {path!r} has two identities, {cells[name]!r} and {cell!r}")
    if absent:
        raise ValueError(
            f"{where}: {len(absent):,} of {len(rows):,} paths are not in the archive: {listed(absent)}; one that is: "
            f"{_beside(absent[0], names).removeprefix(places[files[0]])}"
        )
    return _numbers(cells, where)


def likely_lists(contents: Contents) -> list[str]:
    """Return files whose names say that they may hold identities, for a hint where none was read."""
    return [name for name in contents.names if _LIKELY.fullmatch(PurePosixPath(name).name.lower())]


def _beside(path: str, names: Collection[str]) -> str:
    """Return an image of the archive that may have been meant: of the same file name, or else the first."""
    file = PurePosixPath(path).name.lower()
    return next((name for name in sorted(names) if PurePosixPath(name).name.lower() == file), min(names))


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


def _rows(text: str, where: str) -> list[tuple[str, str]]:
    try:
        header, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row] or [[]]
    except csv.Error as error:
        raise ValueError(f"{where}: not a CSV table ({error})") from error
    if [cell.strip().lower() for cell in header] != ["path", "identity"]:
        raise ValueError(f"{where}: the first line is {','.join(header)[:80]!r}; expected 'path,identity'")
    for number, row in enumerate(rows, start=2):
        if len(row) != 2 or not row[0].strip():
            raise ValueError(f"{where}: row {number} is {','.join(row)[:80]!r}; expected a path and an identity")
    return [(_plain(path), identity.strip()) for path, identity in rows]


def _plain(path: str) -> str:
    return re.sub(r"^(\./)+", "", unicodedata.normalize("NFC", path.strip()).replace("\\", "/"))
