"""The ascent, compiled for CPUs and NumPy arrays: the masks of `iem_xp.solver`, several times faster.

An update flips few pixels, and only pixels at the mask's boundary may flip. So the filtered sums are kept and
changed by what flipped (`filtering`), a pixel is predicted from the other region only, the gradient is
computed at the boundary only (`terms`), and boundary and smoothing are operations on bits (`words`).

Importing this package imports nothing heavy; `solve` imports Numba, and compiles at its first call ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from iem_xp import solver
from iem_xp.choice import Ascent
from iem_xp.config import IEMConfig
from iem_xp.gaussian import smallest_weight
from iem_xp.threads import few_threads, usable_cpus

if TYPE_CHECKING:
    from iem_xp.fused.search import Searcher

LEAST_WEIGHT = 1e-6
"""Smallest weight of a filter that the engine takes: it rounds them to 2**-30."""
COVERED_WEIGHT, COVER = 1e-13, 1e-8
"""A smaller weight that it takes with an eps as large as this, whose term is then so much larger."""
MOST_UPDATES, MOST_EPSILON = 10**7, 1e20
"""Beyond these its memory, and the range of float32, do not reach."""


def solve(
    images: np.ndarray,
    starts: Sequence[np.ndarray],
    config: IEMConfig,
    workers: int | None = None,
    prior: np.ndarray | None = None,
) -> list[Ascent]:
    """Ascents of checked images from each of some initial masks, as `iem_xp.solver.solve`.

    Parameters
    ----------
    images : NumPy array (N, H, W, C), uint8 or floating in [0, 1]
    starts : sequence of bool arrays (N, H, W)
    config : IEMConfig
    workers : int, optional
        Threads, each working on an image of its own; by default, as many as this process may use CPUs.
    prior : floating array (N, H, W), optional
        Log odds of the foreground from elsewhere.

    Returns
    -------
    list of Ascent
        As `iem_xp.solver.solve` returns them.
    """
    from iem_xp.fused.search import Searcher

    n = images.shape[0]
    if not n:
        return solver.solve(images, starts, config)
    workers = max(1, min(workers or usable_cpus(), n))
    idle: SimpleQueue[Searcher] = SimpleQueue()
    for _ in range(workers):
        idle.put(Searcher(images.shape, config))

    def search(i: int) -> list[Ascent]:
        searcher = idle.get()
        try:
            known = None if prior is None else prior[i : i + 1]
            return searcher.search(images[i : i + 1], [start[i : i + 1] for start in starts], known)
        finally:
            idle.put(searcher)

    with few_threads(images):
        if workers == 1:
            found = [search(i) for i in range(n)]
        else:
            with ThreadPoolExecutor(workers, thread_name_prefix="iem-xp") as pool:
                found = list(pool.map(search, range(n)))
    return [Ascent(*map(np.concatenate, zip(*of, strict=True))) for of in zip(*found, strict=True)]


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
    least = COVERED_WEIGHT if config.epsilon >= COVER else LEAST_WEIGHT
    if smallest_weight(config) < least:
        return (
            f"the fused engine cannot take weights below {least:g}, as a filter has of kernel_size "
            f"{config.kernel_size}, sigma {config.sigma:g}, repeats {config.repeats} and scale_factor "
            f"{config.scale_factor} (a larger sigma has none, or fewer taps)"
        )
    if config.epsilon > MOST_EPSILON:
        return f"the fused engine cannot take an epsilon above {MOST_EPSILON:g}"
    if config.iterations > MOST_UPDATES:
        return f"the fused engine cannot take more than {MOST_UPDATES:,} iterations"
    return None


def is_compiled() -> bool:
    """Whether the engine starts without being compiled, as it was before on this machine."""
    from iem_xp.fused import ascent, compiling, cutting

    return compiling.is_kept(ascent.ascend) and compiling.is_kept(cutting.run)


def find_folder() -> str | None:
    """Where the compiled engine is kept, or None if no folder can be written."""
    from iem_xp.fused import ascent, compiling

    return compiling.cache_folder(ascent.ascend)


def start() -> None:
    """Make the engine ready: load it, or else compile it, which takes several seconds."""
    from iem_xp.fused.search import Searcher

    image, mask = np.zeros((1, 2, 2, 1), dtype=np.uint8), np.zeros((1, 2, 2), dtype=bool)
    mask[0, 0, 0] = True
    Searcher(image.shape, IEMConfig(iterations=0, cut=True)).search(image, [mask])
