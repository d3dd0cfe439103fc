"""Exact nearest neighbours on torch's devices, by tiles of a float32 product."""

import torch
from jaxtyping import Float32, Int32
from torch import Tensor

TILE_BYTES = 1 << 28


def nearest_on_device(
    embeddings: Float32[Tensor, "n d"], queries: Float32[Tensor, "q d"] | None, *, k: int
) -> tuple[Float32[Tensor, "rows k"], Int32[Tensor, "rows k"]]:
    """The k nearest embeddings of each query, or of each embedding, itself first; see `search.nearest`.

    Products are computed in full float32 whatever precision torch is set to, a block of rows against all embeddings.
    """
    n = len(embeddings)
    asked = embeddings if queries is None else queries
    _check_unit_rows(embeddings, "embeddings")
    if queries is not None:
        _check_unit_rows(queries, "queries")
    similarities = torch.empty((len(asked), k), dtype=torch.float32, device=embeddings.device)
    indices = torch.empty((len(asked), k), dtype=torch.int32, device=embeddings.device)
    block = max(1, min(len(asked), TILE_BYTES // (4 * n)))
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        for start in range(0, len(asked), block):
            stop = min(start + block, len(asked))
            scores = asked[start:stop] @ embeddings.T
            own = None
            if queries is None:
                rows = torch.arange(start, stop, device=embeddings.device)
                own = scores[rows - start, rows]
                scores[rows - start, rows] = torch.inf
            similarities[start:stop], indices[start:stop] = _best(scores, k)
            if own is not None:
                similarities[start:stop, 0] = own
    finally:
        torch.set_float32_matmul_precision(precision)
    return similarities, indices


def _best(scores: Float32[Tensor, "rows n"], k: int) -> tuple[Float32[Tensor, "rows k"], Int32[Tensor, "rows k"]]:
    """The k largest of each row, decreasing, ties by lower column (topk promises no order among equals)."""
    n = scores.shape[1]
    values, columns = torch.topk(scores, min(k + 1, n), dim=1)
    if n > k:
        tied = torch.nonzero(values[:, k] == values[:, k - 1]).flatten()
        for row in tied.tolist():  # equals at the border: those with the lowest columns belong in
            ordered, places = torch.sort(scores[row], descending=True, stable=True)
            values[row], columns[row] = ordered[: k + 1], places[: k + 1]
    columns, order = columns[:, :k].sort(dim=1)
    values, places = values[:, :k].gather(1, order).sort(dim=1, descending=True, stable=True)
    return values, columns.gather(1, places).to(torch.int32)


def _check_unit_rows(rows: Float32[Tensor, "n d"], name: str) -> None:
    norms = rows.norm(dim=1)
    wrong = torch.nonzero(~((norms - 1).abs() <= 0.01)).flatten()
    if len(wrong):
        raise ValueError(
            f"{name} must be finite rows of norm 1, but {len(wrong)} of {len(rows)} are not; row {int(wrong[0])} "
            f"has norm {float(norms[wrong[0]]):.4g}. Divide each row by its norm; look for images that give NaN or 0"
        )
