"""What a search ends with, and the choice among its starts where each image has its own (section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from array_api_compat import array_namespace, device

from iem_xp.arrays import Array
from iem_xp.config import IEMConfig


class Ascent(NamedTuple):
    """Final masks of a batch.

    `masks` bool (N, H, W); `inpainting_error` (N,), L_inp of each; `updates` int (N,), after how many the
    final mask was known; `information` (N,), the share of each mask's entropy that the colours explain, 0
    where the configuration has no use for it; `start` int (N,), the position of the start it came from.
    """

    masks: Array
    inpainting_error: Array
    updates: Array
    information: Array
    start: Array


def per_image(ascents: Sequence[Ascent], config: IEMConfig) -> list[Ascent]:
    """One ascent with the best mask of each image; all, if one start is to be chosen for the data set.

    Parameters
    ----------
    ascents : sequence of Ascent
        One for each start, of the same images. Of equals the earlier one wins.
    config : IEMConfig
        ``choose="image"`` takes the mask of highest inpainting error, ``"information"`` that of highest
        information.
    """
    if config.choose == "dataset" or len(ascents) == 1:
        return list(ascents)
    xp = array_namespace(ascents[0].masks)
    by_information = config.choose == "information"
    scores = [ascent.information if by_information else ascent.inpainting_error for ascent in ascents]
    return [take(ascents, xp.argmax(xp.stack(scores), axis=0))]


def majority(ascents: Sequence[Ascent]) -> Array:
    """Pixels that are foreground in more than half of the ascents' masks: bool (N, H, W)."""
    xp = array_namespace(ascents[0].masks)
    votes = xp.sum(xp.stack([xp.astype(ascent.masks, xp.uint8) for ascent in ascents]), axis=0)
    return 2 * votes > len(ascents)


def take(ascents: Sequence[Ascent], best: Array) -> Ascent:
    """Of each image the result at position `best`, int (N,), of the ascents."""
    xp = array_namespace(best)
    pick = xp.arange(len(ascents), device=device(best))[:, None] == best[None, :]

    def taken(values: list[Array]) -> Array:
        stack = xp.stack(values)
        if stack.dtype == xp.bool:
            return xp.any(pick[:, :, None, None] & stack, axis=0)
        return xp.sum(xp.where(pick, stack, xp.zeros_like(stack)), axis=0, dtype=stack.dtype)

    return Ascent(*(taken(list(values)) for values in zip(*ascents, strict=True)))
