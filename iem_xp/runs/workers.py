"""Threads that run tasks, and bring what came of them back to the one thread that asked."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


class Outcome(Generic[T]):
    """What came of a task, which is run here: its result or its error, and the `seconds` it took."""

    def __init__(self, task: Callable[[], T]) -> None:
        self.error: BaseException | None = None
        start = time.perf_counter()
        try:
            self._result = task()
        except BaseException as error:  # The thread that asked for the task decides what becomes of it.
            self.error = error
        self.seconds = time.perf_counter() - start

    def result(self) -> T:
        """Return the result, or raise the error."""
        if self.error is not None:
            raise self.error
        return self._result


_Then = Callable[[Outcome[Any]], object]


class Workers:
    """Threads for tasks of every kind, so that none waits while there is something to do.

    A context manager, for use by one thread. If its block raises, tasks that wait are dropped, those that
    run are waited for, and what has finished is still handed over.

    Parameters
    ----------
    count : int
        Number of threads.

    Attributes
    ----------
    count : int
    pending : int
        Tasks whose outcome `then` has not dealt with yet.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.pending = 0
        self._open = True
        self._threads = ThreadPoolExecutor(count, "iem-xp")
        self._choosing = threading.Lock()
        self._locking = 0
        self._waiting: dict[bool, deque[tuple[Callable[[], Any], _Then]]] = {False: deque(), True: deque()}
        self._finished: SimpleQueue[tuple[_Then, Outcome[Any]]] = SimpleQueue()

    def submit(
        self, task: Callable[[], T], then: Callable[[Outcome[T]], object], *, locking: bool = False
    ) -> None:
        """Run `task` in one of the threads; a later `turn` calls `then` with its outcome.

        With `locking` the task is one that mostly holds Python's global lock. Two of these take as long side
        by side as in turn, so one at a time is run, first, and more only if there is nothing else to run.
        """
        if self._open:
            self.pending += 1
            self._waiting[locking].append((task, then))
            self._threads.submit(self._run)

    def _run(self) -> None:
        with self._choosing:
            locking = bool(self._waiting[True]) and not (self._locking and self._waiting[False])
            task, then = self._waiting[locking].popleft()
            self._locking += locking
        outcome = Outcome(task)
        with self._choosing:
            self._locking -= locking
        self._finished.put((then, outcome))

    def turn(self) -> None:
        """Wait for a pending task, whichever is first, and hand over its outcome."""
        then, outcome = self._finished.get()
        then(outcome)
        self.pending -= 1

    def wait(self, below: int) -> None:
        """Hand over outcomes until fewer tasks than `below` are pending."""
        while self.pending >= below:
            self.turn()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        self._threads.shutdown(cancel_futures=True)
        while not self._finished.empty():
            then, outcome = self._finished.get()
            if outcome.error is None:
                with suppress(Exception):  # The error that ended the block counts, not those it entails.
                    then(outcome)
