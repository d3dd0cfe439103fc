"""Every table and picture of an evaluation, in one folder."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from reidlib.files import atomic_folder
from reidlib.images.split import Split
from reidlib.report.measures import RetrievalReport
from reidlib.report.titles import MODELS, TABLES
from reidlib.tables import write_csv


def write_results(
    folder: Path, tables: Mapping[str, pd.DataFrame], found: RetrievalReport, *, query: Split, gallery: Split
) -> None:
    """Write each table of curves and cmc.csv, and draw what there is of them: <name>.png, cmc.png, ranked_lists.png."""
    from reidlib.report.curves import draw_cmc, draw_curves  # matplotlib, which checks and transfer do without
    from reidlib.report.ranked_lists import draw_ranked_lists

    cmc = found.cmc()
    with atomic_folder(folder) as made:
        for name, table in tables.items():
            write_csv(made / f"{name}.csv", table)
            draw_curves(table, made / f"{name}.png", title=TABLES.get(name, name))
        write_csv(made / "cmc.csv", cmc)
        if len(cmc):
            models = {title: cmc[name].to_numpy() for name, title in MODELS.items() if name in cmc.columns}
            draw_cmc(models, made / "cmc.png", title="Queries found by rank")
        if found.lists:
            path = made / "ranked_lists.png"
            draw_ranked_lists(query, gallery, found.lists, path, identities=found.identities)
