"""Losses of unsupervised training; each a plain function of scores or features that returns a scalar."""

import torch
from jaxtyping import Float, Float32, Integer
from torch import Tensor
from torch.nn import functional


def memory_loss(
    scores: Float[Tensor, "b clusters"], labels: Integer[Tensor, "b"], *, temperature: float | Tensor
) -> Float32[Tensor, ""]:
    """Cross-entropy of the cosines to the clusters' vectors, divided by the temperature, averaged over the batch.

    -log(exp(s_y / t) / sum_c exp(s_c / t)) [Dai et al., Cluster Contrast, arXiv:2103.11568]; at least 0. Clusters that
    score -inf take no part.

    Args:
        scores: cosines, -1..1 or -inf.
        labels: the cluster of each sample; on the device of the scores.
        temperature: above 0; .05 in the paper. A tensor may be trained.

    Raises:
        ValueError: a temperature that is a number and not above 0.
    """
    _check_temperature("memory_loss", temperature)
    return functional.cross_entropy(scores.float() / temperature, labels.long())


def instance_discrimination(
    first: Float[Tensor, "b dim"], second: Float[Tensor, "b dim"], *, temperature: float | Tensor = 0.1
) -> Float32[Tensor, ""]:
    """Let the two views of an image attract each other and all other images of the batch repel.

    [Ye et al., CVPR 2019, arXiv:1904.03436]: P(i | v) = exp(f_i v / t) / sum_k exp(f_k v / t) over the batch's first
    views f. A second view g_i should be recognised as i, and no other first view f_j as i:
    loss = -mean_i (log P(i | g_i) + sum_{j != i} log(1 - P(i | f_j))). At least 0.

    One deviation: of two views, which one is "first" must not matter, so the loss is the mean of both orders.

    Args:
        first: unit-norm embeddings of one augmentation of b images.
        second: of another augmentation, in the same order.
        temperature: above 0; .1 in the paper.

    Raises:
        ValueError: fewer than two images, or a temperature that is a number and not above 0.
    """
    _check_temperature("instance_discrimination", temperature)
    if len(first) < 2:
        raise ValueError(f"instance_discrimination: expected at least 2 images to tell apart, got {len(first)}")
    with torch.autocast(first.device.type, enabled=False):
        first, second = first.float(), second.float()
        return (_recognition(first, second, temperature) + _recognition(second, first, temperature)) / 2


def _recognition(first: Tensor, second: Tensor, temperature: float | Tensor) -> Float32[Tensor, ""]:
    """Return the loss with `first` as the weights of the classifier."""
    count = len(first)
    attracted = functional.cross_entropy(second @ first.T / temperature, torch.arange(count, device=first.device))
    recognised = (first @ first.T / temperature).log_softmax(dim=1)  # [j, i]: log P(i | f_j)
    # an image looks most like itself, so P(i | f_j) <= 1/2 for j != i, where log1p is finite and exact
    itself = torch.eye(count, dtype=torch.bool, device=first.device)
    repelled = torch.log1p(-recognised.exp().masked_fill(itself, 0)).sum() / count
    return attracted - repelled


def _check_temperature(where: str, temperature: float | Tensor) -> None:
    if not isinstance(temperature, Tensor) and not temperature > 0:
        raise ValueError(f"{where}: expected a temperature above 0, got {temperature}")
