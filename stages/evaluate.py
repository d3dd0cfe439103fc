"""Models, labels and identities -> metrics, tables and pictures. The only stage that reads identities."""

from pathlib import Path

import pandas as pd

from reidlib.artifacts import atomic_folder
from reidlib.evaluation import Reranking, known_identities, quality_tables, retrieval_report, unlabelled_values
from reidlib.features import embed_together, open_embeddings
from reidlib.images.packing import open_split
from reidlib.images.table import read_identities, read_index
from reidlib.images.training import read_training
from reidlib.labels.tables import read_labels
from reidlib.models.embedder import load_embedders
from reidlib.params import load_params
from reidlib.report.ranked_lists import Split
from reidlib.report.results import draw_results
from stages import run, write_metrics, write_table


def main(
    *,
    images: Path,
    identities: Path,
    features: Path,
    intra: Path,
    inter: Path,
    curves: Path,
    report: Path,
    metrics: Path,
) -> None:
    """Measure the initial features, the intra-camera network(s) and the final network."""
    params = load_params()
    index = read_index(images)
    who, (ids, cameras) = read_identities(identities, index), read_training(images, **params.cameras())
    crops = {split: open_split(images, split) for split in index["split"].unique()}
    initial = {split: open_embeddings(features / f"{split}.npy", images=len(crops[split])) for split in crops}
    embedded, tables = {"initial": initial}, {}
    values: dict[str, float] = {}
    for name, folder in {"intra": intra, "inter": inter}.items():
        models, labels = load_embedders(folder), read_labels(folder / "labels.parquet", images=ids)
        embedded[name] = {split: embed_together(models, crops[split], flip=params.evaluate.flip) for split in crops}
        values |= unlabelled_values(name, embedded[name]["train"], labels, cameras, **params.jaccard())
        tables[f"train_{name}"] = pd.read_csv(curves / f"train_{name}.csv")
        tables |= quality_tables(name, pd.read_parquet(folder / "epochs.parquet"), known_identities(ids, who))
    reranking = Reranking(**params.evaluate.reranking.values()) if params.evaluate.reranking else None
    found = retrieval_report(index, who, embedded, reranking=reranking, ranked_queries=params.evaluate.ranked_queries)
    sides = {side: Split(crops[side], *facts) for side, facts in found.facts.items()}
    with atomic_folder(report) as folder:
        for name, table in (tables | {"cmc": found.cmc()}).items():
            write_table(folder / f"{name}.csv", table)
        draw_results(folder, curves=tables, cmc=found.cmc(), lists=found.lists, **sides)
    write_metrics(metrics, found.values() | values)
    if not found.results:
        print("no query has a known identity: mAP, mINP, CMC and ranked lists cannot be known, label quality neither")


if __name__ == "__main__":
    run(main)
