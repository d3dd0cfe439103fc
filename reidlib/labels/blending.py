"""Re-ranked distances: the Jaccard distance blended with the original one."""

import numpy as np
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from reidlib.labels import kernels
from reidlib.labels.graphs import Distances, graph_arrays
from reidlib.neighbours.blocks import Array, row_blocks, run_blocks


def blended(distances: Distances, embeddings: Float[Array, "n d"], *, original_weight: float) -> sparse.csr_array:
    """(1 - λ) · Jaccard + λ · (1 - cosine), the original distance cut to [0, 1] [Zhong et al., CVPR 2017].

    Deviation: pairs that the graph does not store stay at 1, where the paper blends 1 with their original distance; so
    the graph stays sparse, and pairs without a common neighbour are as far apart as can be.

    Args:
        distances: the Jaccard graph.
        embeddings: the unit-norm rows it was made of.
        original_weight: λ, in [0, 1]; 0 gives the graph itself.

    Returns:
        a graph of the same stored pairs; zeros stand on the diagonal only. Symmetric to the bit where `distances` is.
    """
    if not 0 <= original_weight <= 1:
        raise ValueError(f"original_weight: expected a share in [0, 1], found {original_weight}")
    if original_weight == 0:
        return sparse.csr_array(distances)
    starts, columns, values = graph_arrays(distances)
    host = embeddings.numpy(force=True) if isinstance(embeddings, Tensor) else embeddings
    rows = np.ascontiguousarray(host, dtype=np.float32)
    result = np.empty_like(values)

    def blend(first: int, last: int) -> None:
        kernels.blend(starts, columns, values, rows, original_weight, first, last, result)

    for _ in run_blocks(blend, row_blocks(len(rows))):
        pass
    return sparse.csr_array((result, distances.indices, distances.indptr), shape=distances.shape)
