"""Numba kernel that paints shaded, patterned body parts on a canvas.

A part is a tapered rounded limb: an axis from (x0, y0) to (x1, y1), five radii along it and two caps that say how far
the rounded ends stick out (in radii). Its surface is shaded as a cylinder and takes its colour from a material.
Angles around a part (azimuth) are in radians, 0 = the wearer's front; t runs from 0 to 1 along it.

Part columns: 0-3 x0 y0 x1 y1 · 4-8 radii · 9 cap at the start · 10 cap at the end · 11 material · 12 pattern unit (px).
Material columns: 0-2 base colour · 3-5 second colour · 6 pattern · 7 repeats per unit · 8-10 strap colour · 11 strap.
For the head pattern column 7 is the hair line and column 8 how far the hair comes forward.
"""

import math

import numpy as np
from numba import njit

PLAIN, RINGS, STRIPES, CHECKS, LOGO, YOKE, OPEN, HEAD, SHADOW, BACK_PRINT = range(10)
NO_STRAP, BACKPACK_STRAPS, DIAGONAL_STRAP = range(3)


@njit(cache=True)
def second_share(pattern: int, repeats: float, azimuth: float, t: float, along: float) -> float:
    """Share (0..1) of a material's second colour at a point of its surface."""
    if pattern == RINGS:
        return 1.0 if math.sin(2.0 * math.pi * along * repeats) > 0.1 else 0.0
    if pattern == STRIPES:
        return 1.0 if math.sin(azimuth * repeats) > 0.35 else 0.0
    if pattern == CHECKS:
        rings = 0.5 if math.sin(2.0 * math.pi * along * repeats) > 0.0 else 0.0
        return rings + (0.5 if math.sin(azimuth * repeats * 0.8) > 0.0 else 0.0)
    if pattern == LOGO:
        return 1.0 if abs(azimuth) < 0.55 and 0.2 < t < 0.2 + 0.045 * repeats else 0.0
    if pattern == BACK_PRINT:
        return 1.0 if (abs(azimuth) > 2.5 or abs(azimuth) < 0.3) and 0.18 < t < 0.18 + 0.045 * repeats else 0.0
    if pattern == YOKE:
        return 1.0 if t < 0.07 * repeats else 0.0
    if pattern == OPEN:
        return 1.0 if abs(azimuth) < 0.22 + 0.1 * t else 0.0
    return 0.0


@njit(cache=True)
def strap_covers(kind: int, azimuth: float, t: float) -> bool:
    """Whether a bag's strap covers a point of the torso."""
    if kind == BACKPACK_STRAPS:
        return 0.45 < abs(azimuth) < 0.8 and t < 0.5
    if kind == DIAGONAL_STRAP:
        front = math.sin(azimuth) * (1.0 if math.cos(azimuth) > 0 else -1.0)
        return abs(front - (1.5 * t - 0.55)) < 0.14 and t < 0.95
    return False


@njit(cache=True)
def head_share(line: float, forward: float, side: float, front: float, level: float) -> float:
    """1 for hair, 0.55 for eyes and mouth, 0 for skin; level -1 (crown) .. 1 (chin), front 1 = the nose."""
    if level < line or (front < forward - 0.35 * max(level, -0.2) and level < 0.55):
        return 1.0
    if front > 0.5 and (
        (abs(level + 0.02) < 0.1 and 0.18 < abs(side) < 0.55) or (0.5 < level < 0.62 and abs(side) < 0.25)
    ):
        return 0.55
    return 0.0


@njit(cache=True)
def blend(m: np.ndarray, nd: float, nz: float, yaw: float, t: float, level: float, along: float) -> tuple[float, bool]:
    """Share of the second colour, and whether a strap covers the point, where the surface looks to (nd, nz)."""
    if int(m[6]) == HEAD:
        sin_yaw, cos_yaw = math.sin(yaw), math.cos(yaw)
        return head_share(m[7], m[8], nd * cos_yaw - nz * sin_yaw, nd * sin_yaw + nz * cos_yaw, level), False
    azimuth = math.asin(nd) - yaw
    azimuth -= 2.0 * math.pi * math.floor(azimuth / (2.0 * math.pi) + 0.5)
    return second_share(int(m[6]), m[7], azimuth, t, along), strap_covers(int(m[11]), azimuth, t)


@njit(cache=True)
def paint_part(
    canvas: np.ndarray, part: np.ndarray, m: np.ndarray, folds: np.ndarray, light: np.ndarray, yaw: float, number: int
) -> None:
    """Paint one part made of material m; number shifts the folds from part to part."""
    dx, dy = part[2] - part[0], part[3] - part[1]
    length = max(math.sqrt(dx * dx + dy * dy), 1e-3)
    ax, ay = dx / length, dy / length
    reach = max(part[4], part[5], part[6], part[7], part[8]) * max(1.0, part[9], part[10])
    size = folds.shape[0]
    for y in range(
        max(0, int(min(part[1], part[3]) - reach)), min(canvas.shape[0], int(max(part[1], part[3]) + reach) + 2)
    ):
        for x in range(
            max(0, int(min(part[0], part[2]) - reach)), min(canvas.shape[1], int(max(part[0], part[2]) + reach) + 2)
        ):
            rx, ry = x - part[0], y - part[1]
            u, d = rx * ax + ry * ay, rx * ay - ry * ax
            inside = min(max(u, 0.0), length)
            t = inside / length
            step = min(int(t * 4.0), 3)
            f = t * 4.0 - step
            r = part[4 + step] * (1.0 - f) + part[5 + step] * f
            nd, ns = d / r, (u - inside) / (r * (part[9] if u < 0.0 else part[10]))
            e = nd * nd + ns * ns
            if e >= 1.0:
                continue
            nz = math.sqrt(1.0 - e)
            if int(m[6]) == SHADOW:
                for c in range(3):
                    canvas[y, x, c] *= 1.0 - m[7] * min(1.0, 1.6 * nz)
                continue
            share, strap = blend(m, nd, nz, yaw, t, (u - 0.5 * length) / (0.5 * length + r), u / part[12])
            lit = light[0] * (nd * ay + ns * ax) + light[1] * (ns * ay - nd * ax) + light[2] * nz
            shade = (0.62 + 0.42 * lit) * (0.86 + 0.14 * nz)
            shade *= folds[int(abs(u) * 0.7 + 7 * number) % size, int(abs(d + 40.0) * 1.2 + 11 * number) % size]
            for c in range(3):
                colour = m[8 + c] if strap else m[c] * (1.0 - share) + m[3 + c] * share
                canvas[y, x, c] = colour * shade


@njit(cache=True)
def paint(
    canvas: np.ndarray, parts: np.ndarray, materials: np.ndarray, folds: np.ndarray, light: np.ndarray, yaw: float
) -> None:
    """Paint parts in the given order over a canvas (h, w, 3), in place; all arrays float32.

    folds is a square texture around 1, light a unit vector (right, down, to the camera), yaw the turn of the person
    away from the camera in radians.
    """
    for number in range(parts.shape[0]):
        paint_part(canvas, parts[number], materials[int(parts[number, 11])], folds, light, yaw, number)
