"""Infomap on the k-NN graph of the embeddings."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Float, Int32

from reidlib.labels.numbering import number_clusters
from reidlib.neighbours.blocks import Array
from reidlib.neighbours.search import Search, nearest


def infomap(
    embeddings: Float[Array, "n d"],
    *,
    seed: int,
    k1: int = 15,
    min_similarity: float | int = 0.5,
    smallest: int = 5,
    search: Search = nearest,
) -> Int32[np.ndarray, "n"]:
    """Communities of the directed k-NN graph by the two-level map equation [Rosvall & Bergstrom, PNAS 2008].

    Links go from each row to those of its k1 nearest rows (itself among the k1, as in the Jaccard distance and in the
    published codes) whose cosine similarity is at least min_similarity; the weight is the similarity.

    Clusters of fewer members than `smallest` are outliers, -1 (the published codes drop those of at most 4); labels are
    numbered by first appearance. `seed` is of Infomap's moves; `search` finds the k1 neighbours of the unit-norm rows.

    Raises:
        ValueError: where min_similarity is not in (0, 1].
    """
    from infomap import Infomap

    if not 0 < min_similarity <= 1:
        raise ValueError(f"infomap: min_similarity: expected a cosine similarity in (0, 1], found {min_similarity}")
    similarities, indices = (torch.as_tensor(found).numpy(force=True) for found in search(embeddings, k=k1))
    n, k = indices.shape
    source = np.repeat(np.arange(n, dtype=np.int32), k)
    target = indices.reshape(-1)
    weights = similarities.reshape(-1)
    kept = (weights >= min_similarity) & (target != source)
    labels = np.full(n, -1, dtype=np.int64)
    if kept.any():
        network = Infomap(two_level=True, directed=True, seed=seed % 2**31 + 1, silent=True)
        network.add_links(np.column_stack([source[kept], target[kept], weights[kept]]).astype(np.float64))
        with TemporaryDirectory() as folder:
            # Through a file: infomap's own iterators crash the process where faiss was imported after infomap,
            # because both register SWIG's iterator type under one name.
            path = Path(folder) / "modules.clu"
            network.run().write_clu(str(path))
            nodes, modules = np.loadtxt(path, dtype=np.int64, comments="#", usecols=(0, 1), ndmin=2).T
        labels[nodes] = modules
    return number_clusters(labels, smallest=smallest)
