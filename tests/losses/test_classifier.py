"""The classifier against loops over images, parts and clusters, written from the papers' formulas."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional

from reidlib.losses.classifier import Classifier
from reidlib.models.embedder import Features

LABELS = [0, 2, 1, 2, 0]
CAMERAS = [0, 1, 0, 1, 0]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def begun(make_start, parts=2, d=4, *, local=False, **settings):
    torch.manual_seed(3)
    classifier = Classifier(**settings)
    classifier.begin(make_start(random(5, parts * d, seed=1), LABELS, CAMERAS, local=local))
    return classifier


def naive_score(head, cosine, own, scale, margin):
    angle = math.acos(cosine)
    if head == "cosine":
        return scale * (math.cos(angle) - margin if own else math.cos(angle))
    if head == "arc":
        if not own:
            return scale * cosine
        past = angle + margin > math.pi
        return scale * (cosine - margin * math.sin(margin) if past else math.cos(angle + margin))
    if own:
        return scale * max(0, 1 + margin - cosine) * (cosine - (1 - margin))
    return scale * max(0, cosine + margin) * (cosine - margin)


def cross_entropy(scores, label, smoothing, focal):
    logs = [score - max(scores) - math.log(sum(math.exp(s - max(scores)) for s in scores)) for score in scores]
    targets = [smoothing / len(scores) + (1 - smoothing) * (c == label) for c in range(len(scores))]
    return (1 - math.exp(logs[label])) ** focal * -sum(t * log for t, log in zip(targets, logs, strict=True))


@pytest.mark.parametrize("head", ["linear", "cosine", "arc", "circle"])
@pytest.mark.parametrize(("smoothing", "focal"), [(0.0, 0.0), (0.1, 0.0), (0.2, 2.0)])
def test_equals_the_formulas(make_start, make_batch, head, smoothing, focal):
    chosen = {} if head == "linear" else {"scale": 5.0, "margin": 0.4}
    classifier = begun(make_start, head=head, smoothing=smoothing, focal=focal, **chosen)
    classifier.weight.data += random(3, 8, seed=2)
    pooled, necked = random(5, 2, 4, seed=4), random(5, 2, 4, seed=5)
    expected = 0.0
    for image, label in enumerate(LABELS):
        for part in range(2):
            scores = []
            for cluster in range(3):
                feature, weight = necked[image, part], classifier.weight[cluster].detach().view(2, 4)[part]
                if head == "linear":
                    scores.append(float(feature @ weight))
                else:
                    cosine = float(feature @ weight / feature.norm() / weight.norm())
                    scores.append(naive_score(head, cosine, cluster == label, 5.0, 0.4))
            expected += cross_entropy(scores, label, smoothing, focal) / 10
    found = classifier(make_batch(Features(pooled, necked), LABELS))
    assert found.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("head", ["cosine", "arc", "circle"])
def test_the_nearest_of_several_centres_counts(make_start, make_batch, head):
    classifier = begun(make_start, head=head, centres=3, scale=5.0, margin=0.4)
    means = begun(make_start, head=head).weight
    assert classifier.weight.shape == (9, 8)
    apart = (classifier.weight - means.repeat_interleave(3, dim=0)).detach()
    assert apart.std().item() == pytest.approx(0.01, rel=0.3)
    classifier.weight.data += random(9, 8, seed=2)
    necked, expected = random(5, 2, 4, seed=5), 0.0
    for image, label in enumerate(LABELS):
        for part in range(2):
            feature, weight = necked[image, part], classifier.weight.detach().view(3, 3, 2, 4)[:, :, part]
            cosines = [max(float(feature @ w / feature.norm() / w.norm()) for w in of) for of in weight]
            scores = [naive_score(head, cosine, c == label, 5.0, 0.4) for c, cosine in enumerate(cosines)]
            expected += cross_entropy(scores, label, 0.1, 0.0) / 10
    assert classifier(make_batch(necked, LABELS)).item() == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="linear: expected one centre"):
        Classifier(centres=2)


@pytest.mark.parametrize("head", ["linear", "arc"])
def test_some_parts_alone_are_classified(make_start, make_batch, head):
    """As a network of these parts alone would be."""
    some, alone = Classifier(head=head, parts=[2, 0]), begun(make_start, head=head)
    some.begin(make_start(random(5, 12, seed=1), LABELS, CAMERAS))
    some.weight.data = random(3, 12, seed=2)
    alone.weight.data = some.weight.data.view(3, 3, 4)[:, [2, 0]].flatten(1)
    necked = random(5, 3, 4, seed=5).requires_grad_()
    loss = some(make_batch(necked, LABELS))
    assert loss.item() == pytest.approx(alone(make_batch(necked[:, [2, 0]], LABELS)).item(), rel=1e-6)
    loss.backward()
    assert not necked.grad[:, 1].any() and necked.grad[:, 0].any()


def test_arc_past_half_a_turn_goes_on_falling(make_start, make_batch):
    classifier = begun(make_start, 1, 2, head="arc", smoothing=0.0, scale=1.0, margin=0.5)
    classifier.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    angles = torch.linspace(0.01, math.pi - 0.01, 50)
    losses = [classifier(make_batch(torch.stack([a.cos(), a.sin()])[None], [0])).item() for a in angles]
    own = [math.cos(a + 0.5) if a + 0.5 <= math.pi else math.cos(a) - 0.5 * math.sin(0.5) for a in angles.tolist()]
    for angle, score, loss in zip(angles.tolist(), own, losses, strict=True):
        expected = math.log(1 + 2 * math.exp(math.sin(angle) - score))
        assert loss == pytest.approx(expected, rel=1e-4)
    assert all(before > after for before, after in pairwise(own))


@pytest.mark.parametrize(("head", "scale", "margin"), [("cosine", 64, 0.35), ("arc", 64, 0.5), ("circle", 128, 0.25)])
def test_unless_told_otherwise_it_is_as_in_the_paper(make_start, make_batch, head, scale, margin):
    batch = make_batch(random(5, 2, 4), LABELS)
    default, explicit, other = (
        begun(make_start, head=head, **more)(batch)
        for more in ({}, {"scale": scale, "margin": margin}, {"margin": 0.1})
    )
    assert default == explicit
    # without its margin a cosine is easier; circle loss is the harder, the smaller its circle
    assert (default < other) if head == "circle" else (default > other)


@pytest.mark.parametrize("head", ["linear", "cosine", "arc", "circle"])
@pytest.mark.parametrize("distillation", [0.0, 1.0])
def test_clusters_of_other_cameras_take_no_part(make_start, make_batch, head, distillation):
    classifier = begun(make_start, local=True, head=head, focal=0.5, distillation=distillation)
    batch = make_batch(random(5, 2, 4).requires_grad_(), LABELS, CAMERAS, second=random(5, 2, 4, seed=9))
    before = classifier(batch)
    before.backward()
    assert before.isfinite()
    assert batch.first.necked.grad.isfinite().all()
    assert classifier.weight.grad.isfinite().all()
    # cluster 2 is alone on its camera: nothing to tell it from
    assert not classifier.weight.grad[2].any()
    classifier.weight.data[2] = random(8, seed=11)
    assert classifier(batch).item() == pytest.approx(before.item(), rel=1e-6)


@pytest.mark.parametrize("head", ["linear", "cosine", "arc"])
def test_distillation_draws_the_second_view_to_the_first(make_start, make_batch, head):
    first, second = random(5, 2, 4).requires_grad_(), random(5, 2, 4, seed=6).requires_grad_()
    scale = {} if head == "linear" else {"scale": 3.0}
    plain, distilled = (begun(make_start, head=head, distillation=weight, **scale) for weight in (0.0, 0.5))
    assert (plain.views, distilled.views) == (1, 2)
    plain.weight.data += random(3, 8, seed=2)
    distilled.weight.data.copy_(plain.weight.data)
    batch = make_batch(first, LABELS, second=second)
    expected = 0.0
    for image in range(5):
        for part in range(2):
            weight = plain.weight.detach().view(3, 2, 4)[:, part]
            ones = [view[image, part].detach() for view in (first, second)]
            if head != "linear":
                weight, ones = 3 * functional.normalize(weight), [one / one.norm() for one in ones]
            target, learner = ((weight @ one).softmax(0) for one in ones)
            expected -= sum(float(t) * math.log(float(p)) for t, p in zip(target, learner, strict=True)) / 10
    assert (distilled(batch) - plain(batch)).item() == pytest.approx(0.5 * expected, rel=1e-4)
    (of_plain,) = torch.autograd.grad(plain(batch), first)
    of_first, of_second = torch.autograd.grad(distilled(batch), (first, second))
    torch.testing.assert_close(of_first, of_plain)
    assert of_second.abs().sum() > 0


def test_weights_are_kept_unless_labels_changed(make_start):
    rows = random(5, 8)
    classifier = Classifier(head="cosine")
    classifier.begin(make_start(rows, LABELS))
    means = [rows[[0, 4]], rows[[2]], rows[[1, 3]]]
    expected = [functional.normalize(functional.normalize(one).sum(0), dim=0) for one in means]
    torch.testing.assert_close(classifier.weight.data, torch.stack(expected))
    kept = classifier.weight
    classifier.begin(make_start(random(5, 8, seed=1), LABELS, renewed=False))
    assert classifier.weight is kept
    classifier.begin(make_start(random(5, 8, seed=1), LABELS))
    assert not torch.equal(classifier.weight, kept)
    linear = Classifier()
    linear.begin(make_start(random(400, 50), np.arange(400)))
    assert linear.weight.std().item() == pytest.approx(0.001, rel=0.05)


def test_same_seed_same_weights_and_float32_inside_autocast(make_start, make_batch):
    one, other = begun(make_start), begun(make_start)
    assert torch.equal(one.weight, other.weight)
    batch = make_batch(random(5, 2, 4), LABELS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = one(batch)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, one(batch))


def test_linear_refuses_what_it_has_no_use_for():
    with pytest.raises(ValueError, match=r"linear: expected no scale and no margin.*found scale 30.0"):
        Classifier(scale=30.0)
