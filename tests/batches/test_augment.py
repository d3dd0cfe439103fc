"""The fused pass against torchvision's single-image functions, given the same draws."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import functional

from reidlib.batches import variation
from reidlib.batches.augment import Augmentation, Draws, apply, augment, draw, normalise
from reidlib.settings import arguments

SETTINGS = Augmentation(pad=5, gain=0.3, offset=0.1)
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
LEVEL = 1 / 255 / max(STD)  # the least that one grey level is after normalisation


def images_of(count: int, height: int = 32, width: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def one_by_one(images: np.ndarray, draws: Draws, chosen: Augmentation) -> torch.Tensor:
    """Apply torchvision's functions image by image, as the published codes do."""
    height, width = images.shape[1:3]
    batch = []
    for i, levels in enumerate(images):
        image = torch.from_numpy(levels).permute(2, 0, 1).float()
        if draws.flip[i]:
            image = functional.hflip(image)
        image = (
            image * torch.from_numpy(draws.gain[i])[:, None, None] + torch.from_numpy(draws.offset[i])[:, None, None]
        )
        image = functional.pad(image.clamp(0, 255), [chosen.pad], fill=0)
        image = functional.crop(image, int(draws.top[i]), int(draws.left[i]), height, width)
        image = functional.normalize(image / 255, MEAN, STD)
        top, left, box_height, box_width = (int(v) for v in draws.erase[i])
        value = MEAN if chosen.erase_like == "authors" else [0.0, 0.0, 0.0]  # of the normalised picture
        batch.append(functional.erase(image, top, left, box_height, box_width, torch.tensor(value)[:, None, None]))
    return torch.stack(batch)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    height=st.integers(2, 20),
    width=st.integers(1, 20),
    pad=st.sampled_from([0, 1, 5, 25]),
    erase_like=st.sampled_from(["torchvision", "authors"]),
)
def test_equals_torchvision_given_the_same_draws(seed, height, width, pad, erase_like):
    chosen = replace(SETTINGS, pad=pad, erase=0.8, erase_like=erase_like)
    images = images_of(9, height, width, seed)
    draws = draw(np.random.default_rng(seed), 9, height=height, width=width, settings=chosen)
    batch = apply(images, draws, settings=chosen)
    assert batch.shape == (9, 3, height, width)
    assert batch.dtype == torch.float32
    torch.testing.assert_close(batch, one_by_one(images, draws, chosen), atol=LEVEL / 1000, rtol=0)
    on_device = apply(torch.from_numpy(images), draws, settings=chosen)
    torch.testing.assert_close(batch, on_device, atol=LEVEL / 1000, rtol=0)


def test_nothing_to_vary_is_normalise():
    still = Augmentation(flip=0.0, pad=0, erase=0.0)
    images = images_of(7)
    plain = normalise(images)
    torch.testing.assert_close(augment(images, np.random.default_rng(0), settings=still), plain, atol=1e-6, rtol=0)
    expected = functional.normalize(torch.from_numpy(images).permute(0, 3, 1, 2) / 255, MEAN, STD)
    torch.testing.assert_close(plain, expected, atol=1e-5, rtol=0)
    for other in (images, torch.from_numpy(images)):
        found = normalise(other)
        torch.testing.assert_close(found, plain, atol=1e-6, rtol=0)
        assert found.is_contiguous(memory_format=torch.channels_last)


def test_rows_of_a_memory_map(tmp_path: Path):
    images = images_of(20)
    np.save(tmp_path / "train.npy", images)
    split = np.load(tmp_path / "train.npy", mmap_mode="r")
    rows = np.array([19, 0, 3, 3, 7])
    expected = augment(images[rows], np.random.default_rng(1), settings=SETTINGS)
    for source in (split, images, images[::-1][::-1], np.asfortranarray(images), torch.from_numpy(images)):
        found = augment(source, np.random.default_rng(1), settings=SETTINGS, rows=rows)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
        assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(normalise(split, rows=rows), normalise(images[rows]))


def test_same_seed_same_batch():
    images = images_of(64)
    first = augment(images, np.random.default_rng(3), settings=SETTINGS)
    assert torch.equal(first, augment(images, np.random.default_rng(3), settings=SETTINGS))
    assert not torch.equal(first, augment(images, np.random.default_rng(4), settings=SETTINGS))


def test_draws_follow_the_settings():
    count = 4000
    draws = draw(np.random.default_rng(0), count, height=256, width=128, settings=Augmentation(gain=0.2, offset=0.1))
    assert abs(draws.flip.mean() - 0.5) < 0.03
    for place in (draws.top, draws.left):
        assert set(place.tolist()) == set(range(21))
    erased = draws.erase[draws.erase[:, 2] > 0]
    assert abs(len(erased) / count - 0.5) < 0.03
    assert (erased[:, :2] >= 0).all()
    assert (erased[:, 0] + erased[:, 2] <= 256).all()
    assert (erased[:, 1] + erased[:, 3] <= 128).all()
    share = erased[:, 2] * erased[:, 3] / (256 * 128)
    assert 0.015 < share.min() < 0.03
    assert 0.35 < share.max() < 0.41
    assert abs(draws.gain - 1).max() <= 0.2
    assert abs(draws.offset).max() <= 25.5
    assert (draws.gain[:, 0] != draws.gain[:, 1]).any()


def test_the_authors_boxes_have_uniform_aspects_torchvisions_log_uniform_ones():
    """Half of the uniform ones are above the middle of .3 to 3.33; of the log-uniform ones half are above 1."""
    for like, middle in (("authors", (0.3 + 3.33) / 2), ("torchvision", 1.0)):
        how = Augmentation(erase=1.0, erase_like=like)
        boxes = draw(np.random.default_rng(0), 4000, height=4000, width=4000, settings=how).erase
        boxes = boxes[boxes[:, 2] * boxes[:, 3] < 0.2 * 4000**2]  # in a square all of these fit
        assert abs((boxes[:, 2] / boxes[:, 3] > middle).mean() - 0.5) < 0.04
    same = [draw(np.random.default_rng(0), 50, height=64, width=32, settings=replace(SETTINGS, erase_like=like)).top
            for like in ("authors", "torchvision")]  # fmt: skip
    assert np.array_equal(*same)


def test_switching_one_variation_off_leaves_the_others():
    with_all = draw(np.random.default_rng(0), 50, height=64, width=32, settings=SETTINGS)
    without = draw(np.random.default_rng(0), 50, height=64, width=32, settings=replace(SETTINGS, erase=0.0, gain=0.0))
    assert (without.erase == 0).all()
    assert (without.gain == 1).all()
    assert np.array_equal(with_all.flip, without.flip)
    assert np.array_equal(with_all.offset, without.offset)


def test_boxes_that_never_fit_leave_the_image_whole(monkeypatch):
    monkeypatch.setattr(variation, "BOX_AREA", (0.9, 0.9))
    monkeypatch.setattr(variation, "BOX_ASPECT", (9.0, 9.0))
    draws = draw(np.random.default_rng(0), 20, height=16, width=16, settings=replace(SETTINGS, erase=1.0))
    assert (draws.erase == 0).all()


def test_no_image():
    empty = augment(images_of(0), np.random.default_rng(0), settings=SETTINGS)
    assert empty.shape == (0, 3, 32, 16)
    none = normalise(images_of(3), rows=np.zeros(0, np.int64))
    assert none.shape == (0, 3, 32, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flip": 1.5}, "flip"),
        ({"pad": -1}, "pad"),
        ({"gain": float("nan")}, "gain"),
        ({"offset": 1.0}, "offset"),
        ({"policy": "automatic"}, "policy"),
        ({"hue": 0.6}, "hue"),
        ({"cutout": 1.5}, "cutout"),
        ({"contrast": -0.1}, "contrast"),
        ({"erasing": 0.5}, "erasing"),
    ],
)
def test_settings_that_mean_nothing_are_refused(change, message):
    with pytest.raises(ValueError, match=rf"augment\.{message}: "):
        arguments(change, of=Augmentation, where="augment")


def test_importing_costs_no_torchvision():
    code = "import sys, reidlib.batches.augment; sys.exit(bool({'torchvision', 'torch._dynamo'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_rows_and_draws_are_checked():
    images = images_of(4)
    for rows in ([4], [-1]):
        with pytest.raises(ValueError, match=r"rows 0\.\.3"):
            normalise(images, rows=np.array(rows))
    draws = draw(np.random.default_rng(0), 3, height=32, width=16, settings=SETTINGS)
    with pytest.raises(ValueError, match="draws for 4 images, got 3"):
        apply(images, draws, settings=SETTINGS)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu_equals_cpu():
    images = images_of(16)
    draws = draw(np.random.default_rng(0), 16, height=32, width=16, settings=SETTINGS)
    found = apply(torch.from_numpy(images).cuda(), draws, settings=SETTINGS)
    torch.testing.assert_close(found.cpu(), apply(images, draws, settings=SETTINGS), atol=1e-5, rtol=0)
