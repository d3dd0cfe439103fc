"""Losses of training; each a plain function of scores or features that returns a scalar."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Float32, Integer
from torch import Tensor
from torch.nn import functional

SMALLEST_DOUBT = 1e-7
SMALLEST_WEIGHT = 1e-12


def memory_loss(
    scores: Float[Tensor, "b clusters"],
    labels: Integer[Tensor, "b"],
    *,
    temperature: float | Tensor,
    weights: Float[Tensor, "b"] | None = None,
) -> Float32[Tensor, ""]:
    """Cross-entropy of the cosines to the clusters' vectors, divided by the temperature, averaged over the batch.

    -log(exp(s_y / t) / sum_c exp(s_c / t)) [Dai et al., Cluster Contrast, arXiv:2103.11568]; at least 0. Clusters that
    score -inf take no part.

    Args:
        scores: cosines, -1..1 or -inf.
        labels: the cluster of each sample; on the device of the scores.
        temperature: above 0; .05 in the paper. A tensor may be trained.
        weights: of the samples, at least 0, by which the mean is weighted; 1 each without. Where all are 0 the loss is.
    """
    scores, labels = scores.float(), labels.long()
    if isinstance(temperature, Tensor):
        outside = scores.isneginf()  # kept out of the division, through which the temperature would get NaN
        scores = (scores.masked_fill(outside, 0) / temperature).masked_fill(outside, -torch.inf)
    else:
        scores = scores / temperature
    if weights is None:
        return functional.cross_entropy(scores, labels)
    weighted = functional.cross_entropy(scores, labels, reduction="none") * weights
    return weighted.sum() / weights.sum().clamp_min(SMALLEST_WEIGHT)


def smoothed_cross_entropy(
    scores: Float[Tensor, "b classes"], labels: Integer[Tensor, "b"], *, smoothing: float = 0.0, focal: float = 0.0
) -> Float32[Tensor, ""]:
    """Cross-entropy with the targets smoothed and easy samples weighted down, averaged over the batch.

    (1 - p_y)^focal * -sum_c q_c log p_c, where q is (1 - smoothing) at the label plus smoothing / K at each of the K
    classes that take part [Szegedy et al., CVPR 2016, arXiv:1512.00567; Lin et al., ICCV 2017, arXiv:1708.02002]. At
    least 0. Classes that score -inf take no part.

    Args:
        scores: before the softmax.
        labels: the class of each sample; on the device of the scores.
        smoothing: share of the target that is spread over the classes, 0..1.
        focal: the power, at least 0; 2 in the paper.
    """
    logs = scores.float().log_softmax(dim=1)
    own = logs.gather(1, labels.long()[:, None])[:, 0]
    outside = logs.isneginf()
    spread = logs.masked_fill(outside, 0).sum(dim=1) / (~outside).sum(dim=1)
    losses = -(1 - smoothing) * own - smoothing * spread
    if focal:
        # away from 0, where a power below 1 has no finite slope
        losses = losses * (-torch.expm1(own)).clamp_min(SMALLEST_DOUBT) ** focal
    return losses.mean()


def soft_cross_entropy(scores: Float[Tensor, "b classes"], teacher: Float[Tensor, "b classes"]) -> Float32[Tensor, ""]:
    """Cross-entropy towards the softmax of a teacher's scores, averaged over the batch; no gradient in the teacher.

    -sum_c q_c log p_c [Hinton et al., 2015, arXiv:1503.02531], without a temperature. Classes that score -inf in both
    take no part.
    """
    logs = scores.float().log_softmax(dim=1)
    weights = teacher.detach().float().softmax(dim=1)
    return -(weights * logs.masked_fill(logs.isneginf(), 0)).sum(dim=1).mean()


def scale_and_margin(
    name: str, known: Mapping[str, tuple[float, float]], *, scale: float | None, margin: float | None
) -> tuple[float, float]:
    """Return the scale and the margin to take: those given, else the papers'; 1 and 0 where a loss has none.

    Raises:
        ValueError: one given to a loss that has none.
    """
    if name in known:
        return known[name][0] if scale is None else scale, known[name][1] if margin is None else margin
    if scale is not None or margin is not None:
        raise ValueError(
            f"{name}: expected no scale and no margin, which {', '.join(known)} have; found scale {scale}, margin "
            f"{margin}; leave them out"
        )
    return 1.0, 0.0


def instance_discrimination(
    first: Float[Tensor, "b dim"], second: Float[Tensor, "b dim"], *, temperature: float
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
        ValueError: fewer than two images.
    """
    if len(first) < 2:
        raise ValueError(f"instance_discrimination: expected at least 2 images to tell apart, got {len(first)}")
    with torch.autocast(first.device.type, enabled=False):
        first, second = first.float(), second.float()
        return (_recognition(first, second, temperature) + _recognition(second, first, temperature)) / 2


def _recognition(first: Tensor, second: Tensor, temperature: float) -> Float32[Tensor, ""]:
    """Return the loss with `first` as the weights of the classifier."""
    count = len(first)
    attracted = functional.cross_entropy(second @ first.T / temperature, torch.arange(count, device=first.device))
    recognised = (first @ first.T / temperature).log_softmax(dim=1)  # [j, i]: log P(i | f_j)
    # an image looks most like itself, so P(i | f_j) <= 1/2 for j != i, where log1p is finite and exact
    itself = torch.eye(count, dtype=torch.bool, device=first.device)
    repelled = torch.log1p(-recognised.exp().masked_fill(itself, 0)).sum() / count
    return attracted - repelled
