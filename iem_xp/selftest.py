"""A tiny search by every backend that is here, compared with NumPy's: what a bug report needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, NamedTuple

import numpy as np

from iem_xp import fused
from iem_xp.arrays import LIBRARIES, Array, to_device, to_host
from iem_xp.config import IEMConfig
from iem_xp.cuda import NoGPUError
from iem_xp.devices import list_devices, resolve_device
from iem_xp.engines import Announce, Engine
from iem_xp.engines import choose as choose_engine
from iem_xp.segmentation import segment
from iem_xp.solver import centred_square

MOST_DIFFERENT = 1
"""Masks that rounding may change, where one decides the sign of a gradient near 0."""
MOST_DIFFERENCE = 1e-5
"""Of inpainting errors of equal masks: rounding makes 1e-6 at most, products in TF32 make 6e-5."""


@dataclass(frozen=True)
class Result:
    """What came of a backend.

    Attributes
    ----------
    backend : str
        "numpy", "fused", "cupy gpu:N" or a package of `iem_xp.arrays.LIBRARIES`.
    status : {"agrees", "differs", "failed", "missing"}
        "differs" is by more than rounding.
    problem : str, optional
        Why it is missing, or the error of one that failed.
    seconds : float, optional
        Importing and compiling included.
    masks, identical_masks, different_pixels : int, optional
        How many were found; how many of them are NumPy's; how many pixels of the others are not.
    error_difference : float, optional
        Largest difference of the inpainting errors of identical masks.
    """

    backend: str
    status: Literal["agrees", "differs", "failed", "missing"]
    problem: str | None = None
    seconds: float | None = None
    masks: int | None = None
    identical_masks: int | None = None
    different_pixels: int | None = None
    error_difference: float | None = None


class _Found(NamedTuple):
    masks: np.ndarray  # bool (N, H, W)
    errors: np.ndarray  # (N,)


class _MissingError(Exception):
    """A backend is not installed."""


def run(announce: Announce) -> Iterator[Result]:
    """Iterate over the results of all backends, as they come: NumPy's array engine first.

    Parameters
    ----------
    announce : callable
        Called with a line about the fused engine if it is to be compiled.
    """
    expected: _Found | None = None
    for name, search in _backends(_pairs(), announce):
        start = time.perf_counter()
        try:
            found = search()
        except _MissingError as error:
            yield Result(name, "missing", str(error))
        except Exception as error:
            yield Result(name, "failed", f"{type(error).__name__}: {error}")
        else:
            expected = expected or found
            yield replace(_compare(name, found, expected), seconds=time.perf_counter() - start)


def _backends(pairs: list[np.ndarray], announce: Announce) -> Iterator[tuple[str, Callable[[], _Found]]]:
    yield "numpy", partial(_search, pairs, np.asarray)
    yield "fused", partial(_search_fused, pairs, announce)
    # Before a library that takes all of a GPU's memory for itself.
    for device in list_devices()[1:]:
        yield f"cupy {device.name}", partial(_search_on, device.name, pairs)
    for package, module in LIBRARIES.items():
        yield package, partial(_search_with, package, module, pairs)


def _search_fused(pairs: list[np.ndarray], announce: Announce) -> _Found:
    obstacle = fused.find_obstacle()
    if obstacle is not None:
        raise _MissingError(obstacle)
    choose_engine("fused", pairs[0], 0, IEMConfig(), announce)
    return _search(pairs, np.asarray, "fused")


def _search_on(device: str, pairs: list[np.ndarray]) -> _Found:
    try:
        device, _ = resolve_device(device)
    except NoGPUError as error:
        raise _MissingError(error) from error
    return _search(pairs, partial(to_device, device=device))


def _search_with(package: str, module: str, pairs: list[np.ndarray]) -> _Found:
    if find_spec(module.partition(".")[0]) is None:
        raise _MissingError(f"{package} is not installed")
    return _search(pairs, import_module(module).asarray)


def _search(
    pairs: list[np.ndarray], asarray: Callable[[np.ndarray], Array], engine: Engine = "array"
) -> _Found:
    """Masks of all images from each of the paper's squares."""
    found = [
        segment(asarray(pair), init=asarray(np.array(centred_square(pair, side))), engine=engine)
        for side in IEMConfig().init_sides
        for pair in pairs
    ]
    return _Found(
        np.concatenate([to_host(each.masks) for each in found]),
        np.concatenate([to_host(each.inpainting_error) for each in found]),
    )


def _compare(name: str, found: _Found, expected: _Found) -> Result:
    different = found.masks != expected.masks
    identical = ~np.any(different, axis=(1, 2))
    error_difference = float(np.max(np.abs(found.errors - expected.errors), where=identical, initial=0))
    agrees = np.sum(~identical) <= MOST_DIFFERENT and error_difference <= MOST_DIFFERENCE
    return Result(
        name,
        "agrees" if agrees else "differs",
        masks=len(identical),
        identical_masks=int(np.sum(identical)),
        different_pixels=int(np.sum(different)),
        error_difference=error_difference,
    )


def _pairs() -> list[np.ndarray]:
    """Two pairs of images, uint8 (2, 48, 80, 3): each an ellipse on a ground, both with stripes and noise."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:48, :80]
    return [np.stack([_image(rows, columns, rng) for _ in range(2)]) for _ in range(2)]


def _image(rows: np.ndarray, columns: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = rows.shape
    (top, bottom), (left, right) = rng.uniform(0.1, 0.4, (2, 2))
    row, column = (top + 1 - bottom) / 2 * height, (left + 1 - right) / 2 * width
    tall, wide = (1 - top - bottom) / 2 * height, (1 - left - right) / 2 * width
    inside = ((rows - row) / tall) ** 2 + ((columns - column) / wide) ** 2 < 1
    figure, ground = rng.uniform(40, 215, (2, 3))
    colours = np.where(inside[..., None], figure, ground) + 20 * np.sin(columns / 5)[..., None]
    return np.clip(colours + rng.normal(0, 12, colours.shape), 0, 255).astype(np.uint8)
