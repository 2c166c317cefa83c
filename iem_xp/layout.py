"""Images and masks as users have them, checked, and as the method's planes."""

from __future__ import annotations

import warnings
from typing import Any

from array_api_compat import array_namespace, is_lazy_array

from iem_xp.arrays import Array, namespace

MANY_CHANNELS = 16
"""Channels from which on it is suspicious if there are more of them than rows or columns."""
SLACK = 0.01
"""How far beyond 0 and 1 floating images may reach: resizing rounds, in bfloat16 by 0.008."""


def check_images(images: Array) -> Array:
    """Images with a batch axis: (N, H, W, C) from (N, H, W, C), (H, W, C) or (H, W).

    Warns if the last axis is so long that it can hardly be the channels.

    Raises
    ------
    TypeError
        If `images` is no array, or neither uint8 nor floating.
    ValueError
        If the shape is another one or has no pixels, or a floating value is not a number or outside [0, 1],
        by more than rounding (not looked at in arrays whose values are not there yet, as under ``jax.jit``).
    """
    xp = namespace(images=images)
    floating = _is_kind(images, "real floating")
    if not floating and images.dtype != xp.uint8:
        raise TypeError(
            f"images must be uint8 in [0, 255] or floating in [0, 1], not {images.dtype}; "
            "16-bit images, for instance, may be given as images / 65535"
        )
    shape = tuple(images.shape)
    if len(shape) == 2:
        images = images[None, :, :, None]
    elif len(shape) == 3:
        images = images[None, ...]
    elif len(shape) != 4:
        raise ValueError(f"images must have shape (N, H, W, C), (H, W, C) or (H, W), not {shape}")
    _, height, width, channels = images.shape
    if 0 in (height, width, channels):
        raise ValueError(f"images need at least one pixel and one channel, not shape {shape}")
    if channels >= max(MANY_CHANNELS, min(height, width)):
        warnings.warn(
            f"images of shape {shape} are taken to have {channels} channels; N grey images are "
            "images[..., None], and channels come last",
            stacklevel=3,
        )
    if floating and images.shape[0] and _readable(images):
        _check_range(images)
    return images


def check_masks(masks: Array, images: Array, name: str = "masks") -> Array:
    """Masks as bool (N, H, W) for checked `images`, from bool or integers (non-zero is foreground).

    Raises
    ------
    TypeError
        If `masks` is no array of the library of `images`, or floating.
    ValueError
        If the shapes do not belong together; the message gives both.
    """
    xp = namespace(**{name: masks, "images": images})
    if not _is_kind(masks, ("bool", "integral")):
        raise TypeError(f"{name} must be bool, or integers with foreground non-zero, not {masks.dtype}")
    if masks.ndim == 2:
        masks = masks[None, ...]
    if tuple(masks.shape) != tuple(images.shape)[:3]:
        raise ValueError(
            f"{name} of shape {tuple(masks.shape)} do not fit images of shape {tuple(images.shape)}: "
            "expected (N, H, W) and (N, H, W, C)"
        )
    return _in_usual_order(masks if masks.dtype == xp.bool else masks != 0)


def to_colours(images: Array, dtype: Any = None) -> Array:
    """Colours X, (N, C, H, W) in [-1, 1], of checked images; float32 unless `dtype` says otherwise."""
    xp = array_namespace(images)
    dtype = xp.float32 if dtype is None else dtype
    colours = xp.astype(_in_usual_order(xp.permute_dims(images, (0, 3, 1, 2))), dtype)
    if images.dtype == xp.uint8:
        colours = colours / 255
    return colours * 2 - 1


def without_constants(colours: Array) -> Array:
    """Colours (N, C, H, W) with every channel of one value at 0, mid-grey.

    Shifting a channel shifts its predictions and leaves the objective as it is, but of 0 they are exact: no
    rounding is taken for a gradient, and a constant image keeps its mask.
    """
    xp = array_namespace(colours)
    varies = xp.max(colours, axis=(2, 3), keepdims=True) > xp.min(colours, axis=(2, 3), keepdims=True)
    return colours * xp.astype(varies, colours.dtype)


def to_images(colours: Array) -> Array:
    """Images (N, H, W, C), floating in [0, 1], of colours (N, C, H, W) in [-1, 1]."""
    xp = array_namespace(colours)
    return xp.permute_dims((colours + 1) / 2, (0, 2, 3, 1))


def _in_usual_order(array: Array) -> Array:
    """The same array, its last axis together in memory, then the one before, and so on.

    NumPy and others compute in the order of memory, and a sum in another order is rounded otherwise. And
    every later operation is a third faster.
    """
    xp = array_namespace(array)
    return xp.reshape(xp.reshape(array, (-1,)), array.shape)


def _check_range(images: Array) -> None:
    xp = array_namespace(images)
    if not bool(xp.all((images >= -SLACK) & (images <= 1 + SLACK))):
        low, high = float(xp.min(images)), float(xp.max(images))
        raise ValueError(
            f"floating images must lie in [0, 1], not in [{low:g}, {high:g}]; "
            "scale or clip them, or pass 8-bit images as uint8"
        )


def _is_kind(array: Array, kind: str | tuple[str, ...]) -> bool:
    """Whether its data type is of a kind; no type that another package has added to NumPy is."""
    try:
        return array_namespace(array).isdtype(array.dtype, kind)
    except TypeError:
        return False


def _readable(array: Array) -> bool:
    """Whether the values can be looked at: not while a function is being traced."""
    if not is_lazy_array(array):
        return True
    try:
        bool(array[0, 0, 0, 0] >= 0)
    except TypeError:
        return False
    return True
