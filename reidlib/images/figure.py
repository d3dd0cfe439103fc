"""A figure of shaded parts in three dimensions, turned, projected and painted from far to near.

Body coordinates are shares of the height: x to the side, y down from the crown, z to the front.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from reidlib.images.figure_kernels import (
    BACKPACK_STRAPS,
    DIAGONAL_STRAP,
    HEAD,
    NO_STRAP,
    OPEN,
    PLAIN,
    SHADOW,
    YOKE,
    paint,
)
from reidlib.images.people import Colour, Person

Point = tuple[float, float, float]
SKIN, UPPER, SLEEVE, LOWER, SHOES, FACE, HAIR, BAG, HAT, GROUND_SHADOW = range(10)
HAIR_LINES = {"short": (-0.52, 0.05), "long": (-0.5, 0.3), "bob": (-0.45, 0.35), "bald": (-2.0, -2.0)}


@dataclass(frozen=True)
class Pose:
    """How a person stands before the camera; angles in radians, places in canvas pixels."""

    yaw: float  # 0 = faces the camera, pi = seen from behind
    phase: float  # of the step
    stride: float  # swing of the thighs
    arm_bend: float  # of the elbows
    pitch: float  # of the camera, from above
    roll: float  # of the camera
    size_px: float  # of a person of average height
    centre_px: float  # the body's middle from the left
    crown_px: float  # the crown of the head from the top
    light: tuple[float, float, float]
    shadow: float = 0.4  # darkness of the shadow on the ground


class Figure:
    """Collects a person's parts with their depth, then paints them from the farthest to the nearest."""

    def __init__(self, person: Person, pose: Pose) -> None:
        """Start without parts."""
        self.person, self.pose = person, pose
        self.scale = pose.size_px * person.height
        self.sin_yaw, self.cos_yaw = math.sin(pose.yaw), math.cos(pose.yaw)
        self.parts: list[tuple[float, list[float]]] = []

    def project(self, point: Point) -> tuple[float, float, float]:
        """Canvas position and depth (larger is nearer) of a point of the body; what is low looks smaller from above."""
        x, y, z = point
        depth = z * self.cos_yaw - x * self.sin_yaw
        narrow = 1.0 - 0.25 * self.pose.pitch * y
        across = (x * self.cos_yaw + z * self.sin_yaw) * narrow
        down = y * math.cos(self.pose.pitch) + depth * math.sin(self.pose.pitch)
        top = self.pose.crown_px + (1.0 - self.person.height) * self.pose.size_px * 0.5
        return self.pose.centre_px + self.scale * (across - self.pose.roll * (y - 0.5)), top + self.scale * down, depth

    def add(
        self,
        ends: tuple[Point, Point],
        radii: tuple[float, ...],
        material: int,
        *,
        caps: tuple[float, float] = (1.0, 1.0),
        nearer: float = 0.0,
    ) -> None:
        """Add a limb between two points with two to five radii along it; nearer moves it towards the viewer."""
        (x0, y0, depth0), (x1, y1, depth1) = self.project(ends[0]), self.project(ends[1])
        five = np.interp([0, 0.25, 0.5, 0.75, 1.0], np.linspace(0.0, 1.0, len(radii)), radii) * self.scale
        row = [x0, y0, x1, y1, *five.tolist(), *caps, float(material), self.scale]
        self.parts.append(((depth0 + depth1) / 2 + nearer, row))

    def across(self, width: float, thickness: float) -> float:
        """Half width on the picture of something wide to the sides and thick to the front."""
        return math.hypot(width * self.cos_yaw, thickness * self.sin_yaw)

    def paint(self, canvas: Float32[np.ndarray, "h w 3"], folds: Float32[np.ndarray, "s s"]) -> None:
        """Paint everything added so far over the canvas, in place."""
        rows = np.array([row for _, row in sorted(self.parts, key=lambda part: part[0])], dtype=np.float32)
        paint(
            canvas,
            rows,
            _materials(self.person, self.pose),
            folds,
            np.array(self.pose.light, dtype=np.float32),
            self.pose.yaw,
        )


def _materials(person: Person, pose: Pose) -> Float32[np.ndarray, "m 12"]:
    strap = {"backpack": BACKPACK_STRAPS, "shoulder": DIAGONAL_STRAP}.get(person.bag, NO_STRAP)
    line, forward = HAIR_LINES[person.hair]
    plain: Colour = person.upper
    sleeve = PLAIN if person.pattern >= 4 else person.pattern
    repeats = person.repeats if person.pattern in (YOKE, OPEN) or person.pattern >= 4 else person.repeats * 2.2
    face = tuple(0.6 * c for c in person.skin) if person.hair == "bald" else person.hair_colour
    return np.array(
        [
            [*person.skin, *person.skin, PLAIN, 1, 0, 0, 0, 0],
            [*plain, *person.upper_second, person.pattern, repeats, *person.bag_colour, strap],
            [*plain, *person.upper_second, sleeve, repeats, 0, 0, 0, 0],
            [*person.lower_colour, *person.lower_colour, PLAIN, 1, 0, 0, 0, 0],
            [*person.shoes, *person.shoes, PLAIN, 1, 0, 0, 0, 0],
            [*person.skin, *face, HEAD, line, forward, 0, 0, 0],
            [*person.hair_colour, *person.hair_colour, PLAIN, 1, 0, 0, 0, 0],
            [*person.bag_colour, *person.bag_colour, PLAIN, 1, 0, 0, 0, 0],
            [*person.hat_colour, *person.hat_colour, PLAIN, 1, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, SHADOW, pose.shadow, 0, 0, 0, 0],
        ],
        dtype=np.float32,
    )
