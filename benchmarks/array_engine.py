"""Speed and memory of the array engine on NumPy, on the sample photographs: ``make bench``.

One process, one BLAS thread; medians over several runs. The two variables that fix OpenBLAS's kernels, if
set, are removed first, since they cost up to half of the speed.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import SAMPLES, photographs, versions, without_fixed_kernels

from iem_xp import IEMConfig, segment
from iem_xp.layout import to_colours
from iem_xp.solver import centred_square, update
from iem_xp.terms import Scene
from iem_xp.threads import few_threads

UPDATES = 30
RUNS = 7
PAPER = ("--preset", "paper", "--fit", "whole")


def milliseconds_per_update(images: np.ndarray) -> float:
    """Time of one update of one image, before any retires: the median over runs from the square of 78."""
    scene, start = Scene.of(to_colours(images), IEMConfig()), centred_square(images, 78)
    times = []
    with few_threads(images):
        for _ in range(RUNS):
            masks, begin = start, time.perf_counter()
            for _ in range(UPDATES):
                masks = update(scene, masks)
            times.append((time.perf_counter() - begin) / UPDATES / len(images))
    return statistics.median(times) * 1e3


def milliseconds_to_import() -> float:
    """Time that `import iem_xp` adds to a new interpreter: the median over runs."""
    code = "import time; t = time.perf_counter(); import iem_xp; print(time.perf_counter() - t)"
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(RUNS)]
    return statistics.median(float(run.stdout) for run in runs) * 1e3


def peak_megabytes(images: int, batch_size: int) -> float:
    """Peak memory of `iem-xp segment` over a folder of copies of the samples, two updates each."""
    with tempfile.TemporaryDirectory() as folder:
        samples = sorted(SAMPLES.glob("*.jpg"))
        for i in range(images):
            Path(folder, f"{i:06}.jpg").write_bytes(samples[i % len(samples)].read_bytes())
        options = [
            "-o",
            f"{folder}/run",
            "--engine",
            "array",
            "--iterations",
            "2",
            "--batch-size",
            str(batch_size),
            "--json",
        ]
        code = (
            "import resource, sys; from iem_xp_cli.main import cli; cli(sys.argv[1:], standalone_mode=False);"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        command = [sys.executable, "-c", code, "segment", *PAPER, folder, *options]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return int(out.splitlines()[-1]) / 1024


def main() -> None:
    """Print the tables."""
    print(f"{versions('numpy')}\n")
    print("| size | images at a time | ms per image and update |\n|---|---|---|")
    for size in (128, 256, 512):
        images = photographs(size)
        for count in (1, 4, len(images)) if size == 128 else (1,):
            print(f"| {size} x {size} | {count} | {milliseconds_per_update(images[:count]):.2f} |")

    images = photographs(128)
    print("\n| initial square | updates computed of 150 | s per image |\n|---|---|---|")
    for side in (44, 78, 92):
        begin = time.perf_counter()
        result = segment(images, IEMConfig(init_sides=(side,)), engine="array")
        seconds = (time.perf_counter() - begin) / len(images)
        print(f"| {side} | {np.mean(result.updates):.0f} | {seconds:.3f} |")

    print(f"\n`import iem_xp`: {milliseconds_to_import():.0f} ms")

    if "--memory" in sys.argv:
        print("\n| images | batch size | peak memory, MB |\n|---|---|---|")
        for count, batch_size in ((100, 16), (3000, 16), (1000, 256)):
            print(f"| {count} | {batch_size} | {peak_megabytes(count, batch_size):.0f} |")


if __name__ == "__main__":
    without_fixed_kernels()
    main()
