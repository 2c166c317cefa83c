"""Items on their way through workers: how many at a time, and which of them together."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Generic, TypeVar

from iem_xp.runs.workers import Outcome, Workers

T = TypeVar("T")
R = TypeVar("R")


class Flow(Generic[T, R]):
    """Items in work: at most so many at a time, and worked on in groups of one kind.

    Parameters
    ----------
    workers : Workers
    room : int
        Items that may be held.
    work : callable
        Works on a group, in a worker.
    then : callable
        Takes the group and the outcome.
    serial : bool
        Whether one group is worked on at a time, for a GPU: of all items that there are by then, if they are
        no more than a group may have.

    Attributes
    ----------
    held : int
        Items that have entered and not left.
    """

    def __init__(
        self,
        workers: Workers,
        room: int,
        work: Callable[[Sequence[T]], R],
        then: Callable[[Sequence[T], Outcome[R]], object],
        *,
        serial: bool = False,
    ) -> None:
        self.held = 0
        self._workers = workers
        self._room = room
        self._work = work
        self._then = then
        self._serial = serial
        self._groups: defaultdict[Hashable, list[T]] = defaultdict(list)
        self._full: deque[list[T]] = deque()
        self._working = 0

    def enter(self) -> None:
        """Count an item in, as soon as there is room for it."""
        while self.held >= self._room:
            self._turn()
        self.held += 1

    def leave(self, count: int = 1) -> None:
        """Count items out."""
        self.held -= count

    def finish(self) -> None:
        """Wait until every item has left."""
        while self.held:
            self._turn()

    def gather(self, kind: Hashable, item: T, size: int) -> None:
        """Have an item worked on with others of its kind: `size` of them, or fewer rather than none."""
        group = self._groups[kind]
        group.append(item)
        if len(group) >= size:
            self._full.append(self._groups.pop(kind))

    def _turn(self) -> None:
        self._workers.turn()
        self._start()

    def _start(self) -> None:
        while (group := self._next()) is not None:
            self._working += 1
            self._workers.submit(partial(self._work, group), partial(self._end, group))

    def _next(self) -> list[T] | None:
        """A group to start on: one that is full, or the largest if there is nothing else to do."""
        idle = not self._working if self._serial else self._workers.pending < self._workers.count
        if self._full and (idle or not self._serial):
            return self._full.popleft()
        if self._groups and idle:
            return self._groups.pop(max(self._groups, key=lambda kind: len(self._groups[kind])))
        return None

    def _end(self, group: Sequence[T], outcome: Outcome[R]) -> None:
        self._working -= 1
        if self._serial:  # before `then` has more for the workers to do, which the next group would wait for
            self._start()
        self._then(group, outcome)
