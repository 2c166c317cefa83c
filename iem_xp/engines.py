"""Which engine computes: the array-API code, which runs everywhere, or the compiled one, for NumPy arrays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Literal

from array_api_compat import is_numpy_array

from iem_xp import fused, solver
from iem_xp.arrays import Array
from iem_xp.config import IEMConfig
from iem_xp.solver import Ascent

Engine = Literal["auto", "array", "fused"]
Named = Literal["array", "fused"]


class EngineError(ValueError):
    """An engine that was asked for and cannot be had; the message says why, and what can."""


def solve(
    images: Array,
    starts: Sequence[Array],
    config: IEMConfig,
    engine: Engine = "auto",
    workers: int | None = None,
) -> list[Ascent]:
    """Ascents of checked images from each of some initial masks, by an engine.

    Parameters
    ----------
    images : array (N, H, W, C), uint8 or floating in [0, 1]
    starts : sequence of bool arrays (N, H, W)
    config : IEMConfig
    engine : {"auto", "array", "fused"}
        "auto" takes the fused engine where it applies and is worth its start (`Automatic`).
    workers : int, optional
        Threads of the fused engine; by default, as many as this process may use CPUs.

    Returns
    -------
    list of Ascent
        One for each start.

    Raises
    ------
    EngineError
        If the engine is "fused", and does not apply.
    """
    n, height, width, _ = images.shape
    if engine != "array":
        mismatch = _find_mismatch(images) or fused.find_limit(config)
        if engine == "fused":
            check_fused(mismatch)
        else:
            work = estimate_work(n * height * width * len(starts), config)
            engine = "array" if mismatch else automatic.choose(work)
    if engine == "fused":
        return fused.solve(images, starts, config, workers)
    return solver.solve(images, starts, config)


def check_fused(mismatch: str | None) -> None:
    """Check that the fused engine runs here, and takes what it is given: that there is no `mismatch`.

    Raises
    ------
    EngineError
        If it does not.
    """
    cause = mismatch or fused.find_obstacle()
    if cause is not None:
        raise EngineError(f'{cause}; engine "array" can')


def _find_mismatch(images: Array) -> str | None:
    if is_numpy_array(images):
        return None
    library = type(images).__module__.partition(".")[0]
    return f"the fused engine cannot take arrays of {library}, only NumPy's"


def estimate_work(pixels: int, config: IEMConfig) -> float:
    """Seconds, roughly, that the array engine takes for so many pixels, counted for each initial mask."""
    per_update, until_retired = 35e-9, 0.5
    return per_update * pixels * until_retired * config.iterations


class Automatic:
    """Takes the fused engine once there has been work enough to be worth its start.

    To load it takes half a second, and to compile it, once on a machine, several. So whoever has one image
    waits for neither, and no work takes more than about twice the time that it would have if one had known
    from the beginning how much there is. The choice depends on the work, not on the clock.

    Attributes
    ----------
    work : float
        Seconds that the array engine takes, as estimated, for all the work so far.
    """

    LOADING = 0.5
    COMPILING = 8.0

    def __init__(self) -> None:
        self.work = 0.0
        self._lock = threading.Lock()
        self._taken: Named | None = None

    def choose(self, work: float, before_compiling: Callable[[], object] = lambda: None) -> Named:
        """Engine for more work, in seconds of the array engine; the fused one is started if it is taken."""
        with self._lock:
            self.work += work
            if self._taken is None and self.work >= self.LOADING:
                if fused.find_obstacle() is not None:
                    self._taken = "array"
                elif fused.is_compiled() or self.work >= self.COMPILING:
                    if not fused.is_compiled():
                        before_compiling()
                    fused.start()
                    self._taken = "fused"
            return self._taken or "array"


automatic = Automatic()
