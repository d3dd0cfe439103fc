"""Every table and picture of an evaluation, in one folder."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from reidlib.files import atomic_folder
from reidlib.images.names import camera_names
from reidlib.images.split import Split
from reidlib.report.measures import RetrievalReport
from reidlib.report.titles import MODELS, TABLES
from reidlib.tables import write_csv


def write_results(
    folder: Path, tables: Mapping[str, pd.DataFrame], found: RetrievalReport, *, query: Split, gallery: Split,
    rows: pd.DataFrame, names: pd.DataFrame,
) -> None:  # fmt: skip
    """Write each table of curves, cmc.csv, det.csv and reliability.csv, and draw what there is.

    Pictures are <name>.png, cmc.png, det.png and ranked_lists.png.

    `rows` are those of the training images, `names` what all images and their cameras are called: a table with a column
    `camera` (-1 = all together) gets another with the cameras' names.
    """
    from reidlib.report.curves import draw_cmc, draw_curves, draw_det  # matplotlib, which transfer does without
    from reidlib.report.ranked_lists import draw_ranked_lists

    cmc, called = found.cmc(), names.set_index("image")["camera"]
    known = {-1: "all", **camera_names(rows, names)}
    with atomic_folder(folder) as made:
        for name, table in tables.items():
            named = {"camera_name": [known.get(number, "") for number in table["camera"]]} if "camera" in table else {}
            write_csv(made / f"{name}.csv", table.assign(**named))
            draw_curves(table, made / f"{name}.png", title=TABLES.get(name, name))
        write_csv(made / "cmc.csv", cmc)
        if len(cmc):
            models = {title: cmc[name].to_numpy() for name, title in MODELS.items() if name in cmc.columns}
            draw_cmc(models, made / "cmc.png", title="Queries found by rank")
        if len(found.verified.det):
            write_csv(made / "det.csv", found.verified.det)
            write_csv(made / "reliability.csv", found.verified.reliability)
            draw_det(found.verified.det, made / "det.png", title="Errors of the final network by threshold")
        if found.lists:
            path = made / "ranked_lists.png"
            cameras = {"query": called[query.ids].tolist(), "gallery": called[gallery.ids].tolist()}
            draw_ranked_lists(query, gallery, found.lists, path, identities=found.identities, cameras=cameras)
