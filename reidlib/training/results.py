"""What a stage of training leaves: networks, the labels of the kept and of all epochs, curves, embeddings."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int32

from reidlib.files import atomic_folder
from reidlib.images.split import Split
from reidlib.labels.pseudo_labels import write_labels
from reidlib.labels.quality import label_counts
from reidlib.models.description import Description
from reidlib.models.embedder import Embedder, save_embedder
from reidlib.tables import write_array, write_csv
from reidlib.training.history import History


@dataclass(frozen=True)
class TrainingResult:
    """What training leaves.

    Attributes:
        models: one network, or one per camera in the order of the camera numbers.
        labels: of the kept epoch.
        curves: epoch, loss, learning_rate and the labels' measures; camera too where each has a network.
        epochs: epoch (int16), row (int32) and label (int32) of every image in every epoch.
    """

    models: list[Embedder]
    labels: Int32[np.ndarray, "n"]
    curves: pd.DataFrame
    epochs: pd.DataFrame

    def summary(self) -> dict[str, float]:
        """Return the last epoch's loss (mean over networks), and the kept labels' clusters and share of outliers."""
        last = self.curves[self.curves["epoch"] == self.curves["epoch"].max()]
        return {"models": len(self.models), "loss": float(last["loss"].mean())} | label_counts(self.labels)


def training_result(model: Embedder, history: History, *, kept: int = -1, images: int | None = None) -> TrainingResult:
    """Return what a run leaves, as tables.

    Args:
        model: the network.
        history: of the run.
        kept: the epoch whose labels are kept.
        images: how many of the images count, the first ones; all without.
    """
    labels = [epoch[:images] for epoch in history.labels]
    rows = np.arange(len(labels[0]), dtype=np.int32)
    epochs = [pd.DataFrame({"epoch": np.int16(epoch), "row": rows, "label": each}) for epoch, each in enumerate(labels)]
    return TrainingResult([model], labels[kept], pd.DataFrame(history.curves), pd.concat(epochs, ignore_index=True))


def save_history(
    model: Embedder, history: History, folder: Path, curves: Path, *, split: Split, params: Mapping[str, Any]
) -> dict[str, float]:
    """Write what the run of one network leaves of the images of a split, and return its last epoch's measures.

    They are the first of the images it was trained on; what is written, see `save_training`. `params` (name, seed,
    dataset, unzip.interpolation) go into the model's file, with the size of the images.
    """
    facts = {
        "recipe": params["name"],
        "dataset": params["dataset"]["name"],
        "seed": params["seed"],
        "images": len(split),
        "cameras": int(split.rows["camera"].nunique()),
        "epochs": len(history.curves),
    }
    size = (int(split.images.shape[1]), int(split.images.shape[2]))
    described = Description(
        architecture=model.architecture,
        picture_size_px=size,
        picture_interpolation=params["unzip"]["interpolation"],
        training=facts,
    )
    trained = training_result(model, history, images=len(split))
    save_training(trained, folder, curves, images=split.ids, description=described)
    return history.curves[-1]


def save_training(
    trained: TrainingResult,
    folder: Path,
    curves: Path,
    *,
    images: pd.Series,
    name: str = "model",
    arrays: Mapping[str, Float32[np.ndarray, "n d"]] | None = None,
    description: Description | None = None,
) -> None:
    """Write a folder that appears whole, and the curves.

    Args:
        trained: what is written.
        folder: for network(s), labels.parquet (of the kept epoch) and epochs.parquet (of all).
        curves: a CSV.
        images: ids of the images.
        name: of the networks' files, {} being their number.
        arrays: embeddings to write beside them, by the names of their files.
        description: what the file of the one network tells beside its weights.
    """
    with atomic_folder(folder) as made:
        for number, network in enumerate(trained.models):
            save_embedder(network, made / f"{name.format(number)}.safetensors", description)
        for file, array in (arrays or {}).items():
            write_array(made / file, array)
        write_labels(made / "labels.parquet", images=images, labels=trained.labels)
        trained.epochs.to_parquet(made / "epochs.parquet", index=False)
    write_csv(curves, trained.curves)
