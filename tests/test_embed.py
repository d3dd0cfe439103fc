from dataclasses import replace

import numpy as np
import pytest
import torch

from reidlib.batches.augment import normalise
from reidlib.embed import embed, embed_together, initial_embeddings
from reidlib.models.architecture import Architecture
from reidlib.models.embedder import new_embedder
from reidlib.settings import arguments

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


def test_a_batch_that_does_not_fit_the_memory_is_halved(model, images, monkeypatch, capsys):
    expected, sizes, whole = embed(model, images), [], model.forward

    def forward(batch, *more):
        sizes.append(len(batch))
        if len(batch) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return whole(batch, *more)

    monkeypatch.setattr(model, "forward", forward)
    model.train()
    np.testing.assert_allclose(embed(model, images, batch_size=8), expected, atol=1e-5)
    assert sizes == [8, 4, 2, 2, 2, 2, 2, 1] and model.training
    assert "no memory for 8 images at a time, going on with 4" in capsys.readouterr().out
    monkeypatch.setattr(model, "forward", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("out of memory")))
    with pytest.raises(torch.OutOfMemoryError):
        embed(model, images)


def test_a_cpu_takes_few_pixels_at_a_time(model, images, monkeypatch):
    expected, sizes, whole = embed(model, images), [], model.forward
    monkeypatch.setattr(model, "forward", lambda batch, *more: sizes.append(len(batch)) or whole(batch, *more))
    monkeypatch.setattr("reidlib.embed.CPU_PIXELS", 4 * 32 * 16 + 1)
    np.testing.assert_allclose(embed(model, images), expected, atol=1e-5)
    assert sizes == [4, 4, 3]
    monkeypatch.setattr("reidlib.embed.CPU_PIXELS", 1)
    embed(model, images[:2])
    assert sizes[3:] == [1, 1]


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


def test_an_unknown_descriptor_is_refused():
    with pytest.raises(ValueError, match=r"extract\.descriptor: .*found: 'sift'"):
        arguments({"descriptor": "sift", "batch_size": 4}, of=initial_embeddings, where="extract")


def test_images_are_normalised_as_the_weights_expect(model, images):
    other = new_embedder(replace(SMALL, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)), seed=1).eval()
    batch = (torch.from_numpy(images) / 255 - 0.5) / 0.5
    with torch.inference_mode():
        expected = other(batch.permute(0, 3, 1, 2)).embeddings
    np.testing.assert_allclose(embed(other, images), expected.numpy(), atol=1e-5)
    assert not np.allclose(embed(model, images), expected.numpy(), atol=1e-3)


@pytest.mark.parametrize("embedding", ["after_neck", "before_neck"])
def test_styles_of_all_cameras_are_summed_as_in_a_loop_over_images(images, embedding):
    shape = replace(
        SMALL, embedding=embedding, camera_norm_after=["layer1", "layer2"], cameras=3, camera_norm_by="batch"
    )
    model, cameras = new_embedder(shape, seed=1), np.int16([0, 1, 0, 1, 0, 1, 0, 1, 2, 5, 0])
    generator = torch.Generator().manual_seed(0)
    batch = torch.randn(8, 3, 32, 16, generator=generator)
    model.train()(batch, torch.arange(8) % 2)  # camera 2 has no statistics yet, camera 5 is unknown
    expected = []
    with torch.inference_mode():
        for image, camera in zip(images, cameras.tolist(), strict=True):
            plain = normalise(image[None], rows=np.array([0]), size_px=(32, 16), mean=shape.mean, std=shape.std)
            total = torch.zeros(model.dimension)
            for target in range(3):
                style = (torch.tensor([camera]), torch.tensor([target])) if camera < 3 else ()
                for view in (plain, plain.flip(3)):
                    features = model.eval()(view, *style)
                    total += features.pooled.flatten() if embedding == "before_neck" else features.embeddings[0]
            expected.append(total / total.norm())
    model.train()
    found = embed(model, images, batch_size=4, flip=True, cameras=cameras)
    np.testing.assert_allclose(found, torch.stack(expected).numpy(), atol=1e-5)
    assert not np.allclose(found, embed(model, images, flip=True), atol=1e-4)
    part = embed(model, images, batch_size=4, flip=True, cameras=cameras, rows=range(3, 9))
    np.testing.assert_allclose(part, found[3:9], atol=1e-6)
    styled = embed_together([model], images, flip=True, camera_styles=True, cameras=cameras)
    np.testing.assert_allclose(styled, found, atol=1e-6)
    plain = embed_together([model], images, flip=True, cameras=cameras)
    np.testing.assert_allclose(plain, embed(model, images, flip=True), atol=1e-6)


def test_a_network_without_a_camera_norm_embeds_whatever_the_cameras(model, images):
    assert np.array_equal(embed(model, images, cameras=np.zeros(11, np.int16)), embed(model, images))
