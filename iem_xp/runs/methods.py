"""What finds the masks of a run: the search of the paper, or whatever else is to be compared with it."""

from __future__ import annotations

from typing import Protocol

from iem_xp.config import IEMConfig
from iem_xp.engines import Announce, Engine, EngineOption, choose, solve
from iem_xp.images import Pixels
from iem_xp.memory import Batches, useful_size
from iem_xp.solver import Ascent


class Method(Protocol):
    """Finds a mask for each initial square of each image, in any thread.

    Attributes
    ----------
    name : str or None
        What a run that others continue must have been made by, beyond its settings; None for the search.
    engine : str or None
        What computes, once it is known.
    device : str
        Where: "cpu" or "gpu:N", to which one group of images at a time is given.
    """

    name: str | None
    engine: str | None
    device: str

    def prepare(self, image: Pixels, count: int) -> None:
        """Make ready for `count` images such as this one, (h, w, 3); called once, before any `find`."""

    def group_size(self, image: Pixels) -> int:
        """Return how many images such as this one are best computed together."""

    def find(self, images: Pixels) -> list[Ascent]:
        """Find the masks of images (N, h, w, 3); an Ascent of NumPy arrays for each initial square.

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
    """

    def __init__(
        self,
        config: IEMConfig,
        device: str = "cpu",
        engine: EngineOption = "auto",
        announce: Announce | None = None,
    ) -> None:
        self.name: str | None = None
        self.engine: str | None = None
        self.device = device
        self._config = config
        self._option, self._announce = engine, announce
        self._batches = Batches(device, announce)

    def prepare(self, image: Pixels, count: int) -> None:
        """Choose the engine and start it."""
        engine: Engine = "array"
        if self.device == "cpu":
            height, width, _ = image.shape
            pixels = count * height * width * len(self._config.init_sides)
            engine = choose(self._option, image, pixels, self._config, self._announce)
        self.engine = self._option = engine

    def group_size(self, image: Pixels) -> int:
        """Return how many images such as this one are best computed together."""
        return useful_size(image.shape, cached=self.device == "cpu")

    def find(self, images: Pixels) -> list[Ascent]:
        """Search from every initial square.

        Once memory did not suffice for a batch, the batches of all later images are smaller, too.
        """
        sides = self._config.init_sides
        return solve(images, sides, self._config, self._option, workers=1, batches=self._batches)
