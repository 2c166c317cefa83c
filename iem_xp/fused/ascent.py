"""The ascent (eq. 10) of one image from each of its initial masks, compiled as one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from iem_xp.arrays import Array
from iem_xp.config import IEMConfig
from iem_xp.fused.compiling import ONE, ZERO, Index, Number, compiled, compiled_once, inlined, trailing_zeros
from iem_xp.fused.filtering import Planes, Rows, fill, flip, stride_of
from iem_xp.fused.marginals import Marginals, set_ratio
from iem_xp.fused.tables import Tables
from iem_xp.fused.terms import Slope, ascend_boundary, regional_errors, set_constants
from iem_xp.fused.words import BITS, blank, border, find_boundary, pack, smooth, unpack


class Mask(NamedTuple):
    """A mask on its way.

    `pixels` uint8 (stride,). `words` and `target` uint64: the same as bits, and the next mask. `boundary`:
    the pixels that may change; `border`, `inside`: the image's border, and all of it. `sums` float64
    (C + 1,): of the colours of the foreground, and its size; `whole`: the same of the image. The rest is
    work space.
    """

    pixels: np.ndarray
    words: np.ndarray
    target: np.ndarray
    boundary: np.ndarray
    border: np.ndarray
    inside: np.ndarray
    ones: np.ndarray
    twos: np.ndarray
    sums: np.ndarray
    whole: np.ndarray
    columns: np.ndarray
    signs: np.ndarray

    @classmethod
    def blank(cls, channels: int, height: int, width: int, stride: int) -> Mask:
        """An empty mask."""
        inside = pack(np.ones((height, width), dtype=bool))
        words, target, boundary, ones, twos = (blank(height, width) for _ in range(5))
        sums, whole = np.zeros(channels + 1), np.zeros(channels + 1)
        columns, signs = np.zeros(width, dtype=np.uint64), np.zeros(width, dtype=np.float32)
        pixels, edge = np.zeros(stride, dtype=np.uint8), border(height, width)
        return cls(pixels, words, target, boundary, edge, inside, ones, twos, sums, whole, columns, signs)


class Workspace:
    """All that one thread needs for images of one size, allocated once.

    Parameters
    ----------
    channels : int
    tables : Tables
        Those of the images' size; threads may share them.
    height, width : int
    config : IEMConfig
    """

    def __init__(self, channels: int, height: int, width: int, tables: Tables, config: IEMConfig) -> None:
        stride = stride_of(height, width, tables)
        self._config, self._tables = config, tables
        self._planes = Planes.blank(channels, height, width, stride)
        self._mask = Mask.blank(channels, height, width, stride)
        self._slope = Slope.blank(channels, width, stride, tables)
        self._rows = Rows.blank(width, tables)
        self._marginals = Marginals.blank(config.colours if config.colour_weight else 1, stride)
        self._history = np.zeros(config.iterations + 1, dtype=np.uint64)

    def ascend(
        self,
        colours: np.ndarray,
        masks: np.ndarray,
        codes: np.ndarray | None = None,
        evidence: np.ndarray | None = None,
        iterations: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ascents of one image.

        Parameters
        ----------
        colours : float32 array (C, H, W) in [-1, 1]
        masks : bool array (S, H, W)
            Where each search starts.
        codes : int array (H * W,), optional
            Colour of each pixel in a palette.
        evidence : floating array (H, W), optional
            Added to the gradient, whatever the mask.
        iterations : int, optional
            Updates, if fewer than those of the configuration.

        Returns
        -------
        masks : bool array (S, H, W)
        inpainting_error : float32 array (S,)
        updates : int64 array (S,)
        """
        channels, height, width = colours.shape
        self._planes.X.reshape(channels, -1)[:, : height * width] = colours.reshape(channels, -1)
        counted = codes is not None and self._config.colour_weight > 0  # or there is room for one colour only
        self._marginals.codes[: height * width] = codes if counted else 0
        self._marginals.evidence[: height * width] = 0 if evidence is None else evidence.ravel()
        words = np.stack([pack(mask) for mask in masks])
        errors = np.zeros(len(masks), dtype=np.float32)
        updates = np.zeros(len(masks), dtype=np.int64)
        config = self._config
        history = self._history if iterations is None else self._history[: iterations + 1]
        state = (self._planes, self._mask, self._slope, self._marginals, self._tables, self._rows, history)
        weights = (config.epsilon, config.regularization, config.colour_weight)
        ascend(words, errors, updates, *state, *weights, config.boundary_only, config.smooth)
        return np.stack([unpack(mask, width) for mask in words]), errors, updates


@compiled_once
def ascend(
    found: Array,
    errors: Array,
    updates: Array,
    planes: Planes,
    mask: Mask,
    slope: Slope,
    marginals: Marginals,
    tables: Tables,
    rows: Rows,
    history: Array,
    epsilon: Number,
    regularization: Number,
    colour_weight: Number,
    boundary_only: bool,
    smoothing: bool,
) -> None:
    """Replace each mask of `found` by where its ascent ends."""
    planes.whole[:] = 0  # then what is foreground counts as missing from it
    _start(mask.inside, planes, mask, marginals, tables, rows)
    for q in range(planes.whole.size):
        planes.whole[q] = -planes.other[q]
    for c in range(mask.whole.size):
        mask.whole[c] = mask.sums[c]
    for k in range(marginals.whole.size):
        marginals.whole[k] = marginals.inside[k]
    iterations = history.size - 1
    for s in range(len(found)):
        _start(found[s], planes, mask, marginals, tables, rows)
        history[0] = ZERO
        step = 0
        while step < iterations:
            if _is_divided(mask):
                size, pixels = mask.sums[mask.sums.size - 1], mask.whole[mask.whole.size - 1]
                set_ratio(marginals, colour_weight, size, pixels)
                _aim(planes, mask, slope, marginals, tables, epsilon, regularization, boundary_only)
            else:
                _copy(mask.words, mask.target)
            if smoothing:
                smooth(mask.target, mask.inside, mask.ones, mask.twos)
            history[step + 1] = history[step] ^ _move(planes, mask, marginals, tables, rows)
            step += 1
            if _is_final(history, step, iterations):
                break
        _copy(mask.words, found[s])
        updates[s] = step
        errors[s] = 0
        if _is_divided(mask):
            errors[s] = sum(regional_errors(planes, mask.pixels, mask.sums, mask.whole, epsilon, slope))


@compiled
def _start(
    words: Array, planes: Planes, mask: Mask, marginals: Marginals, tables: Tables, rows: Rows
) -> None:
    """Take a mask, and its sums, from nothing."""
    _copy(words, mask.words)
    mask.pixels[:] = 0
    mask.sums[:] = 0
    marginals.inside[:] = 0
    channels = np.uint64(mask.sums.size) - ONE
    for i in range(planes.height):
        for k in range(ONE, np.uint64(words.shape[1]) - ONE):
            left = words[i + ONE, k]
            while left:
                p = i * planes.width + (k - ONE) * BITS + trailing_zeros(left)
                left &= left - ONE
                mask.pixels[p] = 1
                for c in range(channels):
                    mask.sums[c] += planes.X[c * planes.stride + p]
                mask.sums[channels] += 1
                marginals.inside[marginals.codes[p]] += 1
    fill(planes, mask.pixels, tables, rows)


@inlined
def _is_divided(mask: Mask) -> bool:
    """Whether no region is empty."""
    size = mask.sums[mask.sums.size - 1]
    return size > 0 and size < mask.whole[mask.whole.size - 1]


@compiled
def _aim(
    planes: Planes,
    mask: Mask,
    slope: Slope,
    marginals: Marginals,
    tables: Tables,
    epsilon: Number,
    regularization: Number,
    boundary_only: bool,
) -> None:
    """The next mask, before smoothing, in `mask.target`."""
    errors = regional_errors(planes, mask.pixels, mask.sums, mask.whole, epsilon, slope)
    set_constants(mask.sums, mask.whole, epsilon, regularization, slope)
    if boundary_only:
        find_boundary(mask.words, mask.border, mask.inside, mask.boundary)
    else:
        _copy(mask.inside, mask.boundary)
    size = mask.sums[mask.sums.size - 1]
    sizes = size, mask.whole[mask.whole.size - 1] - size
    ascend_boundary(planes, mask.boundary, mask.words, mask.target, errors, sizes, tables, slope, marginals)


@compiled
def _move(planes: Planes, mask: Mask, marginals: Marginals, tables: Tables, rows: Rows) -> Index:
    """Go on to `mask.target`; returns what tells the new mask's hash from the old one's."""
    channels = np.uint64(mask.sums.size) - ONE
    change = ZERO
    for i in range(planes.height):
        count = 0
        for k in range(ONE, np.uint64(mask.words.shape[1]) - ONE):
            left = mask.words[i + ONE, k] ^ mask.target[i + ONE, k]
            mask.words[i + ONE, k] ^= left
            while left:
                j = (k - ONE) * BITS + trailing_zeros(left)
                left &= left - ONE
                p = i * planes.width + j
                mask.pixels[p] ^= 1
                sign = np.float32(1) if mask.pixels[p] else np.float32(-1)
                for c in range(channels):
                    mask.sums[c] += sign * planes.X[c * planes.stride + p]
                mask.sums[channels] += sign
                marginals.inside[marginals.codes[p]] += sign
                for c in range(channels + ONE):
                    planes.other[c * planes.stride + p] = (
                        planes.whole[c * planes.stride + p] - planes.other[c * planes.stride + p]
                    )
                mask.columns[count], mask.signs[count] = j, sign
                change ^= _scramble(p)
                count += 1
        if count:
            flip(planes, mask.pixels, i, mask.columns[:count], mask.signs[:count], tables, rows)
    return change


@compiled
def _is_final(history: Array, step: Index, iterations: Index) -> bool:
    """Whether the mask after `step` updates is known to be that after all of them.

    An update is a deterministic map on masks: one that was there `period` updates ago comes again after
    every `period` more. Masks are told apart by the exclusive or of 64 random bits for each pixel of the
    foreground: in an ascent of 150 updates two are mistaken for each other with a probability of 6e-16.
    """
    for earlier in range(step):
        if history[earlier] == history[step] and (iterations - step) % (step - earlier) == 0:
            return True
    return False


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX, _MIX_AGAIN = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31 = map(np.uint64, (30, 27, 31))


@inlined
def _scramble(number: Index) -> Index:
    """64 bits that look random: splitmix64 (Steele, Lea and Flood 2014)."""
    number = (number + ONE) * _GOLDEN
    number = (number ^ (number >> _30)) * _MIX
    number = (number ^ (number >> _27)) * _MIX_AGAIN
    return number ^ (number >> _31)


@compiled
def _copy(words: Array, to: Array) -> None:
    for i in range(words.shape[0]):
        for k in range(words.shape[1]):
            to[i, k] = words[i, k]
