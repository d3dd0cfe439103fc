import numpy as np
import pytest
import torch

from reidlib.features import embed, embed_together, initial_embeddings, open_embeddings, write_embeddings
from reidlib.models.embedder import Architecture, new_embedder

SMALL = Architecture(backbone="resnet18_half", last_stride=1, pooling="gem", gem_power=3.0, batch_norm_group=64)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (11, 32, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model():
    return new_embedder(SMALL, seed=1)


def test_embed_equals_one_image_at_a_time(model, images):
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    model.train()
    found = embed(model, images, batch_size=4)
    assert model.training
    model.eval()
    with torch.inference_mode():
        batches = [((torch.from_numpy(image) / 255 - mean) / std).permute(2, 0, 1)[None] for image in images]
        expected = [model(batch).embeddings[0] for batch in batches]
    np.testing.assert_allclose(found, torch.stack(expected).numpy(), atol=1e-5)


def test_flipping_makes_an_image_and_its_mirror_equal(model, images):
    found = embed(model, images, flip=True)
    np.testing.assert_allclose(embed(model, images[:, :, ::-1].copy(), flip=True), found, atol=1e-5)
    assert not np.allclose(embed(model, images), found, atol=1e-3)


def test_joined_cosines_are_the_mean_of_the_parts(model, images):
    other = new_embedder(SMALL, seed=2)
    first, second = embed(model, images), embed(other, images)
    both = embed_together([model, other], images)
    np.testing.assert_allclose(both @ both.T, (first @ first.T + second @ second.T) / 2, atol=1e-5)
    np.testing.assert_array_equal(embed_together([model], images), first)


def test_embeddings_that_are_not_finite_are_refused(images):
    model = new_embedder(SMALL, seed=1)
    with torch.no_grad():
        model.neck.weight[0] = torch.nan
    with pytest.raises(ValueError, match="11 of 11 embeddings are not finite"):
        embed(model, images)


@pytest.mark.parametrize("descriptor", ["network", "colour_stripes", "balanced_stripes"])
def test_initial_embeddings_are_unit_norm(model, images, descriptor):
    found = initial_embeddings(model, images, descriptor=descriptor, batch_size=4)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_an_unknown_descriptor_is_refused(model, images):
    with pytest.raises(ValueError, match="found 'sift'"):
        initial_embeddings(model, images, descriptor="sift", batch_size=4)


def test_embeddings_on_disk(tmp_path, images):
    rows = np.eye(3, dtype=np.float32)
    write_embeddings(tmp_path / "train.npy", rows)
    np.testing.assert_array_equal(open_embeddings(tmp_path / "train.npy", images=3), rows)
    with pytest.raises(ValueError, match="expected float32 embeddings of 4 images"):
        open_embeddings(tmp_path / "train.npy", images=4)
    with pytest.raises(FileNotFoundError, match="no such file"):
        open_embeddings(tmp_path / "query.npy", images=3)
    whole = (tmp_path / "train.npy").read_bytes()
    (tmp_path / "train.npy").write_bytes(whole[:-5])
    with pytest.raises(ValueError, match="truncated or damaged"):
        open_embeddings(tmp_path / "train.npy", images=3)
