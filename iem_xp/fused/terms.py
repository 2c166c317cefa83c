"""Inpainting errors and their gradient (eq. 7, 8, 11), compiled: only what an update needs of them.

A pixel is predicted only from the region it does not belong to: one division. The adjoint's last pass and
the other region's error are computed only at pixels that may change. The formulas are those of
`iem_xp.terms`; sums of the filter are in units (`iem_xp.fused.filtering`), which cancel in predictions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from iem_xp.arrays import Array
from iem_xp.fused.compiling import ONE, TWO, ZERO, Index, Number, aligned, compiled, inlined, trailing_zeros
from iem_xp.fused.filtering import UNIT, Planes, gather
from iem_xp.fused.marginals import Marginals, pull
from iem_xp.fused.tables import LANES, Tables
from iem_xp.fused.words import BITS

_LANES, _LINE, _THREE = np.uint64(LANES), np.uint64(16), np.uint64(3)
_UNITY = np.float32(1)
_BLOCK = np.uint64(2048)
"""Pixels that are handled together, so that what is passed between loops stays in the cache."""


class Slope(NamedTuple):
    """What the gradient is made of.

    `by_planes` float32 ((C + 1) * stride,): derivatives of E_F + E_B by the filtered planes. `total` float64
    (C + 1,): their sums. `constant` float32 (C + 1,): what every pixel of a plane is multiplied by besides.
    `far_f`, `far_b` float32 (C + 1,): eps times the sums over foreground and background, in units.
    The others are work space.
    """

    by_planes: np.ndarray
    total: np.ndarray
    constant: np.ndarray
    far_f: np.ndarray
    far_b: np.ndarray
    weight: np.ndarray
    upper: np.ndarray
    lower: np.ndarray

    @classmethod
    def blank(cls, channels: int, width: int, stride: int, tables: Tables) -> Slope:
        """Room for the gradient of an image."""
        depth, room = channels + 1, width + 2 * tables.column_taps.shape[1]
        small = [np.zeros(depth, dtype=np.float32) for _ in range(3)]
        large = [aligned((size,), np.float32) for size in (int(_BLOCK), depth * room, depth * room)]
        return cls(aligned((depth * stride,), np.float32), np.zeros(depth), *small, *large)


@compiled
def regional_errors(
    planes: Planes, pixels: Array, inside: Array, whole: Array, epsilon: Number, slope: Slope
) -> tuple[Number, Number]:
    """E_F and E_B (eq. 8), and their derivatives by the filtered planes, in `slope`.

    `pixels` uint8 (stride,) is the mask; `inside` and `whole` float64 (C + 1,) are the sums of the colours,
    and the sizes, of its foreground and of the image. Neither region may be empty.
    """
    channels = np.uint64(inside.size) - ONE
    size_f, size_b = inside[channels], whole[channels] - inside[channels]
    for c in range(channels + ONE):
        slope.far_f[c] = epsilon * UNIT * inside[c]
        slope.far_b[c] = epsilon * UNIT * (whole[c] - inside[c])
    slope.total[:] = 0
    # What |residual| / S counts, by region; a background pixel's sign is turned with that of its region.
    weight_f, weight_b = np.float32(UNIT / (channels * size_f)), -np.float32(UNIT / (channels * size_b))
    error = error_f = 0.0
    last, n = channels * planes.stride, planes.height * planes.width
    for p in range(ZERO, n, _BLOCK):
        end = min(n, p + _BLOCK)
        weight = slope.weight[: end - p]
        a, b = last + p, last + end
        by_size = slope.by_planes[a:b]
        _support(
            pixels[p:end],
            planes.other[a:b],
            slope.far_f[channels],
            slope.far_b[channels],
            weight_f,
            weight_b,
            weight,
            by_size,
        )
        for c in range(channels):
            a, b = c * planes.stride + p, c * planes.stride + end
            errors, errors_f, by_colour, by_sizes = _predict(
                planes.X[a:b],
                planes.other[a:b],
                slope.far_f[c],
                slope.far_b[c],
                weight,
                _UNITY / weight_f,
                _UNITY / weight_b,
                slope.by_planes[a:b],
                by_size,
            )
            error += errors
            error_f += errors_f
            slope.total[c] += by_colour
            slope.total[channels] += by_sizes
    return error_f / (channels * size_f), (error - error_f) / (channels * size_b)


@inlined
def _support(
    pixels: Array,
    other: Array,
    far_f: Number,
    far_b: Number,
    weight_f: Number,
    weight_b: Number,
    weight: Array,
    by_size: Array,
) -> None:
    """Weight of a pixel's residuals, its region's over the support; it is positive in the foreground."""
    for j in range(weight.size):
        foreground = pixels[j] != 0
        far = far_b if foreground else far_f
        weight[j] = (weight_f if foreground else weight_b) / (np.float32(other[j]) + far)
        by_size[j] = np.float32(0)


@inlined
def _predict(
    X: Array,
    other: Array,
    far_f: Number,
    far_b: Number,
    weight: Array,
    over_f: Number,
    over_b: Number,
    by_colour: Array,
    by_size: Array,
) -> tuple[Number, Number, Number, Number]:
    """Residuals of one channel: the sums of |residual|, of it in the foreground, and of its derivatives."""
    error = error_f = colours = sizes = np.float32(0)
    for j in range(weight.size):
        w = weight[j]
        foreground = w > 0
        far = far_b if foreground else far_f
        psi = (np.float32(other[j]) + far) * (w * (over_f if foreground else over_b))
        residual = X[j] - psi
        slope = w if residual > 0 else (-w if residual < 0 else np.float32(0))
        by_colour[j] = slope
        by_size[j] -= slope * psi
        colours += slope
        sizes -= slope * psi
        error += abs(residual)
        error_f += abs(residual) if foreground else np.float32(0)
    return error, error_f, colours, sizes


@compiled
def set_constants(inside: Array, whole: Array, epsilon: Number, regularization: Number, slope: Slope) -> None:
    """The eps term's part of the gradient, and the diversity's, both linear in the planes."""
    channels = inside.size - 1
    squares = 0.0
    for c in range(channels):
        mu_f = inside[c] / inside[channels]
        mu_b = (whole[c] - inside[c]) / (whole[channels] - inside[channels])
        squares += mu_f**2 - mu_b**2
        slope.constant[c] = epsilon * slope.total[c] + 2 * regularization * (mu_f - mu_b)
    slope.constant[channels] = epsilon * slope.total[channels] - regularization * squares


@compiled
def ascend_boundary(
    planes: Planes,
    boundary: Array,
    words: Array,
    target: Array,
    errors: tuple[Number, Number],
    sizes: tuple[Number, Number],
    tables: Tables,
    slope: Slope,
    marginals: Marginals,
) -> None:
    """In `target`, the mask `words` with 1 where the gradient is positive at `boundary`, 0 where negative."""
    over_size = np.float32(1 / sizes[0]), np.float32(1 / sizes[1])
    error = np.float32(errors[0]), np.float32(errors[1])
    for pair in range(np.uint64(tables.row_first.size)):
        _gather_runs(planes, boundary, pair, tables, slope)
        for half in range(ZERO, TWO):
            i = TWO * pair + half
            columns = slope.lower if half else slope.upper
            if i == planes.height:
                break
            for k in range(ONE, np.uint64(words.shape[1]) - ONE):
                left = boundary[i + ONE, k]
                up = down = ZERO
                while left:
                    j = (k - ONE) * BITS + trailing_zeros(left)
                    bit = left & (~left + ONE)
                    left ^= bit
                    p = i * planes.width + j
                    g = _direct(planes, p, words[i + ONE, k] & bit, error, over_size, slope)
                    g += _through_filter(planes, p, j, tables, columns)
                    g += pull(marginals, p)
                    if g > 0:
                        up |= bit
                    elif g < 0:
                        down |= bit
                target[i + ONE, k] = (words[i + ONE, k] | up) & ~down


@inlined
def _gather_runs(planes: Planes, boundary: Array, pair: Index, tables: Tables, slope: Slope) -> None:
    """First pass of the adjoint for two rows, in the columns that their boundary pixels need."""
    width, taps = planes.width, np.uint64(tables.column_taps.shape[1])
    row = TWO * pair + ONE
    low = high = ZERO
    for k in range(ONE, np.uint64(boundary.shape[1]) - ONE):
        left = boundary[row, k] | boundary[row + ONE, k]
        while left:
            j = (k - ONE) * BITS + trailing_zeros(left)
            left &= left - ONE
            first = tables.column_first[j]
            begin = first // _LINE * _LINE
            if begin > high:
                _gather_run(planes, pair, low, high, tables, slope)
                low = begin
            high = max(high, first + taps)
    _gather_run(planes, pair, low, min(high, width), tables, slope)


@inlined
def _gather_run(planes: Planes, pair: Index, low: Index, high: Index, tables: Tables, slope: Slope) -> None:
    room = np.uint64(slope.upper.size) // np.uint64(slope.total.size)
    size = (high - low + _LINE - ONE) // _LINE * _LINE
    for c in range(np.uint64(slope.total.size)):
        p = c * planes.stride + tables.row_first[pair] * planes.width + low
        v = c * room + low
        gather(slope.by_planes, p, planes.width, tables, pair, slope.upper, slope.lower, v, size)


@inlined
def _sums(planes: Planes, q: Index, foreground: Index) -> tuple[Index, Index]:
    """Filtered sums over foreground and background at a value of a plane, of a pixel that is one of these."""
    other = planes.other[q]
    rest = planes.whole[q] - other
    return (rest, other) if foreground else (other, rest)


@inlined
def _direct(
    planes: Planes,
    p: Index,
    foreground: Index,
    error: tuple[Number, Number],
    over_size: tuple[Number, Number],
    slope: Slope,
) -> Number:
    """The gradient's direct part at a pixel, and that of the constants."""
    channels, stride = np.uint64(slope.total.size) - ONE, planes.stride
    inside, outside = _sums(planes, channels * stride + p, foreground)
    over_f = _UNITY / (np.float32(inside) + slope.far_f[channels])
    over_b = _UNITY / (np.float32(outside) + slope.far_b[channels])
    error_f = error_b = np.float32(0)
    g = slope.constant[channels]
    for c in range(channels):
        x = planes.X[c * stride + p]
        inside, outside = _sums(planes, c * stride + p, foreground)
        error_f += abs(x - (np.float32(outside) + slope.far_b[c]) * over_b)
        error_b += abs(x - (np.float32(inside) + slope.far_f[c]) * over_f)
        g += x * slope.constant[c]
    over_channels = _UNITY / np.float32(channels)
    g += (error_f * over_channels - error[0]) * over_size[0]
    return g - (error_b * over_channels - error[1]) * over_size[1]


@inlined
def _through_filter(planes: Planes, p: Index, j: Index, tables: Tables, columns: Array) -> Number:
    """The gradient's part through the filter at a pixel of column j: the adjoint's last pass.

    One and three channels are summed before the taps are, once for all: there is one sum over vectors.
    """
    depth = np.uint64(planes.other.size) // planes.stride
    room = np.uint64(columns.size) // depth
    first, stride = tables.column_first[j], planes.stride
    g = np.float32(0)
    for begin in range(ZERO, np.uint64(tables.column_taps.shape[1]), _LANES):
        v = first + begin
        if depth == TWO:
            x = planes.X[p]
            for k in range(_LANES):
                g += tables.column_taps[j, begin + k] * (x * columns[v + k] + columns[room + v + k])
        elif depth == _THREE + ONE:
            x, y, z = planes.X[p], planes.X[p + stride], planes.X[p + TWO * stride]
            for k in range(_LANES):
                colours = x * columns[v + k] + y * columns[room + v + k] + z * columns[TWO * room + v + k]
                g += tables.column_taps[j, begin + k] * (colours + columns[_THREE * room + v + k])
        else:
            for c in range(depth):
                total = np.float32(0)
                for k in range(_LANES):
                    total += tables.column_taps[j, begin + k] * columns[c * room + v + k]
                g += total * (planes.X[c * stride + p] if c + ONE < depth else np.float32(1))
    return g
