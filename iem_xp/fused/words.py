"""Masks as bits, 64 pixels to a word: boundary and smoothing (eq. 10) in a few operations for each word.

Words have the shape (H + 2, ceil(W / 64) + 2), with a frame of zeros, so that every word has neighbours;
column j of a row is bit j % 64 of word j // 64 + 1.
"""

from __future__ import annotations

import numpy as np

from iem_xp.arrays import Array
from iem_xp.fused.compiling import ONE, Index, compiled, inlined

BITS = np.uint64(64)
_LAST = np.uint64(63)


def blank(height: int, width: int) -> np.ndarray:
    """Words of an empty mask."""
    return np.zeros((height + 2, -(-width // 64) + 2), dtype=np.uint64)


def pack(mask: np.ndarray) -> np.ndarray:
    """Words of a mask, bool (H, W)."""
    height, width = mask.shape
    words = blank(height, width)
    padded = np.zeros((height, (words.shape[1] - 2) * 64), dtype=bool)
    padded[:, :width] = mask
    octets = np.packbits(padded, axis=1, bitorder="little")
    words[1:-1, 1:-1] = octets.view("<u8")
    return words


def unpack(words: np.ndarray, width: int) -> np.ndarray:
    """Mask, bool (H, W), of its words."""
    octets = np.ascontiguousarray(words[1:-1, 1:-1]).astype("<u8").view(np.uint8)
    return np.unpackbits(octets, axis=1, bitorder="little", count=width).astype(bool)


def border(height: int, width: int) -> np.ndarray:
    """Words of the pixels at the image's border: each has a neighbour outside, of the other value."""
    mask = np.ones((height, width), dtype=bool)
    mask[1:-1, 1:-1] = False
    return pack(mask)


@compiled
def find_boundary(words: Array, border: Array, inside: Array, out: Array) -> None:
    """Pixels of the image, given by `inside`, with a 4-neighbour of the other value."""
    for i in range(1, words.shape[0] - 1):
        for k in range(1, words.shape[1] - 1):
            here, left, right = words[i, k], _left(words, i, k), _right(words, i, k)
            differs = (here ^ left) | (here ^ right) | (here ^ words[i - 1, k]) | (here ^ words[i + 1, k])
            out[i, k] = (differs | border[i, k]) & inside[i, k]


@compiled
def smooth(words: Array, inside: Array, ones: Array, twos: Array) -> None:
    """In place: pixels whose 3 x 3 window, itself included and 0 outside, holds at least 4 pixels of 1.

    Sums are kept as binary digits, each a word: `ones` and `twos` are those of three pixels in a row.
    """
    for i in range(1, words.shape[0] - 1):
        for k in range(1, words.shape[1] - 1):
            here, left, right = words[i, k], _left(words, i, k), _right(words, i, k)
            ones[i, k] = here ^ left ^ right
            twos[i, k] = _two_of_three(here, left, right)
    for i in range(1, words.shape[0] - 1):
        for k in range(1, words.shape[1] - 1):
            carry = _two_of_three(ones[i - 1, k], ones[i, k], ones[i + 1, k])
            above, here, below = twos[i - 1, k], twos[i, k], twos[i + 1, k]
            # The window holds 4 if two of these four digits, each worth 2, are set.
            two = (above & here) | (below & carry) | ((above | here) & (below | carry))
            words[i, k] = two & inside[i, k]


@inlined
def _left(words: Array, i: Index, k: Index) -> Array:
    """The left neighbours of a word's pixels."""
    return (words[i, k] << ONE) | (words[i, k - 1] >> _LAST)


@inlined
def _right(words: Array, i: Index, k: Index) -> Array:
    """The right neighbours of a word's pixels."""
    return (words[i, k] >> ONE) | (words[i, k + 1] << _LAST)


@inlined
def _two_of_three(a: Array, b: Array, c: Array) -> Array:
    return (a & b) | (c & (a | b))
