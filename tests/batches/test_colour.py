"""Colour stripes against a loop over the pixels in exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.batches.colour import colour_stripes


def hsv(red: int, green: int, blue: int) -> tuple[Fraction, Fraction, Fraction]:
    """Convert as textbooks do: hue and saturation in 0..1, value in 0..255."""
    value, chroma = max(red, green, blue), max(red, green, blue) - min(red, green, blue)
    if chroma == 0:
        return Fraction(0), Fraction(0), Fraction(value)
    if value == red:
        hue = Fraction(green - blue, chroma) % 6
    elif value == green:
        hue = Fraction(blue - red, chroma) + 2
    else:
        hue = Fraction(red - green, chroma) + 4
    return hue / 6, Fraction(chroma, value), Fraction(value)


def balanced(image: np.ndarray) -> np.ndarray:
    image = image.copy()
    for channel in np.moveaxis(image, 2, 0):
        mean = Fraction(int(channel.sum()), channel.size)
        if mean > 0:
            channel[:] = [
                [min(255, int(level * 110 / mean + Fraction(1, 2))) for level in row] for row in channel.tolist()
            ]
    return image


def naive(
    image: np.ndarray, stripes: int, hues: int, levels: int, balance: bool = False, focus: float | None = None
) -> np.ndarray:
    counts = np.zeros((stripes, hues + 2 * levels))
    if balance:
        image = balanced(image)
    for y, row in enumerate(image.tolist()):
        stripe = counts[int(Fraction(y * stripes, len(image)))]
        for x, (red, green, blue) in enumerate(row):
            away = (x - (len(row) - 1) / 2) / len(row)
            weight = 1 if focus is None else math.exp(-((away / focus) ** 2) / 2)
            hue, saturation, value = hsv(red, green, blue)
            stripe[int(hue * hues)] += weight * (max(red, green, blue) - min(red, green, blue)) / 255
            stripe[hues + min(int(saturation * levels), levels - 1)] += weight
            stripe[hues + levels + int(value * levels / 256)] += weight
    return np.sqrt(counts.ravel()) / np.sqrt(counts.sum())


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    height=st.integers(1, 20),
    width=st.integers(1, 6),
    stripes=st.integers(1, 9),
    hues=st.integers(1, 18),
    levels=st.integers(1, 18),
    greys=st.booleans(),
    balance=st.booleans(),
    focus=st.sampled_from([None, 0.25, 2.0]),
)
def test_equals_the_loop(seed, height, width, stripes, hues, levels, greys, balance, focus):
    chosen = {"stripes": stripes, "hues": hues, "levels": levels, "balance": balance, "focus": focus}
    shape = (3, height, width, 3)
    images = np.random.default_rng(seed).choice([0, 1, 127, 128, 254, 255] if greys else 256, shape).astype(np.uint8)
    found = colour_stripes(images, **chosen)
    expected = np.stack([naive(image, **chosen) for image in images])
    np.testing.assert_allclose(found, expected, atol=1e-6 if focus is None else 2e-3)  # weights are rounded
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert np.array_equal(found, colour_stripes(images[:, :, ::-1], **chosen))


def test_more_images_than_a_block_and_memory_maps(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (1100, 8, 4, 3), dtype=np.uint8)
    np.save(tmp_path / "train.npy", images)
    found = colour_stripes(np.load(tmp_path / "train.npy", mmap_mode="r"))
    assert found.shape == (1100, 8 * 32)
    assert found.dtype == np.float32
    assert np.array_equal(found[[0, 511, 512, 1099]], colour_stripes(images[[0, 511, 512, 1099]]))
    assert colour_stripes(images[:0]).shape == (0, 8 * 32)


def test_colours_are_told_apart_by_stripe():
    red_over_blue, blue_over_red, grey = np.zeros((3, 16, 4, 3), np.uint8)
    red_over_blue[:8, :, 0] = red_over_blue[8:, :, 2] = 255
    blue_over_red[:8, :, 2] = blue_over_red[8:, :, 0] = 255
    grey[:] = 128
    first, second, third = colour_stripes(np.stack([red_over_blue, blue_over_red, grey]))
    assert first @ first == pytest.approx(1, abs=1e-6)
    assert first @ second == pytest.approx(2 / 3, abs=1e-6)  # equal saturation and value, other hues
    assert first @ third == 0


def test_balance_takes_away_a_cameras_gains():
    images = np.random.default_rng(0).integers(0, 100, (4, 32, 16, 3), dtype=np.uint8)
    other = (images * np.array([2, 1, 1.5])).astype(np.uint8)
    plain = (colour_stripes(images) * colour_stripes(other)).sum(axis=1)
    balanced = (colour_stripes(images, balance=True) * colour_stripes(other, balance=True)).sum(axis=1)
    assert (balanced > 0.98).all()
    assert (plain < 0.9).all()


@pytest.mark.parametrize("wrong", [{"stripes": 0}, {"hues": 0}, {"levels": 0}])
def test_wrong_values_are_refused(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        colour_stripes(np.zeros((1, 8, 4, 3), np.uint8), **wrong)
    with pytest.raises(ValueError, match="focus"):
        colour_stripes(np.zeros((1, 8, 4, 3), np.uint8), focus=0.0)
    with pytest.raises(ValueError, match="of pixels"):
        colour_stripes(np.zeros((1, 0, 4, 3), np.uint8))
