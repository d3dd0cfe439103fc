"""Random graphs and embeddings for the tests of this folder."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from reidlib.labels.local import LocalLabelling

Graph = tuple[sparse.csr_array, np.ndarray]


@pytest.fixture(scope="session")
def random_graph() -> Callable[..., Graph]:
    """A symmetric sparse distance graph and the same as a dense matrix."""

    def make(n: int, *, density: float, seed: int, levels: int = 0) -> Graph:
        generator = np.random.default_rng(seed)
        dense = generator.random((n, n)).astype(np.float32)
        if levels:  # few distinct values: exact ties
            dense = (np.ceil(dense * levels) / levels).astype(np.float32)
        dense[generator.random((n, n)) >= density] = 1
        dense = np.triu(dense, 1)
        dense = dense + dense.T
        stored = np.nonzero((dense < 1) | np.eye(n, dtype=bool))
        graph = sparse.csr_array((dense[stored], stored), shape=(n, n))
        graph.sort_indices()
        return graph, dense

    return make


@pytest.fixture(scope="session")
def labelling() -> Callable[..., LocalLabelling]:
    """How clusters are made: the method by its name, its settings, and the neighbours of the graph."""

    def make(
        name: str, settings: Mapping[str, Any] | None = None, *, k1: int = 15, k2: int = 4, original_weight: float = 0.0
    ) -> LocalLabelling:
        method = {"name": name, **(settings or {})}
        return LocalLabelling(k1=k1, k2=k2, original_weight=original_weight, method=method)

    return make


@pytest.fixture(scope="session")
def people() -> Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Embeddings, identities and cameras of well separated people."""

    def make(
        n: int, *, per_identity: int = 10, cameras: int = 3, noise: float = 0.8, seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        generator = np.random.default_rng(seed)
        identities = generator.permutation(np.arange(n) // per_identity).astype(np.int32)
        centres = generator.normal(size=(identities.max() + 1, 32)) / np.sqrt(32)
        seen_by = generator.integers(0, cameras, n).astype(np.int32)
        offsets = 0.3 * generator.normal(size=(cameras, 32)) / np.sqrt(32)
        rows = centres[identities] + noise * generator.normal(size=(n, 32)) / np.sqrt(32) + offsets[seen_by]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows.astype(np.float32), identities, seen_by

    return make
