"""Every picture of an evaluation, in one folder."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from reidlib.report.curves import draw_cmc, draw_curves
from reidlib.report.ranked_lists import Split, draw_ranked_lists
from reidlib.report.tables import MODELS

TITLES = {
    "train_intra": "Training inside cameras (train_intra)",
    "train_inter": "Training across cameras (train_inter)",
    "label_quality_intra": "Pseudo-labels of train_intra against the identities (thin lines: each camera)",
    "label_quality_inter": "Pseudo-labels of train_inter against the identities (thin lines: each camera)",
}


def draw_results(
    folder: Path,
    *,
    curves: Mapping[str, pd.DataFrame],
    cmc: pd.DataFrame,
    query: Split | None = None,
    gallery: Split | None = None,
    lists: Mapping[int, Int[np.ndarray, "_"]],
) -> None:
    """Draw what there is: each table of curves as <name>.png, cmc.png, and ranked_lists.png.

    Without identities `cmc` (rank, and the CMC of each model as shares) and `lists` (ranked gallery rows of a few
    queries) are empty, and neither queries nor gallery are needed.
    """
    for name, table in curves.items():
        draw_curves(table, folder / f"{name}.png", title=TITLES.get(name, name))
    if len(cmc):
        models = {title: cmc[name].to_numpy() for name, title in MODELS.items() if name in cmc.columns}
        draw_cmc(models, folder / "cmc.png", title="Queries found by rank")
    if lists and query is not None and gallery is not None:
        draw_ranked_lists(query, gallery, lists, folder / "ranked_lists.png", title="Ranked lists of the final model")
