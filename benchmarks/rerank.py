"""k-reciprocal re-ranking of Market-1501's size, the neighbour search timed apart.

    python -m benchmarks.rerank [--queries 3368] [--gallery 15913] [--d 2048] [--preset late] [--json]

`search_seconds` is the neighbour search, `median_seconds` all the rest; the memory is that of both.
Market-1501 with its 500,000 distractors is `--gallery 515913 --d 512 --once` (minutes). The dense baseline (neighbours
given) runs up to --baseline-up-to rows in all and must agree to 1e-5.
"""

from time import perf_counter

import numpy as np

from benchmarks import measure
from benchmarks.baselines_neighbours import dense_reranking
from benchmarks.features import EXACT_UP_TO, features
from benchmarks.features import neighbours as sharded
from benchmarks.measure import compare, peak_extra_mib, report
from reidlib.neighbours.search import Neighbours, nearest
from reidlib.retrieval import reranking


def main() -> None:
    sizes = {"queries": 3368, "gallery": 15913, "d": 2048, "baseline_up_to": 4000}
    parser = measure.options(__doc__, **sizes, preset="late", repeats=3)
    parser.add_argument("--sharded", action="store_true", help="neighbours within shards, beyond 50,000 rows")
    parser.add_argument("--once", action="store_true", help="one run for time and memory, as beyond 50,000 rows")
    options = parser.parse_args()
    size = options.queries + options.gallery
    embeddings, identities, _ = features(size, preset=options.preset, d=options.d)
    query, gallery = embeddings[: options.queries], embeddings[options.queries :]
    dense = size <= options.baseline_up_to
    searches: list[float] = []

    def timed(rows: np.ndarray, *, k: int) -> Neighbours:
        start = perf_counter()
        neighbours = sharded(rows, identities, k=k) if options.sharded else nearest(rows, k=k)
        searches.append(perf_counter() - start)
        return neighbours

    reranking.nearest = timed

    def ours() -> None:
        for _ in reranking.reranked_tiles(query, gallery):
            pass

    if options.once or size > EXACT_UP_TO:
        start = perf_counter()
        figures = {"peak_extra_mib": peak_extra_mib(ours), "median_seconds": perf_counter() - start}
    else:
        figures = compare(ours, repeats=options.repeats)
        del searches[: -options.repeats]
    search = float(np.median(searches))
    beyond = figures["median_seconds"] - search
    figures["median_seconds"] = beyond
    found = {}
    if dense:
        _, indices = sharded(embeddings, identities, k=20)

        def baseline() -> None:
            found["dense"] = dense_reranking(query, gallery, indices, k2=6, weight=0.3)

        other = compare(baseline, repeats=1, warm=False)
        scores = np.concatenate([tile for _, tile in reranking.reranked_tiles(query, gallery)])
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
            "baseline": "dense numpy, without the search" if dense else None,
            "baseline_seconds": other["median_seconds"] if dense else None,
            "ratio": other["median_seconds"] / beyond if dense else None,
        },
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
