"""Tasks done in threads and handed over in their order, few of them held at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_WAITING = 4
"""Tasks that may be in work or wait to be taken, for each worker."""


def in_order(
    function: Callable[[T], R], items: Iterable[T], workers: int
) -> Generator[tuple[T, R], None, None]:
    """Iterate over items and what `function`, in one of `workers` threads, makes of each.

    Items are taken as they are needed, in the thread that iterates; an error of the function is raised there.
    """
    waiting: deque[tuple[T, Future[R]]] = deque()
    threads = ThreadPoolExecutor(workers, "iem-xp")
    try:
        for item in items:
            waiting.append((item, threads.submit(function, item)))
            if len(waiting) >= _WAITING * workers:
                item, future = waiting.popleft()
                yield item, future.result()
        while waiting:
            item, future = waiting.popleft()
            yield item, future.result()
    finally:
        threads.shutdown(cancel_futures=True)
