"""Clustering given the neighbours: the sparse graph against the dense matrix, links in bulk against one by one.

    python -m benchmarks.cluster --method linkage|dbscan|infomap|silhouette [--n 12936] [--preset late|early] [--json]

prints one line: the time and extra memory of the clustering alone, the k-NN search and the Jaccard distance given. The
baseline gets its dense matrix for nothing and runs up to `--baseline-up-to` rows; both must give the same labels
(silhouette: the same value). Clustering does not depend on the length of the embeddings, so 256 will do. Beyond 50,000
rows neighbours are sought within shards (`benchmarks.features.neighbours`).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import baselines_labels
from benchmarks.features import features, neighbours
from benchmarks.measure import compare, options, peak_extra_mib, report
from reidlib.labels.dbscan import dbscan
from reidlib.labels.infomap_clusters import infomap
from reidlib.labels.linkage import linkage
from reidlib.labels.quality import silhouette
from reidlib.neighbours.jaccard import jaccard_from_neighbours

EPS, MIN_SAMPLES, MIN_SIMILARITY, IMAGES_PER_CLUSTER = 0.6, 4, 0.5, 12
BASELINES = {
    "linkage": "scipy average linkage, dense",
    "dbscan": "scikit-learn DBSCAN, dense",
    "silhouette": "scikit-learn silhouette, dense",
    "infomap": "infomap, a link at a time",
}
Work = Callable[[], np.ndarray | float]


def neighbour_work(embeddings: np.ndarray, identities: np.ndarray) -> tuple[Work, Work]:
    """Infomap on the 15 nearest neighbours: ours, and a link at a time."""
    nearest = neighbours(embeddings, identities, k=15)
    given: dict[str, Any] = {"min_similarity": MIN_SIMILARITY, "seed": 0}
    return lambda: infomap(nearest, k1=15, **given), lambda: baselines_labels.infomap(*nearest, **given)


def graph_work(embeddings: np.ndarray, identities: np.ndarray, *, method: str, dense: bool) -> tuple[Work, Work, float]:
    """The method on the sparse graph, the same on the dense matrix, and the stored distances a row."""
    _, indices = neighbours(embeddings, identities, k=30)
    graph = jaccard_from_neighbours(embeddings, indices, k2=6, max_distance=EPS if method == "dbscan" else 1.0)
    n_clusters = max(len(embeddings) // IMAGES_PER_CLUSTER, 2)
    matrix = baselines_labels.dense_distances(graph) if dense else np.empty((0, 0), dtype=np.float32)
    labels = linkage(graph, n_clusters=n_clusters) if method == "silhouette" else np.empty(0, dtype=np.int32)
    works: dict[str, tuple[Work, Work]] = {
        "linkage": (
            lambda: linkage(graph, n_clusters=n_clusters),
            lambda: baselines_labels.linkage(matrix, n_clusters=n_clusters),
        ),
        "dbscan": (
            lambda: dbscan(graph, eps=EPS, min_samples=MIN_SAMPLES),
            lambda: baselines_labels.dbscan(matrix, eps=EPS, min_samples=MIN_SAMPLES),
        ),
        "silhouette": (lambda: silhouette(graph, labels), lambda: baselines_labels.silhouette(matrix, labels)),
    }
    return *works[method], graph.nnz / len(embeddings)


def measure(n: int, *, d: int, method: str, preset: str, repeats: int, baseline: bool) -> dict[str, Any]:
    """One line: size, seconds, extra memory, and the baseline's where it is run.

    Raises:
        RuntimeError: where the two disagree.
    """
    embeddings, identities, _ = features(n, preset=preset, d=d)
    line: dict[str, Any] = {"benchmark": "cluster", "method": method, "preset": preset, "size": n}
    if method == "infomap":
        ours, obvious = neighbour_work(embeddings, identities)
    else:
        ours, obvious, line["stored_per_row"] = graph_work(embeddings, identities, method=method, dense=baseline)
    line |= compare(ours, obvious if baseline else None, repeats=repeats, warm=n <= 50_000)
    if baseline:
        line |= {"baseline": BASELINES[method], "baseline_peak_extra_mib": peak_extra_mib(obvious)}
        if not np.allclose(ours(), obvious(), atol=1e-6):
            raise RuntimeError(f"{method}: the two ways differ at {n} rows ({preset})")
    return line


def main() -> None:
    parser = options(__doc__, n=12936, d=256, preset="late", repeats=3, baseline_up_to=13000)
    parser.add_argument("--method", choices=sorted(BASELINES), default="linkage")
    given = parser.parse_args()
    settings = {"d": given.d, "method": given.method, "preset": given.preset, "repeats": given.repeats}
    report(measure(given.n, baseline=given.n <= given.baseline_up_to, **settings), as_json=given.json)


if __name__ == "__main__":
    main()
