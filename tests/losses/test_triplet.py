"""Triplet losses against loops over anchors, and against pytorch-metric-learning."""

import math

import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from pytorch_metric_learning.reducers import MeanReducer

from reidlib.losses.triplet import Triplet
from reidlib.models.embedder import Features

LABELS = [0, 0, 1, 1, 0, 2, 1]  # 2 has no positive


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def distance(one, other):
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(one.tolist(), other.tolist(), strict=True)))


def naive(features, labels, mining, margin, soft):
    losses = []
    for anchor, own in enumerate(labels):
        positive = [distance(features[anchor], features[i]) for i, k in enumerate(labels) if k == own and i != anchor]
        negative = [distance(features[anchor], features[i]) for i, k in enumerate(labels) if k != own]
        if not positive or not negative:
            continue
        if mining == "hard":
            far, near = max(positive), min(negative)
        else:
            far = sum(math.exp(d) * d for d in positive) / sum(math.exp(d) for d in positive)
            near = sum(math.exp(-d) * d for d in negative) / sum(math.exp(-d) for d in negative)
        losses.append(math.log(1 + math.exp(far - near)) if soft else max(0, far - near + margin))
    return sum(losses) / len(losses)


@pytest.mark.parametrize(("mining", "soft"), [("hard", False), ("hard", True), ("weighted", False)])
@pytest.mark.parametrize("parts", [1, 3])
def test_equals_loops(make_batch, mining, soft, parts):
    pooled = random(7, parts, 5)
    found = Triplet(margin=0.4, mining=mining, soft=soft)(make_batch(Features(pooled, pooled * 0), LABELS))
    expected = sum(
        naive(pooled[:, p].double(), LABELS, mining, 0.4, soft or mining == "weighted") for p in range(parts)
    )
    assert found.item() == pytest.approx(expected / parts, rel=1e-5)


def test_features_after_the_neck_may_be_compared(make_batch):
    pooled, necked = random(7, 2, 5), random(7, 2, 5, seed=1)
    batch = make_batch(Features(pooled, necked), LABELS, second=Features(pooled * 2, necked * 3))
    swapped = make_batch(Features(necked, pooled), LABELS, second=Features(necked * 3, pooled * 2))
    settings = {"soft": True, "distillation": 0.5}
    assert Triplet(after_neck=True, **settings)(batch) == Triplet(**settings)(swapped) != Triplet(**settings)(batch)


def test_hard_equals_pytorch_metric_learning(make_batch):
    features, labels = random(32, 8), torch.arange(4).repeat(8)
    euclidean = LpDistance(normalize_embeddings=False)
    theirs = TripletMarginLoss(margin=0.3, distance=euclidean, reducer=MeanReducer())
    expected = theirs(features, labels, BatchHardMiner(distance=euclidean)(features, labels))
    # as precise far from the origin
    assert Triplet()(make_batch(features + 100, labels.numpy())).item() == pytest.approx(expected.item(), rel=1e-4)


def test_distillation_is_over_the_two_distances_of_the_second_views_hardest(make_batch):
    first, second = random(7, 2, 5).requires_grad_(), random(7, 2, 5, seed=1).requires_grad_()
    plain, distilled = Triplet(), Triplet(distillation=0.5)
    assert (plain.views, distilled.views) == (1, 2)
    batch, losses = make_batch(first, LABELS, second=second), []
    for part in range(2):
        for anchor, own in enumerate(LABELS):
            of = {i: distance(second[anchor, part], second[i, part]) for i in range(7)}
            positive = [i for i in of if LABELS[i] == own and i != anchor]
            if not positive:
                continue
            far = max(positive, key=of.get)
            near = min((i for i in of if LABELS[i] != own), key=of.get)
            taught = [distance(first[anchor, part], first[i, part]) for i in (far, near)]
            target = [math.exp(d) / sum(map(math.exp, taught)) for d in taught]
            total = math.exp(of[far]) + math.exp(of[near])
            losses.append(-sum(t * math.log(math.exp(of[i]) / total) for t, i in zip(target, (far, near), strict=True)))
    assert (distilled(batch) - plain(batch)).item() == pytest.approx(0.5 * sum(losses) / len(losses), rel=1e-4)
    (of_plain,) = torch.autograd.grad(plain(batch), first)
    of_first, of_second = torch.autograd.grad(distilled(batch), (first, second))
    torch.testing.assert_close(of_first, of_plain)
    assert of_second.abs().sum() > 0


@pytest.mark.parametrize("mining", ["hard", "weighted"])
@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [0]])
def test_without_positives_or_negatives_is_0_with_gradient(make_batch, mining, labels):
    features = random(len(labels), 4).requires_grad_()
    loss = Triplet(mining=mining, distillation=1.0)(make_batch(features, labels, second=features))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(features.grad, torch.zeros_like(features))


@pytest.mark.parametrize("mining", ["hard", "weighted"])
@pytest.mark.parametrize("count", [4, 32])
def test_equal_images_have_finite_gradients_and_float32_inside_autocast(make_batch, mining, count):
    features = torch.full((count, 3), 0.7).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = Triplet(mining=mining)(make_batch(features, [0, 1] * (count // 2)))
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(0.3 if mining == "hard" else math.log(2), abs=1e-3)
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("mining", ["hard", "weighted"])
def test_descends_to_clusters_apart(make_batch, mining):
    features = random(7, 4).requires_grad_()
    term, losses = Triplet(mining=mining), []
    for _ in range(60):
        losses.append(term(make_batch(features, LABELS)))
        (slope,) = torch.autograd.grad(losses[-1], features)
        features.data -= 0.3 * slope
    assert losses[-1] < 0.3 * losses[0]
