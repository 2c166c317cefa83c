"""The filter K*, one banded matrix per axis, as the tables that compiled loops run along.

K* spreads a pixel along column j of an axis' matrix; its adjoint gathers along the same column. So columns
are all that is kept, each as its first row and its taps, with zeros after them: loops of a fixed length are
fast, and at the image's border nothing is special.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from iem_xp.config import IEMConfig
from iem_xp.fused.compiling import aligned
from iem_xp.gaussian import axis_matrix

LANES = 32
"""Taps that are handled together along a row."""
GROUP = 8
"""Rows that are handled together along a column."""

_STEP = 8
"""Bands along a row begin at multiples of this: fewer of their vectors straddle two cache lines."""


class Tables(NamedTuple):
    """K* for images of one size.

    `row_first` uint64 (ceil(H / 2),), `row_taps` float32 (ceil(H / 2), 2, n): the matrix of the rows, two
    columns with one first row together; n is a multiple of `GROUP`.
    `column_first` uint64 (W,), `column_taps` float32 (W, m): that of the columns; m is a multiple of `LANES`.
    `diagonals` float32 (d, W): the same, by diagonals; [k, j] is the entry at row j + k - `lead`, column j.
    """

    row_first: np.ndarray
    row_taps: np.ndarray
    column_first: np.ndarray
    column_taps: np.ndarray
    diagonals: np.ndarray
    lead: np.uint64


@lru_cache(maxsize=16)
def tables_for(height: int, width: int, config: IEMConfig) -> Tables:
    """Tables for images of a size; not to be written to, since they are kept for the next images."""
    rows, columns = axis_matrix(height, config), axis_matrix(width, config)
    return Tables(*_pairs(rows), *_bands(columns), *_diagonals(columns))


def _support(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First row and end of every column's entries."""
    used = matrix != 0
    return np.argmax(used, axis=0), len(matrix) - np.argmax(used[::-1], axis=0)


def _pairs(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, end = _support(matrix)
    starts = np.arange(0, len(matrix), 2)
    first, end = np.minimum.reduceat(first, starts), np.maximum.reduceat(end, starts)
    taps = aligned((len(starts), 2, round_up(np.max(end - first), GROUP)), np.float32)
    for j, column in enumerate(matrix.T):
        band = column[first[j // 2] : end[j // 2]]
        taps[j // 2, j % 2, : len(band)] = band
    return first.astype(np.uint64), taps


def _bands(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, end = _support(matrix)
    first = first // _STEP * _STEP
    taps = aligned((len(matrix), round_up(np.max(end - first), LANES)), np.float32)
    for j, column in enumerate(matrix.T):
        band = column[first[j] : end[j]]
        taps[j, : len(band)] = band
    return first.astype(np.uint64), taps


def _diagonals(matrix: np.ndarray) -> tuple[np.ndarray, np.uint64]:
    rows, columns = np.nonzero(matrix)
    lead = int(np.max(columns - rows))
    diagonals = aligned((lead + 1 + int(np.max(rows - columns)), len(matrix)), np.float32)
    diagonals[rows - columns + lead, columns] = matrix[rows, columns]
    return diagonals, np.uint64(lead)


def round_up(number: int, multiple: int) -> int:
    """Least multiple of a number that is not below another."""
    return -(-int(number) // multiple) * multiple
