"""Embeddings of the final network and its labels -> what its cosines mean, learnt without an identity."""

from pathlib import Path

import numpy as np

from reidlib.calibration.calibration import write_calibration
from reidlib.calibration.fit import calibrate, summary
from reidlib.calibration.pairs import Pictures
from reidlib.images.split import read_rows
from reidlib.labels.pseudo_labels import read_labels
from reidlib.settings import arguments, load_params
from reidlib.tables import open_embeddings, write_metrics
from stages import run


def main(*, embeddings: Path, inter: Path, calibration: Path, metrics: Path) -> None:
    """Learn P(same | cosine) and thresholds from pictures that the network was not trained on."""
    params = load_params("seed", "dataset.camera_labels", "calibrate")
    values = arguments(params["calibrate"], of=calibrate, where="calibrate", given=("seed",))
    rows = {name: read_rows(embeddings / name) for name in ("train", "query", "gallery")}
    splits = {
        name: Pictures(
            open_embeddings(embeddings / name / "inter.npy", images=len(table)),
            table["camera"].to_numpy() * np.int16(params["dataset"]["camera_labels"]),
            read_labels(inter / "labels.parquet", images=table["image"]) if name == "train" else None,
        )
        for name, table in rows.items()
    }
    learnt = calibrate(splits["query"].beside(splits["gallery"]), splits["train"], seed=params["seed"], **values)
    write_calibration(calibration, learnt)
    write_metrics(metrics, summary(learnt))


if __name__ == "__main__":
    run(main)
