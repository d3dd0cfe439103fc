"""A CSV table in a user's own archive that says something of images by their paths: identities.csv, times.csv."""

import csv
import io
import re
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from reidlib.archives.archive import Contents
from reidlib.files import listed


def read_path_list(
    contents: Contents, file: str, *, base: str, names: Collection[str], headers: Sequence[str], what: tuple[str, str]
) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Return where the list stands, for messages, and what it says of each image that it names; empty without a list.

    It lies in the archive's root or in a folder that wraps everything (`base`, or one above it); its paths count from
    there, or from the root. An image may be named twice with the same cells.

    Args:
        contents: the archive.
        file: what the list is called, in lower case.
        base: the folder that wraps everything, with its slash, or empty.
        names: of all images.
        headers: first lines that are understood, which begin with path.
        what: the list holds, one of it ("an identity") and several ("identities"), for messages.

    Raises:
        ValueError: several files, no table, another first line, or paths that are not there or have two different rows.
    """
    parents = base.split("/")[:-1]
    wrapping = ["".join(f"{parent}/" for parent in parents[:number]) for number in range(len(parents) + 1)]
    places = {name: name[: -len(file)] for name in contents.texts if name.lower().endswith(file)}
    files = [name for name, place in places.items() if place in wrapping]
    if not files:
        return "", {}
    if len(files) > 1:
        raise ValueError(f"folder: {listed(files)} in {contents.file}: keep one")
    where = f"folder: {files[0]} of {contents.file}"
    rows = _rows(contents.texts[files[0]], headers, what[0], where)
    cells: dict[str, tuple[str, ...]] = {}
    absent: list[str] = []
    for path, *told in rows:
        name = next((start + path for start in ("", *reversed(wrapping)) if start + path in names), None)
        if name is None:
            absent.append(path)
        elif cells.setdefault(name, tuple(told)) != tuple(told):
            one, other = (",".join(found) for found in (cells[name], told))
            raise ValueError(f"{where}: {path!r} has two {what[1]}, {one!r} and {other!r}")
    if absent:
        raise ValueError(
            f"{where}: {len(absent):,} of {len(rows):,} paths are not in the archive: {listed(absent)}; one that is: "
            f"{_beside(absent[0], names).removeprefix(places[files[0]])}"
        )
    return where, cells


def _beside(path: str, names: Collection[str]) -> str:
    """Return an image of the archive that may have been meant: of the same file name, or else the first."""
    file = PurePosixPath(path).name.lower()
    return next((name for name in sorted(names) if PurePosixPath(name).name.lower() == file), min(names))


def _rows(text: str, headers: Sequence[str], what: str, where: str) -> list[tuple[str, ...]]:
    try:
        header, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row] or [[]]
    except csv.Error as error:
        raise ValueError(f"{where}: not a CSV table ({error})") from error
    if ",".join(cell.strip().lower() for cell in header) not in headers:
        expected = " or ".join(f"'{known}'" for known in headers)
        raise ValueError(f"{where}: the first line is {','.join(header)[:80]!r}; expected {expected}")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header) or not row[0].strip():
            raise ValueError(f"{where}: row {number} is {','.join(row)[:80]!r}; expected a path and {what}")
    return [(_plain(path), *(cell.strip() for cell in cells)) for path, *cells in rows]


def _plain(path: str) -> str:
    return re.sub(r"^(\./)+", "", unicodedata.normalize("NFC", path.strip()).replace("\\", "/"))
