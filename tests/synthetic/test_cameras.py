"""What sets cameras apart besides their sensors: the distance of people, and the colours of a scene's light."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from reidlib.synthetic.cameras import Camera, make_camera, set_up
from reidlib.synthetic.people import draw_people
from reidlib.synthetic.snapshots import Look, Walk, snapshot

LOOK = Look(camera_shift=0.0, scene=0.0, occlusion=0.0, pose=0.0, crop=0.0)
WHITE = ((0.0, 0.0, 0.0),) * 3


@pytest.fixture
def camera() -> Camera:
    """One before grey haze, with a neutral sensor."""
    generator = np.random.default_rng(0)
    return replace(make_camera(0, height_px=256, width_px=128, shift=0.0, scene=0.0, generator=generator), noise=0.0)


def picture(camera: Camera, place: float) -> np.ndarray:
    """Take one of the same person, in the middle, at a place of the scene; levels 0..1."""
    walk = Walk(yaw=0.0, phase=0.0, stride=0.3, arm_bend=0.3, place=place)
    person, generator = draw_people(1, generator=np.random.default_rng(0))[0], np.random.default_rng(1)
    taken = snapshot(person, camera, walk, look=LOOK, other=person, generator=generator)
    return np.asarray(Image.open(io.BytesIO(taken)), dtype=np.float64) / 255


def reddening(lit: Camera, camera: Camera, place: float, rows: slice = slice(None)) -> float:
    """How much redder than blue the lamps make what is beside the person."""
    red, _, blue = (picture(lit, place)[rows, :8] / picture(camera, place)[rows, :8]).mean(axis=(0, 1))
    return float(red / blue)


def test_lamps_colour_the_light_from_one_end_of_a_scene_to_the_other(camera: Camera) -> None:
    lit = replace(camera, lamps=((math.log(2), 0.0, 0.0), (0.0, 0.0, math.log(2)), (0.0, 0.0, 0.0)))
    warm, mixed, cold = (reddening(lit, camera, place) for place in (0.0, 0.5, 1.0))
    assert warm > 1.15 and abs(mixed - 1) < 0.1 and cold < 1 / 1.15


def test_lamps_colour_the_light_from_head_to_foot(camera: Camera) -> None:
    lit = replace(camera, lamps=(*WHITE[:2], (math.log(2), 0.0, -math.log(2))))
    found = [reddening(lit, camera, 0.5, slice(start, start + 16)) for start in range(0, 128, 16)]
    assert found == sorted(found, reverse=True) and found[0] > 1.15 and found[-1] < 1 / 1.15


@pytest.mark.parametrize("size", [0.6, 0.8])
def test_people_farther_away_are_smaller(camera: Camera, size: float) -> None:
    def height(camera: Camera) -> int:
        differs = np.abs(picture(camera, 0.5)[:, 20:44] - np.median(picture(camera, 0.5))).max(axis=(1, 2)) > 0.15
        return int(np.ptp(np.flatnonzero(differs)))

    assert height(replace(camera, size=size)) == pytest.approx(size * height(camera), abs=4)


def test_cameras_stand_and_are_lit_as_far_apart_as_asked(camera: Camera) -> None:
    def spreads(strength: float) -> tuple[float, float]:
        generator = np.random.default_rng(2)
        cameras = [set_up(camera, distance=strength, lamps=strength, generator=generator) for _ in range(40)]
        return float(np.std([c.size for c in cameras])), float(np.std([c.lamps for c in cameras]))

    assert spreads(0.0) == (0.0, 0.0)
    for half, whole in zip(spreads(0.5), spreads(1.0), strict=True):
        assert whole == pytest.approx(2 * half, rel=1e-9) and half > 0


def test_without_distance_and_lamps_a_camera_stays_as_it_was(camera: Camera) -> None:
    same = set_up(camera, distance=0.0, lamps=0.0, generator=np.random.default_rng(2))
    np.testing.assert_array_equal(picture(same, 0.3), picture(camera, 0.3))
