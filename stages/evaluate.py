"""Models, labels and identities -> metrics, tables and pictures. The only stage that reads identities."""

from pathlib import Path

from reidlib.artifacts import atomic_folder
from reidlib.evaluation import Reranking, label_report, read_runs, retrieval_report
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
    params, index = load_params(), read_index(images)
    who, (ids, cameras) = read_identities(identities, index), read_training(images, index=index, **params.cameras())
    crops = {split: open_split(images, split) for split in index["split"].unique()}
    initial = {side: open_embeddings(features / f"{side}.npy", images=len(crops[side])) for side in crops}
    runs = read_runs({"intra": intra, "inter": inter}, curves, images=ids, crops=crops, flip=params.evaluate.flip)
    embedded = {"initial": initial} | {name: trained.embeddings for name, trained in runs.items()}
    values, tables = label_report(runs, known_identities(ids, who), cameras, **params.jaccard())
    reranking = Reranking(**params.evaluate.reranking.values()) if params.evaluate.reranking else None
    found = retrieval_report(index, who, embedded, reranking=reranking, ranked_queries=params.evaluate.ranked_queries)
    with atomic_folder(report) as pictures:
        for name, table in (tables | {"cmc": found.cmc()}).items():
            write_table(pictures / f"{name}.csv", table)
        sides = {side: Split(crops[side], *facts) for side, facts in found.facts.items()}
        draw_results(pictures, curves=tables, cmc=found.cmc(), lists=found.lists, **sides)
    write_metrics(metrics, found.values() | values)


if __name__ == "__main__":
    run(main)
