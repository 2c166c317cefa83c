"""Many machines: the images of a run in parts, each a task of dask's `distributed`."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

import iem_xp
from iem_xp.config import IEMConfig
from iem_xp.devices import resolve_device
from iem_xp.engines import EngineOption
from iem_xp.images import Mask, Pixels
from iem_xp.runs.finding import Finder, Found, Leave
from iem_xp.runs.methods import Search
from iem_xp.runs.naming import Source
from iem_xp.runs.pipeline import Advance, Segmenter
from iem_xp.runs.records import Candidate
from iem_xp.runs.settings import Settings
from iem_xp.runs.workers import Workers

PART = 1000
"""Images of one task, or fewer where there are few for each worker."""

_TASKS_PER_WORKER = 4
_WAIT = 60
_PIECES = 8


class ClusterError(ValueError):
    """A cluster cannot be had, or cannot do the work; the message says what to do."""


@dataclass(frozen=True)
class Work:
    """What a worker process is to do with images; as `Search` and `Settings`.

    Attributes
    ----------
    settings : Settings
    device : {"cpu", "gpu"}
        "gpu" is the first GPU that the worker process sees, and needs workers with the resource ``GPU``.
    engine : {"auto", "array", "fused"}
    version : str
        Of iem-xp, which has to be that of the worker.
    """

    settings: Settings
    device: str = "cpu"
    engine: EngineOption = "auto"
    version: str = iem_xp.__version__


class Part(NamedTuple):
    """What a task returns: what was found of its images, and the engine that computed."""

    found: list[Found]
    engine: str | None


class Cluster:
    """Workers of a cluster, made by `connect`.

    Parameters
    ----------
    client : distributed.Client
    work : Work
    """

    def __init__(self, client: Any, work: Work) -> None:
        self._client = client
        self._work = work
        self._resources = {"GPU": 1} if work.device == "gpu" else None

    def segment(self, segmenter: Segmenter, sources: Iterable[Source], advance: Advance, left: int) -> None:
        """Segment every image that a run does not have yet, as `Segmenter.segment` does.

        A task is given to another worker if its own dies; one that ends every worker is split, until the
        image that does it is known, and recorded as failed.

        Parameters
        ----------
        segmenter : Segmenter
        sources : iterable of Source
            Paths have to be the same on every machine.
        advance : callable
            Called with the number of images just segmented, failed or skipped.
        left : int
            Images still to be segmented, 0 if that is not known.

        Raises
        ------
        ClusterError
            If there is no worker, or one cannot do the work.
        """
        from distributed import CancelledError, KilledWorker, as_completed

        threads = self._count_threads()
        size = min(PART, max(1, left // (_TASKS_PER_WORKER * threads))) if left else PART
        again: deque[list[Source]] = deque()
        sent: dict[str, list[Source]] = {}

        with segmenter.recorder as writer, Workers(segmenter.workers) as workers:
            parts = _in_parts(segmenter.admitted(sources, advance), size)
            running = as_completed()

            def send() -> None:
                part = again.popleft() if again else next(parts, None)
                if part is not None:
                    future = self._client.submit(
                        segment_part, self._work, part, pure=False, resources=self._resources
                    )
                    sent[future.key] = part
                    running.add(future)

            for _ in range(2 * threads):  # one that runs and one that waits, for each
                send()
            for future in running:
                part = sent.pop(future.key)
                try:
                    found, engine = future.result()
                except KilledWorker:
                    if len(part) > 1:
                        again.extend(_in_parts(iter(part), -(-len(part) // _PIECES)))
                        for _ in again:
                            send()
                        continue
                    (source,) = part
                    error = f"{source.path}: every worker process that read it came to its end"
                    found, engine = [Found(source, error=error)], None
                except (CancelledError, OSError) as error:
                    raise ClusterError(
                        f"the scheduler is gone: {error}; the same command continues"
                    ) from error
                except Exception as error:
                    raise ClusterError(f"a worker failed: {error!r}") from error
                send()
                if engine is not None:
                    segmenter.note_engine(engine)
                segmenter.take(list(map(_unpacked, found)), writer, workers, advance)
                workers.wait(below=segmenter.batch_size)
            workers.wait(below=1)

    def _count_threads(self) -> int:
        try:
            self._client.wait_for_workers(1, timeout=_WAIT)
        except TimeoutError as error:
            raise ClusterError(
                f"no worker in {_WAIT} s; start some with: dask worker {self._client.scheduler.address}"
            ) from error
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        if self._resources and not any(worker["resources"].get("GPU") for worker in workers):
            raise ClusterError('no worker has a GPU; start them with: dask worker --resources "GPU=1" ...')
        return sum(worker["nthreads"] for worker in workers)


@contextmanager
def connect(address: str, work: Work) -> Iterator[Cluster]:
    """Connect to a cluster, or start processes on this machine.

    Parameters
    ----------
    address : str
        Of a ``dask scheduler``, as ``tcp://host:8786``, or ``local:N`` for N processes here.
    work : Work

    Raises
    ------
    ClusterError
        If `distributed` is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ClusterError("--cluster needs distributed: pip install 'iem-xp[cluster]'") from error
    kind, _, count = address.partition(":")
    if kind == "local":
        if not count.isdecimal() or not int(count):
            raise ClusterError(
                f"{address!r}: local:N, with a number of processes, or the address of a scheduler"
            )
        with (
            LocalCluster(
                n_workers=int(count),
                threads_per_worker=1,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield Cluster(client, work)
        return
    try:
        client = Client(address, timeout=_WAIT)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(
            f"{address}: no scheduler answers: {error}; start one with: dask scheduler"
        ) from error
    with client:
        yield Cluster(client, work)


def segment_part(work: Work, sources: Sequence[Source]) -> Part:
    """Find the masks of images, in a worker process.

    Raises
    ------
    RuntimeError
        If this is another version of iem-xp than that of `work`.
    """
    if work.version != iem_xp.__version__:
        raise RuntimeError(f"iem-xp {iem_xp.__version__} is installed there, and {work.version} here")
    method = _search(work.settings.config, work.device, work.engine)
    finder = Finder(work.settings, method, workers=1)
    found: list[Found] = []

    def take(some: Sequence[Found], leave: Leave) -> None:
        found.extend(map(_packed, some))
        leave(len(some))

    def prepare(image: Pixels) -> None:
        method.prepare(image, len(sources))

    with finder.open_workers() as workers:
        finder.find(sources, workers, take, prepare)
    return Part(found, method.engine)


@lru_cache(maxsize=1)
def _search(config: IEMConfig, device: str, engine: EngineOption) -> Search:
    """The search of a worker process, which keeps what it has learnt of memory from part to part."""
    return Search(config, resolve_device(device)[0], engine)


def _in_parts(sources: Iterator[Source], size: int) -> Iterator[list[Source]]:
    while part := list(islice(sources, size)):
        yield part


class _Packed(NamedTuple):
    """A mask on its way: an eighth of its size."""

    bits: bytes
    shape: tuple[int, int]


def _packed(found: Found) -> Found:
    def pack(mask: Mask) -> Any:
        return _Packed(np.packbits(mask).tobytes(), mask.shape)

    return _with_masks(found, pack)


def _unpacked(found: Found) -> Found:
    def unpack(packed: Any) -> Mask:
        height, width = packed.shape
        bits = np.unpackbits(np.frombuffer(packed.bits, np.uint8), count=height * width)
        return bits.view(np.bool_).reshape(height, width)

    return _with_masks(found, unpack)


def _with_masks(found: Found, change: Callable[[Any], Any]) -> Found:
    def changed(candidate: Candidate) -> Candidate:
        side, mask, error, updates, *_ = candidate
        return Candidate(int(side), change(mask), float(error), int(updates))

    return found._replace(candidates=[changed(candidate) for candidate in found.candidates])
