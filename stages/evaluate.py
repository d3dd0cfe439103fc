"""Embeddings, labels and identities -> metrics, tables and pictures. The only stage that reads identities."""

from pathlib import Path

import pandas as pd

from reidlib.calibration.calibration import read_calibration
from reidlib.images.identities import read_identities
from reidlib.images.split import open_split, read_rows
from reidlib.report.measures import read_embeddings, retrieval_report
from reidlib.report.results import write_results
from reidlib.report.runs import label_report, read_runs
from reidlib.report.verification import verification_report
from reidlib.settings import arguments, arguments_of_each, load_params
from reidlib.tables import write_metrics
from stages import run


def main(*, embeddings: Path, identities: Path, query: Path, gallery: Path, calibration: Path, intra: Path, inter: Path,
         curves: Path, report: Path, metrics: Path) -> None:  # fmt: skip
    """Measure the initial embeddings, the intra-camera network(s), the final network and its calibration."""
    params = load_params("dataset.camera_labels", "refine.k1", "refine.k2", "evaluate")
    rows = read_rows(embeddings / "train")
    sides = {"query": open_split(query), "gallery": open_split(gallery)}
    images = {"train": rows["image"]} | {name: split.ids for name, split in sides.items()}
    networks = read_embeddings(embeddings, images=images)
    known = read_identities(identities, among=pd.concat(images.values()))
    runs = read_runs({"intra": intra, "inter": inter}, curves, images=rows["image"], networks=networks)
    labelling = arguments(params["dataset"] | params["refine"], of=label_report, where="refine")
    values, tables = label_report(runs, rows, known, **labelling)
    used = arguments_of_each(params["evaluate"], of=[retrieval_report, verification_report], where="evaluate")
    both, learnt = (sides["query"], sides["gallery"]), read_calibration(calibration)
    found = retrieval_report(*both, known, networks, **used[0])
    verified = verification_report(*both, known, networks["inter"], learnt, **used[1])
    write_results(report, tables, found, verified, **sides)
    write_metrics(metrics, found.values() | verified.values() | values)


if __name__ == "__main__":
    run(main)
