"""The fused engine's speed beside the array engine's and GrabCut's: ``make bench``.

One process, one thread each; figures are medians, and engines that are compared alternate. Photographs are
the samples; for those of other folders: ``python benchmarks/fused_engine.py FOLDER...``.
"""

from __future__ import annotations

import resource
import statistics
import sys
from pathlib import Path

import cv2
import numpy as np
from common import SAMPLES, photographs, seconds, versions, without_fixed_kernels

from iem_xp import IEMConfig, fused
from iem_xp.baselines import grabcut
from iem_xp.fused.ascent import Workspace
from iem_xp.fused.tables import tables_for
from iem_xp.layout import to_colours
from iem_xp.solver import Ascent, ascend, centred_square, solve
from iem_xp.terms import Scene
from iem_xp.threads import few_threads

RUNS = 5


def fused_alone(images: np.ndarray, starts: list[np.ndarray], config: IEMConfig) -> list[Ascent]:
    """The fused engine on one thread."""
    return fused.solve(images, starts, config, workers=1)


def compare_engines(folder: Path, count: int) -> None:
    """Print a row: three squares, 150 updates, retirement on both sides."""
    images, config = photographs(128, folder, count), IEMConfig()
    starts = [centred_square(images, side) for side in config.init_sides]
    times = [[seconds(f, images, starts, config, runs=1) for f in (solve, fused_alone)] for _ in range(RUNS)]
    array, compiled = (1e3 * statistics.median(column) / len(images) for column in zip(*times, strict=True))
    ratio = statistics.median(slow / fast for slow, fast in times)
    print(
        f"| {folder.parent.name}/{folder.name} | {len(images)} | {array:.0f} | {compiled:.1f} | {ratio:.1f} |"
    )


def seconds_per_update(image: np.ndarray, engine: str, side: int = 78, few: int = 2, many: int = 32) -> float:
    """Time of one update of one image (H, W, 3) while it is in the search; NaN if it is not for so long."""
    images = image[None]
    start, tables = centred_square(images, side), tables_for(*image.shape[:2], IEMConfig())
    colours, times = to_colours(images), []
    for iterations in (few, many):
        config = IEMConfig(iterations=iterations)
        workspace = Workspace(image.shape[2], *image.shape[:2], tables, config)
        scene = Scene.of(colours, config)

        def by_array(scene: Scene = scene) -> int:
            with few_threads(images):
                return int(ascend(scene, start).updates[0])

        def by_fused(workspace: Workspace = workspace) -> int:
            return int(workspace.ascend(colours[0], start)[2][0])

        run = by_array if engine == "array" else by_fused
        if run() < iterations:
            return float("nan")
        times.append(seconds(run, runs=RUNS))
    return (times[1] - times[0]) / (many - few)


def show_update(folder: Path, count: int) -> float:
    """Print a row: time of an update at 128 x 128; its median."""
    values = 1e3 * np.array([seconds_per_update(image, "fused") for image in photographs(128, folder, count)])
    values = values[np.isfinite(values)]
    low, middle, high = np.percentile(values, (10, 50, 90))
    print(f"| {folder.parent.name}/{folder.name} | {len(values)} | {middle:.3f} | {low:.3f} to {high:.3f} |")
    return float(middle) / 1e3


def show_sizes() -> None:
    """Print a row for each working size."""
    for size, many in ((128, 32), (256, 32), (512, 12), (1024, 6)):
        images = photographs(size)
        per_engine = []
        for engine in ("array", "fused"):
            chosen = images if size < 512 or engine == "fused" else images[:2]
            per_engine.append(np.nanmedian([seconds_per_update(x, engine, many=many) for x in chosen]))
        array, compiled = per_engine
        print(
            f"| {size} x {size} | {1e3 * array:.2f} | {1e3 * compiled:.3f} | {array / compiled:.1f} "
            f"| {1e9 * compiled / size**2:.1f} |"
        )


def show_arithmetic(update: float) -> None:
    """Print the multiply-adds of an update at 128 x 128, and how long they take in a matrix product."""
    pixels, planes, boundary, flips = 128 * 128, 4, 1100, 55
    taps = 2 * IEMConfig().repeats * (IEMConfig().kernel_size // 2) + 1
    counts = {
        "the adjoint along columns": pixels * planes * taps,
        "along rows, at the boundary": boundary * planes * taps,
        "sums that flips change": flips * planes * taps * (1 + 2 * taps),
        "predictions": pixels * 3 * (planes + 1),
    }
    matrix = np.ones((1024, 1024), dtype=np.float32)
    with few_threads(matrix):
        rate = 1024**3 / seconds(np.matmul, matrix, matrix)
    total = sum(counts.values())
    parts = ", ".join(f"{count / 1e6:.2f} {name}" for name, count in counts.items())
    print(f"\nMillion multiply-adds of an update: {parts}; in all {total / 1e6:.1f}.")
    print(f"A matrix product does {rate / 1e9:.0f} in a nanosecond, as many in {1e3 * total / rate:.3f} ms.")
    print(f"The update takes {1e3 * update:.3f} ms, {update / (total / rate):.1f} times as long.")


def compare_grabcut(folder: Path, count: int) -> None:
    """Print a row: time per image, one thread each."""
    images = photographs(128, folder, count)
    starts = [centred_square(images, side) for side in (44, 78, 92)]
    boxes = centred_square(images, 112)
    names = [f"{folder.parent.name}/{folder.name}"]
    times = [
        seconds(
            lambda: [grabcut(image, start) for image, start in zip(images, boxes, strict=True)], runs=RUNS
        ),
        seconds(fused_alone, images, starts[1:2], IEMConfig(), runs=RUNS),
        seconds(fused_alone, images, starts, IEMConfig(), runs=RUNS),
    ]
    print("| " + " | ".join(names + [f"{1e3 * time / len(images):.1f}" for time in times]) + " |")


def show_memory() -> None:
    """Print what a thread's work space takes, and how far the process grows with each thread."""

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    images = np.concatenate([photographs(128)] * 4)
    starts = [centred_square(images, side) for side in (44, 78, 92)]
    fused.solve(images[:1], [start[:1] for start in starts], IEMConfig(), workers=1)
    one = peak()
    threads = 8
    fused.solve(images, starts, IEMConfig(), workers=threads)
    print(f"\nMemory: {(peak() - one) / (threads - 1):.1f} MB for each further thread, at 128 x 128")


def main(folders: list[Path]) -> None:
    """Print the tables."""
    cv2.setNumThreads(1)
    fused.start()
    show_memory()
    print(f"\n{versions('numpy', 'numba', 'opencv-python-headless')}")
    print("\n| photographs | | array, ms per image | fused, ms | ratio |\n|---|---|---|---|---|")
    for folder in folders:
        compare_engines(folder, 24)
    print("\n| photographs | | ms per image and update | 10 to 90 % |\n|---|---|---|---|")
    updates = [show_update(folder, 24) for folder in folders]
    show_arithmetic(statistics.median(updates))
    print(
        "\n| size | array, ms per update | fused, ms | ratio | fused, ns per pixel |\n|---|---|---|---|---|"
    )
    show_sizes()
    print("\n| photographs, ms per image | GrabCut | fused, one square | fused, three |\n|---|---|---|---|")
    for folder in folders:
        compare_grabcut(folder, 24)


if __name__ == "__main__":
    without_fixed_kernels()
    main([Path(argument) for argument in sys.argv[1:]] or [SAMPLES])
