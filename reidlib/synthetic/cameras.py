"""Cameras of the synthetic set: from where people are seen, and what a sensor makes of light and colours."""

import io
import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageFilter

from reidlib.synthetic.scenery import draw_scene

TINTS = (
    (1.22, 1.0, 0.74), (0.80, 0.96, 1.25), (0.92, 1.12, 0.86), (1.12, 0.88, 1.10), (1.0, 1.0, 1.0), (1.1, 1.08, 0.8),
)  # fmt: skip
EXPOSURES = (1.25, 0.62, 1.0, 0.8, 1.45, 0.7)
GAMMAS = (0.85, 1.0, 1.3, 0.75, 1.15, 0.95)
SATURATIONS = (0.9, 0.65, 0.5, 1.1, 0.75, 0.95)


@dataclass(frozen=True)
class Camera:
    """One camera; background is uint8 RGB and wider than a picture, so that every picture shows another piece of it."""

    background: np.ndarray
    gains: tuple[float, float, float]  # white balance times exposure, on linear light
    gamma: float
    saturation: float
    blur_px: float  # on the finished picture
    resolution: float  # share of the picture's pixels along one side that the sensor resolves
    noise: float
    pitch: float
    roll: float
    yaw: float  # the way most people face
    light: tuple[float, float, float]
    jpeg_quality: int
    size: float = 1.0  # of people in their boxes
    lamps: tuple[tuple[float, ...], ...] = ((0.0,) * 3,) * 3  # logarithms of light's RGB: left, right, above over below


def make_camera(
    number: int, *, height_px: int, width_px: int, shift: float, scene: float, generator: np.random.Generator
) -> Camera:
    """Make a camera of its own kind for a canvas of the given size.

    With shift 0 all cameras have the same neutral sensor, with scene 0 all stand before the same grey haze.
    """
    kind = number % len(TINTS)
    tint = np.array(TINTS[kind]) ** shift * np.exp(generator.normal(0.0, 0.06 * shift, 3))
    exposure = EXPOSURES[kind] ** shift * math.exp(generator.normal(0.0, 0.08 * shift))
    red, green, blue = (tint * exposure).tolist()
    pitch = float(np.clip(0.14 + shift * generator.uniform(-0.1, 0.25), 0.0, 0.5))
    shape = (height_px * 11 // 10, width_px * 5)
    return Camera(
        background=draw_scene(number, shape=shape, pitch=pitch, contrast=scene, generator=generator),
        gains=(red, green, blue),
        gamma=float(GAMMAS[kind] ** shift * math.exp(generator.normal(0.0, 0.05 * shift))),
        saturation=float(SATURATIONS[kind] ** shift),
        blur_px=float(shift * generator.uniform(0.0, 0.7)),
        resolution=float(np.clip(1.0 - shift * generator.uniform(0.0, 0.45), 0.4, 1.0)),
        noise=float(generator.uniform(0.008, 0.008 + 0.02 * shift)),
        pitch=pitch,
        roll=float(shift * generator.normal(0.0, 0.04)),
        yaw=float(number * 2.4 + generator.normal(0.0, 0.3)),
        light=_light(generator),
        jpeg_quality=int(generator.integers(72, 92)),
    )


def set_up(camera: Camera, *, distance: float, lamps: float, generator: np.random.Generator) -> Camera:
    """Move a camera away from people, or nearer, and light its scene by lamps between warm and cold.

    With distance 0 and lamps 0 it is as it was. The generator is one of its own, so that everything else is, too.
    """
    size = float(np.clip(1.0 - distance * generator.uniform(-0.1, 0.3), 0.5, 1.2))
    warm = generator.normal(0.0, 0.3, (3, 1)) * np.array([1.0, 0.1, -1.1])
    colours = lamps * (warm + generator.normal(0.0, 0.06, (3, 3)))
    return replace(camera, size=size, lamps=tuple(map(tuple, colours.tolist())))


def _light(generator: np.random.Generator) -> tuple[float, float, float]:
    direction = np.array([generator.uniform(-0.8, 0.8), generator.uniform(-0.8, -0.3), 0.6])
    right, down, near = (direction / np.linalg.norm(direction)).tolist()
    return right, down, near


def expose(
    canvas: Float32[np.ndarray, "h w 3"],
    *,
    camera: Camera,
    height_px: int,
    width_px: int,
    generator: np.random.Generator,
) -> bytes:
    """Turn light (RGB in 0..1, of whole multiples of the picture's sizes) into the JPEG that the camera would store."""
    factor = canvas.shape[0] // height_px
    pixels = np.zeros((height_px, width_px, 3), dtype=np.float32)
    for i in range(factor):
        for j in range(factor):
            pixels += canvas[i::factor, j::factor]
    pixels = np.clip(pixels / factor**2, 0.0, 1.0) ** 2 * np.array(camera.gains, dtype=np.float32)
    grey = pixels @ np.array([0.3, 0.59, 0.11], dtype=np.float32)
    pixels = grey[..., None] + camera.saturation * (pixels - grey[..., None])
    pixels = np.clip(pixels / (1.0 + 0.18 * pixels), 0.0, 1.0) ** (camera.gamma / 2)
    pixels = pixels + generator.standard_normal(pixels.shape, dtype=np.float32) * camera.noise
    picture = Image.fromarray((np.clip(pixels, 0.0, 1.0) * 255 + 0.5).astype(np.uint8))
    if camera.blur_px > 0.1:
        picture = picture.filter(ImageFilter.GaussianBlur(camera.blur_px))
    if camera.resolution < 0.97:
        coarse = (max(2, round(width_px * camera.resolution)), max(2, round(height_px * camera.resolution)))
        picture = picture.resize(coarse, Image.Resampling.BILINEAR)
        picture = picture.resize((width_px, height_px), Image.Resampling.BICUBIC)
    store = io.BytesIO()
    picture.save(store, format="JPEG", quality=camera.jpeg_quality)
    return store.getvalue()
