# mypy: disable-error-code="no-untyped-def"
"""Kernels of batch normalisation in groups for a GPU, in Triton, which torch brings along there.

Features are a matrix of rows (image, then position) and channels, the layout that torch calls channels last; a group is
a block of its rows. torch's own kernels take a call for each group, and more than twice as long (`benchmarks.step`).
Sums are made in float32, of values less those of their group's first row, block by block in a fixed order: results
repeat to the bit.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

PROGRAMS = 1024  # that share a pass over a matrix, where it has rows for so many: several to each processor of a GPU
ROWS, CHANNELS, WARPS = 64, 64, 8  # of the block that one of them reads at a time, and threads / 32
PARTS = 32  # partial sums that are added up at a time
kernel: Any = triton.jit(do_not_specialize=["rows", "rows_of_part", "parts"])  # one compilation for all of them


@kernel
def _sum_features(features, partial, rows, channels, rows_of_part, tall: tl.constexpr, wide: tl.constexpr):
    """Write the sums of a part's values, and of their squares."""
    part, group, parts = tl.program_id(0), tl.program_id(2), tl.num_programs(0)
    columns = tl.program_id(1) * wide + tl.arange(0, wide)
    inside = columns < channels
    start = features + group.to(tl.int64) * rows * channels
    shift = tl.load(start + columns, mask=inside, other=0.0).to(tl.float32)
    sums = tl.zeros((tall, wide), tl.float32)
    squares = tl.zeros((tall, wide), tl.float32)
    last = tl.minimum((part + 1) * rows_of_part, rows)
    for first in range(part * rows_of_part, last, tall):
        row = first + tl.arange(0, tall)
        mask = (row < last)[:, None] & inside[None, :]
        values = tl.load(start + row.to(tl.int64)[:, None] * channels + columns[None, :], mask=mask, other=0.0)
        values = tl.where(mask, values.to(tl.float32) - shift[None, :], 0.0)
        sums += values
        squares += values * values
    place = partial + (group * parts + part) * 2 * channels + columns
    tl.store(place, tl.sum(sums, 0), mask=inside)
    tl.store(place + channels, tl.sum(squares, 0), mask=inside)


@kernel
def _sum_gradients(
    features, gradient, moments, partial, rows, channels, rows_of_part, tall: tl.constexpr, wide: tl.constexpr
):
    """Write the sums of a part's gradients, and of these times the centred values."""
    part, group, parts = tl.program_id(0), tl.program_id(2), tl.num_programs(0)
    columns = tl.program_id(1) * wide + tl.arange(0, wide)
    inside = columns < channels
    mean = tl.load(moments + group * 3 * channels + columns, mask=inside, other=0.0)
    sums = tl.zeros((tall, wide), tl.float32)
    products = tl.zeros((tall, wide), tl.float32)
    last = tl.minimum((part + 1) * rows_of_part, rows)
    for first in range(part * rows_of_part, last, tall):
        row = first + tl.arange(0, tall)
        mask = (row < last)[:, None] & inside[None, :]
        place = (group.to(tl.int64) * rows + row)[:, None] * channels + columns[None, :]
        values = tl.load(features + place, mask=mask, other=0.0).to(tl.float32)
        given = tl.load(gradient + place, mask=mask, other=0.0).to(tl.float32)
        sums += given
        products += given * (values - mean[None, :])
    place = partial + (group * parts + part) * 2 * channels + columns
    tl.store(place, tl.sum(sums, 0), mask=inside)
    tl.store(place + channels, tl.sum(products, 0), mask=inside)


@triton.jit
def _add_up(partial, group, parts, channels, columns, inside, many: tl.constexpr, wide: tl.constexpr):
    """Return a group's two sums over its parts."""
    first = tl.zeros((many, wide), tl.float32)
    second = tl.zeros((many, wide), tl.float32)
    for start in range(0, parts, many):
        part = start + tl.arange(0, many)
        mask = (part < parts)[:, None] & inside[None, :]
        place = partial + ((group * parts + part) * 2)[:, None] * channels + columns[None, :]
        first += tl.load(place, mask=mask, other=0.0)
        second += tl.load(place + channels, mask=mask, other=0.0)
    return tl.sum(first, 0), tl.sum(second, 0)


@kernel
def _find_moments(features, partial, moments, rows, channels, parts, eps, many: tl.constexpr, wide: tl.constexpr):
    """Write a group's means, unbiased variances and 1 / standard deviations."""
    group = tl.program_id(1)
    columns = tl.program_id(0) * wide + tl.arange(0, wide)
    inside = columns < channels
    total, squares = _add_up(partial, group, parts, channels, columns, inside, many, wide)
    shift = tl.load(features + group.to(tl.int64) * rows * channels + columns, mask=inside, other=0.0).to(tl.float32)
    centre = total / rows
    variance = tl.maximum(squares / rows - centre * centre, 0.0)
    place = moments + group * 3 * channels + columns
    tl.store(place, centre + shift, mask=inside)
    tl.store(place + channels, variance * rows / (rows - 1), mask=inside)
    tl.store(place + 2 * channels, 1.0 / tl.sqrt(variance + eps), mask=inside)


@kernel
def _find_slopes(partial, moments, slopes, channels, parts, many: tl.constexpr, wide: tl.constexpr):
    """Write a group's part of the gradients of bias and weight."""
    group = tl.program_id(1)
    columns = tl.program_id(0) * wide + tl.arange(0, wide)
    inside = columns < channels
    total, products = _add_up(partial, group, parts, channels, columns, inside, many, wide)
    scale = tl.load(moments + (group * 3 + 2) * channels + columns, mask=inside, other=0.0)
    place = slopes + group * 2 * channels + columns
    tl.store(place, total, mask=inside)
    tl.store(place + channels, products * scale, mask=inside)


@kernel
def _normalise(
    features, moments, weight, bias, normalised, rows, channels, rows_of_part,
    tall: tl.constexpr, wide: tl.constexpr,
):  # fmt: skip
    """Write the normalised values."""
    part, group = tl.program_id(0), tl.program_id(2)
    columns = tl.program_id(1) * wide + tl.arange(0, wide)
    inside = columns < channels
    mean = tl.load(moments + group * 3 * channels + columns, mask=inside, other=0.0)
    scale = tl.load(moments + (group * 3 + 2) * channels + columns, mask=inside, other=0.0)
    factor = scale * tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32)
    added = tl.load(bias + columns, mask=inside, other=0.0).to(tl.float32)
    last = tl.minimum((part + 1) * rows_of_part, rows)
    for first in range(part * rows_of_part, last, tall):
        row = first + tl.arange(0, tall)
        mask = (row < last)[:, None] & inside[None, :]
        place = (group.to(tl.int64) * rows + row)[:, None] * channels + columns[None, :]
        values = tl.load(features + place, mask=mask, other=0.0)
        made = (values.to(tl.float32) - mean[None, :]) * factor[None, :] + added[None, :]
        tl.store(normalised + place, made.to(values.dtype), mask=mask)


@kernel
def _descend(
    features, gradient, moments, slopes, weight, result, rows, channels, rows_of_part,
    tall: tl.constexpr, wide: tl.constexpr,
):  # fmt: skip
    """Write the gradient of the features."""
    part, group = tl.program_id(0), tl.program_id(2)
    columns = tl.program_id(1) * wide + tl.arange(0, wide)
    inside = columns < channels
    mean = tl.load(moments + group * 3 * channels + columns, mask=inside, other=0.0)
    scale = tl.load(moments + (group * 3 + 2) * channels + columns, mask=inside, other=0.0)
    factor = scale * tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32)
    even = tl.load(slopes + group * 2 * channels + columns, mask=inside, other=0.0) / rows
    slope = tl.load(slopes + (group * 2 + 1) * channels + columns, mask=inside, other=0.0) * scale / rows
    last = tl.minimum((part + 1) * rows_of_part, rows)
    for first in range(part * rows_of_part, last, tall):
        row = first + tl.arange(0, tall)
        mask = (row < last)[:, None] & inside[None, :]
        place = (group.to(tl.int64) * rows + row)[:, None] * channels + columns[None, :]
        values = tl.load(features + place, mask=mask, other=0.0)
        given = tl.load(gradient + place, mask=mask, other=0.0).to(tl.float32)
        centred = values.to(tl.float32) - mean[None, :]
        found = (given - even[None, :] - centred * slope[None, :]) * factor[None, :]
        tl.store(result + place, found.to(values.dtype), mask=mask)


def normalise(features: Tensor, weight: Tensor, bias: Tensor, *, group: int, eps: float) -> tuple[Tensor, Tensor]:
    """Normalise groups of a batch that lies as its rows and channels.

    Returns:
        The result, which lies as the features do, and float32 (groups, 3, channels): means, unbiased variances and 1 /
        standard deviations.
    """
    grid = _Grid(features, group)
    partial, moments = grid.partial(), grid.floats(3)
    normalised = torch.empty_like(features)
    _sum_features[grid.blocks](features, partial, *grid.sizes, **grid.block)
    _find_moments[grid.sums](features, partial, moments, grid.rows, grid.channels, grid.parts, eps, **grid.sum_block)
    _normalise[grid.blocks](features, moments, weight, bias, normalised, *grid.sizes, **grid.block)
    return normalised, moments


def gradients(
    gradient: Tensor, features: Tensor, moments: Tensor, weight: Tensor, *, group: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of features, weight and bias (these in float32); the one given lies as the features do."""
    grid = _Grid(features, group)
    partial, slopes = grid.partial(), grid.floats(2)
    result = torch.empty_like(features)
    _sum_gradients[grid.blocks](features, gradient, moments, partial, *grid.sizes, **grid.block)
    _find_slopes[grid.sums](partial, moments, slopes, grid.channels, grid.parts, **grid.sum_block)
    _descend[grid.blocks](features, gradient, moments, slopes, weight, result, *grid.sizes, **grid.block)
    even, slope = slopes.sum(dim=0)
    return result, slope, even


class _Grid:
    """How programs share a matrix: parts of the rows, blocks of channels, groups."""

    def __init__(self, features: Tensor, group: int) -> None:
        self.device = features.device
        self.groups, self.channels = len(features) // group, features.shape[1]
        self.rows = group * features[0].numel() // self.channels
        across = triton.cdiv(self.channels, CHANNELS)
        wanted = max(1, PROGRAMS // (self.groups * across))
        rows_of_part = ROWS * triton.cdiv(triton.cdiv(self.rows, ROWS), wanted)
        self.parts = triton.cdiv(self.rows, rows_of_part)
        self.sizes = (self.rows, self.channels, rows_of_part)
        self.blocks, self.sums = (self.parts, across, self.groups), (across, self.groups)
        self.block = {"tall": ROWS, "wide": CHANNELS, "num_warps": WARPS}
        self.sum_block = {"many": PARTS, "wide": CHANNELS}

    def floats(self, *shape: int) -> Tensor:
        return torch.empty((self.groups, *shape, self.channels), dtype=torch.float32, device=self.device)

    def partial(self) -> Tensor:
        return self.floats(self.parts, 2)
