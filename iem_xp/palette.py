"""Colours as they look, and few of them to count: CIELAB, and the palette of an image."""

from __future__ import annotations

from typing import NamedTuple

from array_api_compat import array_namespace, device

from iem_xp.arrays import Array
from iem_xp.config import IEMConfig

PASSES = 8
"""Rounds of k-means: the masks of more are no better."""
SAMPLED = 2
"""Of the rows, and of the columns, each of this many is looked at to find the palette."""

_SPREAD = 0.7548776662466927, 0.5698402909980532
"""Steps of the R2 sequence (Roberts 2018), whose points are spread evenly, however many there are."""

_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
"""Linear sRGB to CIE XYZ (IEC 61966-2-1), white D65."""


class Palette(NamedTuple):
    """Pixels by the colours that they are nearest to.

    `codes` int (N, P): which of the K colours each of the P pixels, row by row, has.
    `order` int (N, P): pixels by their codes. `ends` int (N, K): how many have a code up to each.
    """

    codes: Array
    order: Array
    ends: Array

    def take(self, index: Array) -> Palette:
        """Those of the images at the positions `index`."""
        xp = array_namespace(self.codes)
        return Palette(*(xp.take(values, index, axis=0) for values in self))


def to_lab(colours: Array) -> Array:
    """CIELAB, L* / 50 - 1, a* / 50 and b* / 50, of sRGB (N, 3, H, W) or greys (N, 1, H, W) in [-1, 1].

    Raises
    ------
    ValueError
        If there is another number of channels.
    """
    xp = array_namespace(colours)
    if colours.shape[1] == 1:
        colours = xp.concat([colours] * 3, axis=1)
    if colours.shape[1] != 3:
        raise ValueError(
            f'colour_space "lab" needs images of one channel or three, not {colours.shape[1]}; '
            'give images[..., :3] without alpha, or colour_space="rgb" (dataclasses.replace of a preset)'
        )
    srgb = xp.clip((colours + 1) / 2, 0, 1)
    linear = xp.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    red, green, blue = (linear[:, c, ...] for c in range(3))
    root = []
    for weights in _TO_XYZ:
        white = sum(weights)
        r, g, b = (weight / white for weight in weights)
        t = r * red + g * green + b * blue
        root.append(xp.where(t > (6 / 29) ** 3, t ** (1 / 3), t * (29 / 6) ** 2 / 3 + 4 / 29))
    x, y, z = root
    return xp.stack([(116 * y - 16) / 50 - 1, 10 * (x - y), 4 * (y - z)], axis=1)


def find_palette(colours: Array, config: IEMConfig) -> Palette:
    """Palette of each image, by k-means (Lloyd 1982) that begins with the colours of pixels all over it.

    Parameters
    ----------
    colours : floating array (N, C, H, W)
    config : IEMConfig
        Supplies ``colours``.
    """
    xp = array_namespace(colours)
    n, channels, height, width = colours.shape
    # With a last coordinate of 1, sizes and constant terms are part of the matrix products.
    planes = xp.concat([colours, xp.ones_like(colours[:, :1, ...])], axis=1)
    some = planes[:, :, ::SAMPLED, ::SAMPLED]
    pixels = xp.reshape(planes, (n, channels + 1, height * width))
    samples = xp.reshape(some, (n, channels + 1, some.shape[2] * some.shape[3]))
    begin = xp.asarray(_spread(config.colours, height, width), device=device(colours))
    centres = xp.permute_dims(xp.take(pixels[:, :channels, :], begin, axis=2), (0, 2, 1))
    for _ in range(PASSES):
        centres = _move(centres, samples)
    return _sort(_first(_nearest(centres, pixels)), config.colours)


def _spread(count: int, height: int, width: int) -> list[int]:
    """Positions of pixels all over an image, row by row."""
    places = (((0.5 + k * step) % 1 for step in _SPREAD) for k in range(count))
    return [int(row * height) * width + int(column * width) for row, column in places]


def _move(centres: Array, pixels: Array) -> Array:
    """Centres (N, K, C), each at the mean of the pixels (N, C + 1, P) nearest to it, where there are any."""
    xp = array_namespace(pixels)
    nearest = xp.astype(_nearest(centres, pixels), pixels.dtype)
    total = nearest @ xp.permute_dims(pixels, (0, 2, 1))
    size = total[:, :, -1:]
    return xp.where(size > 0, total[:, :, :-1] / xp.where(size > 0, size, xp.ones_like(size)), centres)


def _nearest(centres: Array, pixels: Array) -> Array:
    """Whether no centre (N, K, C) is nearer to a pixel, of those (N, C + 1, P) that end with 1: (N, K, P)."""
    xp = array_namespace(pixels)
    # Squared distances, but for a term that is the same for all centres.
    distance = xp.concat([-2 * centres, xp.sum(centres**2, axis=2, keepdims=True)], axis=2) @ pixels
    return distance == xp.min(distance, axis=1, keepdims=True)


def _first(nearest: Array) -> Array:
    """The first of the K <= 256 centres that are nearest to each pixel, (N, K, P): uint8 (N, P).

    As `argmax`, which NumPy finds twenty times slower along this axis.
    """
    xp = array_namespace(nearest)
    rank = 255 - xp.arange(nearest.shape[1], dtype=xp.uint8, device=device(nearest))
    return 255 - xp.max(xp.astype(nearest, xp.uint8) * rank[None, :, None], axis=1)


def _sort(codes: Array, colours: int) -> Palette:
    """Palette of pixels that have the codes uint8 (N, P), below `colours`."""
    xp = array_namespace(codes)
    n, pixels = codes.shape
    order = xp.argsort(codes, axis=1, stable=True)  # as bytes, which NumPy sorts ten times faster
    codes = xp.astype(codes, order.dtype)
    # Codes that go on from image to image, so that one search finds the ends of all.
    images = xp.arange(n, dtype=order.dtype, device=device(codes))[:, None]
    in_order = xp.take_along_axis(codes, order, axis=1) + colours * images
    last = xp.arange(colours, dtype=order.dtype, device=device(codes)) + colours * images
    ends = xp.searchsorted(xp.reshape(in_order, (-1,)), xp.reshape(last, (-1,)), side="right")
    return Palette(codes, order, xp.reshape(ends, (n, colours)) - pixels * images)
