"""Models, labels and identities -> metrics, tables and pictures. The only stage that reads identities."""

from pathlib import Path

import pandas as pd

from reidlib.artifacts import atomic_folder
from reidlib.evaluation import (
    Reranking,
    quality_tables,
    read_run,
    retrieval_report,
    unlabelled_values,
    was_trained,
)
from reidlib.features import open_embeddings
from reidlib.images.packing import open_split
from reidlib.images.table import known_identities, read_identities, read_index
from reidlib.images.training import read_training
from reidlib.params import load_params
from reidlib.report.ranked_lists import Split
from reidlib.report.results import draw_results
from stages import run, write_metrics, write_table


def main(
    *, images: Path, identities: Path, features: Path, intra: Path, inter: Path, curves: Path, report: Path,
    metrics: Path,
) -> None:  # fmt: skip
    """Measure the initial features, the intra-camera network(s) and the final network."""
    params = load_params()
    index, flip = read_index(images), params.evaluate.flip
    who, (ids, cameras) = read_identities(identities, index), read_training(images, **params.cameras())
    people = known_identities(ids, who)
    crops = {split: open_split(images, split) for split in index["split"].unique()}
    embedded = {"initial": {side: open_embeddings(features / f"{side}.npy", images=len(crops[side])) for side in crops}}
    values: dict[str, float] = {}
    tables: dict[str, pd.DataFrame] = {}
    for name, folder in {"intra": intra, "inter": inter}.items():
        if not was_trained(curves / f"train_{name}.csv"):
            continue
        trained = read_run(folder, curves / f"train_{name}.csv", images=ids, crops=crops, flip=flip)
        embedded[name] = dict(trained.embeddings)
        values |= unlabelled_values(name, embedded[name]["train"], trained.labels, cameras, **params.jaccard())
        tables |= quality_tables(name, trained.epochs, people, cameras)
        tables[f"train_{name}"] = trained.curves
    reranking = Reranking(**params.evaluate.reranking.values()) if params.evaluate.reranking else None
    found = retrieval_report(index, who, embedded, reranking=reranking, ranked_queries=params.evaluate.ranked_queries)
    with atomic_folder(report) as pictures:
        for name, table in (tables | {"cmc": found.cmc()}).items():
            write_table(pictures / f"{name}.csv", table)
        sides = {side: Split(crops[side], *facts) for side, facts in found.facts.items()}
        draw_results(pictures, curves=tables, cmc=found.cmc(), lists=found.lists, **sides)
    write_metrics(metrics, found.values() | values)
    if not found.results:
        print("no query has a known identity: mAP, mINP, CMC and ranked lists cannot be known")


if __name__ == "__main__":
    run(main)
