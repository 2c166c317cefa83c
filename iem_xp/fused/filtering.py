"""K* and its adjoint, compiled: what a changed pixel changes, and the adjoint where it is needed.

Sums of the filter are held as whole numbers of 1 / `UNIT`, rounded term by term. So what a pixel has added it
takes away again exactly: nothing drifts, however many updates there are, the sums over foreground and
background add up to that over the image, and a region without support at a pixel has the sum 0 there.

K* is two passes, along the rows and along the columns, and the sums of both are kept. Planes are flat, C + 1
of them in one array, `stride` values apart; the last is that of ones, whose filtered sums are K*M.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from iem_xp.arrays import Array
from iem_xp.fused.compiling import ONE, TWO, ZERO, Index, Number, aligned, compiled, inlined
from iem_xp.fused.tables import GROUP, LANES, Tables, round_up

UNIT = np.float32(2**30)
"""Sums are at most 1 in size, and so fit 32 bits with their sign."""

_LANES, _GROUP = np.uint64(LANES), np.uint64(GROUP)
_UNROLLED = np.uint64(64)
"""Loops of a multiple of this many steps are fast: so many are unrolled."""
_3, _4, _5, _6, _7 = map(np.uint64, range(3, 8))


class Planes(NamedTuple):
    """The colours of one image, and their filtered sums.

    `X` float32 (C * stride,), colours in [-1, 1]. `first` int32 ((C + 1) * stride,): X M and M after the
    first pass. `other` int32: after both, the sums over the region that a pixel does *not* belong to, from
    which it is predicted; `whole`: those over the image. `height`, `width`, `stride` uint64.
    """

    X: np.ndarray
    first: np.ndarray
    other: np.ndarray
    whole: np.ndarray
    height: np.uint64
    width: np.uint64
    stride: np.uint64

    @classmethod
    def blank(cls, channels: int, height: int, width: int, stride: int) -> Planes:
        """Planes of an image not there yet."""
        X = aligned((channels * stride,), np.float32)
        first, other, whole = (aligned(((channels + 1) * stride,), np.int32) for _ in range(3))
        return cls(X, first, other, whole, np.uint64(height), np.uint64(width), np.uint64(stride))


def stride_of(height: int, width: int, tables: Tables) -> int:
    """Values from one plane to the next: bands may reach, with zeros, beyond the image's last row.

    An odd number of cache lines, else the same pixel of all planes competes for one place in the cache.
    """
    line = 16
    rows, columns = tables.row_taps.shape[2], tables.column_taps.shape[1]
    lines = ((height + rows) * width + 2 * columns) // line + 1
    return (lines + 1 - lines % 2) * line


class Rows(NamedTuple):
    """A row's work space: what is to be filtered, before and after a change, and its integer sums."""

    before: np.ndarray
    after: np.ndarray
    sums: np.ndarray

    @classmethod
    def blank(cls, width: int, tables: Tables) -> Rows:
        """Work space for rows of a width."""
        bands = round_up(width + tables.column_taps.shape[1], int(_UNROLLED))
        room = max(bands, width + len(tables.diagonals))
        return cls(aligned((room,), np.float32), aligned((room,), np.float32), aligned((room,), np.int32))


@compiled
def fill(planes: Planes, pixels: Array, tables: Tables, rows: Rows) -> None:
    """Sums for a mask, from nothing; `pixels` uint8 (stride,)."""
    before, after, sums = rows
    width, stride = planes.width, planes.stride
    depth = np.uint64(planes.other.size) // stride
    for c in range(depth):
        for p in range(planes.height * width):
            q = c * stride + p
            planes.other[q] = planes.whole[q] if pixels[p] != 0 else 0
    for i in range(planes.height):
        for c in range(depth):
            begin = c * stride + i * width
            sums[:] = 0
            _select(planes.X, begin, pixels, i * width, width, c + ONE < depth, after)
            for k in range(np.uint64(tables.diagonals.shape[0])):
                _add_diagonal(after, tables.diagonals, k, width, sums)
            before[:] = 0
            after[:] = 0
            for j in range(width):
                planes.first[begin + j] = sums[j + tables.lead]
                after[j] = np.float32(sums[j + tables.lead])
            _spread(before, after, tables, i, planes.other, c * stride, pixels, ZERO, width, width)


@inlined
def flip(
    planes: Planes, pixels: Array, i: Index, columns: Array, signs: Array, tables: Tables, rows: Rows
) -> None:
    """Add pixels of one row to the foreground, or take them away, by `signs`; `columns` ascending."""
    before, after, _ = rows
    first, width, stride = planes.first, planes.width, planes.stride
    depth = np.uint64(planes.other.size) // stride
    taps = np.uint64(tables.column_taps.shape[1])
    begin, count = 0, columns.size
    while begin < count:
        # Bands that overlap are spread together.
        low = tables.column_first[columns[begin]]
        high, end = low + taps, begin + 1
        while end < count and tables.column_first[columns[end]] <= high:
            high, end = tables.column_first[columns[end]] + taps, end + 1
        size = (high - low + _UNROLLED - ONE) // _UNROLLED * _UNROLLED
        for c in range(depth):
            row = c * stride + i * width
            _to_float(first, row + low, size, before)
            for f in range(begin, end):
                j = columns[f]
                x = signs[f] * UNIT
                if c + ONE < depth:
                    x *= planes.X[row + j]
                _add_band(x, tables.column_taps, j, taps, first, row + tables.column_first[j])
            _to_float(first, row + low, size, after)
            _spread(before, after, tables, i, planes.other, c * stride + low, pixels, low, width, size)
        begin = end


@inlined
def _select(X: Array, x: Index, pixels: Array, p: Index, width: Index, colour: Array, out: Array) -> None:
    """A row of X M or M, in units."""
    for j in range(width):
        value = UNIT * X[x + j] if colour else UNIT
        out[j] = value if pixels[p + j] != 0 else np.float32(0)


@inlined
def _add_diagonal(row: Array, diagonals: Array, k: Index, width: Index, sums: Array) -> None:
    for j in range(width):
        sums[k + j] += np.int32(np.rint(row[j] * diagonals[k, j]))


@inlined
def _add_band(x: Number, taps: Array, j: Index, size: Index, sums: Array, s: Index) -> None:
    for begin in range(ZERO, size, _LANES):
        for k in range(_LANES):
            sums[s + begin + k] += np.int32(np.rint(x * taps[j, begin + k]))


@inlined
def _to_float(sums: Array, s: Index, size: Index, out: Array) -> None:
    for k in range(size):
        out[k] = np.float32(sums[s + k])


@inlined
def _spread(
    before: Array,
    after: Array,
    tables: Tables,
    i: Index,
    other: Array,
    s: Index,
    pixels: Array,
    p: Index,
    width: Index,
    size: Index,
) -> None:
    """Second pass of what changed in row i of the foreground: terms go as they were, and come as they are.

    What comes to the foreground goes from the background. `p` is the column, and `s` where the plane has it.
    """
    first, taps = tables.row_first[i // TWO], tables.row_taps
    for a in range(np.uint64(taps.shape[2])):
        tap = taps[i // TWO, i % TWO, a]
        row = (first + a) * width
        if tap != 0:
            for k in range(size):
                change = np.int32(np.int32(np.rint(tap * after[k])) - np.int32(np.rint(tap * before[k])))
                other[s + row + k] += -change if pixels[p + row + k] != 0 else change


@inlined
def gather(
    plane: Array,
    p: Index,
    width: Index,
    tables: Tables,
    pair: Index,
    upper: Array,
    lower: Array,
    u: Index,
    size: Index,
) -> None:
    """First pass of the adjoint, along the columns, for two rows: `size` values from `u` on, of a plane.

    `p` is where the plane has the pair's first row and the first of these columns.
    """
    taps = tables.row_taps
    for g in range(ZERO, np.uint64(taps.shape[2]), _GROUP):
        a0, b0 = taps[pair, 0, g], taps[pair, 1, g]
        a1, b1 = taps[pair, 0, g + ONE], taps[pair, 1, g + ONE]
        a2, b2 = taps[pair, 0, g + TWO], taps[pair, 1, g + TWO]
        a3, b3 = taps[pair, 0, g + _3], taps[pair, 1, g + _3]
        a4, b4 = taps[pair, 0, g + _4], taps[pair, 1, g + _4]
        a5, b5 = taps[pair, 0, g + _5], taps[pair, 1, g + _5]
        a6, b6 = taps[pair, 0, g + _6], taps[pair, 1, g + _6]
        a7, b7 = taps[pair, 0, g + _7], taps[pair, 1, g + _7]
        p1 = p + width
        p2 = p1 + width
        p3 = p2 + width
        p4 = p3 + width
        p5 = p4 + width
        p6 = p5 + width
        p7 = p6 + width
        for j in range(size):
            v0, v1, v2, v3 = plane[p + j], plane[p1 + j], plane[p2 + j], plane[p3 + j]
            v4, v5, v6, v7 = plane[p4 + j], plane[p5 + j], plane[p6 + j], plane[p7 + j]
            above = upper[u + j] if g > ZERO else np.float32(0)
            below = lower[u + j] if g > ZERO else np.float32(0)
            above += a0 * v0 + a1 * v1 + a2 * v2 + a3 * v3 + a4 * v4 + a5 * v5 + a6 * v6 + a7 * v7
            below += b0 * v0 + b1 * v1 + b2 * v2 + b3 * v3 + b4 * v4 + b5 * v5 + b6 * v6 + b7 * v7
            upper[u + j], lower[u + j] = above, below
        p = p7 + width
