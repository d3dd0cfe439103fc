"""Spherical k-means on the embeddings, by faiss."""

from typing import Annotated

import numpy as np
from jaxtyping import Float, Int32
from pydantic import Field

from reidlib.labels.linkage import check_one_given, clusters_for
from reidlib.labels.numbering import number_clusters
from reidlib.settings import Count


def kmeans(
    embeddings: Float[np.ndarray, "n d"],
    *,
    seed: int,
    n_clusters: Count | None = None,
    images_per_cluster: Annotated[float, Field(ge=1)] | None = None,
    iterations: Count = 20,
) -> Int32[np.ndarray, "n"]:
    """Clusters of k-means with unit-norm centres (faiss.Kmeans, all rows used, CPU), numbered by first appearance.

    Either n_clusters or images_per_cluster (n_clusters = n // images_per_cluster, at least 1) is given. Every row has a
    cluster, clusters without a row are gone. `seed` is of the initial centres.

    Raises:
        ValueError: where not exactly one of the two is given, or it is out of range, or a row is not finite.
    """
    import faiss

    check_one_given("kmeans", {"n_clusters": n_clusters, "images_per_cluster": images_per_cluster})
    n, d = embeddings.shape
    if images_per_cluster is not None:
        n_clusters = clusters_for(n, images_per_cluster=images_per_cluster)
    if n_clusters is None or not 1 <= n_clusters <= n:
        raise ValueError(f"kmeans: n_clusters: expected 1 to {n} for {n} rows, found {n_clusters}")
    rows = np.ascontiguousarray(embeddings, dtype=np.float32)
    if not np.isfinite(rows).all():
        raise ValueError("kmeans: embeddings: found NaN or infinity; expected finite unit-norm rows")
    clustering = faiss.Kmeans(
        d,
        n_clusters,
        niter=iterations,
        seed=seed % 2**31,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=n,
    )
    clustering.train(rows)
    _, nearest_centre = clustering.index.search(rows, 1)
    return number_clusters(nearest_centre[:, 0])
