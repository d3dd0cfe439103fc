"""What a run left, as the page needs it: pictures, embeddings, labels, who is known, what was measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int32, Int64, UInt8

from reidlib.calibration.calibration import Calibration, read_calibration
from reidlib.images.identities import known_identities, read_identities
from reidlib.images.names import camera_names, read_names
from reidlib.images.split import Split, read_rows
from reidlib.labels.asking import Asking
from reidlib.labels.global_labelling import GlobalLabelling
from reidlib.labels.pseudo_labels import read_labels
from reidlib.report.measured import Measured, read_measured
from reidlib.tables import open_embeddings, require_same_images


@dataclass(frozen=True)
class Material:
    """What is known of every image of a dataset after a run.

    Attributes:
        splits: `train`, `query` and `gallery`, the latter two perhaps empty.
        embeddings: of each split by the final network.
        labels: of the training images, -1 = outlier.
        epochs: epoch, row and label of every epoch of the last training stage.
        identities: of each split, 0 = distractor, -1 = unknown.
        names: image, path, camera, tracklet of every image, split after split.
        calibration: of the final network.
        measured: by all stages.
        asking: what a person may be asked; it knows no identity.
    """

    splits: Mapping[str, Split]
    embeddings: Mapping[str, Float32[np.ndarray, "_ d"]]
    labels: Int32[np.ndarray, "n"]
    epochs: pd.DataFrame
    identities: Mapping[str, Int32[np.ndarray, "_"]]
    names: pd.DataFrame
    calibration: Calibration
    measured: Measured
    asking: Asking

    @cached_property
    def cameras(self) -> dict[int, str]:
        """The name of each camera that any image is of, by its number."""
        if not self.splits["train"].camera_labels:
            return {0: "all cameras"}
        rows = pd.concat([split.rows[["image", "camera"]] for split in self.splits.values()])
        return dict(sorted(camera_names(rows, self.names).items()))

    def places(self, split: str) -> Int64[np.ndarray, "_"]:
        """Return the camera of each image of a split as its place in `cameras`."""
        return np.searchsorted(np.array(list(self.cameras)), self.splits[split].cameras).astype(np.int64)

    def picture(self, split: str, row: int) -> UInt8[np.ndarray, "h w 3"]:
        """Return an image, out of the memory map."""
        return np.array(self.splits[split].images[row])

    @property
    def known(self) -> bool:
        """Whether queries and gallery have known identities, so that right and wrong can be told."""
        return all((self.identities[name] > 0).any() for name in ("query", "gallery"))


def read_material(
    splits: Mapping[str, Split], *, embeddings: Path, inter: Path, identities: Path, names: Path, calibration: Path,
    measured: Path, features: Path, links: Path, labelling: GlobalLabelling,
) -> Material:  # fmt: skip
    """Read what the stages left of these splits.

    Args:
        splits: `train`, `query`, `gallery`.
        embeddings: the folder that the stage `embed` writes.
        inter: that of the last training stage.
        identities: what `unzip` wrote apart.
        names: likewise.
        calibration: a file.
        measured: the folder of <stage>.json, curves and tables.
        features: the folder that the stage `extract` writes.
        links: links.csv, where the recipe is one with a person's answers; any other file holds none.
        labelling: how images of all cameras are clustered.

    Raises:
        ValueError: where a file is damaged or of other images.
        FileNotFoundError: where one is missing.
    """
    for name, split in splits.items():
        require_same_images(read_rows(embeddings / name)["image"], split.ids, where=embeddings / name)
    every = pd.concat([split.ids for split in splits.values()])
    known, called = read_identities(identities, among=every), read_names(names, among=every)
    of_all = {
        name: open_embeddings(embeddings / name / "inter.npy", images=len(split)) for name, split in splits.items()
    }
    train, own = splits["train"], called.head(len(splits["train"]))
    colours = open_embeddings(features / "colours.npy", images=len(train))
    return Material(
        splits=splits,
        embeddings=of_all,
        labels=read_labels(inter / "labels.parquet", images=splits["train"].ids),
        epochs=pd.read_parquet(inter / "epochs.parquet"),
        identities={name: known_identities(split.ids, known) for name, split in splits.items()},
        names=called,
        calibration=read_calibration(calibration),
        measured=read_measured(measured),
        asking=Asking(links, train, own, of_all["train"], colours, labelling=labelling),
    )
