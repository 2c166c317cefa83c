"""What finds the masks of a run: the search of the paper, or whatever else is to be compared with it."""

from __future__ import annotations

from typing import Protocol

from iem_xp.arrays import exactly, to_device, to_host
from iem_xp.config import IEMConfig
from iem_xp.engines import Announce, Engine, EngineOption, choose, solve
from iem_xp.images import Pixels
from iem_xp.solver import Ascent, batch_size, centred_square


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
        """Find the masks of images (N, h, w, 3); an Ascent of NumPy arrays for each initial square."""


class Search:
    """The method of the paper, as a `Method`.

    Parameters
    ----------
    config : IEMConfig
    device : str
        "cpu" or "gpu:N".
    engine, announce
        As for `iem_xp.engines.choose`.
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
        return batch_size(image[None])

    def find(self, images: Pixels) -> list[Ascent]:
        """Search from every initial square."""
        on_device = to_device(images, self.device)
        with exactly(on_device):
            starts = [centred_square(on_device, side) for side in self._config.init_sides]
            ascents = solve(on_device, starts, self._config, self._option, workers=1)
            return [Ascent(*map(to_host, ascent)) for ascent in ascents]
