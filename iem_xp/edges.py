"""Masks at the size of their image, with boundaries along the image's edges.

The boundary of a mask is known to a pixel of the working size, which is many of a large photograph's. Two
ways bring it to the edges of the photograph:

"guided": the guided filter (He, Sun and Tang, TPAMI 2013) of the mask p by the colours I of the image, cut at
one half. In every window k the mask is taken for linear in the colours,

    q_i = a_k . I_i + b_k ,   a_k = (Sigma_k + EPSILON 1)^-1 cov_k(I, p) ,   b_k = mean_k p - a_k . mean_k I ,

and a pixel has the mean of what the windows that it is in say. They are found at `FINER` times the working
size and interpolated; only the colours that they weigh are the image's own. That is the fast guided filter
(He and Sun 2015, arXiv:1505.00996): most of its time, and all but a byte a pixel of its memory, do not depend
on the size of the image.

"iem": some more of the search, with the cut if the configuration has one, at `LARGER` times the working size,
from the mask; then the guided filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from iem_xp.config import IEMConfig, config_or_default
from iem_xp.engines import EngineOption
from iem_xp.images import Mask, Pixels, restore_mask
from iem_xp.segmentation import segment

Edges = Literal["none", "guided", "iem"]
Plane = NDArray[np.floating[Any]]
Box = tuple[float, float, float, float]

RADIUS = 2
"""Reach of a window from its centre, in pixels of the mask at work."""
EPSILON = 1e-4
"""What is added to the variances of colours in [0, 1]: contrasts far below its root say nothing."""
FINER = 2
"""How many times the working size windows are looked at, at most."""

LARGER = 1.5
"""How many times the working size "iem" goes on at, at most."""
UPDATES = 3
"""Of "iem", at that size."""

_TILE = 256
"""Side of the squares that the image is looked at by, in its pixels."""


def check_edges(edges: object) -> None:
    """Raise a ValueError unless these are edges to be had."""
    if edges not in get_args(Edges):
        raise ValueError(f'edges must be "none", "guided" or "iem", not {edges!r}')


def refine_edges(
    image: Pixels,
    mask: Mask,
    edges: Edges = "guided",
    config: IEMConfig | None = None,
    *,
    engine: EngineOption = "auto",
) -> Mask:
    """Bring a working mask to the size of its image, along the image's edges.

    Parameters
    ----------
    image : uint8 array (H, W, 3)
    mask : bool array (h, w)
        Of the whole image, reduced or enlarged.
    edges : {"none", "guided", "iem"}
        How. "none" is `iem_xp.images.restore_mask`.
    config : IEMConfig, optional
        Numbers of the search that "iem" goes on with; the paper's by default.
    engine : {"auto", "array", "fused"}
        Of that search.

    Returns
    -------
    bool array (H, W)
        A mask that is empty or full stays so.

    Raises
    ------
    ValueError
        If `edges` is something else.
    MemoryError
        If they do not fit into memory.
    """
    check_edges(edges)
    if edges == "none" or not mask.any() or mask.all():
        return restore_mask(mask, *image.shape[:2])
    if edges == "iem":
        mask = _searched(image, mask, config_or_default(config), engine)
    return _guided(image, mask)


def _searched(image: Pixels, mask: Mask, config: IEMConfig, engine: EngineOption) -> Mask:
    """The mask at a larger size, after some more of the search."""
    larger = _reduced(image, mask, LARGER)
    begin = restore_mask(mask, *larger.shape[:2])
    # One start leaves nothing to choose.
    further = replace(config, iterations=min(UPDATES, config.iterations), init_sides=(1,), choose="image")
    found: Mask = segment(larger, further, init=begin, engine=engine, workers=1).masks[0]
    return found


def _guided(image: Pixels, mask: Mask) -> Mask:
    """The guided filter of a mask, cut at one half."""
    smaller = _reduced(image, mask, FINER)
    height, width = smaller.shape[:2]
    grey = Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0)))
    p = np.asarray(grey.resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255
    reach = [max(1, round(RADIUS * to / of)) for to, of in zip(p.shape, mask.shape, strict=True)]
    planes = windows(smaller, p, reach)
    refined = restore_mask(mask, *image.shape[:2])
    if refined is mask:
        refined = mask.copy()
    for tile, box in _tiles(refined.shape, p.shape):
        if not _is_mixed(planes, box):
            continue
        colours = image[tile].astype(np.float32) / 255
        size = colours.shape[1::-1]
        *a, b = (
            np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR, box))
            for plane in planes
        )
        refined[tile] = b + sum(slope * colours[..., c] for c, slope in enumerate(a)) > 0.5
    return refined


def windows(image: Pixels, p: Plane, reach: Sequence[int]) -> list[Plane]:
    """What the windows that a pixel is in say of it: the means of a, for each colour in [0, 1], and of b.

    Parameters
    ----------
    image : uint8 array (h, w, 3)
    p : float32 array (h, w)
        The mask, in [0, 1].
    reach : sequence of 2 int
        Of a window from its centre, in rows and in columns, >= 1. What is outside the image is no part of it.

    Returns
    -------
    list of 4 float32 arrays (h, w)
    """
    # Elsewhere no window that a pixel is in has both sides, and a is 0.
    planes = [np.zeros_like(p), np.zeros_like(p), np.zeros_like(p), p.copy()]
    if p.min() == p.max():
        return planes
    part = _around_boundary(p, reach)
    for plane, found in zip(planes, _windows(image[part], p[part], reach), strict=True):
        plane[part] = found
    return planes


def _around_boundary(p: Plane, reach: Sequence[int]) -> tuple[slice, slice]:
    """Rows and columns that the boundary is in, and around it windows, and what is in those."""
    both = (p > 0) & (p < 1)
    both[:-1] |= p[:-1] != p[1:]
    both[:, :-1] |= p[:, :-1] != p[:, 1:]
    part = []
    for axis, far in enumerate(reach):
        found = np.flatnonzero(both.any(axis=1 - axis))
        part.append(slice(max(0, found[0] - 3 * far), found[-1] + 3 * far + 2))
    return part[0], part[1]


def _windows(image: Pixels, p: Plane, reach: Sequence[int]) -> list[Plane]:
    """`windows` of a part of an image, as if that were all."""
    from scipy.ndimage import uniform_filter

    size = [2 * far + 1 for far in reach]
    inside = uniform_filter(np.ones_like(p), size, mode="constant")

    def mean(plane: Plane) -> Plane:
        averaged: Plane = uniform_filter(plane, size, mode="constant") / inside
        return averaged

    mean_p = mean(p)
    mixed = (mean_p > 0) & (mean_p < 1)  # windows of one side alone have an a of 0

    def covariance(first: Plane, other: Plane, mean_first: Plane, mean_other: Plane) -> Plane:
        # In double precision, for what is left of the difference is divided by.
        return mean(first * other)[mixed].astype(float) - mean_first[mixed].astype(float) * mean_other[mixed]

    colours = [np.asarray(image[..., c], np.float32) / 255 for c in range(3)]
    means = [mean(colour) for colour in colours]
    sigma = np.empty((np.count_nonzero(mixed), 3, 3))
    for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)):
        sigma[:, i, j] = sigma[:, j, i] = covariance(colours[i], colours[j], means[i], means[j])
    with_p = np.stack([covariance(colours[i], p, means[i], mean_p) for i in range(3)], axis=1)
    solved = np.linalg.solve(sigma + EPSILON * np.eye(3), with_p[..., None])
    a = np.zeros((3, *p.shape), np.float32)
    a[:, mixed] = solved[..., 0].T
    b = mean_p - sum(slope * average for slope, average in zip(a, means, strict=True))
    return [mean(plane) for plane in (*a, b)]


def _reduced(image: Pixels, mask: Mask, times: float) -> Pixels:
    """The image at so many times the size of its mask, along the axis where that is less, or as it is."""
    scale = min(1.0, *(times * to / of for to, of in zip(mask.shape, image.shape[:2], strict=True)))
    if scale == 1:
        return image
    height, width = (max(1, round(scale * side)) for side in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def _tiles(shape: tuple[int, ...], reduced: tuple[int, ...]) -> Iterator[tuple[tuple[slice, slice], Box]]:
    """Tiles of an image: their rows and columns, and left, top, right and bottom in the reduced image."""
    (height, width), (h, w) = shape, reduced
    for top in range(0, height, _TILE):
        bottom = min(top + _TILE, height)
        for left in range(0, width, _TILE):
            right = min(left + _TILE, width)
            box = left * w / width, top * h / height, right * w / width, bottom * h / height
            yield (slice(top, bottom), slice(left, right)), box


def _is_mixed(planes: Sequence[Plane], box: Box) -> bool:
    """Whether windows in a box, or beside it, weigh colours at all."""
    left, top, right, bottom = box
    rows, columns = slice(max(0, int(top) - 1), int(bottom) + 2), slice(max(0, int(left) - 1), int(right) + 2)
    return any(bool(a[rows, columns].any()) for a in planes[:-1])
