"""How many images are in memory together: what an ascent takes of it, and less where that was too much."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TypeVar

from array_api_compat import device as device_of

from iem_xp.arrays import (
    Array,
    free_memory,
    is_cached,
    is_out_of_memory,
    release_memory,
    to_device,
    to_host,
)
from iem_xp.config import IEMConfig

T = TypeVar("T")

PLANES, PLANES_PER_CHANNEL = 11, 11.25
"""The model: float32 planes that an ascent holds at its peak for an image, and for each of its channels.

Measured by counting what is alive, which ``tests/test_memory.py`` does again."""

PALETTE_PLANES = 6
"""Besides, where colours are counted: codes and order, and those of the images still in a batch."""
PALETTE_SEARCH, PALETTE_SEARCH_PER_CHANNEL, PALETTE_SEARCH_PER_COLOUR = 2.25, 2.5, 1.25
"""Planes that it takes to find a palette; they are gone before an ascent."""

SHARE = 1 / 2
"""Of the free memory, what a batch may take by the model.

The rest is for what the model does not know: gaps in the library's pool, copies that it makes for itself,
work space of its matrix products, other programs."""

CACHED_VALUES, USEFUL_VALUES = 2**18, 2**26
"""Values in the planes of a batch: what stays in a CPU's cache, and what keeps a GPU busy (1,024 images of
128 x 128, RGB); more gain nothing."""


class OutOfMemoryError(MemoryError):
    """A single image that does not fit into memory; the message says what it takes, and what mends it."""


def bytes_per_image(shape: tuple[int, ...], config: IEMConfig | None = None) -> int:
    """Bytes that a search takes at its peak, for each image of `shape` (..., H, W, C), by the model.

    Of the configuration, the paper's by default, it matters whether colours are counted.
    """
    height, width, channels = shape[-3:]
    planes = PLANES + PLANES_PER_CHANNEL * channels
    if config is not None and config.needs_palette:
        search = PALETTE_SEARCH + PALETTE_SEARCH_PER_CHANNEL * channels
        search += PALETTE_SEARCH_PER_COLOUR * config.colours
        planes = max(planes + PALETTE_PLANES, search)
    return math.ceil(4 * planes) * height * width


def useful_size(shape: tuple[int, ...], *, cached: bool) -> int:
    """Images of `shape` (..., H, W, C) that are worth computing together, at least 1.

    Few where they are `cached`, so that their planes stay in a CPU's cache; many elsewhere, where a call
    costs more than the values it works on.
    """
    height, width, channels = shape[-3:]
    return max(1, (CACHED_VALUES if cached else USEFUL_VALUES) // (height * width * (channels + 1)))


class Batches:
    """Images taken to where the work is done, in batches that fit into its memory, and results taken back.

    A batch has as many images as are useful (`useful_size`) and, by the model (`bytes_per_image`), fit into
    a `SHARE` of the free memory, where the library tells. One that does not fit after all is
    halved, and so are those that follow, for as long as this object is used.

    Parameters
    ----------
    device : str, optional
        "cpu" or "gpu:N". By default the work is done where the images are, and its results stay there.
    announce : callable, optional
        Called with a line when a batch did not fit; by default that is a RuntimeWarning.

    Attributes
    ----------
    limit : float
        Bytes that a batch may take by the model: half of what did not fit.
    """

    def __init__(self, device: str | None = None, announce: Callable[[str], object] | None = None) -> None:
        self.limit = math.inf
        self._device = device
        self._announce = announce or _warn

    def put(self, array: Array) -> Array:
        """The array, where the work is done."""
        return array if self._device is None else to_device(array, self._device)

    def get(self, array: Array) -> Array:
        """A result: a NumPy array, where a device was named."""
        return array if self._device is None else to_host(array)

    def size(self, there: Array, config: IEMConfig | None = None) -> int:
        """Images in a batch, given an array (..., H, W, C) of their size where the work is done."""
        free = free_memory(there)
        room = min(self.limit, math.inf if free is None else SHARE * free)
        fitting = room / bytes_per_image(there.shape, config)
        return max(1, int(min(useful_size(there.shape, cached=is_cached(there)), fitting)))

    def map(self, work: Callable[[int, int], T], images: Array, config: IEMConfig | None = None) -> list[T]:
        """Do the work on all images (N, H, W, C), a batch at a time: at least one, which may be empty.

        Parameters
        ----------
        work : callable
            Takes the positions of a batch's first image and of the first one after it. If it runs out of
            memory it is called again for fewer, so nothing else should refer to what it makes.
        images : array (N, H, W, C)
        config : IEMConfig, optional
            Of the work, as for `bytes_per_image`.

        Returns
        -------
        list
            What came of each batch, in order.

        Raises
        ------
        OutOfMemoryError
            If a single image does not fit.
        """
        there = self.put(images[:0, ...])
        done: list[T] = []
        begin = 0
        while begin < images.shape[0] or not done:
            end = min(begin + self.size(there, config), images.shape[0])
            try:
                result = work(begin, end)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                cause = str(error)
            else:
                done.append(result)
                begin = end
                continue
            # Only here are the error, its traceback, and so all that the attempt held, gone.
            release_memory(there)
            self._shrink(end - begin, there, config, cause)
        return done

    def _shrink(self, count: int, there: Array, config: IEMConfig | None, cause: str) -> None:
        """Halve the batches, since one of so many images did not fit."""
        place = self._device or device_of(there)
        height, width, channels = there.shape[-3:]
        need = bytes_per_image(there.shape, config)
        if count <= 1:
            free = free_memory(there)
            known = "" if free is None else f", {free / 1e6:,.0f} MB are free"
            raise OutOfMemoryError(
                f"an image of {width} x {height} pixels, {channels} channel(s), does not fit into the memory "
                f"of {place}: it takes about {need / 1e6:,.0f} MB{known} ({cause or 'out of memory'}); "
                "make it smaller (--size), or compute on another device (--device)"
            )
        self.limit = min(self.limit, count * need / 2)
        self._announce(
            f"out of memory on {place} with {count} images of {width} x {height} pixels together, "
            f"{count // 2} from now on"
        )


def _warn(line: str) -> None:
    warnings.warn(line, RuntimeWarning, stacklevel=2)
