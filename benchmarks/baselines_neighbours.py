"""The obvious implementations by the definition, with N × N arrays: what `reidlib.neighbours` is measured against."""

import faiss
import numpy as np


def flat_neighbours(embeddings: np.ndarray, *, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The exact index of faiss."""
    return faiss.knn(embeddings, embeddings, k, metric=faiss.METRIC_INNER_PRODUCT)


def dense_jaccard(embeddings: np.ndarray, indices: np.ndarray, *, k2: int) -> np.ndarray:
    """The six steps with dense arrays, a Python loop over the rows in each."""
    n = len(indices)
    weights = _dense_weights(embeddings, indices)
    if k2 > 1:
        weights = np.stack([weights[indices[i, :k2]].mean(axis=0) for i in range(n)])
    holders = [np.flatnonzero(weights[:, k]) for k in range(n)]
    distances = np.empty((n, n), np.float32)
    for i in range(n):
        distances[i] = 1 - _ratio(_shared(weights, holders, i, n))
    return distances


def dense_reranking(
    query: np.ndarray, gallery: np.ndarray, indices: np.ndarray, *, k2: int, weight: float
) -> np.ndarray:
    """Distances of re-ranking, (queries, gallery), from the neighbours of all rows."""
    rows = np.concatenate([query, gallery])
    n = len(rows)
    weights = _dense_weights(rows, indices)
    weights = np.stack([weights[indices[i, :k2]].mean(axis=0) for i in range(n)])
    holders = [np.flatnonzero(weights[:, k]) for k in range(n)]
    original = 2 - 2 * query @ gallery.T
    jaccard = np.stack([1 - _ratio(_shared(weights, holders, i, n))[len(query) :] for i in range(len(query))])
    return (1 - weight) * jaccard + weight * original


def _dense_weights(embeddings: np.ndarray, indices: np.ndarray) -> np.ndarray:
    n, k1 = indices.shape
    half = round(k1 / 2) + 1
    mutual = [_reciprocal(indices, i, k1) for i in range(n)]
    nearer = [_reciprocal(indices, i, half) for i in range(n)]
    weights = np.zeros((n, n), np.float32)
    for i in range(n):
        sets = [mutual[i]]
        for c in mutual[i]:
            if len(np.intersect1d(nearer[c], mutual[i])) > 2 / 3 * len(nearer[c]):
                sets.append(nearer[c])
        columns = np.unique(np.concatenate(sets))
        exponentials = np.exp(-(2 - 2 * embeddings[columns] @ embeddings[i]))
        weights[i, columns] = exponentials / exponentials.sum()
    return weights


def _reciprocal(indices: np.ndarray, i: int, size: int) -> np.ndarray:
    forward = indices[i, :size]
    return forward[np.any(indices[forward, :size] == i, axis=1)]


def _shared(weights: np.ndarray, holders: list[np.ndarray], i: int, n: int) -> np.ndarray:
    shared = np.zeros(n, np.float32)
    for k in np.flatnonzero(weights[i]):
        shared[holders[k]] += np.minimum(weights[i, k], weights[holders[k], k])
    return shared


def _ratio(shared: np.ndarray) -> np.ndarray:
    return shared / (2 - shared)
