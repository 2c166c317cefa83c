"""The filter K*, and its adjoint, as banded matrices (eq. 6, section 4.2).

Zero padding before every pass makes K* linear and separable but not a convolution near the border: on an
H x W plane it is exactly ``A_H @ plane @ A_W.T``, with one banded matrix per axis. Two matrix products are
all that an array library needs to offer, and the adjoint is the same products with transposed matrices.
"""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace, device

from iem_xp.arrays import Array, is_cached
from iem_xp.config import IEMConfig


def axis_matrix(n: int, config: IEMConfig) -> np.ndarray:
    """Filter along one axis of `n` pixels, as a float64 matrix of shape (n, n).

    With ``scale_factor`` s > 1 it averages over blocks of s pixels (the last one may be smaller), filters
    the block means and repeats each result over its block.
    """
    s = config.scale_factor
    block = np.arange(n) // s
    belongs = (block == np.arange(-(-n // s))[:, None]).astype(np.float64)
    pool = belongs / np.sum(belongs, axis=1, keepdims=True)
    return belongs.T @ _passes(len(pool), config) @ pool


def smallest_weight(config: IEMConfig) -> float:
    """Smallest weight, above 0, that a pixel has in a filtered value, in an image of any size."""
    taps = _taps(config)
    # The farthest pixel is reached on one path only, and no block is larger than the scale factor.
    return float((np.min(taps[taps > 0]) ** config.repeats / config.scale_factor) ** 2)


def _taps(config: IEMConfig) -> np.ndarray:
    radius = config.kernel_size // 2
    with np.errstate(over="ignore"):  # a tiny sigma
        taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / config.sigma) ** 2)
    return taps / np.sum(taps)


def _passes(n: int, config: IEMConfig) -> np.ndarray:
    radius = config.kernel_size // 2
    one_pass = np.zeros((n, n))
    for offset, tap in enumerate(_taps(config), start=-radius):
        one_pass += tap * np.eye(n, k=offset)
    return np.linalg.matrix_power(one_pass, config.repeats)


class Gaussian:
    """K* for planes of one size, on one array library, device and data type.

    Parameters
    ----------
    planes : floating array (..., H, W)
        Any array like those to be filtered.
    config : IEMConfig
        Supplies ``kernel_size``, ``sigma``, ``repeats`` and ``scale_factor``.
    """

    def __init__(self, planes: Array, config: IEMConfig) -> None:
        rows, columns = (axis_matrix(n, config) for n in planes.shape[-2:])
        self._rows = _Banded(rows, planes)
        self._columns = _Banded(columns, planes)
        self._rows_adjoint = _Banded(rows.T, planes)
        self._columns_adjoint = _Banded(columns.T, planes)

    def __call__(self, planes: Array) -> Array:
        """``A_H @ planes @ A_W.T`` for planes of shape (..., H, W)."""
        return self._rows.on_rows(self._columns.on_columns(planes))

    def adjoint(self, planes: Array) -> Array:
        """``A_H.T @ planes @ A_W`` for planes of shape (..., H, W)."""
        return self._rows_adjoint.on_rows(self._columns_adjoint.on_columns(planes))


class _Banded:
    """A banded matrix as tiles of rows, each without the zero columns at its sides."""

    def __init__(self, matrix: np.ndarray, planes: Array) -> None:
        # Small tiles skip most zeros; on a GPU one larger product is cheaper than several launches.
        height = 32 if is_cached(planes) else 128
        self._xp = array_namespace(planes)
        self._tiles = []
        for top in range(0, len(matrix), height):
            tile = matrix[top : top + height]
            used = np.flatnonzero(np.any(tile != 0, axis=0))
            band = slice(int(used[0]), int(used[-1]) + 1)
            values = self._xp.asarray(tile[:, band].copy(), dtype=planes.dtype, device=device(planes))
            self._tiles.append((band, values))

    def on_rows(self, planes: Array) -> Array:
        # All leading axes as one: a library has less to do, of which some make many steps.
        stack = self._xp.reshape(planes, (-1, *planes.shape[-2:]))
        return self._joined([tile @ stack[:, band, :] for band, tile in self._tiles], planes)

    def on_columns(self, planes: Array) -> Array:
        lines = self._xp.reshape(planes, (-1, planes.shape[-1]))
        return self._joined([lines[:, band] @ tile.T for band, tile in self._tiles], planes)

    def _joined(self, products: list[Array], planes: Array) -> Array:
        """Products of all tiles, as one array of the shape of `planes`."""
        result = self._xp.concat(products, axis=1) if len(products) > 1 else products[0]
        return self._xp.reshape(result, planes.shape)
