"""Which engine computes: the array-API code, which runs everywhere, or the compiled one, for NumPy arrays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Literal

from array_api_compat import array_namespace, is_numpy_array

from iem_xp import fused, solver
from iem_xp.arrays import Array
from iem_xp.choice import Ascent
from iem_xp.config import IEMConfig
from iem_xp.memory import Batches

Engine = Literal["array", "fused"]
EngineOption = Literal["auto", "array", "fused"]
Announce = Callable[[str], object]


class EngineError(ValueError):
    """An engine that was asked for and cannot be had; the message says why, and what can."""


def solve(
    images: Array,
    starts: Sequence[int | Array],
    config: IEMConfig,
    engine: EngineOption = "auto",
    workers: int | None = None,
    batches: Batches | None = None,
    prior: Array | None = None,
) -> list[Ascent]:
    """Ascents of checked images from each of some initial masks, by an engine.

    Parameters
    ----------
    images : array (N, H, W, C), uint8 or floating in [0, 1]
    starts : sequence of int or bool arrays (N, H, W)
        Sides of centred squares, or masks.
    config : IEMConfig
    engine : {"auto", "array", "fused"}
        As for `choose`.
    workers : int, optional
        Threads of the fused engine; by default, as many as this process may use CPUs.
    batches : Batches, optional
        Where the work is done, and how much of it at a time; by default where the images are.
    prior : floating array (N, H, W), optional
        Log odds of the foreground from elsewhere, which join what the colours say of each pixel.

    Returns
    -------
    list of Ascent
        One for each start, if one of these is to be chosen for all images; else one, of the best.

    Raises
    ------
    EngineError
        If the engine is "fused", and does not apply.
    OutOfMemoryError
        If a single image does not fit into memory.
    """
    batches = batches or Batches()
    if prior is not None:
        prior = array_namespace(prior).astype(prior, array_namespace(prior).float32)
    n, height, width, _ = images.shape
    there = batches.put(images[:0, ...])
    if choose(engine, there, n * height * width * len(starts), config) == "fused":
        images = batches.put(images)
        masks = [batches.put(start) for start in solver.initial_masks(images, starts)]
        return fused.solve(images, masks, config, workers, None if prior is None else batches.put(prior))
    return solver.solve(images, starts, config, batches, prior)


def choose(
    engine: EngineOption, images: Array, pixels: int, config: IEMConfig, announce: Announce | None = None
) -> Engine:
    """Engine for images such as these, and make it ready.

    Parameters
    ----------
    engine : {"auto", "array", "fused"}
        "auto" takes the fused engine where it applies and is worth its start (`Automatic`).
    images : array
        Any of the library and on the device of those to come.
    pixels : int
        How many are to come, counted for each initial mask.
    config : IEMConfig
    announce : callable, optional
        Called with a line about the engine if it is to be compiled, or cannot be had for much work.

    Raises
    ------
    EngineError
        If the engine is "fused", and does not apply.
    """
    if engine == "array":
        return "array"
    mismatch = _find_mismatch(images) or fused.find_limit(config)
    if engine == "fused":
        check_fused(mismatch)
        automatic.start_fused(announce or _say_nothing)
        return "fused"
    work = estimate_work(pixels, config)
    return automatic.choose(work, mismatch, announce or _say_nothing)


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
    per_update, until_retired, updates_of_a_cut = 50e-9, 0.5, 180  # as long as cut and palette take
    updates = until_retired * config.iterations
    if config.cut:  # of one mask for each image, unless that is chosen later
        updates += updates_of_a_cut / (1 if config.choose == "dataset" else len(config.init_sides))
    return per_update * pixels * updates


def _say_nothing(line: str) -> None:
    """Announce nothing."""


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
        self._started = False

    def choose(self, work: float, mismatch: str | None = None, announce: Announce = _say_nothing) -> Engine:
        """Engine for more work, in seconds of the array engine; it is array where there is a `mismatch`."""
        with self._lock:
            self.work += work
            if self.work < self.LOADING:
                return "array"
            cause = mismatch or fused.find_obstacle()
            if cause is not None:
                if work >= self.COMPILING:
                    announce(f"array ({cause})")
                return "array"
            if not self._started and self.work < self.COMPILING and not fused.is_compiled():
                return "array"
        self.start_fused(announce)
        return "fused"

    def start_fused(self, announce: Announce) -> None:
        """Load the fused engine or compile it, unless it has been."""
        with self._lock:
            if self._started:
                return
            if not fused.is_compiled():
                kept = fused.find_folder() is not None
                often = "once on this machine" if kept else "each time, see NUMBA_CACHE_DIR"
                announce(f"fused (compiling it first, about 10 s, {often})")
            _interruptibly(fused.start)
            self._started = True


def _interruptibly(task: Callable[[], object]) -> None:
    """Do a task in a thread that Ctrl-C leaves behind: the compiler, called back from C, would swallow it."""
    outcome: list[BaseException] = []

    def run() -> None:
        try:
            task()
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)  # not for ever: a signal may reach another thread, which wakes nobody
    if outcome:
        raise outcome[0]


automatic = Automatic()
