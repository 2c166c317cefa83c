"""The ascent: initial squares, updates, and images that leave the batch once their mask repeats (eq. 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from array_api_compat import array_namespace, device

from iem_xp import kernels
from iem_xp.arrays import Array, compiled, exactly, like, to_host
from iem_xp.choice import Ascent, per_image
from iem_xp.config import REFERENCE_SIDE, IEMConfig
from iem_xp.cut import cut
from iem_xp.marginals import explained
from iem_xp.memory import Batches
from iem_xp.palette import Palette
from iem_xp.projection import project
from iem_xp.terms import Scene, add_up, gradient, inpaint, inpainting_error
from iem_xp.threads import few_threads

PERIODS = (4, 12)
"""Distances, in updates, at which masks are compared: they find every cycle of period 1, 2, 3, 4, 6 or 12."""

LEAVING, LEAVING_COMPILED = 1 / 8, 1 / 2
"""Shares of a batch whose masks must be known for them to leave it: a smaller one has to be made first, and
may have to be compiled."""


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


def _update(
    config: IEMConfig, colours: Array, palette: Palette | None, prior: Array | None, masks: Array
) -> Array:
    return update(Scene.of(colours, config)._replace(palette=palette, prior=prior), masks)


def _of_an_update(config: IEMConfig) -> IEMConfig:
    """The same for all configurations whose updates are the same, lest they be compiled anew."""
    return replace(
        config, iterations=0, init_sides=(1,), choose="image", colour_space="rgb", colours=1, cut=False
    )


def ascend(scene: Scene, masks: Array, start: int = 0) -> Ascent:
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
    start : int
        Position among all starts.
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
        masks = (
            advance(settings, scene.colours, scene.palette, scene.prior, masks)
            if advance
            else update(scene, masks)
        )
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
    counted = like(updates, masks)
    return score(everything, masks, counted, xp.full_like(counted, start))


def conclude(scene: Scene, ascent: Ascent) -> Ascent:
    """An ascent with its masks cut along the edges, if the configuration wants it."""
    if not scene.config.cut:
        return ascent
    assert scene.palette is not None
    masks = cut(scene.colours, scene.palette, scene.prior, ascent.masks)
    return score(scene, masks, ascent.updates, ascent.start)


def score(scene: Scene, masks: Array, updates: Array, start: Array) -> Ascent:
    """Masks of a scene, bool (N, H, W), as an `Ascent`, with their scores."""
    sums = add_up(scene, masks)
    errors = inpainting_error(sums, inpaint(scene, sums))
    return Ascent(masks, errors, updates, explained(masks, scene.palette, errors.dtype), start)


def solve(
    images: Array,
    starts: Sequence[int | Array],
    config: IEMConfig,
    batches: Batches | None = None,
    prior: Array | None = None,
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
    prior : floating array (N, H, W), optional
        Log odds of the foreground from elsewhere, which join what the colours say of each pixel, and so have
        their weight; in the cut they have it anyway.

    Returns
    -------
    list of Ascent
        One for each start, if one of these is to be chosen for all images; else one, of the best.

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
        known = None if prior is None else batches.put(prior[begin:end, ...])
        given = [start if isinstance(start, int) else batches.put(start[begin:end, ...]) for start in starts]
        # Images too, for NumPy makes the filter, wherever it is applied.
        with exactly(batch), few_threads(batch), few_threads(images):
            scene = Scene.of_images(batch, config, K, known)
            K = scene.K
            ascents = [ascend(scene, masks, start) for start, masks in enumerate(initial_masks(batch, given))]
            ascents = [conclude(scene, ascent) for ascent in per_image(ascents, config)]
            xp = array_namespace(batch)
            return [batches.get(xp.stack(values)) for values in zip(*ascents, strict=True)]

    done = batches.map(work, images, config)
    xp = array_namespace(done[0][0])
    found = [xp.concat(parts, axis=1) for parts in zip(*done, strict=True)]
    return [Ascent(*(values[i, ...] for values in found)) for i in range(found[0].shape[0])]


def initial_masks(images: Array, starts: Sequence[int | Array]) -> list[Array]:
    """Masks to start from, bool (N, H, W): centred squares of the sides, and masks as they are."""
    return [centred_square(images, start) if isinstance(start, int) else start for start in starts]
