"""Pair losses against loops over pairs."""

import math

import pytest
import torch

from reidlib.losses.metric_pairs import MetricPairs
from reidlib.models.embedder import Features

LABELS = [0, 0, 1, 1, 0, 2, 1]  # 2 has no positive


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pairs(features, labels):
    """For each image the cosines to its positives and to its negatives."""
    for i, own in enumerate(labels):
        cosines = [float(features[i] @ f / features[i].norm() / f.norm()) for f in features]
        positive = [c for j, c in enumerate(cosines) if labels[j] == own and j != i]
        yield positive, [c for j, c in enumerate(cosines) if labels[j] != own]


def naive_circle(features, labels, scale, margin):
    losses = []
    for positive, negative in pairs(features, labels):
        if positive and negative:
            wanted = sum(math.exp(-scale * max(0, 1 + margin - c) * (c - 1 + margin)) for c in positive)
            unwanted = sum(math.exp(scale * max(0, c + margin) * (c - margin)) for c in negative)
            losses.append(math.log(1 + wanted * unwanted))
    return sum(losses) / len(losses)


def naive_cosface(features, labels, scale, margin):
    losses = []
    for positive, negative in pairs(features, labels):
        if positive and negative:
            every = sum(math.exp(scale * (n - p + margin)) for n in negative for p in positive)
            losses.append(math.log(1 + every))
    return sum(losses) / len(losses)


def naive_multi_similarity(features, labels, *, beta=50, base=0.5, mining=True):
    total = 0.0
    for positive, negative in pairs(features, labels):
        kept = positive, negative
        if mining and positive and negative:
            kept = [p for p in positive if p - 0.1 < max(negative)], [n for n in negative if n + 0.1 > min(positive)]
        if not mining or (positive and negative):
            total += math.log(1 + sum(math.exp(-2 * (p - base)) for p in kept[0])) / 2
            total += math.log(1 + sum(math.exp(beta * (n - base)) for n in kept[1])) / beta
    return total / len(labels)


@pytest.mark.parametrize("loss", ["circle", "cosface", "multi_similarity"])
@pytest.mark.parametrize("parts", [1, 2])
def test_equals_loops(make_batch, loss, parts):
    pooled = random(7, parts, 5)
    expected = 0.0
    for part in range(parts):
        features = pooled[:, part].double()
        if loss == "multi_similarity":
            expected += naive_multi_similarity(features, LABELS) / parts
        else:
            naive = {"circle": naive_circle, "cosface": naive_cosface}[loss]
            expected += naive(features, LABELS, 6.0, 0.3) / parts
    settings = {} if loss == "multi_similarity" else {"scale": 6.0, "margin": 0.3}
    found = MetricPairs(loss=loss, **settings)(make_batch(Features(pooled, pooled * 0), LABELS))
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_multi_similarity_of_all_pairs_with_other_constants_of_some_parts(make_batch):
    pooled = random(7, 3, 5)
    term = MetricPairs(loss="multi_similarity", beta=40.0, base=0.7, mining=False, parts=[2, 0])
    expected = sum(
        naive_multi_similarity(pooled[:, part].double(), LABELS, beta=40, base=0.7, mining=False) for part in (0, 2)
    )
    assert term(make_batch(pooled, LABELS)).item() == pytest.approx(expected / 2, rel=1e-4)
    with pytest.raises(ValueError, match=r"parts: expected some of 0\.\.2, found \[3\]"):
        MetricPairs(parts=[3])(make_batch(pooled, LABELS))


@pytest.mark.parametrize("loss", ["circle", "cosface", "multi_similarity"])
@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [0]])
def test_without_positives_or_negatives_is_0_with_gradient(make_batch, loss, labels):
    features = random(len(labels), 4).requires_grad_()
    found = MetricPairs(loss=loss)(make_batch(features, labels))
    found.backward()
    assert found.item() == 0
    assert torch.equal(features.grad, torch.zeros_like(features))


@pytest.mark.parametrize("loss", ["circle", "cosface", "multi_similarity"])
def test_papers_settings_are_finite_float32_and_descend(make_batch, loss):
    features = random(7, 4).requires_grad_()
    term, losses = MetricPairs(loss=loss), []
    for _ in range(60):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses.append(term(make_batch(features, LABELS)))
        (slope,) = torch.autograd.grad(losses[-1], features)
        assert slope.isfinite().all()
        features.data -= 0.5 * slope / slope.norm().clamp_min(1e-6)
    assert losses[0].dtype == torch.float32
    assert losses[-1] < 0.5 * losses[0]


def test_has_nothing_to_keep():
    assert not MetricPairs().state_dict()


def test_multi_similarity_refuses_what_it_has_no_use_for():
    with pytest.raises(ValueError, match=r"multi_similarity: expected no scale and no margin.*margin 0.1"):
        MetricPairs(loss="multi_similarity", margin=0.1)
