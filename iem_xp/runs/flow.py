"""Items on their way through workers: how many at a time, and which of them together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
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
        Whether one group is worked on at a time, with as many items as there are by then; for a GPU.

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
        if len(group) >= size and not self._serial:
            self._start(kind)

    def _turn(self) -> None:
        self._workers.turn()
        self._start_if_idle()

    def _start_if_idle(self) -> None:
        while self._groups and self._is_idle():
            self._start(max(self._groups, key=lambda kind: len(self._groups[kind])))

    def _is_idle(self) -> bool:
        return not self._working if self._serial else self._workers.pending < self._workers.count

    def _start(self, kind: Hashable) -> None:
        group = self._groups.pop(kind)
        self._working += 1
        self._workers.submit(lambda: self._work(group), lambda outcome: self._end(group, outcome))

    def _end(self, group: Sequence[T], outcome: Outcome[R]) -> None:
        self._working -= 1
        if self._serial:  # before `then` has more for the workers to do, which the next group would wait for
            self._start_if_idle()
        self._then(group, outcome)
