"""The ascent: initial squares, updates, and images that leave the batch once their mask repeats (eq. 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace, device

from iem_xp import kernels
from iem_xp.arrays import Array, compiled, exactly, like, to_host
from iem_xp.config import REFERENCE_SIDE, IEMConfig
from iem_xp.layout import to_colours
from iem_xp.memory import Batches
from iem_xp.projection import project
from iem_xp.terms import Scene, add_up, gradient, inpaint, inpainting_error
from iem_xp.threads import few_threads

PERIODS = (4, 12)
"""Distances, in updates, at which masks are compared: they find every cycle of period 1, 2, 3, 4, 6 or 12."""

LEAVING, LEAVING_COMPILED = 1 / 8, 1 / 2
"""Shares of a batch whose masks must be known for them to leave it: a smaller one has to be made first, and
may have to be compiled."""


class Ascent(NamedTuple):
    """Final masks of a batch.

    `masks` bool (N, H, W); `inpainting_error` (N,), L_inp of each; `updates` int (N,), after how many the
    final mask was known.
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
    # Not a view of one square: NumPy would give every array made from it the same unusual order in memory.
    return square[None, ...] | xp.zeros((n, 1, 1), dtype=xp.bool, device=device(images))


def update(scene: Scene, masks: Array) -> Array:
    """One update of the masks (eq. 10): gradient, projection, smoothing."""
    if kernels.apply_to(scene):
        return kernels.update(scene, masks)
    sums = add_up(scene, masks)
    return project(masks, gradient(scene, sums, inpaint(scene, sums)), scene.config)


def _update(config: IEMConfig, colours: Array, masks: Array) -> Array:
    return update(Scene.of(colours, config), masks)


def _of_an_update(config: IEMConfig) -> IEMConfig:
    """The same for all configurations whose updates are the same, lest they be compiled anew."""
    return replace(config, iterations=0, init_sides=(1,), choose="image")


def ascend(scene: Scene, masks: Array) -> Ascent:
    """All updates of one batch, ``config.iterations`` of them or as many as it takes to know the last.

    An update is a deterministic map on binary masks. So if a mask equals the one `period` updates before,
    it will do so for ever, and when the updates left are a multiple of `period` it *is* the final mask. Once
    there are enough such images, they leave the batch. Which they are is all that the host asks for, every
    few updates.

    Parameters
    ----------
    scene : Scene of N images
    masks : bool array (N, H, W)
        Where the search starts.
    """
    xp = array_namespace(scene.colours, masks)
    everything, iterations = scene, scene.config.iterations
    updates = np.full(masks.shape[0], iterations)
    index = np.arange(masks.shape[0])  # of the images that are in the batch
    earlier: dict[int, Array] = {}
    left = []
    advance, settings = compiled(_update, masks), _of_an_update(scene.config)
    for step in range(1, iterations + 1):
        if not len(index):
            break
        masks = advance(settings, scene.colours, masks) if advance else update(scene, masks)
        due = [period for period in PERIODS if (iterations - step) % period == 0]
        equal = [xp.all(masks == earlier[period], axis=(1, 2)) for period in due if period in earlier]
        earlier.update(dict.fromkeys(due, masks))
        if equal and step < iterations:
            known = to_host(equal[0] if len(equal) == 1 else equal[0] | equal[1])
            updates[index[known]] = np.minimum(updates[index[known]], step)
            if np.mean(known) >= (LEAVING_COMPILED if advance else LEAVING):
                gone, kept = (like(np.flatnonzero(which), masks) for which in (known, ~known))
                left.append((index[known], xp.take(masks, gone, axis=0)))
                index, masks, scene = index[~known], xp.take(masks, kept, axis=0), scene.take(kept)
                earlier = {period: xp.take(mask, kept, axis=0) for period, mask in earlier.items()}
    left.append((index, masks))

    order = like(np.argsort(np.concatenate([index for index, _ in left])), masks)
    masks = xp.take(xp.concat([masks for _, masks in left]), order, axis=0)
    sums = add_up(everything, masks)
    errors = inpainting_error(sums, inpaint(everything, sums))
    return Ascent(masks, errors, like(updates, masks))


def solve(
    images: Array, starts: Sequence[int | Array], config: IEMConfig, batches: Batches | None = None
) -> list[Ascent]:
    """Ascents of checked images from each of some initial masks, in bounded memory.

    Parameters
    ----------
    images : array (N, H, W, C), uint8 or floating in [0, 1]
    starts : sequence of int or bool arrays (N, H, W)
        Sides of centred squares, or masks.
    config : IEMConfig
    batches : Batches, optional
        Where the work is done, and how much of it at a time; by default where the images are.

    Returns
    -------
    list of Ascent
        One for each start.

    Raises
    ------
    OutOfMemoryError
        If a single image does not fit into memory.
    """
    batches = batches or Batches()
    K = None

    def work(begin: int, end: int) -> list[Array]:
        """Of a batch, what the fields of `Ascent` say, each for all starts in one array."""
        nonlocal K
        batch = batches.put(images[begin:end, ...])
        given = [start if isinstance(start, int) else batches.put(start[begin:end, ...]) for start in starts]
        # Images too, for NumPy makes the filter, wherever it is applied.
        with exactly(batch), few_threads(batch), few_threads(images):
            scene = Scene.of(without_constants(to_colours(batch)), config, K)
            K = scene.K
            ascents = [ascend(scene, masks) for masks in initial_masks(batch, given)]
            xp = array_namespace(batch)
            return [batches.get(xp.stack(values)) for values in zip(*ascents, strict=True)]

    done = batches.map(work, images)
    xp = array_namespace(done[0][0])
    found = [xp.concat(parts, axis=1) for parts in zip(*done, strict=True)]
    return [Ascent(*(values[i, ...] for values in found)) for i in range(len(starts))]


def initial_masks(images: Array, starts: Sequence[int | Array]) -> list[Array]:
    """Masks to start from, bool (N, H, W): centred squares of the sides, and masks as they are."""
    return [centred_square(images, start) if isinstance(start, int) else start for start in starts]


def without_constants(colours: Array) -> Array:
    """Colours (N, C, H, W) with every channel of one value at 0, mid-grey.

    Shifting a channel shifts its predictions and leaves the objective as it is, but of 0 they are exact: no
    rounding is taken for a gradient, and a constant image keeps its mask.
    """
    xp = array_namespace(colours)
    varies = xp.max(colours, axis=(2, 3), keepdims=True) > xp.min(colours, axis=(2, 3), keepdims=True)
    return colours * xp.astype(varies, colours.dtype)
