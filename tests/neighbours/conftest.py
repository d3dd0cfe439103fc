"""Made rows, and the Jaccard distance by its definition, for the tests of this folder."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def clustered_rows():
    """Unit-norm rows around some eight times fewer centres."""

    def make(n, d, seed, *, noise=0.5, duplicates=0):
        generator = np.random.default_rng(seed)
        centres = generator.standard_normal((max(1, n // 8), d))
        rows = centres[generator.integers(len(centres), size=n)] + noise * generator.standard_normal((n, d))
        if duplicates:
            rows[generator.choice(n, duplicates, replace=False)] = rows[generator.integers(n, size=duplicates)]
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def oracle():
    """The six steps with sets, loops and dense matrices, the neighbours given."""

    def distances_of(embeddings, indices, k2):
        n, k1 = indices.shape
        products = embeddings.astype(np.float64) @ embeddings.T.astype(np.float64)
        ranked = [row.tolist() for row in indices]
        half = round(k1 / 2) + 1

        def reciprocal(i, size):
            return {j for j in ranked[i][:size] if i in ranked[j][:size]}

        weights = np.zeros((n, n))
        for i in range(n):
            kept = reciprocal(i, k1)
            expanded = set(kept)
            for c in kept:
                near = reciprocal(c, half)
                if len(near & kept) > 2 / 3 * len(near):
                    expanded |= near
            columns = sorted(expanded)
            exponentials = np.exp(-(2 - 2 * products[i, columns]))
            weights[i, columns] = exponentials / exponentials.sum()
        weights = np.array([np.mean([weights[r] for r in ranked[i][:k2]], axis=0) for i in range(n)])
        distances = np.ones((n, n))
        for i in range(n):
            for j in range(n):
                shared = np.minimum(weights[i], weights[j]).sum()
                if shared > 0:
                    distances[i, j] = 1 - shared / (2 - shared)
        return distances

    return distances_of


@pytest.fixture(scope="session")
def dense():
    """A sparse graph as a dense matrix: what is not stored is 1, what is stored as 0 is 0."""

    def fill(matrix):
        full = np.ones(matrix.shape)
        entries = matrix.tocoo()
        full[entries.row, entries.col] = entries.data
        return full

    return fill
