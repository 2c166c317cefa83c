"""The primal-dual method of `iem_xp.cut`, compiled, for one image."""

from __future__ import annotations

import numpy as np

from iem_xp.arrays import Array
from iem_xp.cut import DUAL_STEP, PRIMAL_STEP, Energy
from iem_xp.fused.compiling import ONE, Index, compiled_once, inlined


def minimise(energy: Energy, start: np.ndarray) -> np.ndarray:
    """As `iem_xp.cut.minimise`, of one image: (1, P).

    Only the pixels between the first and the last one that may change are looked at.
    """
    pixels, frame = start.shape[1], max(energy.offsets)
    free = np.flatnonzero(energy.least[0] < energy.most[0])
    if not len(free):
        return start
    # What neighbours of these pixels have, and the flow from there, counts too.
    begin, end = max(0, free[0] - frame), min(pixels, free[-1] + 1 + frame)

    def framed(values: np.ndarray) -> np.ndarray:
        room = np.zeros(end - begin + 2 * frame, dtype=np.float32)
        room[frame:-frame] = values[begin:end]
        return room

    relaxed, gain, least, most = map(framed, (start[0], energy.gain[0], energy.least[0], energy.most[0]))
    edges = np.stack([framed(plane) for plane in energy.edges[0]])
    run(
        relaxed,
        relaxed.copy(),
        np.zeros_like(edges),
        edges,
        gain,
        least,
        most,
        np.uint64(energy.offsets[1]),
        energy.steps,
    )
    result = start.copy()
    result[0, begin:end] = relaxed[frame:-frame]
    return result


@compiled_once
def run(
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
    """Do the steps, in `relaxed`; arrays have a frame of ``width + 1`` values on both sides."""
    a = width + ONE
    b = np.uint64(relaxed.size) - a
    for _ in range(steps):
        _push(flow[0, a:b], edges[0, a:b], ahead[a:b], ahead[a + ONE : b + ONE])
        _push(flow[1, a:b], edges[1, a:b], ahead[a:b], ahead[a + width : b + width])
        _push(flow[2, a:b], edges[2, a:b], ahead[a:b], ahead[a + width + ONE : b + width + ONE])
        _push(flow[3, a:b], edges[3, a:b], ahead[a:b], ahead[a + width - ONE : b + width - ONE])
        _climb(
            relaxed[a:b],
            ahead[a:b],
            gain[a:b],
            least[a:b],
            most[a:b],
            flow[0, a:b],
            flow[1, a:b],
            flow[2, a:b],
            flow[3, a:b],
            flow[0, a - ONE : b - ONE],
            flow[1, a - width : b - width],
            flow[2, a - width - ONE : b - width - ONE],
            flow[3, a - width + ONE : b - width + ONE],
        )


@inlined
def _push(flow: Array, most: Array, here: Array, there: Array) -> None:
    """Flow between pixels and their neighbours, after a step of the dual."""
    for i in range(flow.size):
        more = flow[i] + np.float32(DUAL_STEP) * (there[i] - here[i])
        flow[i] = min(max(more, -most[i]), most[i])


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
    from_left: Array,
    from_above: Array,
    from_above_left: Array,
    from_above_right: Array,
) -> None:
    """Relaxed mask after a step of the primal."""
    for i in range(relaxed.size):
        straight = (right[i] - from_left[i]) + (below[i] - from_above[i])
        diagonal = (below_right[i] - from_above_left[i]) + (below_left[i] - from_above_right[i])
        value = relaxed[i] + np.float32(PRIMAL_STEP) * (gain[i] + straight + diagonal)
        value = min(max(value, least[i]), most[i])
        ahead[i] = np.float32(2) * value - relaxed[i]
        relaxed[i] = value
