"""A cut along the edges of the image: the mask's boundary moved, within a band, to where colours change.

Of all masks that are M at a distance from its boundary, the one is sought that maximises

    sum_p M_p r_p - GAMMA sum_pq w_pq |M_p - M_q| ,   w_pq = exp(-d_pq / (2 mean d)) / |p - q| ,

over pairs of neighbours, of which a pixel has 8, where d is the squared distance of their colours, and r the
log ratio of the regions' colours (`iem_xp.marginals`) plus the prior. It is a minimum cut (Boykov and Jolly
2001) with the weights of GrabCut (Rother, Kolmogorov and Blake 2004), a palette for its Gaussians and a band
for its rectangle. With M relaxed to [0, 1] it is convex, and its solution, cut at one half, as good: that is
approached by the primal-dual method of Chambolle and Pock (2011), over-relaxed (Condat 2013), a few array
operations a step. Colours and band are then those of the new mask, and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from array_api_compat import array_namespace, device

from iem_xp.arrays import Array, compiled
from iem_xp.config import REFERENCE_SIDE
from iem_xp.marginals import count, log_ratio
from iem_xp.palette import Palette

GAMMA = 10.0
"""Weight of the boundary's length, in nats for a pair of pixels of one colour."""
INWARDS, OUTWARDS = 8, 14
"""How far the boundary may move in a round, in pixels at a shorter side of 128."""
ROUNDS = 3
STEPS = 100
"""Of the primal-dual method, in each round, at a shorter side of 128 and below; of larger images more."""

DUAL_STEP, PRIMAL_STEP = GAMMA / 4, 1 / (4 * GAMMA)
"""Their product may be 1 / 16 at most, for a pixel has eight neighbours; a longer primal step is faster."""
OVER = 1.9
"""How many times as far as it finds a step goes: with 1 almost twice as many are needed; 2 is too far."""


class Energy(NamedTuple):
    """What a cut minimises; arrays of P pixels, row by row.

    `gain` (N, P): r. `edges` (N, 4, P): GAMMA w for each pixel and its neighbour at each of the `offsets`
    (right, below, below right, below left), 0 where that is outside. `least`, `most` (N, P): bounds of M.
    `steps`: how many are made.
    """

    gain: Array
    edges: Array
    least: Array
    most: Array
    offsets: tuple[int, int, int, int]
    steps: int


Minimise = Callable[[Energy, Array], Array]


def minimise(energy: Energy, start: Array) -> Array:
    """The relaxed mask of least energy, about: floating (N, P), from `start`, a mask in numbers."""
    gain, edges, least, most, offsets, steps = energy
    advance = compiled(_advance, start) or _advance
    relaxed, ahead, flow = start, start, [array_namespace(start).zeros_like(start) for _ in offsets]
    for _ in range(steps):
        relaxed, ahead, flow = advance(offsets, gain, edges, least, most, relaxed, ahead, flow)
    return relaxed


def _advance(
    offsets: tuple[int, ...],
    gain: Array,
    edges: Array,
    least: Array,
    most: Array,
    relaxed: Array,
    ahead: Array,
    flow: list[Array],
) -> tuple[Array, Array, list[Array]]:
    """The relaxed mask, where it is heading, and the flow to neighbours, 4 of (N, P), after a step.

    `flow` is changed, lest twice as many be in memory.
    """
    xp = array_namespace(relaxed)
    push = gain
    for k, offset in enumerate(offsets):
        bound = edges[:, k, :]
        rise = xp.roll(ahead, -offset, axis=1) - ahead
        pushed = xp.minimum(xp.maximum(flow[k] + DUAL_STEP * rise, -bound), bound)
        flow[k] = flow[k] + OVER * (pushed - flow[k])
        push = push + flow[k] - xp.roll(flow[k], offset, axis=1)
    change = xp.minimum(xp.maximum(relaxed + PRIMAL_STEP * push, least), most) - relaxed
    return relaxed + OVER * change, relaxed + 2 * change, flow


def cut(
    colours: Array, palette: Palette, prior: Array | None, masks: Array, minimise: Minimise = minimise
) -> Array:
    """Masks cut along the edges of their images.

    Parameters
    ----------
    colours : floating array (N, C, H, W)
    palette : Palette
    prior : floating array (N, H, W), optional
        Log odds of the foreground from elsewhere.
    masks : bool array (N, H, W)
    minimise : callable
        As the one of this module.

    Returns
    -------
    bool array (N, H, W)
        A mask of which one region would vanish stays as it is.
    """
    xp = array_namespace(colours, masks)
    n, height, width = masks.shape
    offsets = 1, width, width + 1, width - 1
    steps = max(STEPS, round(STEPS * min(height, width) / REFERENCE_SIDE))  # what is said goes a pixel a step
    edges = GAMMA * _contrast(colours)
    flat = xp.reshape(masks, (n, height * width))
    for _ in range(ROUNDS):
        ratio = log_ratio(*count(masks, palette), colours.dtype)
        gain = xp.take_along_axis(ratio, palette.codes, axis=1)
        if prior is not None:
            gain = gain + xp.reshape(prior, flat.shape)
        least, most = (xp.reshape(bound, flat.shape) for bound in _band(masks, colours.dtype))
        energy = Energy(gain, edges, least, most, offsets, steps)
        found = minimise(energy, xp.astype(flat, colours.dtype)) > 0.5
        divided = xp.any(found, axis=1, keepdims=True) & ~xp.all(found, axis=1, keepdims=True)
        flat = xp.where(divided, found, flat)
        masks = xp.reshape(flat, masks.shape)
    return masks


def _contrast(colours: Array) -> Array:
    """`w` of each pixel and its neighbours, (N, 4, H * W)."""
    xp = array_namespace(colours)
    n, _, height, width = colours.shape
    distances = []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = colours[:, :, : height - down, max(0, -right) : width - max(0, right)]
        there = colours[:, :, down:, max(0, right) : width + min(0, right)]
        distances.append(xp.sum((here - there) ** 2, axis=1))
    pairs = max(1, sum(distance.shape[1] * distance.shape[2] for distance in distances))
    mean = sum(xp.sum(distance, axis=(1, 2), keepdims=True) for distance in distances) / pairs
    twice = 2 * xp.where(mean > 0, mean, xp.ones_like(mean))
    right, below, below_right, below_left = (xp.exp(-distance / twice) for distance in distances)
    column = xp.zeros((n, height, 1), dtype=colours.dtype, device=device(colours))
    row = xp.zeros((n, 1, width), dtype=colours.dtype, device=device(colours))
    diagonal = 2**-0.5
    planes = (
        xp.concat([right, column], axis=2),
        xp.concat([below, row], axis=1),
        xp.concat([xp.concat([diagonal * below_right, column[:, 1:, :]], axis=2), row], axis=1),
        xp.concat([xp.concat([column[:, 1:, :], diagonal * below_left], axis=2), row], axis=1),
    )
    return xp.reshape(xp.stack(planes, axis=1), (n, 4, height * width))


def _band(masks: Array, dtype: object) -> tuple[Array, Array]:
    """1 where a mask stays foreground, and where it does not stay background: (N, H, W) each."""
    xp = array_namespace(masks)
    scale = min(masks.shape[1:]) / REFERENCE_SIDE
    inwards, outwards = (max(1, round(reach * scale)) for reach in (INWARDS, OUTWARDS))
    return xp.astype(~_widen(~masks, inwards), dtype), xp.astype(_widen(masks, outwards), dtype)


def _widen(masks: Array, reach: int) -> Array:
    """Pixels within `reach` pixels, along rows and columns, of a mask's: (N, H, W)."""
    xp = array_namespace(masks)
    for _ in range(2):
        n, height, width = masks.shape
        edge = xp.zeros((n, height, reach), dtype=xp.bool, device=device(masks))
        masks = xp.concat([edge, masks, edge], axis=2)
        size = 1  # of the windows that hold a pixel of the mask, up to 2 * reach + 1
        while masks.shape[2] > width:
            more = min(size, masks.shape[2] - width)
            masks = masks[:, :, more:] | masks[:, :, :-more]
            size += more
        masks = xp.permute_dims(masks, (0, 2, 1))
    return masks
