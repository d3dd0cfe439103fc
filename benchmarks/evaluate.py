"""mAP, mINP and CMC: without the product against sorting every row, with it against the matrix product alone.

    python -m benchmarks.evaluate [--queries 3368] [--gallery 15913] [--preset late|early] [--json]

prints one line per question. Both sides run in one process on the same made embeddings (benchmarks.features), and must
give the same values. Sorting is run on at most `--sorted` queries and its time scaled to all (rows are independent).
"""

from typing import Any

import numpy as np

from benchmarks.baselines_retrieval import evaluate_by_sorting
from benchmarks.features import features
from benchmarks.measure import compare, options, peak_extra_mib, report
from reidlib.retrieval.metrics import TILE_BYTES, cosine_tiles, evaluate

SCORES_MIB = 1024  # the scores given to the measurement without the product
SCORING = 128  # length of the embeddings that they are made from


def made(
    queries: int, gallery: int, *, dimension: int, preset: str
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Embeddings of queries and gallery, with their identities and cameras by the names that `evaluate` takes."""
    embeddings, identities, cameras = features(queries + gallery, preset=preset, d=dimension)
    sides = {"query": slice(0, queries), "gallery": slice(queries, queries + gallery)}
    numbers = {f"{side}_identities": identities[rows] + 1 for side, rows in sides.items()}
    numbers |= {f"{side}_cameras": cameras[rows] for side, rows in sides.items()}
    return embeddings[sides["query"]], embeddings[sides["gallery"]], numbers


def without_product(queries: int, gallery: int, *, preset: str, at_most: int, repeats: int) -> dict[str, Any]:
    """Metrics of given scores against sorting every row; as many queries as fit in SCORES_MIB of scores."""
    queries = min(queries, SCORES_MIB * 2**20 // (4 * gallery))
    query, items, numbers = made(queries, gallery, dimension=SCORING, preset=preset)
    scores = query @ items.T
    some = min(queries, at_most)
    fewer = {name: values[:some] if name.startswith("query") else values for name, values in numbers.items()}

    results: dict[str, tuple[float, float]] = {}

    def ours() -> None:
        evaluate([(slice(0, queries), scores)], **numbers)

    def sorting() -> None:
        results["sorting"] = evaluate_by_sorting(scores[:some], **fewer)[:2]

    figures = compare(ours, sorting, repeats=repeats)
    scale = queries / some
    found = evaluate([(slice(0, some), scores[:some])], **fewer)
    if (found.mAP, found.mINP) != results["sorting"]:
        raise RuntimeError(f"the two ways differ: {(found.mAP, found.mINP)} and {results['sorting']}")
    return {
        "benchmark": "evaluate",
        "method": "metrics",
        "preset": preset,
        "size": gallery,
        "queries": queries,
        "mAP": found.mAP,
        **figures,
        "baseline": "sorting",
        "baseline_queries": some,
        "baseline_seconds": scale * (figures["baseline_seconds"] or 0),
        "baseline_peak_extra_mib": peak_extra_mib(sorting),
        "ratio": scale * (figures["ratio"] or 0),
    }


def with_product(queries: int, gallery: int, *, preset: str, dimension: int, repeats: int) -> dict[str, Any]:
    """Everything from the embeddings on against the matrix product alone, in tiles of the same size."""
    query, items, numbers = made(queries, gallery, dimension=dimension, preset=preset)
    rows = min(queries, max(1, TILE_BYTES // (4 * gallery)))

    def product() -> None:
        buffer = np.empty((rows, gallery), np.float32)
        for start in range(0, queries, rows):
            part = query[start : start + rows]
            np.matmul(part, items.T, out=buffer[: len(part)])

    def whole() -> None:
        evaluate(cosine_tiles(query, items), **numbers)

    figures = compare(whole, product, repeats=repeats)
    return {
        "benchmark": "evaluate",
        "method": "with_product",
        "preset": preset,
        "size": gallery,
        "queries": queries,
        "dimension": dimension,
        **figures,
        "baseline": "matrix product alone",
    }


def main() -> None:
    sizes = {"queries": 3368, "gallery": 15913, "dimension": 2048, "sorted": 1000}
    given = options(__doc__, **sizes, preset="late", repeats=7).parse_args()
    shared = {"preset": given.preset, "repeats": given.repeats}
    for row in (
        without_product(given.queries, given.gallery, at_most=given.sorted, **shared),
        with_product(given.queries, given.gallery, dimension=given.dimension, **shared),
    ):
        report(row, as_json=given.json)


if __name__ == "__main__":
    main()
