"""What a worker process of a cluster does: it finds the masks of a part of a run's images."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import iem_xp
from iem_xp.arrays import DeviceError
from iem_xp.contents import is_missing
from iem_xp.decoding import limit_pixels, pixel_limit
from iem_xp.devices import resolve_device
from iem_xp.engines import EngineError, EngineOption
from iem_xp.images import Mask, Pixels
from iem_xp.runs.finding import Finder, Found, Leave
from iem_xp.runs.methods import Search
from iem_xp.runs.naming import Source
from iem_xp.runs.records import from_bits, to_bits
from iem_xp.runs.settings import Settings


@dataclass(frozen=True)
class Work:
    """What a worker is to do with images; as `Search`, `Finder` and `Settings`.

    Attributes
    ----------
    settings : Settings
    device : {"cpu", "gpu"}
        "gpu" is the first GPU that the worker process sees, and needs workers with the resource ``GPU``.
    engine : {"auto", "array", "fused"}
    batch_size : int, optional
    max_pixels : int
        Of an image; by default as in the process that this is made in.
    version : str
        Of iem-xp, which has to be that of the worker.
    """

    settings: Settings
    device: str = "cpu"
    engine: EngineOption = "auto"
    batch_size: int | None = None
    max_pixels: int = field(default_factory=pixel_limit)
    version: str = iem_xp.__version__


class Result(NamedTuple):
    """What a task returns.

    Attributes
    ----------
    found : list of Found
        What was found of its images, packed.
    engine : str, optional
        What computed, if anything did.
    without : str, optional
        The worker's machine, if it has none of the images.
    """

    found: list[Found]
    engine: str | None = None
    without: str | None = None


class WorkerError(RuntimeError):
    """A worker cannot do its work; the message says which, and what mends it."""


class _Packed(NamedTuple):
    """A mask on its way: an eighth of its size."""

    bits: bytes
    shape: tuple[int, int]


def segment_part(work: Work, sources: Sequence[Source], left: int) -> Result:
    """Find the masks of images, in a thread of a worker.

    Parameters
    ----------
    work : Work
    sources : sequence of Source
    left : int
        Images that this thread is likely to be given in all, for the choice of its engine.

    Raises
    ------
    WorkerError
        If another version of iem-xp is here, or there is no such device or engine, or whatever else fails.
    """
    from distributed import Reschedule

    host = socket.gethostname()
    if work.version != iem_xp.__version__:
        there, here = iem_xp.__version__, work.version
        raise WorkerError(f"{host}: iem-xp {there} is installed there, and {here} here; install the same")
    try:
        return _segment_part(work, sources, left)
    except Reschedule:
        raise
    except (DeviceError, EngineError) as error:
        cause = str(error)
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
    # What is raised is sent, and not all errors arrive.
    raise WorkerError(f"{host}: {cause}")


def _segment_part(work: Work, sources: Sequence[Source], left: int) -> Result:
    from distributed import get_worker

    limit_pixels(work.max_pixels)
    worker = get_worker()
    method = _search(work, left)
    # On a GPU one part at a time is computed, so that the other threads of the worker can read for it.
    threads = worker.state.nthreads if method.serial else 1
    finder = Finder(work.settings, method, workers=threads, batch_size=work.batch_size)
    found: list[Found] = []

    def take(some: Sequence[Found], leave: Leave) -> None:
        found.extend(map(packed, some))
        leave(len(some))

    def prepare(image: Pixels) -> None:
        method.prepare(image, left)

    with finder.open_workers() as workers:
        finder.find(_until_closing(sources, worker), workers, take, prepare)
    missing = all(one.entry is None and is_missing(one.source.path) for one in found)
    return Result(found, method.engine, socket.gethostname() if missing else None)


@lru_cache(maxsize=1)
def _search(work: Work, left: int) -> Search:
    """The search of a process, which keeps from part to part its engine, and what it has learnt of memory."""
    return Search(work.settings.config, resolve_device(work.device)[0], work.engine)


def _until_closing(sources: Iterable[Source], worker: Any) -> Iterator[Source]:
    """Iterate over images; a worker that is being closed, and waits for this, leaves the part to another."""
    from distributed import Reschedule, Status

    for source in sources:
        if worker.status in (Status.closing, Status.closed, Status.failed):
            raise Reschedule
        yield source


def packed(found: Found) -> Found:
    """Return what was found with each mask as bits, to be sent."""

    def pack(mask: Mask) -> Any:
        return _Packed(to_bits(mask), mask.shape)

    return _with_masks(found, pack)


def unpacked(found: Found) -> Found:
    """Return what was found with the masks that it had before `packed`."""

    def unpack(mask: Any) -> Mask:
        return from_bits(mask.bits, *mask.shape)

    return _with_masks(found, unpack)


def _with_masks(found: Found, change: Callable[[Any], Any]) -> Found:
    # Python's numbers: NumPy's are several times as long on their way.
    return found._replace(
        candidates=[
            one._replace(
                mask=change(one.mask),
                inpainting_error=float(one.inpainting_error),
                updates=int(one.updates),
            )
            for one in found.candidates
        ]
    )
