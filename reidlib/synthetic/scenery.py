"""What stands behind people in the synthetic set: painted streets, walls, floors and parks, one kind per camera."""

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw

HAZE = np.array([128.0, 127.0, 122.0])


def _texture(shape: tuple[int, int], cell: int, amount: float, generator: np.random.Generator) -> Image.Image:
    coarse = generator.normal(0.0, 1.0, (max(2, shape[0] // cell), max(2, shape[1] // cell))) * 64 * amount + 128
    picture = Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8))
    return picture.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)


def smooth_texture(size: int, *, generator: np.random.Generator) -> Float32[np.ndarray, "s s"]:
    """A square texture around 1 of soft folds."""
    coarse = np.asarray(_texture((size, size), 6, 0.35, generator), dtype=np.float32)
    return 1.0 + (coarse - 128.0) / 128.0 * 0.35


def draw_scene(
    number: int, *, shape: tuple[int, int], pitch: float, contrast: float, generator: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Paint the background of a camera in RGB, of the given height and width; the kinds of scenes take turns.

    The pitch is how far the camera looks down, in radians; it lifts the horizon. Contrast 0 is even haze, 1 as painted.
    """
    height, width = shape
    horizon = int(height * (0.52 - 0.9 * pitch))
    picture = Image.new("RGB", (width, height), (150, 150, 150))
    pen = ImageDraw.Draw(picture)
    back, ground = PAINTERS[number % len(PAINTERS)]
    ground(pen, width, (horizon, height), generator)
    back(pen, width, horizon, generator)
    pen.line([(0, horizon), (width, horizon)], fill=(70, 70, 68), width=2)
    pixels = np.asarray(picture, dtype=np.float32)
    for cell, amount in ((3, 0.10), (16, 0.12), (60, 0.12)):
        pixels = pixels * (np.asarray(_texture(shape, cell, amount, generator), dtype=np.float32)[..., None] / 128.0)
    return (HAZE + contrast * (np.clip(pixels, 0, 255) - HAZE)).astype(np.uint8)


def _grey(generator: np.random.Generator, low: int, high: int, spread: int = 14) -> tuple[int, int, int]:
    red, green, blue = np.clip(generator.integers(low, high) + generator.integers(-spread, spread + 1, 3), 0, 255)
    return int(red), int(green), int(blue)


def _facades(pen: ImageDraw.ImageDraw, width: int, horizon: int, generator: np.random.Generator) -> None:
    left = 0
    while left < width:
        right = left + int(generator.integers(50, 140))
        pen.rectangle([left, -1, right, horizon], fill=_grey(generator, 95, 190, 22))
        glass = _grey(generator, 40, 90)
        for x in range(left + 8, right - 16, 26):
            for y in range(-10, horizon - 30, 40):
                pen.rectangle([x, y, x + 14, y + 24], fill=glass, outline=(190, 190, 185))
        left = right


def _bricks(pen: ImageDraw.ImageDraw, width: int, horizon: int, generator: np.random.Generator) -> None:
    pen.rectangle([0, 0, width, horizon], fill=(165, 155, 145))
    for row, y in enumerate(range(-2, horizon, 9)):
        for x in range(-(row % 2) * 10, width, 20):
            tone = int(generator.integers(-18, 18))
            pen.rectangle([x, y, x + 18, y + 7], fill=(135 + tone, 82 + tone, 66 + tone))


def _panels(pen: ImageDraw.ImageDraw, width: int, horizon: int, generator: np.random.Generator) -> None:
    pen.rectangle([0, 0, width, horizon], fill=(198, 196, 186))
    for x in range(0, width, 70):
        pen.line([(x, 0), (x, horizon)], fill=(150, 148, 140), width=2)
        if generator.random() < 0.4:
            box = [x + 14, 8, x + 50, max(9, horizon - 20)]
            pen.rectangle(box, fill=_grey(generator, 60, 200, 50), outline=(90, 90, 90))
    pen.rectangle([0, max(0, horizon - 12), width, horizon], fill=(120, 116, 108))


def _hedge(pen: ImageDraw.ImageDraw, width: int, horizon: int, generator: np.random.Generator) -> None:
    pen.rectangle([0, 0, width, horizon], fill=(60, 84, 48))
    for _ in range(width * max(horizon, 8) // 90):
        x, y, r, tone = generator.integers([0, 0, 3, -24], [width, max(horizon, 1), 10, 34]).tolist()
        pen.ellipse([x - r, y - r, x + r, y + r], fill=(62 + tone, 88 + tone, 46 + tone // 2))
    for x in generator.integers(0, width, width // 110):
        pen.rectangle([int(x), 0, int(x) + 12, horizon + 14], fill=(82, 66, 50))


def _windows(pen: ImageDraw.ImageDraw, width: int, horizon: int, generator: np.random.Generator) -> None:
    pen.rectangle([0, 0, width, horizon], fill=(58, 62, 68))
    for x in range(0, width, 90):
        box = [x + 5, 6, x + 84, max(7, horizon - 12)]
        pen.rectangle(box, fill=_grey(generator, 120, 225, 20), outline=(30, 30, 30))
        for _ in range(5):
            u, v = x + 8 + int(generator.integers(0, 60)), int(generator.integers(8, max(9, horizon - 30)))
            box = [u, v, u + int(generator.integers(6, 20)), v + int(generator.integers(10, 30))]
            pen.rectangle(box, fill=_grey(generator, 50, 210, 40))


def _columns(pen: ImageDraw.ImageDraw, width: int, horizon: int, generator: np.random.Generator) -> None:
    pen.rectangle([0, 0, width, horizon], fill=_grey(generator, 170, 205, 8))
    for x in range(10, width, 80):
        for step in range(18):
            tone = int(200 - abs(step - 6) * 7)
            pen.line([(x + step, 0), (x + step, horizon)], fill=(tone, tone - 4, tone - 14))


def _asphalt(pen: ImageDraw.ImageDraw, width: int, rows: tuple[int, int], generator: np.random.Generator) -> None:
    top, bottom = rows
    pen.rectangle([0, top, width, bottom], fill=_grey(generator, 95, 125, 6))
    pen.rectangle([0, top, width, top + 14], fill=(160, 158, 150))
    for x in range(0, width, 120):
        y = top + (bottom - top) * 2 // 3
        pen.polygon([(x, y), (x + 60, y), (x + 52, y + 9), (x - 8, y + 9)], fill=(205, 205, 196))


def _slabs(pen: ImageDraw.ImageDraw, width: int, rows: tuple[int, int], generator: np.random.Generator) -> None:
    top, bottom = rows
    base = _grey(generator, 140, 190, 12)
    pen.rectangle([0, top, width, bottom], fill=base)
    seam = (base[0] - 42, base[1] - 42, base[2] - 42)
    y, step = float(top), 5.0
    while y < bottom:
        pen.line([(0, int(y)), (width, int(y))], fill=seam)
        y, step = y + step, step * 1.35
    for x in range(-width, 2 * width, 44):
        pen.line([(x + (width // 2 - x) // 3, top), (x, bottom)], fill=seam)


def _lawn(pen: ImageDraw.ImageDraw, width: int, rows: tuple[int, int], generator: np.random.Generator) -> None:
    top, bottom = rows
    pen.rectangle([0, top, width, bottom], fill=(98, 122, 66))
    for _ in range(width * (bottom - top) // 60):
        x, y, tone = generator.integers([0, top, -30], [width, bottom, 30]).tolist()
        pen.line([(x, y), (x + 1, y - 5)], fill=(98 + tone, 122 + tone, 64 + tone))
    middle = top + (bottom - top) * 3 // 5
    pen.rectangle([0, middle, width, bottom], fill=(172, 158, 130))


PAINTERS = (  # street, brick wall, tiles, park, shop, plaza
    *((_facades, _asphalt), (_bricks, _slabs), (_panels, _slabs)),
    *((_hedge, _lawn), (_windows, _asphalt), (_columns, _slabs)),
)
