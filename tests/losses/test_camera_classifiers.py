"""Classifiers per camera against torch's own layers, one camera after another."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from reidlib.losses.camera_classifiers import CameraClassifiers
from reidlib.models.embedder import Features

LABELS = [0, 1, 2, 0, 3, 2, 1]
CAMERAS = [0, 0, 2, 0, 2, 2, 0]
OF_CAMERA = {0: [0, 1], 2: [2, 3]}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def begun(make_start, parts=1, d=4, **settings):
    torch.manual_seed(0)
    term = CameraClassifiers(**settings)
    term.begin(make_start(random(7, parts * d, seed=1), LABELS, CAMERAS))
    with torch.no_grad():
        term.weight += random(4, parts * d, seed=2)
        term.gain += random(3, parts * d, seed=3) / 3
    return term


def layer(term, camera, d, part=0):
    """The camera's normalisation and classifier of a part, as torch's modules."""
    of = slice(part * d, (part + 1) * d)
    norm, linear = nn.BatchNorm1d(d), nn.Linear(d, 2, bias=False)
    norm.weight.data, linear.weight.data = term.gain.data[camera, of], term.weight.data[OF_CAMERA[camera], of]
    return nn.Sequential(norm, linear)


@pytest.mark.parametrize("over_cameras", ["mean", "sum"])
@pytest.mark.parametrize("parts", [1, 3])
def test_equals_torchs_layers_camera_by_camera(make_start, make_batch, parts, over_cameras):
    """The mean over all images, or the sum of the means of each camera's."""
    term = begun(make_start, parts, distillation=0.7, over_cameras=over_cameras)
    first, second = random(7, parts, 4, seed=4), random(7, parts, 4, seed=5)
    expected = torch.zeros(())
    for camera, clusters in OF_CAMERA.items():
        rows = [i for i in range(7) if CAMERAS[i] == camera]
        count = 7 if over_cameras == "mean" else len(rows)
        for part in range(parts):
            plain = layer(term, camera, 4, part)(first[rows, part])
            converted = layer(term, camera, 4, part)(second[rows, part])
            own = torch.tensor([clusters.index(LABELS[row]) for row in rows])
            soft = -(plain.softmax(1) * converted.log_softmax(1)).sum()
            expected += (functional.cross_entropy(plain, own, reduction="sum") + 0.7 * soft) / parts / count
    views = [Features(view, view * 0) for view in (first, second)]
    found = term(make_batch(views[0], LABELS, CAMERAS, second=views[1]))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    alone = begun(make_start, parts, distillation=0.0, over_cameras=over_cameras)
    assert alone(make_batch(views[0], LABELS, CAMERAS)).item() < expected.item()


def test_the_second_view_learns_from_the_first(make_start, make_batch):
    term, alone = begun(make_start), begun(make_start, distillation=0.0)
    assert (term.views, alone.views) == (2, 1)
    first, second = random(7, 4, seed=4).requires_grad_(), random(7, 4, seed=5).requires_grad_()
    batch = make_batch(first, LABELS, CAMERAS, second=second)
    of_first, of_second, of_gain, of_weight = torch.autograd.grad(term(batch), (first, second, term.gain, term.weight))
    (of_alone,) = torch.autograd.grad(alone(batch), first)
    torch.testing.assert_close(of_first, of_alone)
    assert of_second.abs().sum() > 0
    assert of_weight.abs().sum(dim=1).min() > 0
    assert of_gain[[0, 2]].abs().sum(dim=1).min() > 0
    assert not of_gain[1].any()


def test_one_image_of_a_camera_and_one_cluster_are_finite(make_start, make_batch):
    term = begun(make_start)
    first = random(4, 4, seed=4).requires_grad_()
    batch = make_batch(first, [0, 1, 0, 2], [0, 0, 0, 2], second=random(4, 4))
    loss = term(batch)
    loss.backward()
    assert loss.isfinite()
    assert first.grad.isfinite().all()


def test_starts_anew_where_labels_changed(make_start):
    term = begun(make_start)
    kept, gain = term.weight, term.gain
    term.begin(make_start(random(7, 4), LABELS, CAMERAS, renewed=False))
    assert term.weight is kept
    assert term.gain is gain
    term.begin(make_start(random(7, 4), LABELS, CAMERAS))
    assert term.weight.abs().max() < 0.01
    assert torch.equal(term.gain, torch.ones(3, 4))


def test_float32_inside_autocast(make_start, make_batch):
    term = begun(make_start)
    batch = make_batch(random(7, 4), LABELS, CAMERAS, second=random(7, 4, seed=1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = term(batch)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, term(batch))


def test_refuses_clusters_on_two_cameras(make_start):
    with pytest.raises(ValueError, match="cluster 0 is on cameras"):
        CameraClassifiers().begin(make_start(random(2, 4), [0, 0], [0, 1]))
