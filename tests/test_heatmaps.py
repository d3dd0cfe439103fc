"""Heat-maps: they add up to the cosine, and light up where two pictures are alike."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from reidlib.embed import embed
from reidlib.heatmaps import OCCLUDED, similarity_maps
from reidlib.models.architecture import Architecture
from reidlib.models.embedder import new_embedder

CNN = Architecture(backbone="resnet18_half", last_stride=1, pooling="gem", gem_power=3.0, batch_norm_group=64,
                   height_px=64, width_px=32)  # fmt: skip
TRANSFORMER = replace(CNN, backbone="timm/vit_tiny_patch16_224", last_stride=2, pooling="token")
BRANCHED = replace(CNN, backbone="lightmbn_x0_25", last_stride=2, pooling="parts")


def network(architecture):
    model = new_embedder(architecture, seed=0).eval()
    with torch.no_grad():  # statistics as after training, which a neck of random weights has not
        model.neck.running_mean.copy_(0.1 * torch.randn(model.dimension, generator=torch.Generator().manual_seed(1)))
        model.neck.running_var.copy_(0.5 + torch.rand(model.dimension, generator=torch.Generator().manual_seed(2)))
    return model


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (4, 64, 32, 3), dtype=np.uint8)


def normal(picture, model):
    levels = (picture / 255 - model.architecture.mean) / model.architecture.std
    return torch.from_numpy(levels).permute(2, 0, 1)[None].float()


@pytest.mark.parametrize("pooling", ["gem", "average", "max", "average_max"])
def test_places_of_a_map_add_up_to_the_cosine(pictures, pooling):
    model = network(replace(CNN, pooling=pooling))
    vectors = embed(model, pictures)
    maps = similarity_maps([model], pictures[:2], pictures[2:])
    for (one, other), a, b in zip(maps, vectors[:2], vectors[2:], strict=True):
        assert one.shape == other.shape == (4, 2) and one.dtype == np.float32
        assert one.sum() == pytest.approx(float(a @ b), abs=1e-5) == other.sum()


def test_a_place_adds_what_is_linear_in_its_features(pictures):
    """With the mean as pooling: each place's own features, through the neck, times the other embedding."""
    model = network(replace(CNN, pooling="average"))
    batch = [normal(picture, model) for picture in pictures[:2]]
    with torch.no_grad():
        features, other = model.backbone(batch[0]), model(batch[1]).embeddings[0]
        norm = model(batch[0]).necked.norm()
        scale = model.neck.weight / (model.neck.running_var + model.neck.eps).sqrt()
        rows, columns = features.shape[2:]
        expected = np.zeros((rows, columns))
        for row in range(rows):
            for column in range(columns):
                necked = (features[0, :, row, column] - model.neck.running_mean) * scale
                expected[row, column] = necked @ other / norm / (rows * columns)
    [(found, _)] = similarity_maps([model], pictures[:1], pictures[1:2])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_transformer_tells_of_its_patches(pictures):
    model = network(TRANSFORMER)
    [(one, other)] = similarity_maps([model], pictures[:1], pictures[1:2])
    assert one.shape == other.shape == (4, 2) and np.abs(one).max() <= 1
    with torch.no_grad():
        tokens = model.backbone(normal(pictures[0], model))
        last = functional.normalize(model.neck(tokens[:, -1]), dim=1)[0]
    assert one[3, 1] == pytest.approx(float(last @ torch.from_numpy(embed(model, pictures[1:2])[0])), abs=1e-5)


def test_a_branched_network_tells_what_a_grey_region_costs(pictures):
    model = network(BRANCHED)
    grey = np.tile(np.round(np.array(model.architecture.mean) * 255).astype(np.uint8), (64, 32, 1))
    once = pictures[0].copy()
    once[8:16, 24:32] = grey[8:16, 24:32]
    a, b, c = embed(model, np.stack([pictures[0], pictures[1], once]))
    [(one, _)] = similarity_maps([model], pictures[:1], pictures[1:2])
    assert one.shape == OCCLUDED and one[1, 3] == pytest.approx(float(a @ b - c @ b), abs=2e-3)


def test_several_networks_are_their_mean(pictures):
    models = [network(CNN), new_embedder(CNN, seed=5).eval()]
    [(both, _)], *single = (similarity_maps(m, pictures[:1], pictures[1:2]) for m in (models, models[:1], models[1:]))
    np.testing.assert_allclose(both, np.mean([pair[0][0] for pair in single], axis=0), rtol=1e-5)
