"""The network trained on one dataset + another's images and identities -> its retrieval there."""

from pathlib import Path

from reidlib.evaluation import Reranking, retrieval_report
from reidlib.features import embed_together
from reidlib.images.packing import open_split
from reidlib.images.table import read_identities, read_index
from reidlib.models.embedder import load_embedders
from reidlib.params import load_params
from stages import run, write_metrics


def main(*, inter: Path, images: Path, identities: Path, metrics: Path) -> None:
    """Measure the final network on a dataset that it was not trained on; nothing is adapted to it."""
    params = load_params()
    index, models = read_index(images), load_embedders(inter)
    who, sides = read_identities(identities, index), sorted({"query", "gallery"} & set(index["split"]))
    crops = {side: open_split(images, side) for side in sides}
    embedded = {side: embed_together(models, crops[side], flip=params.evaluate.flip) for side in sides}
    reranking = Reranking(**params.evaluate.reranking.values()) if params.evaluate.reranking else None
    found = retrieval_report(index, who, {"inter": embedded}, reranking=reranking, ranked_queries=0)
    if not found.results:
        raise ValueError(
            f"{identities}: expected known identities of queries and of the gallery, found none: nothing can be "
            "measured there; leave this dataset out of transfer.datasets"
        )
    write_metrics(metrics, {name.removeprefix("inter_"): value for name, value in found.values().items()})


if __name__ == "__main__":
    run(main)
