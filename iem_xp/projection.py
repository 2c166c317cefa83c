"""From a gradient to the next binary mask: boundary, sign projection, smoothing (eq. 10)."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace, device

from iem_xp.arrays import Array
from iem_xp.config import IEMConfig


def boundary(masks: Array) -> Array:
    """Pixels with a 4-neighbour of the other value; outside the image is the other value for both regions.

    Parameters
    ----------
    masks : bool array (N, H, W)

    Returns
    -------
    bool array (N, H, W)
    """
    xp = array_namespace(masks)
    n, h, w = masks.shape
    edge_row = xp.ones((n, 1, w), dtype=xp.bool, device=device(masks))
    edge_column = xp.ones((n, h, 1), dtype=xp.bool, device=device(masks))
    steps = xp.concat([edge_row, masks[:, 1:, :] != masks[:, :-1, :], edge_row], axis=1)
    across = xp.concat([edge_column, masks[:, :, 1:] != masks[:, :, :-1], edge_column], axis=2)
    return steps[:, 1:, :] | steps[:, :-1, :] | across[:, :, 1:] | across[:, :, :-1]


def smooth(masks: Array) -> Array:
    """Pixels whose 3 x 3 window, itself included and 0 outside the image, holds at least 4 pixels of 1.

    Parameters
    ----------
    masks : bool array (N, H, W)

    Returns
    -------
    bool array (N, H, W)
    """
    xp = array_namespace(masks)
    ones = xp.astype(masks, xp.uint8)
    return _window_sum(_window_sum(ones, 1, xp), 2, xp) >= 4


def _window_sum(counts: Array, axis: int, xp: Any) -> Array:
    n, h, w = counts.shape
    outside = xp.zeros((n, 1, w) if axis == 1 else (n, h, 1), dtype=counts.dtype, device=device(counts))
    padded = xp.concat([outside, counts, outside], axis=axis)
    if axis == 1:
        return padded[:, :-2, :] + padded[:, 1:-1, :] + padded[:, 2:, :]
    return padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]


def project(masks: Array, gradient: Array, config: IEMConfig) -> Array:
    """Next masks (eq. 10): the gradient's sign where a pixel may change, then smoothing.

    Parameters
    ----------
    masks : bool array (N, H, W)
    gradient : floating array (N, H, W)
        dL_IEM/dM at `masks`. Where it is 0, a pixel keeps its value.
    config : IEMConfig
        Supplies ``boundary_only`` and ``smooth``.

    Returns
    -------
    bool array (N, H, W)
    """
    xp = array_namespace(masks)
    may_change = gradient != 0
    if config.boundary_only:
        may_change = may_change & boundary(masks)
    masks = xp.where(may_change, gradient > 0, masks)
    return smooth(masks) if config.smooth else masks
