"""Many machines: workers of dask's `distributed` find the masks of a run, which this process records."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any

from iem_xp.contents import is_missing
from iem_xp.engines import Announce
from iem_xp.runs.finding import Found
from iem_xp.runs.naming import Source
from iem_xp.runs.pipeline import Advance, Segmenter
from iem_xp.runs.processes import start_processes, without_interrupts
from iem_xp.runs.remote import Result, Work, segment_part, unpacked
from iem_xp.runs.scheduling import Part, Parts
from iem_xp.runs.workers import Workers
from iem_xp.runs.writing import Writer

_ANSWER = 10
"""Seconds in which a scheduler has to answer."""

_WAIT = 60
"""Seconds in which a first worker has to come."""

_SILENCE = 5
"""Seconds without a result after which workers are looked for."""


class ClusterError(ValueError):
    """A cluster cannot be had, or cannot do the work; the message says what to do."""


class Cluster:
    """Workers of a cluster, made by `connect`.

    Parameters
    ----------
    client : distributed.Client
    work : Work
    announce : callable, optional
        Called with a line if there is no worker any more.

    Attributes
    ----------
    device : {"cpu", "gpu"}
    engine : str or None
        What computed; the names of several engines are joined by "+".
    workers : int
        Parts that were computed at a time: threads of the workers, or their GPUs.
    """

    def __init__(self, client: Any, work: Work, announce: Announce = lambda line: None) -> None:
        self.device = work.device
        self.workers = 0
        self._client = client
        self._work = work
        self._announce = announce
        self._resources = {"GPU": 1} if work.device == "gpu" else None
        self._slots: dict[str, int] = {}
        self._engines: set[str] = set()

    @property
    def engine(self) -> str | None:
        """What computed."""
        return "+".join(sorted(self._engines)) or None

    def wait_for_workers(self) -> None:
        """Wait until there is a worker.

        Raises
        ------
        ClusterError
            If none comes, or none has a GPU where that is asked for.
        """
        try:
            try:
                self._client.wait_for_workers(1, timeout=_ANSWER)
            except TimeoutError:
                self._announce(f"no worker yet; {self._remedy()}")
                self._client.wait_for_workers(1, timeout=_WAIT)
        except TimeoutError as error:
            raise ClusterError(f"no worker in {_WAIT} s; {self._remedy()}") from error
        except OSError as error:
            raise self._gone() from error
        if not self._count_slots():
            raise ClusterError('no worker has a GPU; start them with: dask worker --resources "GPU=1" ...')

    def segment(
        self, segmenter: Segmenter, sources: Iterable[Source], advance: Advance, left: float = math.inf
    ) -> None:
        """Segment every image that a run does not have yet, as `Segmenter.segment` does.

        A part is given to another worker if its own dies. An image that ends every worker is recorded as
        failed, and the others of its part are not.

        Parameters
        ----------
        segmenter : Segmenter
        sources : iterable of Source
            Paths have to be the same on every machine.
        advance : callable
            Called with the number of images just segmented, failed or skipped.
        left : float, optional
            Images still to be segmented, if that is known.

        Raises
        ------
        ClusterError
            If a worker cannot do the work, or its machine has not the images.
        ConnectionError
            If the scheduler goes away.
        """
        from distributed import KilledWorker

        each = max(1, int(min(left, 10**9)) // max(1, self._count_slots()))
        parts = Parts(segmenter.admitted(sources, advance), left)
        sent: dict[Any, Part] = {}
        done: SimpleQueue[Any] = SimpleQueue()

        def send() -> None:
            slots = max(1, self._count_slots())
            while (part := parts.take(slots)) is not None:
                future = self._client.submit(
                    segment_part, self._work, part.sources, each, pure=False, resources=self._resources
                )
                sent[future] = part
                future.add_done_callback(done.put)

        with segmenter.recorder as writer, Workers(segmenter.workers) as workers:
            send()
            while sent:
                future = self._wait(done)
                part = sent.pop(future)
                try:
                    result: Result = future.result()
                except KilledWorker:
                    again = parts.lost(part)
                    result = Result([] if again else [_deadly(part.sources[0])])
                except Exception as error:
                    if future.status == "error":
                        raise ClusterError(f"a worker failed: {error}") from error
                    raise self._gone() from error
                else:
                    _check_place(part, result)
                    parts.returned(part)
                del future  # the worker may forget the result
                try:
                    send()  # first, so that nobody waits for what is recorded now
                finally:
                    self._take(result, segmenter, writer, workers, advance)
            workers.wait(below=1)

    def _wait(self, done: SimpleQueue[Any]) -> Any:
        """Wait for a task to be done; say so if it turns out, twice in a row, that there is no worker."""
        gone = 0
        while True:
            try:
                return done.get(timeout=_SILENCE)
            except Empty:
                gone = 0 if self._count_slots() else gone + 1
            if gone == 2:
                self._announce(f"no worker is left; {self._remedy()}")

    def _take(
        self, result: Result, segmenter: Segmenter, writer: Writer, workers: Workers, advance: Advance
    ) -> None:
        if result.engine is not None and result.engine not in self._engines:
            self._engines.add(result.engine)
            segmenter.note_engine(result.engine)
        size = segmenter.batch_size
        for i in range(0, len(result.found), size):
            segmenter.take(list(map(unpacked, result.found[i : i + size])), writer, workers, advance)
            workers.wait(below=size)

    def _count_slots(self) -> int:
        """How many parts can be computed at a time now; workers come and go."""
        try:
            threads = self._client.nthreads()
            if self._resources and threads.keys() - self._slots.keys():
                known = self._client.scheduler_info(n_workers=-1)["workers"]
                self._slots.update({name: int(of["resources"].get("GPU", 0)) for name, of in known.items()})
        except Exception as error:  # of many kinds
            raise self._gone() from error
        slots = sum(min(count, self._slots.get(name, count)) for name, count in threads.items())
        self.workers = max(self.workers, slots)
        return slots

    def _remedy(self) -> str:
        return f"start some with: dask worker {self._client.scheduler.address}"

    def _gone(self) -> ConnectionError:
        return ConnectionError(f"the scheduler {self._client.scheduler.address} is gone")


def _check_place(part: Part, result: Result) -> None:
    """Refuse a worker that finds none of its images, if they are here; it would soon have had them all."""
    if result.without is None or is_missing(path := part.sources[0].path):
        return
    raise ClusterError(
        f"the worker on {result.without} has no {path}, nor any other image of its part; paths have to "
        "be the same on every machine: use a shared file system"
    )


def _deadly(source: Source) -> Found:
    return Found(source, error=f"{source.path}: every worker process that read it came to its end")


@contextmanager
def connect(address: str, work: Work, announce: Announce = lambda line: None) -> Iterator[Cluster]:
    """Connect to a cluster, or start processes on this machine, which end with the block.

    Parameters
    ----------
    address : str
        Of a ``dask scheduler``, as ``tcp://host:8786``, or ``local:N`` for N processes here.
    work : Work
    announce : callable, optional
        Called with a line if, later on, there is no worker any more.

    Raises
    ------
    ClusterError
        If `distributed` is not installed, no scheduler answers, or it has no worker for this.
    """
    kind, _, count = address.partition(":")
    if kind == "local" and not (count.isdecimal() and int(count)):
        raise ClusterError(
            f"--cluster {address}: it is local:N with a number of processes, or the address of a scheduler"
        )
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError("--cluster needs distributed: pip install 'iem-xp[cluster]'") from error
    with _silence(), ExitStack() as stack:
        if kind == "local":
            # Interrupts wait until the processes are there, and their end is seen to.
            with without_interrupts():
                client = stack.enter_context(Client(stack.enter_context(start_processes(int(count)))))
        else:
            try:
                client = stack.enter_context(Client(address, timeout=_ANSWER))
            except (OSError, ValueError) as error:
                raise ClusterError(
                    f"--cluster {address}: no scheduler answers; start one with: dask scheduler"
                ) from error
        cluster = Cluster(client, work, announce)
        cluster.wait_for_workers()
        try:
            yield cluster
        finally:
            with suppress(OSError):  # a process that does not end in time matters less than what it has done
                stack.close()


@contextmanager
def _silence() -> Iterator[None]:
    """Leave out the logs of `distributed`: what matters of them comes as an error."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
