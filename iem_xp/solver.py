"""The ascent: initial squares, updates, and images that leave the batch once their mask repeats (eq. 10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from array_api_compat import array_namespace, device

from iem_xp.arrays import Array, is_cached
from iem_xp.config import REFERENCE_SIDE, IEMConfig
from iem_xp.layout import to_colours
from iem_xp.projection import project
from iem_xp.terms import Scene, gradient, inpaint, inpainting_error
from iem_xp.threads import few_threads

PERIODS = (2, 12)
"""Distances, in updates, at which masks are compared: they find every cycle of period 1, 2, 3, 4, 6 or 12."""


class Ascent(NamedTuple):
    """Final masks of a batch.

    `masks` bool (N, H, W); `inpainting_error` (N,), L_inp of each; `updates` int (N,), how many were
    computed before an image was retired.
    """

    masks: Array
    inpainting_error: Array
    updates: Array


def centred_square(images: Array, side: int) -> Array:
    """Initial masks, bool (N, H, W): squares of `side` pixels where the shorter image side has 128."""
    xp = array_namespace(images)
    n, height, width = images.shape[:3]
    side = max(1, round(side * min(height, width) / REFERENCE_SIDE))
    rows, columns = (
        (xp.arange(length, device=device(images)) - (length - side) // 2) for length in (height, width)
    )
    square = ((rows >= 0) & (rows < side))[:, None] & ((columns >= 0) & (columns < side))[None, :]
    return xp.broadcast_to(square[None, ...], (n, height, width))


def update(scene: Scene, masks: Array) -> Array:
    """One update of the masks (eq. 10): gradient, projection, smoothing."""
    return project(masks, gradient(scene, inpaint(scene, masks)), scene.config)


def ascend(scene: Scene, masks: Array) -> Ascent:
    """All updates of one batch, ``config.iterations`` of them or as many as it takes to know the last.

    An update is a deterministic map on binary masks. So if a mask equals the one `period` updates before,
    it will do so for ever, and when the updates left are a multiple of `period` it *is* the final mask:
    the image leaves the batch.

    Parameters
    ----------
    scene : Scene of N images
    masks : bool array (N, H, W)
        Where the search starts.
    """
    xp = array_namespace(scene.planes, masks)
    everything, iterations = scene, scene.config.iterations
    index = xp.arange(masks.shape[0], device=device(masks))
    earlier: dict[int, Array] = {}
    finished = []
    for step in range(1, iterations + 1):
        if masks.shape[0] == 0:
            break
        masks = update(scene, masks)
        left = iterations - step
        due = [period for period in PERIODS if left % period == 0]
        known = [xp.all(masks == earlier[period], axis=(1, 2)) for period in due if period in earlier]
        earlier.update(dict.fromkeys(due, masks))
        if left and known:
            settled = xp.any(xp.stack(known), axis=0)
            if bool(xp.any(settled)):
                (gone,), (kept,) = xp.nonzero(settled), xp.nonzero(~settled)
                finished.append((xp.take(index, gone), xp.take(masks, gone, axis=0), step))
                index, masks, scene = xp.take(index, kept), xp.take(masks, kept, axis=0), scene.take(kept)
                earlier = {period: xp.take(mask, kept, axis=0) for period, mask in earlier.items()}
    finished.append((index, masks, iterations))

    order = xp.argsort(xp.concat([index for index, _, _ in finished]))
    updates = xp.concat([xp.full_like(index, step) for index, _, step in finished])
    masks = xp.take(xp.concat([masks for _, masks, _ in finished]), order, axis=0)
    errors = inpainting_error(inpaint(everything, masks))
    return Ascent(masks, errors, xp.take(updates, order))


def solve(images: Array, starts: Sequence[Array], config: IEMConfig) -> list[Ascent]:
    """Ascents of checked images from each of some initial masks, in bounded memory.

    Parameters
    ----------
    images : array (N, H, W, C), uint8 or floating in [0, 1]
    starts : sequence of bool arrays (N, H, W)
    config : IEMConfig

    Returns
    -------
    list of Ascent
        One for each start.
    """
    n, size = images.shape[0], batch_size(images)
    K, parts = None, []
    with few_threads(images):
        for begin in range(0, max(n, 1), size):
            end = min(begin + size, n)
            scene = Scene.of(without_constants(to_colours(images[begin:end, ...])), config, K)
            K = scene.K
            parts.append([ascend(scene, masks[begin:end, ...]) for masks in starts])
    xp = array_namespace(images)
    return [Ascent(*map(xp.concat, zip(*of_start, strict=True))) for of_start in zip(*parts, strict=True)]


def without_constants(colours: Array) -> Array:
    """Colours (N, C, H, W) with every channel of one value at 0, mid-grey.

    Shifting a channel shifts its predictions and leaves the objective as it is, but of 0 they are exact: no
    rounding is taken for a gradient, and a constant image keeps its mask.
    """
    xp = array_namespace(colours)
    varies = xp.max(colours, axis=(2, 3), keepdims=True) > xp.min(colours, axis=(2, 3), keepdims=True)
    return colours * xp.astype(varies, colours.dtype)


def batch_size(images: Array) -> int:
    """Images that ascend together: few on a CPU, so that their planes stay in its cache; many elsewhere."""
    _, height, width, channels = images.shape
    values = 2**18 if is_cached(images) else 2**26
    return max(1, values // int(height * width * (channels + 1)))
