"""What the threads of a process share: its CPUs, and settings that some of them need at the same time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
from array_api_compat import is_numpy_array


def usable_cpus() -> int:
    """CPUs that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Shared:
    """A setting of the whole process while any thread is inside: the first in makes it, the last out ends it.

    So the process gets back what it had, however the threads overlap.

    Parameters
    ----------
    setting : callable
        Returns a context manager that makes the setting and takes it back, in whatever thread.
    """

    def __init__(self, setting: Callable[[], AbstractContextManager[object]]) -> None:
        self._setting = setting
        self._lock = threading.Lock()
        self._inside = 0
        self._made: AbstractContextManager[object]

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._made = self._setting()
                self._made.__enter__()
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._made.__exit__(None, None, None)


def _limit_blas() -> AbstractContextManager[object]:
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")


_one_blas_thread = Shared(_limit_blas)


@contextmanager
def few_threads(array: Any) -> Iterator[None]:
    """Set up NumPy for many small operations, for the ``with`` block; nothing for other arrays.

    The products of an update are many and small: with more threads, BLAS takes twice the time waiting for
    them. And glibc is told to keep the memory of freed arrays for the next ones: it returns blocks above
    a threshold to the kernel, and getting them back, page by page, doubles the time too. The threshold
    rises to the largest block seen freed, up to 32 MiB; this one is never touched and so costs nothing.
    """
    if not is_numpy_array(array):
        yield
        return
    np.empty(2**25 - 2**16, dtype=np.uint8)
    with _one_blas_thread:
        yield
