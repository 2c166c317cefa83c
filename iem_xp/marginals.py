"""The regions' own colours: what equation 4 leaves out of equation 3, as counts over a palette.

The paper takes the marginals H(F) and H(B) for uniform, so that the colour of a pixel says nothing of its
side. Here each region has the colour distribution that it has, and the log-likelihood of the pixels' colours,

    Lambda(M) = sum_p M_p log p(colour_p | M) + M'_p log p(colour_p | M'),

which is the mutual information of mask and colour times the number of pixels, up to a constant of the image.
Its derivative by M_p is ``log p(colour_p | M) - log p(colour_p | M')``: the distributions are at their
optimum, so their own derivatives vanish.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from array_api_compat import array_namespace, device

from iem_xp.arrays import Array
from iem_xp.palette import Palette

PSEUDO_COUNTS = 8.0
"""Pixels, coloured as the image is, that each region is taken to have besides its own."""

LEAST_SHARE = 0.02
"""A mask of less foreground than this share of the image, or of less background, explains nothing."""


def count(masks: Array, palette: Palette) -> tuple[Array, Array]:
    """Pixels of each colour in the foreground, and in the image: int32 (N, K).

    Parameters
    ----------
    masks : bool array (N, H, W)
    palette : Palette
    """
    xp = array_namespace(masks)
    flat = xp.reshape(masks, palette.codes.shape)
    in_order = xp.astype(xp.take_along_axis(flat, palette.order, axis=1), xp.int32)
    # Counts up to each pixel, with a 0 before the first.
    up_to = xp.concat(
        [xp.zeros_like(in_order[:, :1]), xp.cumulative_sum(in_order, axis=1, dtype=xp.int32)], axis=1
    )
    return _steps(xp.take_along_axis(up_to, palette.ends, axis=1)), _steps(xp.astype(palette.ends, xp.int32))


def log_ratio(inside: Array, whole: Array, dtype: Any) -> Array:
    """``log p(colour | M) - log p(colour | M')`` of every colour (N, K), smoothed by `PSEUDO_COUNTS`."""
    xp = array_namespace(inside)
    foreground, background = (xp.log(p) for _, p in _smoothed(inside, whole, dtype))
    return foreground - background


def log_likelihood(inside: Array, whole: Array, dtype: Any) -> Array:
    """Lambda(M), the pseudo-counts included: (N,)."""
    xp = array_namespace(inside)
    return sum(xp.sum(counts * xp.log(p), axis=1) for counts, p in _smoothed(inside, whole, dtype))


def information(inside: Array, whole: Array, dtype: Any) -> Array:
    """Share of the mask's entropy that the pixels' colours explain, MI(M; colour) / H(M): (N,) in [0, 1].

    0 where the foreground or the background is below `LEAST_SHARE` of the image.
    """
    xp = array_namespace(inside)
    inside, whole = xp.astype(inside, dtype), xp.astype(whole, dtype)
    pixels = xp.sum(whole, axis=1)
    share = xp.sum(inside, axis=1) / pixels
    given_colour = xp.sum(whole * _entropy(inside / _or_one(whole)), axis=1) / pixels
    counts = (share >= LEAST_SHARE) & (share <= 1 - LEAST_SHARE)
    explained = xp.clip(1 - given_colour / _or_one(_entropy(share)), 0, 1)
    return xp.where(counts, explained, xp.zeros_like(share))


def explained(masks: Array, palette: Palette | None, dtype: Any) -> Array:
    """`information` of masks, bool (N, H, W), that a search ends with: (N,); 0 where nothing is counted."""
    if palette is None:
        return array_namespace(masks).zeros(masks.shape[0], dtype=dtype, device=device(masks))
    return information(*count(masks, palette), dtype)


def _smoothed(inside: Array, whole: Array, dtype: Any) -> Iterator[tuple[Array, Array]]:
    """Counts of the colours with the pseudo-counts, and their probabilities: of foreground and background.

    A colour that no pixel of the image has counts nothing and has probability 1.
    """
    xp = array_namespace(inside)
    whole = xp.astype(whole, dtype)
    prior = PSEUDO_COUNTS * whole / xp.sum(whole, axis=1, keepdims=True)
    inside = xp.astype(inside, dtype)
    for counts in (inside + prior, whole - inside + prior):
        yield (
            counts,
            xp.where(whole > 0, counts / xp.sum(counts, axis=1, keepdims=True), xp.ones_like(counts)),
        )


def _entropy(p: Array) -> Array:
    """Of an event of probability p, in nats."""
    xp = array_namespace(p)
    return -p * xp.log(_or_one(p)) - (1 - p) * xp.log(_or_one(1 - p))


def _or_one(values: Array) -> Array:
    """Values, and 1 for those that are 0."""
    return array_namespace(values).where(values > 0, values, array_namespace(values).ones_like(values))


def _steps(values: Array) -> Array:
    """Differences along the last axis, the first one from 0."""
    xp = array_namespace(values)
    return values - xp.concat([xp.zeros_like(values[:, :1]), values[:, :-1]], axis=1)
