"""Infomap on the k-NN graph of the embeddings."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
from jaxtyping import Int32
from pydantic import Field

from reidlib.labels.numbering import number_clusters
from reidlib.neighbours.search import Neighbours
from reidlib.settings import Count


def infomap(
    neighbours: Neighbours,
    *,
    seed: int,
    k1: Annotated[int, Field(ge=2)] = 15,
    min_similarity: Annotated[float, Field(gt=0, le=1)] = 0.5,
    smallest: Count = 5,
) -> Int32[np.ndarray, "n"]:
    """Communities of the directed k-NN graph by the two-level map equation [Rosvall & Bergstrom, PNAS 2008].

    Links go from each row to those of its k1 nearest rows (itself among the k1, as in the Jaccard distance and in the
    published codes) whose cosine similarity is at least min_similarity; the weight is the similarity.

    Clusters of fewer members than `smallest` are outliers, -1 (the published codes drop those of at most 4); labels are
    numbered by first appearance. `seed` is of Infomap's moves; `neighbours` are the k1 nearest of each row or more,
    itself first.
    """
    from infomap import Infomap

    similarities, indices = (part[:, :k1] for part in neighbours)
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
