"""One picture of the synthetic set: a person in mid-step before a camera's scene, and what may stand in the way."""

import math
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from reidlib.settings import Share
from reidlib.synthetic.cameras import Camera, expose
from reidlib.synthetic.figure import Pose, draw_figure
from reidlib.synthetic.people import Person
from reidlib.synthetic.scenery import smooth_texture

Strength = Annotated[float, Field(ge=0, le=2)]

SUPERSAMPLING = 2
OBSTACLES = ("pole", "edge", "furniture", "passer-by")


@dataclass(frozen=True, kw_only=True)
class Look:
    """Size of the pictures, and the strength of what makes them hard: 0 switches it off, 1 is clearly hard.

    Attributes:
        height_px: of a picture.
        width_px: of a picture.
        camera_shift: of the cameras' white balance, exposure, gamma, saturation, blur, resolution and tilt.
        scene: contrast of what stands behind people and differs between cameras; 0 = haze to 1 = as painted.
        distance: of the cameras from people, who are then smaller or larger in their boxes.
        lamps: colour of the light, which changes from one end of a scene to the other and from head to foot.
        occlusion: share of the pictures with something in the way.
        pose: turns of the body, stride and arms; 1 = all sides are seen.
        crop: jitter of place, size and light of a picture; 1 = a fair detector, moving light.
    """

    height_px: Annotated[int, Field(ge=32, le=512)] = 128
    width_px: Annotated[int, Field(ge=16, le=512)] = 64
    camera_shift: Strength = 0.25
    scene: Share = 0.6
    distance: Strength = 0.25
    lamps: Strength = 0.3
    occlusion: Share = 0.05
    pose: Strength = 0.5
    crop: Strength = 0.5


@dataclass(frozen=True)
class Walk:
    """What the pictures of one person at one camera share."""

    yaw: float
    phase: float
    stride: float
    arm_bend: float
    place: float  # along the background, 0..1


def start_walk(camera: Camera, *, pose: float, generator: np.random.Generator) -> Walk:
    """Send a person past a camera: mostly the camera's usual way, sometimes the opposite one or across."""
    turn = float(generator.choice([0.0, math.pi, math.pi / 2, -math.pi / 2], p=[0.5, 0.2, 0.15, 0.15]))
    return Walk(
        yaw=pose * (camera.yaw + turn + generator.normal(0.0, 0.3)),
        phase=float(generator.uniform(0.0, 2 * math.pi)),
        stride=float(generator.uniform(0.25, 0.25 + 0.25 * pose)),
        arm_bend=float(generator.uniform(0.1, 0.1 + 0.7 * pose)),
        place=float(generator.uniform(0.0, 1.0)),
    )


def snapshot(
    person: Person,
    camera: Camera,
    walk: Walk,
    *,
    look: Look,
    other: Person,
    generator: np.random.Generator,
    cut: bool = False,
) -> bytes:
    """Take one picture as JPEG bytes; `other` may be in the way, and with `cut` the box is cut badly, as for junk."""
    height, width = look.height_px * SUPERSAMPLING, look.width_px * SUPERSAMPLING
    canvas, across = _backdrop(camera, (height, width), walk.place, look.crop, generator)
    folds = smooth_texture(64, generator=generator)
    pose = _pose(camera, walk, (height, width), look, generator)
    if cut:
        pose = _move(pose, generator.choice([-0.45, 0.45]) * width, generator.uniform(-0.6, 0.5) * height)
    draw_figure(canvas, person, pose, folds=folds)
    if generator.random() < look.occlusion:
        kind = str(generator.choice(OBSTACLES))
        if kind == "passer-by":
            beside = generator.choice([-1, 1]) * generator.uniform(0.42, 0.6) * width
            draw_figure(canvas, other, _move(pose, beside, 0.02 * height), folds=folds)
        else:
            _obstruct(canvas, kind, generator)
    _colour_light(canvas, camera, across)
    _illuminate(canvas, look.crop, generator)
    return expose(canvas, camera=camera, height_px=look.height_px, width_px=look.width_px, generator=generator)


def _pose(camera: Camera, walk: Walk, shape: tuple[int, int], look: Look, generator: np.random.Generator) -> Pose:
    height, width = shape
    size = height * camera.size * (0.93 + look.crop * generator.uniform(-0.06, 0.09))
    spare = height - size * (math.cos(camera.pitch) + 0.04)
    return Pose(
        yaw=walk.yaw + look.pose * generator.normal(0.0, 0.3),
        phase=walk.phase + generator.uniform(0.0, 2 * math.pi),
        stride=walk.stride,
        arm_bend=walk.arm_bend + 0.15 * look.pose * generator.uniform(-1.0, 1.0),
        pitch=camera.pitch,
        roll=camera.roll + look.crop * generator.normal(0.0, 0.02),
        size_px=size,
        centre_px=width * (0.5 + look.crop * float(np.clip(generator.normal(0.0, 0.045), -0.12, 0.12))),
        crown_px=spare / 2 + look.crop * generator.uniform(-0.025, 0.025) * height,
        light=camera.light,
    )


def _move(pose: Pose, right_px: float, down_px: float) -> Pose:
    right, down = float(pose.centre_px + right_px), float(pose.crown_px + down_px)
    return replace(pose, centre_px=right, crown_px=down, yaw=pose.yaw + 0.8, phase=pose.phase + 2.0)


def _backdrop(
    camera: Camera, shape: tuple[int, int], place: float, jitter: float, generator: np.random.Generator
) -> tuple[Float32[np.ndarray, "h w 3"], Float32[np.ndarray, "w"]]:
    """The piece of the camera's scene behind the person, a little lower or higher each time, and its columns, 0..1."""
    height, width = shape
    free = camera.background.shape[1] - width
    left = int(np.clip(place * free + jitter * generator.normal(0.0, 0.35 * width), 0, free))
    spare = camera.background.shape[0] - height
    top = int(np.clip(spare * (0.5 + jitter * generator.uniform(-0.5, 0.5)), 0, spare))
    piece = camera.background[top : top + height, left : left + width]
    columns = np.arange(left, left + width, dtype=np.float32) / np.float32(camera.background.shape[1])
    return piece.astype(np.float32) / np.float32(255.0), columns


def _obstruct(canvas: Float32[np.ndarray, "h w 3"], kind: str, generator: np.random.Generator) -> None:
    height, width, _ = canvas.shape
    colour = np.clip(generator.uniform(0.2, 0.7) + generator.normal(0.0, 0.05, 3), 0.05, 0.9).astype(np.float32)
    if kind == "pole":
        thick = int(width * generator.uniform(0.07, 0.15))
        left = int(generator.uniform(0.15, 0.85) * width)
        canvas[:, left : left + thick] = (colour * np.sin(np.linspace(0.5, 2.8, thick))[:, None])[: width - left]
    elif kind == "edge":
        thick = int(width * generator.uniform(0.15, 0.32))
        side = slice(0, thick) if generator.random() < 0.5 else slice(width - thick, width)
        grain = generator.normal(1.0, 0.06, (height // 8, 1, 1)).repeat(8, axis=0)
        canvas[: grain.shape[0], side] = colour * grain
        canvas[grain.shape[0] :, side] = colour
    else:
        top = int(height * generator.uniform(0.62, 0.84))
        rows = height - top
        canvas[top:] = colour * np.linspace(1.0, 0.6, rows)[:, None, None]
        canvas[top : top + max(2, rows // 10)] = np.minimum(colour * 1.35, 1.0)
        slats = (np.arange(width) // max(4, width // 12)) % 2 == 0
        canvas[top + rows // 4 :, slats] *= 0.72


def _colour_light(canvas: Float32[np.ndarray, "h w 3"], camera: Camera, columns: Float32[np.ndarray, "w"]) -> None:
    """Colour the light as at these columns of the scene, 0..1; a canvas holds roots of light, so half as much."""
    left, right, above = np.array(camera.lamps, dtype=np.float32) / 2
    rows = np.linspace(0.5, -0.5, len(canvas), dtype=np.float32)
    canvas *= np.exp(rows[:, None] * above)[:, None] * np.exp(left + columns[:, None] * (right - left))


def _illuminate(canvas: Float32[np.ndarray, "h w 3"], strength: float, generator: np.random.Generator) -> None:
    """Change brightness, add a gradient of light and, now and then, the edge of a shadow."""
    height, width, _ = canvas.shape
    down, right = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    slope = generator.normal(0.0, 0.09 * strength, 2)
    light = math.exp(generator.normal(0.0, 0.07 * strength)) * (1.0 + slope[0] * down + slope[1] * right)
    if generator.random() < 0.22 * strength:
        edge = down * generator.normal(0.0, 1.0) + right * generator.normal(0.0, 1.0) + generator.normal(0.0, 0.4)
        light = light * (1.0 - 0.32 / (1.0 + np.exp(-edge * 14.0)))
    canvas *= np.maximum(light, 0.2).astype(np.float32)[..., None]
