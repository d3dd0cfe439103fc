"""Cards, tables and matrices of the page, against the made-up run they are of."""

import numpy as np

from reidlib.report.findings import find
from reidlib.report.sections import LEVELS, cards, matrices, meaning_charts, model_rows, stage_rows, training_charts
from tests.made_up_run import CAMERA_NAMES, made_up_run


def test_cards_count_what_there_is():
    run = made_up_run(known=True)
    shown = {card["text"]: card["value"] for card in cards(run, find(run))}
    spans = [len(set(run.splits["train"].cameras[run.labels == cluster].tolist())) > 1 for cluster in range(8)]
    assert shown == {
        "individuals found": "8", "individuals in truth": "8", "of them doubtful": "3", "pictures trained on": "48",
        "pictures of no individual": "3", "cameras": "2", "mAP, percent": "81.3", "Rank-1, percent": "90.0",
        "of individuals on several cameras": f"{100 * np.mean(spans):.0f} %",
    }  # fmt: skip


def test_models_and_stages_are_told_apart():
    run = made_up_run(known=True)
    assert model_rows(run) == [
        ("after train_inter", ["81.3", "", "90.0", "", ""]),
        ("after train_inter, re-ranked", ["85.5", "", "", "", ""]),
    ]
    stages = {stage["name"]: stage["figures"] for stage in stage_rows(run)}
    assert stages == {"unzip": [("train images", "48")], "train_inter": [("loss", "1.25")],
                      "evaluate": [("inter clusters", "8")]}  # fmt: skip
    assert model_rows(made_up_run(known=False)) == []


def test_matrices_have_the_cameras_names_and_darker_cells_where_it_is_worse():
    run = made_up_run(known=True)
    tables = {table["title"]: table for table in matrices(run)}
    assert list(tables) == ["Retrieval", "Pictures joined", "Rightly joined", "Seen again"]
    for table in tables.values():
        assert table["names"] == list(CAMERA_NAMES) == [name for name, _ in table["rows"]]
        for _, cells in table["rows"]:
            for cell in cells:
                share = None if cell["text"] == "-" else int(cell["text"]) / 100
                assert 0 <= cell["level"] <= LEVELS and (share != 1 or cell["level"] == 0)
                assert share is None or share > 0.5 or cell["level"] == LEVELS
    assert (
        tables["Retrieval"]["rows"][0][1][1]["told"] == "8 queries"
        and tables["Retrieval"]["rows"][0][1][0]["text"] == "-"
    )
    assert [table["title"] for table in matrices(made_up_run(known=False))] == ["Seen again"]


def test_charts_are_there_where_their_tables_are():
    known, unknown = (made_up_run(known=known) for known in (True, False))
    assert [len(training_charts(run)) for run in (known, unknown)] == [3, 2]  # loss, clusters, and the CMC
    assert [len(meaning_charts(run)) for run in (known, unknown)] == [3, 1]
