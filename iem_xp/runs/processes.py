"""Worker processes of dask's `distributed` on this machine."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

_CONFIG = {
    # glibc would return memory at every turn, where NumPy takes it again for the next image.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    "distributed.worker.profile.enabled": False,
    # A process that died is started again, however long that takes; it would be given up after 15 s.
    "distributed.deploy.lost-worker-timeout": "8760h",
}
"""Held for as long as the processes."""


@contextmanager
def start_processes(count: int) -> Iterator[Any]:
    """Start a scheduler in this process, and so many others that work; they end with the block."""
    import dask
    from distributed import LocalCluster

    with (
        dask.config.set(_CONFIG),
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            memory_limit=None,
            dashboard_address=None,
            # It answers by HTTP all the same. By default at a port that another run may have.
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.CRITICAL,
        ) as processes,
    ):
        yield processes


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Put off Ctrl-C and SIGTERM until the end of the block, and keep them from processes that it starts.

    A terminal sends Ctrl-C to all processes; this one ends the others, in order.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.signal(number, lambda number, frame: came.append(number)) for number in numbers]
    mask = None
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        resource_tracker.ensure_running()  # started later, in whatever thread, it would undo the mask there
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])
