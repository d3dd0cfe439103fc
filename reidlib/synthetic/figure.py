"""A walking person of shaded parts in three dimensions, turned, projected and painted from far to near.

Body coordinates are shares of the height: x to the side, y down from the crown, z to the front.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from reidlib.synthetic import figure_kernels as kernels
from reidlib.synthetic.people import Colour, Person

Point = tuple[float, float, float]
SKIN, UPPER, SLEEVE, LOWER, SHOES, FACE, HAIR, BAG, HAT, GROUND_SHADOW = range(10)
HAIR_LINES = {"short": (-0.52, 0.05), "long": (-0.5, 0.3), "bob": (-0.45, 0.35), "bald": (-2.0, -2.0)}
STRAPS = {"backpack": kernels.BACKPACK_STRAPS, "shoulder": kernels.DIAGONAL_STRAP}


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


class _Figure:
    """Collects a person's parts with their depth."""

    def __init__(self, person: Person, pose: Pose) -> None:
        self.person, self.pose, self.width = person, pose, person.build
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
        start: Point,
        end: Point,
        radii: tuple[float, ...],
        material: int,
        *,
        caps: tuple[float, float] = (1.0, 1.0),
        nearer: float,
    ) -> None:
        """Add a limb between two points with two to five radii along it; nearer moves it towards the viewer."""
        (x0, y0, depth0), (x1, y1, depth1) = self.project(start), self.project(end)
        five = np.interp([0, 0.25, 0.5, 0.75, 1.0], np.linspace(0.0, 1.0, len(radii)), radii) * self.scale
        row = [x0, y0, x1, y1, *five.tolist(), *caps, float(material), self.scale]
        self.parts.append(((depth0 + depth1) / 2 + nearer, row))

    def across(self, width: float, thickness: float) -> float:
        """Half width on the picture of something wide to the sides and thick to the front."""
        return math.hypot(width * self.cos_yaw, thickness * self.sin_yaw)


def draw_figure(
    canvas: Float32[np.ndarray, "h w 3"], person: Person, pose: Pose, *, folds: Float32[np.ndarray, "s s"]
) -> None:
    """Draw a person over the canvas (RGB, 0..1), in place; folds is a texture around 1 for the cloth."""
    figure = _Figure(person, pose)
    figure.add((-0.07, 0.985, 0.0), (0.1, 0.99, -0.02), (0.05, 0.06, 0.05), GROUND_SHADOW, caps=(1.2, 1.6), nearer=-1.0)
    stride = pose.stride * (0.6 if "skirt" in person.lower else 1.0)
    swing = stride * math.sin(pose.phase)
    for side in (-1.0, 1.0):
        _add_leg(figure, side, swing * side, max(0.0, math.cos(pose.phase) * side) * stride * 1.5)
        _add_arm(figure, side, -0.8 * swing * side)
    _add_torso(figure)
    _add_head(figure)
    _add_bag(figure)
    rows = np.array([row for _, row in sorted(figure.parts, key=lambda part: part[0])], dtype=np.float32)
    kernels.paint(canvas, rows, _materials(person), folds, np.array(pose.light, dtype=np.float32), pose.yaw)


def _materials(person: Person) -> Float32[np.ndarray, "m 12"]:
    line, forward = HAIR_LINES[person.hair]
    printed = person.pattern >= kernels.LOGO
    sleeve = kernels.PLAIN if printed else person.pattern
    repeats = person.repeats if printed else person.repeats * 2.2
    cloth = [*person.upper, *person.upper_second]
    face = tuple(0.6 * c for c in person.skin) if person.hair == "bald" else person.hair_colour

    def plain(colour: Colour) -> list[float]:
        return [*colour, *colour, kernels.PLAIN, 1, 0, 0, 0, 0]

    return np.array(
        [
            plain(person.skin),
            [*cloth, person.pattern, repeats, *person.bag_colour, STRAPS.get(person.bag, 0)],
            [*cloth, sleeve, repeats, 0, 0, 0, 0],
            plain(person.lower_colour),
            plain(person.shoes),
            [*person.skin, *face, kernels.HEAD, line, forward, 0, 0, 0],
            plain(person.hair_colour),
            plain(person.bag_colour),
            plain(person.hat_colour),
            [0, 0, 0, 0, 0, 0, kernels.SHADOW, 0.4, 0, 0, 0, 0],
        ],
        dtype=np.float32,
    )


def _add_leg(figure: _Figure, side: float, angle: float, flex: float) -> None:
    width = figure.width
    hip = (0.05 * side * width, 0.5, 0.0)
    knee = (0.052 * side * width, 0.5 + 0.235 * math.cos(angle), 0.235 * math.sin(angle))
    lower = angle - flex - 0.08
    ankle = (0.05 * side * width, knee[1] + 0.215 * math.cos(lower), knee[2] + 0.215 * math.sin(lower))
    thigh = LOWER if figure.person.lower in ("trousers", "shorts") else SKIN
    figure.add(hip, knee, (0.058 * width, 0.054 * width, 0.042 * width), thigh, nearer=-0.12)
    calf = LOWER if figure.person.lower == "trousers" else SKIN
    thickness = (0.04, 0.038, 0.031) if calf == LOWER else (0.035, 0.036, 0.022)
    figure.add(knee, ankle, tuple(r * width for r in thickness), calf, nearer=-0.122)
    heel = (ankle[0], ankle[1] + 0.02, ankle[2] - 0.012)
    toe = (ankle[0] + 0.012 * side, ankle[1] + 0.03, ankle[2] + 0.075)
    figure.add(heel, toe, (0.026, 0.028, 0.02), SHOES, nearer=-0.116)


def _add_arm(figure: _Figure, side: float, angle: float) -> None:
    width, sleeve = figure.width, figure.person.sleeve
    shoulder = (0.094 * side * width, 0.206, 0.0)
    elbow = (0.125 * side * width, 0.195 + 0.155 * math.cos(angle), 0.155 * math.sin(angle))
    fore = angle + figure.pose.arm_bend
    wrist = (0.124 * side * width, elbow[1] + 0.135 * math.cos(fore), elbow[2] + 0.135 * math.sin(fore))
    hand = (wrist[0], wrist[1] + 0.035 * math.cos(fore), wrist[2] + 0.035 * math.sin(fore))
    upper = SKIN if sleeve == "none" else SLEEVE
    figure.add(shoulder, elbow, (0.036 * width, 0.032 * width, 0.028 * width), upper, nearer=0.052)
    figure.add(elbow, wrist, (0.029 * width, 0.022 * width), SLEEVE if sleeve == "long" else SKIN, nearer=0.05)
    if sleeve == "short":
        x, y, z = (a + 0.62 * (b - a) for a, b in zip(shoulder, elbow, strict=True))
        figure.add((x, y, z), elbow, (0.027 * width, 0.025 * width), SKIN, nearer=0.053)
        figure.add(shoulder, (x, y, z), (0.038 * width, 0.037 * width), SLEEVE, caps=(1.0, 0.15), nearer=0.054)
    figure.add(wrist, hand, (0.019, 0.02, 0.016), SKIN, nearer=0.049)


def _add_torso(figure: _Figure) -> None:
    person, width = figure.person, figure.width

    def half(wide: float, thick: float) -> float:
        return figure.across(wide * width, thick * width)

    figure.add((0.0, 0.12, 0.005), (0.0, 0.18, -0.005), (0.03 * width, 0.036 * width), SKIN, nearer=0.055)
    waist = 0.094 if person.lower in ("trousers", "shorts") else 0.088
    hips = (half(waist, 0.068), half(0.103, 0.078))
    if "skirt" in person.lower:
        hem, flare = (0.74, 0.125) if person.lower == "skirt" else (0.9, 0.14)
        skirt = (*hips, half(flare, flare * 0.9))
        figure.add((0.0, 0.46, 0.0), (0.0, hem, 0.0), skirt, LOWER, caps=(0.2, 0.12), nearer=0.058)
    else:
        figure.add((0.0, 0.46, 0.0), (0.0, 0.53, 0.0), hips, LOWER, caps=(0.2, 0.5), nearer=0.04)
    below, end = ((half(0.098, 0.07), half(0.104, 0.078)), 0.51)
    if person.coat:
        below, end = ((half(0.102, 0.074), half(0.124, 0.1)), 0.64)
    outline = (half(0.08, 0.058), half(0.11, 0.074), half(0.107, 0.078), *below)
    figure.add((0.0, 0.178, 0.0), (0.0, end, 0.0), outline, UPPER, caps=(0.28, 0.12), nearer=0.06)


def _add_head(figure: _Figure) -> None:
    hair, hat = figure.person.hair, figure.person.hat
    figure.add((0.0, 0.049, 0.006), (0.0, 0.082, 0.012), (0.047, 0.048, 0.042), FACE, nearer=0.055)
    if hair in ("long", "bob"):
        end = (0.0, 0.235 if hair == "long" else 0.135, -0.04)
        figure.add((0.0, 0.06, -0.022), end, (0.045, 0.05, 0.04), HAIR, caps=(0.8, 0.4), nearer=0.06)
    if hat != "none":
        tall = 0.012 if hat == "cap" else 0.002
        figure.add((0.0, tall + 0.02, 0.0), (0.0, 0.045, 0.0), (0.042, 0.049), HAT, caps=(0.7, 0.2), nearer=0.09)
    if hat == "cap":
        figure.add((0.0, 0.046, 0.03), (0.0, 0.055, 0.085), (0.036, 0.03), HAT, caps=(0.3, 0.3), nearer=0.03)


def _add_bag(figure: _Figure) -> None:
    bag, side = figure.person.bag, figure.person.bag_side
    if bag == "backpack":
        half = figure.across(0.088, 0.05)
        radii = (half * 0.85, half, half, half * 0.95)
        figure.add((0.0, 0.22, -0.105), (0.0, 0.42, -0.11), radii, BAG, caps=(0.4, 0.25), nearer=0.02)
        pocket = (half * 0.7, half * 0.7)
        figure.add((0.0, 0.33, -0.14), (0.0, 0.4, -0.14), pocket, BAG, caps=(0.15, 0.15), nearer=0.021)
    elif bag == "shoulder":
        half = figure.across(0.04, 0.085)
        ends = (0.125 * side, 0.47, 0.0), (0.13 * side, 0.55, 0.0)
        figure.add(*ends, (half, half * 1.05), BAG, caps=(0.2, 0.25), nearer=0.085)
    elif bag == "tote":
        half, x = figure.across(0.04, 0.08), 0.15 * side
        figure.add((x, 0.5, 0.03), (x, 0.55, 0.03), (0.01, 0.01), BAG, nearer=0.07)
        figure.add((x, 0.57, 0.03), (x, 0.68, 0.03), (half, half * 1.05), BAG, caps=(0.1, 0.15), nearer=0.08)
