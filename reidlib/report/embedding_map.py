"""The embeddings laid out on a plane, near what is near: UMAP from exact neighbours."""

import warnings

import numpy as np
from jaxtyping import Float32

from reidlib.neighbours.search import nearest
from reidlib.settings import Count, Seed

MIN_DISTANCE = 0.5  # that UMAP keeps between points: those of one cluster do not cover each other
FEWEST = 100  # images below which two principal components show as much, and nothing need be compiled


def embedding_map(
    embeddings: Float32[np.ndarray, "n d"], *, seed: Seed, neighbours: Count
) -> Float32[np.ndarray, "n 2"]:
    """Return a place for each image, 0..1 in both directions; the same for the same seed.

    UMAP [McInnes et al., arXiv:1802.03426] by umap-learn, from the exact nearest neighbours instead of its own search.
    Fewer than `FEWEST` images are put where their first two principal components say.

    Args:
        embeddings: unit-norm rows.
        seed: of all that is drawn.
        neighbours: of each image, itself included; 2 at least.
    """
    if len(embeddings) < FEWEST:
        return _spread(_principal(embeddings))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # that there is no TensorFlow, which nothing here needs
        import umap
    found = nearest(embeddings, k=max(2, min(neighbours, len(embeddings))))
    distances = np.maximum(1 - found.similarities, 0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="precomputed_knn")  # that new points could not be added
        laid = umap.UMAP(
            n_neighbors=found.indices.shape[1], metric="cosine", precomputed_knn=(found.indices, distances, None),
            min_dist=MIN_DISTANCE, random_state=seed, n_jobs=1,
        ).fit_transform(embeddings)  # fmt: skip
    return _spread(np.asarray(laid, np.float32))


def _principal(embeddings: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n 2"]:
    if not len(embeddings):
        return np.zeros((0, 2), np.float32)
    centred = embeddings - embeddings.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    places = np.zeros((len(embeddings), 2), np.float32)
    kept = min(2, len(sizes))
    directed = left[:, :kept] * sizes[:kept]
    places[:, :kept] = directed * np.where(directed[np.abs(directed).argmax(axis=0), range(kept)] < 0, -1, 1)
    return places


def _spread(places: Float32[np.ndarray, "n 2"]) -> Float32[np.ndarray, "n 2"]:
    """Move and scale to 0..1; what has no extent lies in the middle."""
    if not len(places):
        return places
    least, extent = places.min(axis=0), np.ptp(places, axis=0)
    return np.where(extent > 0, (places - least) / np.where(extent > 0, extent, 1), 0.5).astype(np.float32)
