"""How often array libraries end at NumPy's masks: ``python benchmarks/libraries.py FOLDER...``.

A FOLDER holds photographs in `images/`, of which 25 are taken. The paper's protocol, 128 x 128; every
photograph from each of the three squares, by the array engine. "jax compiled" is a ``jax.jit`` of
all updates.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
from common import files_of, photographs

import iem_xp
from iem_xp import arrays, metrics
from iem_xp.arrays import Array, to_host

COUNT = 25


def strict(images: np.ndarray) -> Array:
    """Arrays of array-api-strict on a device that is not the default."""
    import array_api_strict

    return array_api_strict.asarray(images, device=array_api_strict.Device("device1"))


def asarray(package: str, images: np.ndarray) -> Array:
    """Arrays of a package, on its default device."""
    return import_module(arrays.LIBRARIES[package]).asarray(images)


def search(images: Array, side: int) -> Array:
    """Masks that `segment` finds from one square."""
    return iem_xp.segment(images, iem_xp.IEMConfig(init_sides=(side,)), engine="array").masks


def compiled(images: Array, side: int) -> Array:
    """The same by all updates, none left out, in one compiled function of JAX."""
    import jax

    def ascend(images: Array, start: Array) -> Array:
        return jax.lax.fori_loop(0, 150, lambda _, masks: iem_xp.update(images, masks), start)

    return jax.jit(ascend)(images, iem_xp.centred_square(images, side))


LIBRARIES: dict[str, tuple[Callable[[np.ndarray], Array], Callable[[Array, int], Array]]] = {
    "array-api-strict": (strict, search),
    "torch": (partial(asarray, "torch"), search),
    "jax compiled": (partial(asarray, "jax"), compiled),
    "jax": (partial(asarray, "jax"), search),
}


def main(folders: list[Path], libraries: list[str]) -> None:
    """Print a row for every library, and a line for every mask that is another one than NumPy's."""
    names = [
        f"{folder.name}/{file.stem}" for folder in folders for file in files_of(folder / "images", COUNT)
    ]
    images = np.concatenate([photographs(128, folder / "images", COUNT) for folder in folders])
    sides = iem_xp.IEMConfig().init_sides
    clock = time.perf_counter()
    expected = {side: search(images, side) for side in sides}
    print(f"{len(names)} photographs; numpy {time.perf_counter() - clock:.0f} s")
    print("| library | " + " | ".join(f"identical from {side}" for side in sides) + " | s |")
    print("|---|" + "---|" * (len(sides) + 1))
    others = []
    for library in libraries:
        convert, find = LIBRARIES[library]
        ours, same = convert(images), []
        clock = time.perf_counter()
        for side in sides:
            masks = to_host(find(ours, side))
            pixels = np.sum(masks != expected[side], axis=(1, 2))
            iou = metrics.iou(masks, expected[side])
            same.append(int(np.sum(pixels == 0)))
            others += [
                f"| {library} | {names[i]} | {side} | {pixels[i]} | {iou[i]:.3f} |"
                for i in np.flatnonzero(pixels)
            ]
        seconds = time.perf_counter() - clock
        print(f"| {library} | {' | '.join(map(str, same))} | {seconds:.0f} |", flush=True)
    print("\n| library | photograph | square | pixels that differ | IoU |\n|---|---|---|---|---|")
    print("\n".join(others))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--library", action="append", choices=LIBRARIES)
    arguments = parser.parse_args()
    main(arguments.folders, arguments.library or list(LIBRARIES))
