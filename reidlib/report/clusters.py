"""Which of the files are in which cluster: the result that a person takes home."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from reidlib.files import atomic_folder
from reidlib.labels.centres import cluster_centres
from reidlib.report.runs import TrainedRun
from reidlib.tables import write_csv, write_parquet

COLUMNS: Mapping[str, str] = {
    **dict.fromkeys(("path", "camera", "tracklet"), "string"),
    **{"cluster": "int32", "distance": "float", "image": "string"},
}


def cluster_table(run: TrainedRun, images: pd.Series, names: pd.DataFrame) -> pd.DataFrame:
    """Return a row per image, cluster by cluster, in each the image nearest to the cluster's centre first.

    Columns: path, camera and tracklet as in the archive, cluster (-1 = outlier, at the end), distance to the cluster's
    centre (1 - cosine, 0 to 2; an outlier has none), image (its id).

    Args:
        run: its labels and embeddings.
        images: the ids of its images.
        names: of these images and others, as `reidlib.images.names.read_names` gives them.
    """
    labels, embeddings = run.labels, run.embeddings
    named = names.set_index("image").loc[images.to_numpy()].reset_index(names="image")
    table = named.assign(cluster=labels.astype(np.int32), distance=np.float32(np.nan))
    inside = labels >= 0
    if inside.any():
        centres = cluster_centres(embeddings, labels)
        cosines = np.einsum("nd,nd->n", embeddings[inside], centres[labels[inside]])
        table.loc[inside, "distance"] = np.clip(1 - cosines, 0, 2).astype(np.float32)
    last = table["cluster"].where(inside, np.iinfo(np.int32).max)
    order = np.lexsort((table["path"], table["distance"].fillna(0), last))
    return table.iloc[order][list(COLUMNS)].reset_index(drop=True)


def write_clusters(folder: Path, table: pd.DataFrame) -> None:
    """Write what `cluster_table` returned as images.parquet and, for a spreadsheet, images.csv."""
    with atomic_folder(folder) as made:
        write_parquet(made / "images.parquet", table, columns=COLUMNS)
        write_csv(made / "images.csv", table)
