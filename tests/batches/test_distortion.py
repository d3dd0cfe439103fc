"""The further variations and the resizing against torchvision's functions of one image, given the same draws."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from reidlib.batches.augment import Augmentation, apply, augment, draw, normalise
from reidlib.batches.distortion import distort
from reidlib.batches.variation import IMAGENET_MEAN, IMAGENET_STD

NONE = Augmentation()
ALONE = {
    "auto": {"policy": "auto"},
    "trivial": {"policy": "trivial"},
    "now and then": {"policy": "auto", "policy_share": 0.4},
    "grey": {"grey": 0.5},
    "translate": {"translate": 0.7},
    "brightness": {"brightness": 0.8},
    "contrast": {"contrast": 0.8},
    "saturation": {"saturation": 1.0},
    "hue": {"hue": 0.5},
    "colours": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "blur": {"blur": 0.7},
    "grey_patch": {"grey_patch": 0.7},
    "cutout": {"cutout": 0.7},
}
ALL = {"policy": "trivial", "grey": 0.3, "translate": 0.5, "blur": 0.5, "grey_patch": 0.5, "cutout": 0.5} | ALONE[
    "colours"
]


def pictures(count: int, height: int = 32, width: int = 16, seed: int = 0) -> np.ndarray:
    """Noise over smooth colours, with some grey and some black pictures."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, 1, 1, 3)) + generator.integers(-60, 60, (count, height, width, 3))
    images[:1] = images[:1, :, :, :1]
    images[1:2] = 0
    return images.clip(0, 255).astype(np.uint8)


def drawn(images: np.ndarray, chosen: Augmentation, seed: int):
    return draw(
        np.random.default_rng(seed), len(images), height=images.shape[1], width=images.shape[2], settings=chosen
    )


def vary(image: torch.Tensor, draws, i: int, chosen: Augmentation) -> torch.Tensor:
    """Vary one picture (3, height, width) by torchvision's functions."""
    height, width = image.shape[1:]
    if chosen.policy != "none" and draws.policy[i] >= 0:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(draws.policy[i]))
            image = (v2.AutoAugment() if chosen.policy == "auto" else v2.TrivialAugmentWide())(image)
    if draws.greyed[i]:
        image = functional.rgb_to_grayscale(image, 3)
    if draws.translate[i, 0] >= 0:
        image = functional.resize(image, [round(height * 1.125), round(width * 1.125)], antialias=False)
        image = functional.crop(image, *draws.translate[i].tolist(), height, width)
    for kind in draws.colour_order[i]:
        factor = float(draws.colour[i, kind])
        change = (
            functional.adjust_brightness,
            functional.adjust_contrast,
            functional.adjust_saturation,
            functional.adjust_hue,
        )[kind]
        image = change(image, factor)
    if draws.blur[i]:
        image = functional.gaussian_blur(image, [13, 13], [float(draws.blur[i])])
    top, left, high, wide = draws.grey[i].tolist()
    box = image[:, top : top + high, left : left + wide]
    image = image.clone()
    image[:, top : top + high, left : left + wide] = functional.rgb_to_grayscale(box, 3)
    top, left, high, wide = draws.cutout[i].tolist()
    mean = torch.tensor([round(255 * level) for level in IMAGENET_MEAN], dtype=torch.uint8)
    return functional.erase(image, top, left, high, wide, mean[:, None, None])


@pytest.mark.parametrize("name", sorted(ALONE))
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32), height=st.integers(8, 40), width=st.integers(8, 30))
def test_equals_torchvision_given_the_same_draws(name, seed, height, width):
    chosen = replace(NONE, **ALONE[name])
    images = pictures(6, height, width, seed)
    draws = drawn(images, chosen, seed)
    found = distort(torch.from_numpy(images), draws, settings=chosen)
    assert found.shape == images.shape
    level = 3 if name == "colours" else 1  # a level apart before a contrast is more than one after
    for i, image in enumerate(torch.from_numpy(images).permute(0, 3, 1, 2)):
        difference = (found[i].permute(2, 0, 1).int() - vary(image, draws, i, chosen).int()).abs()
        assert difference.max() <= level, (i, draws)
        assert (difference > 0).float().mean() < 0.02 or name == "translate"


def test_of_an_array_and_of_a_tensor_alike_whatever_the_rest_of_the_batch():
    chosen = replace(NONE, **ALL)
    images = pictures(12, 40, 24)
    rows = np.array([5, 0, 3, 11, 3, 1, 2])
    draws = drawn(images[rows], chosen, 3)
    batch = apply(images, draws, settings=chosen, rows=rows)
    torch.testing.assert_close(apply(torch.from_numpy(images), draws, settings=chosen, rows=rows), batch)
    half = {field.name: getattr(draws, field.name)[4:] for field in fields(draws)}
    torch.testing.assert_close(apply(images, replace(draws, **half), settings=chosen, rows=rows[4:]), batch[4:])
    assert np.array_equal(images, pictures(12, 40, 24))  # the split itself is never written


def test_the_draws_of_the_others_and_the_global_generators_stay_as_they_were():
    images = pictures(20, 40, 24)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    plain, varied = np.random.default_rng(1), np.random.default_rng(1)
    first = draw(plain, 20, height=40, width=24, settings=NONE)
    second = draw(varied, 20, height=40, width=24, settings=replace(NONE, **ALL))
    for name in ("flip", "top", "left", "erase", "gain", "offset"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert plain.random() == varied.random()
    third = draw(np.random.default_rng(1), 20, height=40, width=24, settings=replace(NONE, **ALL | {"cutout": 0.0}))
    for name in ("policy", "greyed", "translate", "colour", "colour_order", "blur", "grey"):
        assert np.array_equal(getattr(second, name), getattr(third, name)), name
    assert augment(images, varied, settings=replace(NONE, **ALL)).isfinite().all()
    assert torch.equal(torch.rand(1), expected)


def test_nothing_is_drawn_where_nothing_is_asked_for():
    draws = draw(np.random.default_rng(0), 9, height=40, width=24, settings=NONE)
    assert (draws.translate == -1).all() and (draws.colour == [1, 1, 1, 0]).all() and not draws.blur.any()
    assert not draws.grey.any() and not draws.greyed.any() and not draws.cutout.any() and not NONE.distorts
    assert all(replace(NONE, **{name: value}).distorts for name, value in ALL.items())


def test_the_first_batch_is_what_it_was_before_there_were_further_variations():
    draws = draw(np.random.default_rng(7), 2, height=64, width=32, settings=replace(NONE, gain=0.2, erase=1.0))
    generator = np.random.default_rng(7)
    uniform, levels = generator.random((2, 5)), generator.uniform(-1, 1, (2, 2, 3))
    assert np.array_equal(draws.top, np.floor(21 * uniform[:, 1]))
    assert np.array_equal(draws.gain, 1 + np.float32(0.2) * levels[0].astype(np.float32))


def test_draws_follow_the_settings():
    chosen = replace(
        NONE, **ALL | {"policy_share": 0.1, "translate": 0.3, "blur": 0.4, "grey_patch": 0.6, "cutout": 0.2}
    )
    draws = draw(np.random.default_rng(0), 4000, height=64, width=32, settings=chosen)
    for found, share in (
        (draws.translate[:, 0] >= 0, 0.3),
        (draws.blur > 0, 0.4),
        (draws.grey[:, 2] > 0, 0.6),
        (draws.cutout[:, 2] > 0, 0.2),
        (draws.policy >= 0, 0.1),
        (draws.greyed, 0.3),
    ):
        assert abs(found.mean() - share) < 0.03
    moved = draws.translate[draws.translate[:, 0] >= 0]
    assert set(moved[:, 0].tolist()) == set(range(9)) and set(moved[:, 1].tolist()) == set(range(5))
    assert draws.blur[draws.blur > 0].min() >= 0.1 and 1.9 < draws.blur.max() <= 2
    cut = draws.cutout[draws.cutout[:, 2] > 0]
    assert cut.min() >= 0 and cut[:, 2:].max() == 16
    assert (cut[:, 0] + cut[:, 2]).max() == 64 and (cut[:, 1] + cut[:, 3]).max() == 32
    assert (np.sort(draws.colour_order, axis=1) == np.arange(4)).all()
    assert abs((draws.colour_order[:, 0] == 2).mean() - 0.25) < 0.03
    assert 0.6 <= draws.colour[:, :3].min() < 0.62 and 1.38 < draws.colour[:, :3].max() <= 1.4
    assert -0.1 <= draws.colour[:, 3].min() < -0.09 and len(set(draws.policy[draws.policy >= 0])) > 300


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    packed=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    size_px=st.tuples(st.integers(1, 24), st.integers(1, 24)),
)
def test_resizing_a_batch_equals_resizing_every_image_first(seed, packed, size_px):
    chosen = Augmentation(pad=3, gain=0.2)
    images = pictures(5, *packed, seed)
    resized = torch.stack(
        [
            functional.resize(torch.from_numpy(image).permute(2, 0, 1), list(size_px), antialias=False)
            for image in images
        ]
    )
    same = resized.permute(0, 2, 3, 1).numpy()
    rows = np.array([4, 0, 3])
    draws = drawn(same[rows], chosen, seed)
    level = 1.21 / 255 / min(IMAGENET_STD)  # a level, by the largest gain
    expected = apply(same, draws, settings=chosen, rows=rows)
    for source in (images, torch.from_numpy(images)):
        found = apply(source, draws, settings=chosen, size_px=size_px, rows=rows)
        torch.testing.assert_close(found, expected, atol=level, rtol=0)
        plain = normalise(source, size_px=size_px, rows=rows)
        torch.testing.assert_close(plain, normalise(same, rows=rows), atol=level, rtol=0)
    distorted = replace(chosen, cutout=1.0)
    draws = drawn(same, distorted, seed)
    found = apply(images, draws, settings=distorted, size_px=size_px)
    torch.testing.assert_close(found, apply(same, draws, settings=distorted), atol=level, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu_equals_cpu():
    chosen = replace(NONE, **ALL | {"policy": "none"})
    images = pictures(16, 64, 32)
    draws = drawn(images, chosen, 0)
    found = distort(torch.from_numpy(images).cuda(), draws, settings=chosen).cpu()
    expected = distort(torch.from_numpy(images), draws, settings=chosen)
    assert (found.int() - expected.int()).abs().max() <= 3
