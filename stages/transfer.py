"""The network trained on one dataset + another's images and identities -> its retrieval there."""

from pathlib import Path

from reidlib.embed import embed_together
from reidlib.images.identities import read_identities
from reidlib.images.split import open_split
from reidlib.models.embedder import load_embedders
from reidlib.report.measures import retrieval_report
from reidlib.settings import arguments, load_params
from reidlib.tables import write_metrics
from stages import run


def main(*, inter: Path, query: Path, gallery: Path, identities: Path, metrics: Path) -> None:
    """Measure the final network on a dataset that it was not trained on; nothing is adapted to it."""
    params = load_params("embed", "evaluate.reranking")
    settings = arguments(params["embed"], of=embed_together, where="embed", given=("cameras",))
    sides = {"query": open_split(query), "gallery": open_split(gallery)}
    models = load_embedders(inter)
    embedded = {name: embed_together(models, split.images, **settings) for name, split in sides.items()}
    known = read_identities(identities)
    retrieval = params["evaluate"] | {"ranked_queries": 0}
    found = retrieval_report(sides["query"], sides["gallery"], known, {"inter": embedded}, **retrieval)
    if not found.results:
        raise ValueError(
            f"{identities}: expected known identities of queries and of the gallery, found none: nothing can be "
            "measured there; leave this dataset out of transfer.datasets"
        )
    write_metrics(metrics, {name.removeprefix("inter_"): value for name, value in found.values().items()})


if __name__ == "__main__":
    run(main)
