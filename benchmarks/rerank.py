"""k-reciprocal re-ranking of Market-1501's size, with the neighbour search and the product timed apart.

    python -m benchmarks.rerank [--queries 3368] [--gallery 15913] [--d 2048] [--preset late] [--json]

`median_seconds` is everything, `search_seconds` the neighbour search in it, `beyond_search_seconds` the rest. The dense
baseline (neighbours given) runs up to --baseline-up-to rows in all and must agree to 1e-5.
"""

import argparse

import numpy as np

from benchmarks.baselines_neighbours import dense_reranking
from benchmarks.features import features
from benchmarks.measure import compare, report
from reidlib.neighbours.search import nearest
from reidlib.retrieval.reranking import reranked_tiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=3368)
    parser.add_argument("--gallery", type=int, default=15913)
    parser.add_argument("--d", type=int, default=2048)
    parser.add_argument("--preset", choices=["late", "early"], default="late")
    parser.add_argument("--baseline-up-to", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    size = options.queries + options.gallery
    embeddings, _, _ = features(size, preset=options.preset, d=options.d)
    query, gallery = embeddings[: options.queries], embeddings[options.queries :]
    dense = size <= options.baseline_up_to

    def ours() -> None:
        for _ in reranked_tiles(query, gallery):
            pass

    figures = compare(ours, lambda: nearest(embeddings, k=20), repeats=options.repeats)
    search = figures["baseline_seconds"]
    beyond = figures["median_seconds"] - search
    found = {}
    if dense:
        _, indices = nearest(embeddings, k=20)

        def baseline() -> None:
            found["dense"] = dense_reranking(query, gallery, indices, k2=6, weight=0.3)

        other = compare(baseline, repeats=1, warm=False)
        scores = np.concatenate([tile for _, tile in reranked_tiles(query, gallery)])
        if np.abs(found["dense"] + scores).max() > 1e-5:
            raise RuntimeError("the distances differ from the definition's")
    report(
        {
            "benchmark": "rerank",
            "size": size,
            "dimension": options.d,
            "preset": options.preset,
            **figures,
            "search_seconds": search,
            "beyond_search_seconds": beyond,
            "baseline": "dense numpy, without the search" if dense else None,
            "baseline_seconds": other["median_seconds"] if dense else None,
            "ratio": other["median_seconds"] / beyond if dense else None,
        },
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
