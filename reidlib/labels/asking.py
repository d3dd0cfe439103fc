"""A person's answers as they come: what to ask next, and links.csv, which has every answer as soon as it is given."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64

from reidlib.images.names import read_names
from reidlib.images.split import Split, image_id, open_split
from reidlib.labels.constraints import Constraints
from reidlib.labels.global_labelling import GlobalLabelling, global_labelling
from reidlib.labels.links import Answer, Answered, known_constraints, read_links, write_links
from reidlib.labels.questions import ROUND, Merges, Pair, best_merges, propose, question_graphs
from reidlib.tables import open_embeddings

Rows = Int64[np.ndarray, "_"]


class Side(NamedTuple):
    """One image of a pair, and further ones to judge by.

    Attributes:
        row: of the image.
        tracklet: the other images of its tracklet, as they are ordered.
        cluster: other images that are taken for the same individual, of its part of the merge that is asked about, one
            of each camera in turns.
    """

    row: int
    tracklet: Rows
    cluster: Rows


class Asking:
    """What is asked, and what follows from the answers given so far.

    links.csv is read before and written with every answer, so that lines that somebody else adds meanwhile are kept.

    Attributes:
        file: links.csv.
        split: the training images.
        names: of these images; paths, as a person knows them.
        answered: by row, in the order in which they were given.
    """

    def __init__(
        self, file: Path, split: Split, names: pd.DataFrame, embeddings: Float32[np.ndarray, "n d"],
        colours: Float32[np.ndarray, "n c"], *, labelling: GlobalLabelling,
    ) -> None:  # fmt: skip
        """Make the graphs that are asked by, and read the answers that the file, if there is one, holds.

        Args:
            file: links.csv; any other file holds no links.
            split: the training images.
            names: `read_names` of them.
            embeddings: of the network that they are clustered by.
            colours: as `extract` describes them.
            labelling: how they are clustered, and whether tracklets and their times are looked at.

        Raises:
            ValueError: as `read_links`.
        """
        self.file, self.split, self.names = file, split, names
        self._graphs = question_graphs(
            np.asarray(embeddings), np.asarray(colours), split.cameras, labelling=labelling
        )  # both out of their memory maps
        self._known = labelling.constraints
        self._todo: list[Pair] = []
        self._merges: Merges | None = None
        self.answered: list[Answered] = []
        self.read()

    @property
    def answers(self) -> list[tuple[str, str, Answer]]:
        """The answers as links.csv has them."""
        return [(self.name(one.first), self.name(one.second), one.answer) for one in self.answered]

    @property
    def training(self) -> str:
        """The command that trains with the answers."""
        return f"dvc exp run -S dataset={self.file.parent.name} -S recipe=assisted_cues"

    @property
    def merges(self) -> Merges:
        """The clusters that are asked about: those of the answers that there were when they were made, see `ROUND`."""
        self._merges = self._merges or best_merges(self._graphs, self.constraints())
        return self._merges

    def read(self) -> None:
        """Take the answers that the file holds now, none where there is no file.

        Raises:
            ValueError: as `read_links`.
        """
        self.answered = read_links(self.file, self.split) if self.file.suffix == ".csv" and self.file.is_file() else []

    def constraints(self) -> Constraints | None:
        """Return what is known by now.

        Raises:
            ValueError: where answers contradict each other, tracklets or times.
        """
        return known_constraints(self.split, known=self._known, answered=self.answered, names=self._called)

    def propose(self, count: int = ROUND) -> list[Pair]:
        """Make the clusters anew and return pairs of rows to ask, see `reidlib.labels.questions.propose`."""
        self._merges = None
        return propose(self.merges, self.split.cameras, asked=[one[:2] for one in self.answered], count=count)

    def question(self) -> Pair | None:
        """Return the pair of rows to ask now, the same one until it is answered or follows; None: nothing is left.

        Raises:
            ValueError: as `read_links`, `constraints`.
        """
        self.read()
        known, asked = self.constraints(), {frozenset(one[:2]) for one in self.answered}
        self._todo = [
            pair for pair in self._todo
            if frozenset(pair) not in asked and not (known is not None and known.settles(*pair))
        ]  # fmt: skip
        self._todo = self._todo or self.propose()
        return self._todo[0] if self._todo else None

    def answer(self, first: int, second: int, answer: Answer) -> None:
        """Keep an answer, here and in the file.

        Raises:
            ValueError: where it contradicts what is known, with the chain; it is then not kept.
        """
        self.read()
        self._keep([*self.answered, Answered(first, second, answer, 0)])

    def undo(self) -> bool:
        """Take the newest answer back, so that it is asked next; return whether there was one."""
        self.read()
        if not self.answered:
            return False
        *rest, last = self.answered
        self._keep(rest)
        self._todo.insert(0, (last.first, last.second))
        return True

    def take(self, file: Path) -> int:
        """Add the answers of another file, in which empty ones are left out; return how many.

        Raises:
            ValueError: as `read_links` and `answer`; nothing is kept then.
        """
        self.read()
        before = {one[:3] for one in self.answered}
        more = [one._replace(line=0) for one in read_links(file, self.split, empty=True)]
        new = [one for one in dict.fromkeys(more) if one[:3] not in before]
        self._keep([*self.answered, *new])
        return len(new)

    def sides(self, pair: Pair) -> tuple[Side, Side]:
        """Return both images of a pair with further ones of each."""
        first, second = (self._side(*one) for one in zip(pair, self.merges.parts(*pair), strict=True))
        return first, second

    def name(self, row: int) -> str:
        """Return the path of an image where links.csv can hold it, its id otherwise."""
        return self._called[row]

    @cached_property
    def _called(self) -> list[str]:
        return [
            path if image_id(path.encode(errors="replace")) == image else image
            for path, image in zip(self.names["path"].astype(str), self.split.ids, strict=True)
        ]

    def _keep(self, answered: list[Answered]) -> None:
        before, self.answered = self.answered, answered
        try:
            self.constraints()
        except ValueError:
            self.answered = before
            raise
        write_links(self.file, self.answers)

    def _side(self, row: int, part: Rows) -> Side:
        tracklets, cameras = self.split.tracklets, self.split.cameras
        own = tracklets == tracklets[row] if tracklets[row] >= 0 else np.zeros(len(self.split), bool)
        part = part[(part != row) & ~own[part]]
        order = np.argsort(cameras[part], kind="stable")
        starts = np.searchsorted(cameras[part][order], cameras[part][order])
        turns = np.lexsort((cameras[part][order], np.arange(len(part)) - starts))
        return Side(row, np.setdiff1d(np.flatnonzero(own), [row]), part[order][turns])


def open_asking(params: Mapping[str, Any], *, data: Path = Path("data")) -> Asking:
    """Return the questions of the dataset that params.yaml names, by its newest embeddings; answers go on.

    They are asked by the embeddings of the network that the pipeline trained, or, where it has trained none yet, by the
    initial ones.

    Args:
        params: dataset and refine.
        data: the folder of the datasets.

    Raises:
        FileNotFoundError: the pipeline has not come so far.
    """
    folder = data / params["dataset"]["name"]
    split = open_split(folder / "images/train", camera_labels=params["dataset"]["camera_labels"])
    trained, initial = folder / "embeddings/train/inter.npy", folder / "features/train.npy"
    embeddings = open_embeddings(trained if trained.is_file() else initial, images=len(split))
    colours = open_embeddings(folder / "features/colours.npy", images=len(split))
    names = read_names(folder / "names.parquet", among=split.ids)
    return Asking(folder / "links.csv", split, names, embeddings, colours, labelling=global_labelling(params))
