"""How long a GPU would take at the least: ``python benchmarks/gpu_estimate.py``. Nothing here runs on one.

The calls of one update are counted on the host (tests/counting.py), with their bytes and, of matrix products,
their operations. A call takes what its bytes take at the memory's full rate, or its operations at the full
rate of float32 without tensor cores, whichever is more; and a launch what Python and the driver need for it.
"""

from __future__ import annotations

import sys
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from iem_xp import IEMConfig
from iem_xp.layout import to_colours
from iem_xp.solver import centred_square, update
from iem_xp.terms import Scene

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from counting import Call, Library, launches, plane_passes
from hostcuda import CudaLibrary

COUNTED, IMAGES, UPDATES = 8, 1020, 150
SECONDS_PER_LAUNCH = 10e-6


class GPU(NamedTuple):
    """A device as its maker describes it: bytes and float32 operations a second."""

    name: str
    memory: float
    arithmetic: float


GPUS = (GPU("GTX 1080 Ti", 484e9, 11.3e12), GPU("H100 SXM", 3350e9, 67e12))


def calls_of_an_update(library: Library) -> list[Call]:
    """Calls of one update of `COUNTED` images of 128 x 128, RGB, with the paper's numbers."""
    rng = np.random.default_rng(0)
    images = library.asarray(rng.integers(0, 256, (COUNTED, 128, 128, 3), dtype=np.uint8))
    scene, masks = Scene.of(to_colours(images), IEMConfig()), centred_square(images, 78)
    return library.record(lambda: update(scene, masks))


def operations(call: Call) -> int:
    """Multiplications and additions of a matrix product; of other calls they do not matter."""
    if call.name != "__matmul__":
        return 0
    one, other = (operand.shape for operand in call.arguments)
    return 2 * prod(np.broadcast_shapes(one[:-2], other[:-2])) * one[-2] * one[-1] * other[-1]


def seconds_per_update(calls: list[Call], gpu: GPU) -> float:
    """Least time of one update of all images."""
    share = IMAGES / COUNTED
    work = (
        max(share * (call.read + call.written) / gpu.memory, share * operations(call) / gpu.arithmetic)
        for call in calls
    )
    return sum(work) + launches(calls) * SECONDS_PER_LAUNCH


def main() -> None:
    """Print the table."""
    print("| | launches | plane passes | MFLOP |" + "".join(f" {gpu.name}, s |" for gpu in GPUS))
    print("|---|---|---|---|" + "---|" * len(GPUS))
    for name, library in (("array code alone", Library()), ("with the kernels", CudaLibrary())):
        calls = calls_of_an_update(library)
        passes = plane_passes(calls, COUNTED * 128 * 128)
        flop = sum(map(operations, calls)) / COUNTED / 1e6
        times = "".join(f" {UPDATES * seconds_per_update(calls, gpu):.2f} |" for gpu in GPUS)
        print(f"| {name} | {launches(calls)} | {passes:.0f} | {flop:.0f} |{times}")


if __name__ == "__main__":
    main()
