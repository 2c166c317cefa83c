"""What finds the masks of a run: the search of the paper, or whatever else is to be compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from iem_xp.arrays import Array
from iem_xp.choice import Ascent
from iem_xp.config import IEMConfig
from iem_xp.engines import Announce, Engine, EngineOption, choose, solve
from iem_xp.images import Pixels
from iem_xp.memory import Batches, useful_size


class Method(Protocol):
    """Finds masks of images, one from each of its initial squares or from none, in any thread.

    Attributes
    ----------
    name : str or None
        What a run that others continue must have been made by, beyond its settings; None for the search.
    engine : str or None
        What computes, once it is known.
    device : str
        Where: "cpu" or "gpu:N".
    sides : tuple of int
        Sides of the initial squares, as in `IEMConfig.init_sides`; (0,) if it starts from none.
    serial : bool
        Whether one group of images at a time is given to it: to a GPU, or to what has threads of its own.
    """

    name: str | None
    engine: str | None
    device: str
    sides: tuple[int, ...]
    serial: bool

    def prepare(self, image: Pixels, count: int) -> None:
        """Make ready for `count` images such as this one, (h, w, 3); called once, before any `find`."""

    def group_size(self, image: Pixels) -> int:
        """Return how many images such as this one are best computed together."""

    def find(self, images: Pixels) -> Sequence[tuple[NDArray[Any], ...]]:
        """Find the masks of images (N, h, w, 3): for each of the sides, or of the best of each image.

        Each is an Ascent of NumPy arrays, whose starts are positions in `sides`, or begins as one: what
        follows it are further fields of `iem_xp.runs.records.Candidate`.

        A MemoryError means that images of this size do not fit, and nothing about others.
        """


class Search:
    """The method of the paper, as a `Method`.

    Parameters
    ----------
    config : IEMConfig
    device : str
        "cpu" or "gpu:N".
    engine : {"auto", "array", "fused"}
    announce : callable, optional
        Called with a line about the engine, as by `iem_xp.engines.choose`, or about memory, as by `Batches`.
    workers : int, optional
        Threads of the fused engine for one call: 1, as several threads call; None for all CPUs.
    """

    def __init__(
        self,
        config: IEMConfig,
        device: str = "cpu",
        engine: EngineOption = "auto",
        announce: Announce | None = None,
        *,
        workers: int | None = 1,
    ) -> None:
        self.name: str | None = None
        self.engine: str | None = None
        self.device = device
        self.sides = config.init_sides
        self.serial = device != "cpu"
        self._config = config
        self._workers = workers
        self._option, self._announce = engine, announce
        self._batches = Batches(device, announce)

    def prepare(self, image: Pixels, count: int) -> None:
        """Choose the engine and start it."""
        engine: Engine = "array"
        if self.device == "cpu":
            height, width, _ = image.shape
            pixels = count * height * width * len(self.sides)
            engine = choose(self._option, image, pixels, self._config, self._announce)
        self.engine = self._option = engine

    def group_size(self, image: Pixels) -> int:
        """Return how many images such as this one are best computed together."""
        return useful_size(image.shape, cached=self.device == "cpu")

    def find(self, images: Pixels) -> list[Ascent]:
        """Search from every initial square, and take the best of each image if so configured.

        Once memory did not suffice for a batch, the batches of all later images are smaller, too.
        """
        return self.ascend(images, self.sides)

    def ascend(
        self, images: Pixels, starts: Sequence[int | Array], prior: Array | None = None
    ) -> list[Ascent]:
        """Search from each of some squares, by their sides, or masks (N, h, w); `prior` as for `solve`."""
        return solve(images, starts, self._config, self._option, self._workers, self._batches, prior)
