"""Embeddings, labels, identities and names -> metrics, tables, pictures. No stage that trains reads identities."""

from pathlib import Path

import pandas as pd

from reidlib.images.identities import read_identities
from reidlib.images.names import read_names
from reidlib.images.split import open_split, read_rows
from reidlib.report.clusters import cluster_table, write_clusters
from reidlib.report.measures import read_embeddings, retrieval_report
from reidlib.report.results import write_results
from reidlib.report.runs import label_report, read_runs
from reidlib.settings import arguments, load_params
from reidlib.tables import write_metrics
from stages import run


def main(*, embeddings: Path, identities: Path, names: Path, query: Path, gallery: Path, calibration: Path, intra: Path,
         inter: Path, curves: Path, report: Path, clusters: Path, metrics: Path) -> None:  # fmt: skip
    """Measure the initial, the intra-camera and the final network(s), and its calibration; say who is where."""
    params = load_params("dataset.camera_labels", "refine.k1", "refine.k2", "evaluate")
    rows, labelled = read_rows(embeddings / "train"), params["dataset"]["camera_labels"]
    sides = {name: open_split(path, camera_labels=labelled) for name, path in (("query", query), ("gallery", gallery))}
    images = {"train": rows["image"]} | {name: split.ids for name, split in sides.items()}
    networks = read_embeddings(embeddings, images=images)
    every = pd.concat(images.values())
    known, called = read_identities(identities, among=every), read_names(names, among=every)
    runs = read_runs({"intra": intra, "inter": inter}, curves, images=rows["image"], networks=networks)
    labelling = arguments(params["dataset"] | params["refine"], of=label_report, where="refine")
    values, tables = label_report(runs, rows, known, **labelling)
    ranking = arguments(params["evaluate"], of=retrieval_report, where="evaluate", given=("calibration",))
    found = retrieval_report(sides["query"], sides["gallery"], known, networks, calibration=calibration, **ranking)
    write_results(report, tables, found, **sides, rows=rows, names=called)
    write_clusters(clusters, cluster_table(runs["inter"], rows["image"], called))
    write_metrics(metrics, found.values() | values)


if __name__ == "__main__":
    run(main)
