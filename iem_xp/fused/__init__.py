"""The ascent, compiled for CPUs and NumPy arrays: the masks of `iem_xp.solver`, several times faster.

An update flips few pixels, and only pixels at the mask's boundary may flip. So the filtered sums are kept and
changed by what flipped (`filtering`), a pixel is predicted from the other region only, the gradient is
computed at the boundary only (`terms`), and boundary and smoothing are operations on bits (`words`).

Importing this package imports nothing heavy; `solve` imports Numba, and compiles at its first call ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from iem_xp.arrays import usable_cpus
from iem_xp.config import IEMConfig
from iem_xp.gaussian import smallest_weight
from iem_xp.layout import to_colours
from iem_xp.solver import Ascent, without_constants

if TYPE_CHECKING:
    from iem_xp.fused.ascent import Workspace

LEAST_WEIGHT = 2.0**-20
"""Smallest weight of a filter that the engine takes; it rounds them to 2**-30."""


def solve(
    images: np.ndarray, starts: Sequence[np.ndarray], config: IEMConfig, workers: int | None = None
) -> list[Ascent]:
    """Ascents of checked images from each of some initial masks, as `iem_xp.solver.solve`.

    Parameters
    ----------
    images : NumPy array (N, H, W, C), uint8 or floating in [0, 1]
    starts : sequence of bool arrays (N, H, W)
    config : IEMConfig
    workers : int, optional
        Threads, each working on an image of its own; by default, as many as this process may use CPUs.

    Returns
    -------
    list of Ascent
        One for each start.
    """
    from iem_xp.fused.ascent import Workspace
    from iem_xp.fused.tables import tables_for

    n, height, width, channels = images.shape
    tables = tables_for(height, width, config)
    workers = max(1, min(workers or usable_cpus(), n))
    idle: SimpleQueue[Workspace] = SimpleQueue()
    for _ in range(workers):
        idle.put(Workspace(channels, height, width, tables, config))
    masks = np.zeros((len(starts), n, height, width), dtype=bool)
    errors = np.zeros((len(starts), n), dtype=np.float32)
    updates = np.zeros((len(starts), n), dtype=np.int64)

    def ascend(i: int) -> None:
        colours = without_constants(to_colours(images[i : i + 1]))[0]
        workspace = idle.get()
        try:
            found = workspace.ascend(colours, np.stack([start[i] for start in starts]))
        finally:
            idle.put(workspace)
        masks[:, i], errors[:, i], updates[:, i] = found

    if workers == 1:
        for i in range(n):
            ascend(i)
    else:
        with ThreadPoolExecutor(workers, thread_name_prefix="iem-xp") as pool:
            list(pool.map(ascend, range(n)))
    return [Ascent(*found) for found in zip(masks, errors, updates, strict=True)]


def find_obstacle() -> str | None:
    """Why the engine cannot run in this Python, or None."""
    try:
        import numba
    except Exception as error:  # an ImportError, or what Numba raises for a NumPy that it does not know
        return f"the fused engine needs Numba, which cannot be imported ({error})"
    if numba.config.DISABLE_JIT:
        return "the fused engine needs Numba to compile, which NUMBA_DISABLE_JIT forbids"
    return None


def find_limit(config: IEMConfig) -> str | None:
    """Why the engine cannot take a configuration, whatever the images, or None."""
    if smallest_weight(config) < LEAST_WEIGHT:
        return (
            f"the fused engine cannot take a filter of kernel_size {config.kernel_size}, sigma "
            f"{config.sigma:g}, repeats {config.repeats} and scale_factor {config.scale_factor}: some of its "
            f"weights are below {LEAST_WEIGHT:.0e}"
        )
    return None


def is_compiled() -> bool:
    """Whether the engine starts without being compiled, as it was before on this machine."""
    from iem_xp.fused.ascent import ascend

    folder = ascend.stats.cache_path  # None where none can be written
    return folder is not None and any(Path(folder).glob(f"*{ascend.__name__}*.nbi"))


def start() -> None:
    """Make the engine ready: load it, or else compile it, which takes several seconds."""
    image = np.zeros((1, 1, 1, 1), dtype=np.uint8)
    solve(image, [np.zeros((1, 1, 1), dtype=bool)], IEMConfig(), workers=1)
