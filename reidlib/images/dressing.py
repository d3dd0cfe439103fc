"""Dresses a figure: legs, arms, torso, head and belongings of one walking person."""

import math

import numpy as np
from jaxtyping import Float32

from reidlib.images.figure import (
    BAG,
    FACE,
    GROUND_SHADOW,
    HAIR,
    HAT,
    LOWER,
    SHOES,
    SKIN,
    SLEEVE,
    UPPER,
    Figure,
    Pose,
)
from reidlib.images.people import Person


def draw_figure(
    canvas: Float32[np.ndarray, "h w 3"], person: Person, pose: Pose, *, folds: Float32[np.ndarray, "s s"]
) -> None:
    """Draw a person over the canvas (RGB, 0..1), in place; folds is a texture around 1 for the cloth."""
    figure = Figure(person, pose)
    figure.add(
        ((-0.07, 0.985, 0.0), (0.1, 0.99, -0.02)), (0.05, 0.06, 0.05), GROUND_SHADOW, caps=(1.2, 1.6), nearer=-1.0
    )
    stride = pose.stride * (0.6 if "skirt" in person.lower else 1.0)
    swing = stride * math.sin(pose.phase)
    for side in (-1.0, 1.0):
        _add_leg(figure, side, swing * side, max(0.0, math.cos(pose.phase) * side) * stride * 1.5)
        _add_arm(figure, side, -0.8 * swing * side)
    _add_torso(figure)
    _add_head(figure)
    _add_bag(figure)
    figure.paint(canvas, folds)


def _add_leg(figure: Figure, side: float, angle: float, flex: float) -> None:
    person, width = figure.person, figure.person.build
    hip = (0.05 * side * width, 0.5, 0.0)
    knee = (0.052 * side * width, 0.5 + 0.235 * math.cos(angle), 0.235 * math.sin(angle))
    lower = angle - flex - 0.08
    ankle = (0.05 * side * width, knee[1] + 0.215 * math.cos(lower), knee[2] + 0.215 * math.sin(lower))
    dressed = person.lower in ("trousers", "shorts")
    figure.add((hip, knee), (0.058 * width, 0.054 * width, 0.042 * width), LOWER if dressed else SKIN, nearer=-0.12)
    calf = LOWER if person.lower == "trousers" else SKIN
    thickness = (0.04, 0.038, 0.031) if calf == LOWER else (0.035, 0.036, 0.022)
    figure.add((knee, ankle), tuple(r * width for r in thickness), calf, nearer=-0.122)
    heel = (ankle[0], ankle[1] + 0.02, ankle[2] - 0.012)
    toe = (ankle[0] + 0.012 * side, ankle[1] + 0.03, ankle[2] + 0.075)
    figure.add((heel, toe), (0.026, 0.028, 0.02), SHOES, nearer=-0.116)


def _add_arm(figure: Figure, side: float, angle: float) -> None:
    person, width = figure.person, figure.person.build
    shoulder = (0.094 * side * width, 0.206, 0.0)
    elbow = (0.125 * side * width, 0.195 + 0.155 * math.cos(angle), 0.155 * math.sin(angle))
    fore = angle + figure.pose.arm_bend
    wrist = (0.124 * side * width, elbow[1] + 0.135 * math.cos(fore), elbow[2] + 0.135 * math.sin(fore))
    hand = (wrist[0], wrist[1] + 0.035 * math.cos(fore), wrist[2] + 0.035 * math.sin(fore))
    long, bare = person.sleeve == "long", person.sleeve == "none"
    figure.add((shoulder, elbow), (0.036 * width, 0.032 * width, 0.028 * width), SKIN if bare else SLEEVE, nearer=0.052)
    figure.add((elbow, wrist), (0.029 * width, 0.022 * width), SLEEVE if long else SKIN, nearer=0.05)
    if not long and not bare:
        middle = tuple(a + 0.62 * (b - a) for a, b in zip(shoulder, elbow, strict=True))
        figure.add(((middle[0], middle[1], middle[2]), elbow), (0.027 * width, 0.025 * width), SKIN, nearer=0.053)
        figure.add(
            (shoulder, (middle[0], middle[1], middle[2])),
            (0.038 * width, 0.037 * width),
            SLEEVE,
            caps=(1.0, 0.15),
            nearer=0.054,
        )
    figure.add((wrist, hand), (0.019, 0.02, 0.016), SKIN, nearer=0.049)


def _add_torso(figure: Figure) -> None:
    person = figure.person
    width = person.build

    def half(wide: float, thick: float) -> float:
        return figure.across(wide * width, thick * width)

    figure.add(((0.0, 0.12, 0.005), (0.0, 0.18, -0.005)), (0.03 * width, 0.036 * width), SKIN, nearer=0.055)
    waist = 0.094 if person.lower in ("trousers", "shorts") else 0.088
    hips = (half(waist, 0.068), half(0.103, 0.078))
    if person.lower in ("skirt", "long skirt"):
        hem, flare = (0.74, 0.125) if person.lower == "skirt" else (0.9, 0.14)
        figure.add(
            ((0.0, 0.46, 0.0), (0.0, hem, 0.0)),
            (*hips, half(flare, flare * 0.9)),
            LOWER,
            caps=(0.2, 0.12),
            nearer=0.058,
        )
    else:
        figure.add(((0.0, 0.46, 0.0), (0.0, 0.53, 0.0)), hips, LOWER, caps=(0.2, 0.5), nearer=0.04)
    outline = (half(0.08, 0.058), half(0.11, 0.074), half(0.107, 0.078), half(0.098, 0.07), half(0.104, 0.078))
    end = 0.51
    if person.coat:
        outline, end = (*outline[:3], half(0.102, 0.074), half(0.124, 0.1)), 0.64
    figure.add(((0.0, 0.178, 0.0), (0.0, end, 0.0)), outline, UPPER, caps=(0.28, 0.12), nearer=0.06)


def _add_head(figure: Figure) -> None:
    person = figure.person
    figure.add(((0.0, 0.049, 0.006), (0.0, 0.082, 0.012)), (0.047, 0.048, 0.042), FACE, nearer=0.055)
    if person.hair in ("long", "bob"):
        end = 0.235 if person.hair == "long" else 0.135
        figure.add(((0.0, 0.06, -0.022), (0.0, end, -0.04)), (0.045, 0.05, 0.04), HAIR, caps=(0.8, 0.4), nearer=0.06)
    if person.hat != "none":
        tall = 0.012 if person.hat == "cap" else 0.002
        figure.add(((0.0, tall + 0.02, 0.0), (0.0, 0.045, 0.0)), (0.042, 0.049), HAT, caps=(0.7, 0.2), nearer=0.09)
    if person.hat == "cap":
        figure.add(((0.0, 0.046, 0.03), (0.0, 0.055, 0.085)), (0.036, 0.03), HAT, caps=(0.3, 0.3), nearer=0.03)


def _add_bag(figure: Figure) -> None:
    person, side = figure.person, figure.person.bag_side
    if person.bag == "backpack":
        half = figure.across(0.088, 0.05)
        figure.add(
            ((0.0, 0.22, -0.105), (0.0, 0.42, -0.11)),
            (half * 0.85, half, half, half * 0.95),
            BAG,
            caps=(0.4, 0.25),
            nearer=0.02,
        )
        figure.add(
            ((0.0, 0.33, -0.14), (0.0, 0.4, -0.14)), (half * 0.7, half * 0.7), BAG, caps=(0.15, 0.15), nearer=0.021
        )
    elif person.bag == "shoulder":
        half = figure.across(0.04, 0.085)
        figure.add(
            ((0.125 * side, 0.47, 0.0), (0.13 * side, 0.55, 0.0)),
            (half, half * 1.05),
            BAG,
            caps=(0.2, 0.25),
            nearer=0.085,
        )
    elif person.bag == "tote":
        half = figure.across(0.04, 0.08)
        x = 0.15 * side
        figure.add(((x, 0.5, 0.03), (x, 0.55, 0.03)), (0.01, 0.01), BAG, nearer=0.07)
        figure.add(((x, 0.57, 0.03), (x, 0.68, 0.03)), (half, half * 1.05), BAG, caps=(0.1, 0.15), nearer=0.08)
