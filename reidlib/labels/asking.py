"""A person's answers as they come: what to ask next, and links.csv, which has every answer as soon as it is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reidlib.images.names import read_names
from reidlib.images.split import Split, image_id, open_split
from reidlib.labels.constraints import Constraints
from reidlib.labels.global_labelling import global_labelling
from reidlib.labels.graphs import Distances
from reidlib.labels.links import Answer, Answered, Known, known_constraints, read_links, write_links
from reidlib.labels.questions import ROUND, Pair, propose, question_graphs
from reidlib.tables import open_embeddings


@dataclass(kw_only=True)
class Asking:
    """Answers given so far, and what follows from them.

    Attributes:
        file: links.csv, written anew with every answer.
        split: the training images.
        names: of these images; paths, as a person knows them.
        graphs: distances of the images, see `question_graphs`.
        known: whether tracklets, and their times, are looked at.
        answered: by row, in the order in which they were given.
    """

    file: Path
    split: Split
    names: pd.DataFrame
    graphs: Sequence[Distances]
    known: Known
    answered: list[Answered]

    @property
    def answers(self) -> list[tuple[str, str, Answer]]:
        """The answers as links.csv has them."""
        return [(self.name(one.first), self.name(one.second), one.answer) for one in self.answered]

    def constraints(self) -> Constraints | None:
        """Return what is known by now.

        Raises:
            ValueError: where answers contradict each other, tracklets or times.
        """
        return known_constraints(self.split, known=self.known, answered=self.answered)

    def propose(self, count: int = ROUND) -> list[Pair]:
        """Return pairs of rows to ask, see `reidlib.labels.questions.propose`."""
        asked = [one[:2] for one in self.answered]
        return propose(self.graphs, self.split.cameras, self.constraints(), asked=asked, count=count)

    def answer(self, first: int, second: int, answer: Answer) -> None:
        """Keep an answer, here and in the file.

        Raises:
            ValueError: where it contradicts what is known, with the chain; it is then not kept.
        """
        self.answered.append(Answered(first, second, answer, len(self.answered) + 2))
        try:
            self.constraints()
        except ValueError:
            del self.answered[-1]
            raise
        write_links(self.file, self.answers)

    def undo(self) -> bool:
        """Take the newest answer back; return whether there was one."""
        if not self.answered:
            return False
        del self.answered[-1]
        write_links(self.file, self.answers)
        return True

    def take(self, file: Path) -> int:
        """Add the answers of another file, in which empty ones are left out; return how many.

        Raises:
            ValueError: as `read_links` and `answer`; nothing is kept then.
        """
        before = list(self.answered)
        for one in read_links(file, self.split, empty=True):
            if (one.first, one.second, one.answer) not in [kept[:3] for kept in self.answered]:
                self.answered.append(one._replace(line=len(self.answered) + 2))
        try:
            self.constraints()
        except ValueError:
            self.answered = before
            raise
        write_links(self.file, self.answers)
        return len(self.answered) - len(before)

    def name(self, row: int) -> str:
        """Return the path of an image where links.csv can hold it, its id otherwise."""
        path, image = str(self.names["path"].iloc[row]), str(self.split.ids.iloc[row])
        return path if image_id(path.encode(errors="replace")) == image else image


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
    labelling = global_labelling(params)
    graphs = question_graphs(np.asarray(embeddings), np.asarray(colours), split.cameras, labelling=labelling)
    file = folder / "links.csv"
    answered = read_links(file, split) if file.is_file() else []
    names = read_names(folder / "names.parquet", among=split.ids)
    return Asking(file=file, split=split, names=names, graphs=graphs, known=labelling.constraints, answered=answered)
