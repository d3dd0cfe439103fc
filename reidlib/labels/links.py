"""links.csv: what a person says of pairs of images, and the constraints that follow from it, tracklets and times.

    first,second,answer
    entrance/0007/000451.jpg,platform/0112/000020.jpg,same
    entrance/0007/000451.jpg,platform/0090/000003.jpg,different

An image is named by its path in the archive, or by its id (16 hex digits); `tracklet:17` is tracklet 17 of the table of
rows. `skip` is an answer too: it says nothing, and the pair is not asked again. Paths are hashed to ids, so that no
stage needs a table of names.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from reidlib.files import atomic_file
from reidlib.images.split import Split, image_id
from reidlib.labels.constraints import NO_PAIRS, Constraints, Links, constraints, join_tracklets, separate_moments
from reidlib.labels.numbering import group_numbers

Answer = Literal["same", "different", "skip"]
Known = Literal["none", "tracklets", "tracklets_and_times"]
HEADER = ["first", "second", "answer"]
TRACKLET = "tracklet:"


class Answered(NamedTuple):
    """A line of links.csv: two rows of the training split and what is said of them; line 0 is yet to be written."""

    first: int
    second: int
    answer: Answer
    line: int


def read_links(path: Path, split: Split, *, empty: bool = False) -> list[Answered]:
    """Return the answers of links.csv, the rows they are of in place of the images' names.

    Args:
        path: the file.
        split: the training images.
        empty: leave out lines without an answer.

    Raises:
        ValueError: another header, an answer that is none, an image that is not among the training images; with the
            line.
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; `reidlib ask` asks what it holds: {','.join(HEADER)}")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [(reader.line_num, cells) for reader in [csv.reader(file)] for cells in reader if any(cells)]
    head = rows[0][1] if rows else []
    if head != HEADER:
        raise ValueError(f"{path}: expected the first line {','.join(HEADER)}, found {','.join(head)!r}")
    places = _places(split)
    answered = []
    for line, cells in rows[1:]:
        where = f"{path}, line {line}"
        if empty and len(cells) == len(HEADER) and not cells[2].strip():
            continue
        if len(cells) != len(HEADER) or cells[2].strip() not in ("same", "different", "skip"):
            raise ValueError(f"{where}: expected image,image,same | different | skip; found {','.join(cells)!r}")
        first, second = (_row(cell.strip(), places, where) for cell in cells[:2])
        answered.append(Answered(first, second, cells[2].strip(), line))  # type: ignore[arg-type]
    return answered


def training_constraints(split: Split, links: Path, *, known: Known, recipe: str) -> Constraints | None:
    """Return what is known of the training images; see `known_constraints`.

    Args:
        split: the training images.
        links: links.csv; any other file holds no links.
        known: whether tracklets, and their times, are looked at.
        recipe: its name, which says assisted where there are links.

    Raises:
        ValueError: links in a recipe whose name does not say so; and as `read_links` and `known_constraints`.
    """
    if links.suffix != ".csv":
        return known_constraints(split, known=known)
    if "assisted" not in recipe:
        raise ValueError(
            f"recipe {recipe!r}, links {links}: a person's links are of recipes whose name says assisted alone: "
            "recipe=assisted_cues, or links=images/train/rows.parquet"
        )
    return known_constraints(split, known=known, answered=read_links(links, split))


def write_links(path: Path, answers: Sequence[tuple[str, str, Answer | Literal[""]]]) -> None:
    """Write links.csv whole or not at all: two images, by path or id, and the answer (empty: none yet), by line."""
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(answers)


def known_constraints(
    split: Split, *, known: Known, answered: Sequence[Answered] = (), names: Sequence[str] | None = None
) -> Constraints | None:
    """Return what tracklets, their times and answers say of the training images; None where they say nothing.

    Args:
        split: the training images.
        known: whether tracklets, and their times, are looked at.
        answered: of links.csv.
        names: of the images, for messages; their ids by default.

    Raises:
        ValueError: where answers contradict each other, or the tracklets and times; with the chain.
    """
    same, different = [], []
    if known != "none":
        same.append(join_tracklets(split.tracklets))
    if known == "tracklets_and_times":
        clocks = group_numbers(split.cameras, split.sequences)
        different.append(separate_moments(clocks, split.tracklets, split.times))
    same.append(_said(answered, "same"))
    different.append(_said(answered, "different"))
    if not any(len(links.pairs) for links in (*same, *different)):
        return None
    names = names or list(split.ids)
    before = constraints(len(split), same=_joined(same[:-1]), different=_joined(different[:-1]), names=names)
    return replace(
        constraints(len(split), same=_joined(same), different=_joined(different), names=names), before=before
    )


def _said(answered: Sequence[Answered], answer: Answer) -> Links:
    chosen = [one for one in answered if one.answer == answer]
    pairs = np.array([one[:2] for one in chosen], dtype=np.int64).reshape(-1, 2)
    lines = [f"links.csv, line {one.line}" if one.line else "this answer" for one in chosen]
    return Links(pairs, lines.__getitem__)


def _joined(parts: Sequence[Links]) -> Links:
    """Return the links of all parts, one after the other."""
    parts = parts or [Links(NO_PAIRS)]
    starts = np.cumsum([0, *(len(part.pairs) for part in parts)])

    def why(place: int) -> str:
        part = int(np.searchsorted(starts, place, side="right")) - 1
        return parts[part].why(place - int(starts[part]))

    return Links(np.concatenate([part.pairs for part in parts]), why)


def _places(split: Split) -> Mapping[str, int]:
    """Return the row of each image by its id, and the first row of each tracklet by its name here."""
    places = {image: row for row, image in enumerate(split.ids)}
    for row, tracklet in enumerate(split.tracklets.tolist()):
        if tracklet >= 0:
            places.setdefault(f"{TRACKLET}{tracklet}", row)
    return places


def _row(cell: str, places: Mapping[str, int], where: str) -> int:
    row = places.get(cell)
    if row is None:
        row = places.get(image_id(cell.encode()))
    if row is None:
        raise ValueError(
            f"{where}: {cell!r} is none of the training images; expected a path as in the archive, an image's id, or "
            f"{TRACKLET}NUMBER"
        )
    return row
