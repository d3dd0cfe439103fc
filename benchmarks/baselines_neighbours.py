"""The obvious implementations by the definition, with N × N arrays: what `reidlib.neighbours` is measured against."""

import faiss
import numpy as np
import torch

TILE_ROWS, SPARE, RESCORED_ROWS = 1024, 8, 64


def flat_neighbours(embeddings: np.ndarray, *, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The exact index of faiss."""
    return faiss.knn(embeddings, embeddings, k, metric=faiss.METRIC_INNER_PRODUCT)


def torch_neighbours(embeddings: np.ndarray, *, k: int, bfloat16: bool) -> tuple[np.ndarray, np.ndarray]:
    """Tiles of a torch product, the k + SPARE largest of each row, and those ordered by products in float32.

    In bfloat16 nothing proves that the true neighbours are among the candidates; in float32 they are.
    """
    rows = torch.from_numpy(embeddings)
    factors = rows.bfloat16() if bfloat16 else rows
    similarities, indices = torch.empty(len(rows), k), torch.empty(len(rows), k, dtype=torch.int32)
    for start in range(0, len(rows), TILE_ROWS):
        part = slice(start, min(start + TILE_ROWS, len(rows)))
        scores = torch.mm(factors[part], factors.T)
        columns = torch.topk(scores, min(k + SPARE, len(rows)), sorted=False).indices.sort(dim=1).values
        asked = rows[part]
        products = torch.cat(
            [
                torch.bmm(rows[some], row[:, :, None])[:, :, 0]
                for some, row in zip(columns.split(RESCORED_ROWS), asked.split(RESCORED_ROWS), strict=True)
            ]
        )
        products[columns == torch.arange(part.start, part.stop)[:, None]] = torch.inf  # each row itself comes first
        order = products.argsort(dim=1, descending=True, stable=True)[:, :k]
        indices[part] = columns.gather(1, order)
        similarities[part] = products.gather(1, order)
        similarities[part, 0] = (asked * asked).sum(dim=1)
    return similarities.numpy(), indices.numpy()


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
