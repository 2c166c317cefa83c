"""The primal-dual method of `iem_xp.cut`, compiled, for one image: only where the boundary may move."""

from __future__ import annotations

import numpy as np

from iem_xp.arrays import Array
from iem_xp.cut import DUAL_STEP, OVER, PRIMAL_STEP, Energy
from iem_xp.fused.compiling import ONE, TWO, ZERO, Index, aligned, compiled_once, inlined
from iem_xp.fused.tables import round_up

_DUAL_STEP, _PRIMAL_STEP, _OVER = map(np.float32, (DUAL_STEP, PRIMAL_STEP, OVER))
_LINE = 16
"""Pixels of a cache line; whole ones are handled."""


def minimise(energy: Energy, start: np.ndarray) -> np.ndarray:
    """As `iem_xp.cut.minimise`, of one image: (1, P).

    Only the pixels that may change are looked at, those with flow to or from them, and what else is in their
    cache lines.
    """
    frame = round_up(max(energy.offsets), _LINE)
    inside = slice(frame, frame + start.shape[1])

    def framed(*planes: np.ndarray) -> np.ndarray:
        room = aligned((len(planes), round_up(inside.stop, _LINE) + frame), np.float32)
        room[:, inside] = planes
        return room

    relaxed, ahead, gain, least, most = framed(
        start[0], start[0], energy.gain[0], energy.least[0], energy.most[0]
    )
    edges = framed(*energy.edges[0])
    free = least < most
    wanted = free.copy()
    for offset in energy.offsets:  # a flow is kept with the first of two neighbours
        wanted[: free.size - offset] |= free[offset:]
    wanted[:frame] = False  # from outside there is none
    lines = wanted.reshape(-1, _LINE).any(axis=1)
    runs = _LINE * np.flatnonzero(lines != np.roll(lines, 1)).astype(np.uint64)
    run(
        runs,
        relaxed,
        ahead,
        np.zeros_like(edges),
        edges,
        gain,
        least,
        most,
        np.uint64(energy.offsets[1]),
        energy.steps,
    )
    return relaxed[None, inside]


@compiled_once
def run(
    runs: Array,
    relaxed: Array,
    ahead: Array,
    flow: Array,
    edges: Array,
    gain: Array,
    least: Array,
    most: Array,
    width: Index,
    steps: Index,
) -> None:
    """Do the steps, in `relaxed`, at pixels from `runs[0]` to `runs[1]`, `runs[2]` to `runs[3]` and so on.

    A run is pushed and climbed at once, so that its values stay in the first cache: what it is climbed by is
    flow of its own and of earlier runs, and what it is pushed by, values of its own and of later ones.
    """
    right, below, below_right, below_left = flow[0], flow[1], flow[2], flow[3]
    to_right, to_below, to_below_right, to_below_left = edges[0], edges[1], edges[2], edges[3]
    for _ in range(steps):
        for r in range(ZERO, np.uint64(runs.size), TWO):
            begin, end = runs[r], runs[r + ONE]
            _push(right, to_right, ahead, ONE, begin, end)
            _push(below, to_below, ahead, width, begin, end)
            _push(below_right, to_below_right, ahead, width + ONE, begin, end)
            _push(below_left, to_below_left, ahead, width - ONE, begin, end)
            _climb(
                relaxed, ahead, gain, least, most, right, below, below_right, below_left, width, begin, end
            )


@inlined
def _push(flow: Array, most: Array, ahead: Array, offset: Index, begin: Index, end: Index) -> None:
    """Flow from pixels to their neighbours, after a step of the dual."""
    for p in range(begin, end):
        pushed = flow[p] + _DUAL_STEP * (ahead[p + offset] - ahead[p])
        flow[p] += _OVER * (min(max(pushed, -most[p]), most[p]) - flow[p])


@inlined
def _climb(
    relaxed: Array,
    ahead: Array,
    gain: Array,
    least: Array,
    most: Array,
    right: Array,
    below: Array,
    below_right: Array,
    below_left: Array,
    width: Index,
    begin: Index,
    end: Index,
) -> None:
    """Relaxed mask after a step of the primal."""
    for p in range(begin, end):
        straight = (right[p] - right[p - ONE]) + (below[p] - below[p - width])
        falling = below_right[p] - below_right[p - width - ONE]
        rising = below_left[p] - below_left[p - width + ONE]
        moved = relaxed[p] + _PRIMAL_STEP * (gain[p] + straight + (falling + rising))
        change = min(max(moved, least[p]), most[p]) - relaxed[p]
        ahead[p] = relaxed[p] + np.float32(2) * change
        relaxed[p] += _OVER * change
