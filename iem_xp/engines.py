"""Which engine computes: the array-API code, which runs everywhere, or the compiled one, for NumPy arrays."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

from array_api_compat import is_numpy_array

from iem_xp import fused, solver
from iem_xp.arrays import Array
from iem_xp.config import IEMConfig
from iem_xp.solver import Ascent, batch_size, join

Engine = Literal["auto", "array", "fused"]


class EngineError(ValueError):
    """An engine that was asked for and cannot be had; the message says why, and what can."""


class Solution(NamedTuple):
    """Ascents, one for each start, and the engine that computed them, or the last of them."""

    ascents: list[Ascent]
    engine: Engine


def solve(
    images: Array,
    starts: Sequence[Array],
    config: IEMConfig,
    engine: Engine = "auto",
    workers: int | None = None,
) -> Solution:
    """Ascents of checked images from each of some initial masks, by an engine.

    Parameters
    ----------
    images : array (N, H, W, C), uint8 or floating in [0, 1]
    starts : sequence of bool arrays (N, H, W)
    config : IEMConfig
    engine : {"auto", "array", "fused"}
        "auto" begins with the array engine and, where the fused one applies, goes on with that as soon as it
        is worth its start (`Automatic`).
    workers : int, optional
        Threads of the fused engine; by default, as many as this process may use CPUs.

    Raises
    ------
    EngineError
        If the engine is "fused", and does not apply.
    """
    if engine == "fused":
        obstacle = fused.find_obstacle() or _find_mismatch(images, config)
        if obstacle is not None:
            raise EngineError(f'{obstacle}; engine "array" can')
        return Solution(fused.solve(images, starts, config, workers), "fused")
    if engine == "array" or _find_mismatch(images, config) is not None:
        return Solution(solver.solve(images, starts, config), "array")
    parts: list[list[Ascent]] = []
    begin, n = 0, images.shape[0]
    taken: Engine = "array"
    while begin < n or not parts:
        ready = automatic.is_ready()
        end = n if ready else begin + batch_size(images)
        batch = images[begin:end, ...], [start[begin:end, ...] for start in starts], config
        if ready:
            parts.append(fused.solve(*batch, workers))
        else:
            with automatic.spending():
                parts.append(solver.solve(*batch))
        begin, taken = end, "fused" if ready else "array"
    return Solution(join(parts), taken)


def _find_mismatch(images: Array, config: IEMConfig) -> str | None:
    """Why the fused engine cannot take these images with this configuration, or None."""
    if not is_numpy_array(images):
        library = type(images).__module__.partition(".")[0]
        return f"the fused engine cannot take arrays of {library}, only NumPy's"
    _, height, width, _ = images.shape
    return fused.find_limit(height, width, config)


class Automatic:
    """Goes from the array engine to the fused one as soon as that is worth its start.

    To start it takes half a second, and on a machine that has not compiled it yet several. So whoever has one
    image never waits for it; and it is started once the array engine has taken as long as the start will: no
    work takes more than twice the time that it would have, had one known beforehand how much there is.
    Of several threads one starts it, while the others go on with the array engine.

    Attributes
    ----------
    spent : float
        Seconds in the array engine so far.
    """

    LOADING = 0.5
    COMPILING = 8.0

    def __init__(self) -> None:
        self.spent = 0.0
        self._ready = self._given_up = False
        self._starting, self._counting = threading.Lock(), threading.Lock()

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count the time of the ``with`` block as spent in the array engine."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            with self._counting:
                self.spent += time.perf_counter() - begin

    def is_ready(self) -> bool:
        """Whether to take the fused engine now; starts it if that is worth it."""
        due = not (self._ready or self._given_up) and self.spent >= self.LOADING
        if due and self._starting.acquire(blocking=False):
            try:
                if fused.find_obstacle() is not None:
                    self._given_up = True
                elif self.spent >= self.COMPILING or fused.is_compiled():
                    fused.start()
                    self._ready = True
            finally:
                self._starting.release()
        return self._ready


automatic = Automatic()
