"""The sparse k-reciprocal Jaccard distance, neighbours being known, against dense arrays by the definition.

    python -m benchmarks.jaccard [--n 12936] [--preset late|early] [--max-distance 0.6] [--json]

Pairs further apart than --max-distance are not stored (clustering by DBSCAN at .6 needs no others); with 1 everything
is. The dense baseline runs up to --baseline-up-to rows (it holds several N × N arrays) and must agree to 1e-5. Beyond
50,000 rows neighbours are sought within shards (`benchmarks.features.neighbours`).
"""

import numpy as np

from benchmarks import measure
from benchmarks.baselines_neighbours import dense_jaccard
from benchmarks.features import EXACT_UP_TO, features, neighbours, purity
from benchmarks.measure import compare, report
from reidlib.neighbours.jaccard import jaccard_from_neighbours


def check(matrix, distances: np.ndarray, max_distance: float) -> None:
    entries = matrix.tocoo()
    if np.abs(distances[entries.row, entries.col] - entries.data).max() > 1e-5:
        raise RuntimeError("the distances differ from the definition's")
    if matrix.nnz < (distances < min(max_distance, 1.0) - 1e-5).sum():
        raise RuntimeError("pairs are missing")


def main() -> None:
    sizes = {"n": 12936, "d": 2048, "k1": 30, "k2": 6, "baseline_up_to": 4000}
    options = measure.options(__doc__, **sizes, preset="late", max_distance=0.6, repeats=5).parse_args()
    embeddings, identities, _ = features(options.n, preset=options.preset, d=options.d)
    similarities, indices = neighbours(embeddings, identities, k=options.k1)
    found = {}

    def ours() -> None:
        found["ours"] = jaccard_from_neighbours(
            embeddings, indices, k2=options.k2, max_distance=options.max_distance, similarities=similarities
        )

    def baseline() -> None:
        found["dense"] = dense_jaccard(embeddings, indices, k2=options.k2)

    dense = options.n <= options.baseline_up_to
    figures = compare(ours, baseline if dense else None, repeats=options.repeats)
    if dense:
        check(found["ours"], found["dense"], options.max_distance)
    report(
        {
            "benchmark": "jaccard",
            "size": options.n,
            "dimension": options.d,
            "preset": options.preset,
            "neighbours": "exact" if options.n <= EXACT_UP_TO else "sharded",
            "purity": purity(indices, identities),
            "max_distance": options.max_distance,
            "entries_per_row": found["ours"].nnz / options.n,
            **figures,
            "baseline": "dense numpy" if dense else None,
        },
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
