"""Images of a run in parts: which a cluster gets next, and what becomes of those whose worker dies."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from iem_xp.runs.naming import Source

LARGEST = 1000
"""Images of a part while many are left: some seconds of work, beside the milliseconds that a task costs."""

SMALLEST = 16
"""Images of the last parts, so that a task costs little beside its work."""

_SHARE = 3
_AHEAD = 2
_PIECES = 8


class Part(NamedTuple):
    """Images for one task, which nothing else may run beside if it is `alone`."""

    sources: list[Source]
    alone: bool = False


class Parts:
    """Images in parts, for workers that may die.

    First come parts that get smaller towards the end (guided self-scheduling), so that no worker waits long
    for the last one. Then what was lost with workers that died, in ever smaller pieces; last each image that
    was lost by itself, alone: a scheduler suspects all that was on a worker when it died.

    Parameters
    ----------
    sources : iterable of Source
        Taken as parts are.
    left : float, optional
        How many these are. If that is not known all parts are small: for a large one of a list that goes on
        for ever, all others would wait.
    """

    def __init__(self, sources: Iterable[Source], left: float = math.inf) -> None:
        self._sources = iter(sources)
        self._left = left
        self._out = 0
        self._again: deque[Part] = deque()
        self._suspects: deque[Source] = deque()

    def take(self, slots: int) -> Part | None:
        """Return the next part for workers that run `slots` at a time; None while they have enough."""
        part = self._next(slots)
        self._out += part is not None
        return part

    def _next(self, slots: int) -> Part | None:
        # One that runs and one that waits for each: the next begins while results of the last are recorded.
        if self._out < _AHEAD * slots and (some := list(islice(self._sources, self._size(slots)))):
            self._left -= len(some)
            return Part(some)
        # Nothing waits behind one of these, or it would be suspected for being there.
        if self._out < slots and self._again:
            return self._again.popleft()
        if not self._out and self._suspects:
            return Part([self._suspects.popleft()], alone=True)
        return None

    def _size(self, slots: int) -> int:
        if math.isinf(self._left):
            return SMALLEST
        return int(min(LARGEST, max(SMALLEST, self._left / (_SHARE * slots))))

    def returned(self, part: Part) -> None:
        """Take note that a part is done."""
        self._out -= 1

    def lost(self, part: Part) -> bool:
        """Take note that workers died of a part, and whether it is to be tried again, in pieces or alone."""
        self._out -= 1
        if len(part.sources) > 1:
            size = math.ceil(len(part.sources) / _PIECES)
            pieces = (part.sources[i : i + size] for i in range(0, len(part.sources), size))
            self._again.extend(map(Part, pieces))
        elif not part.alone:
            self._suspects.extend(part.sources)
        return not part.alone
