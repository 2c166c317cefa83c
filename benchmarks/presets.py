"""What the presets take for a photograph, on the fused engine with one thread, and their masks side by side.

``python benchmarks/presets.py [FOLDER...]`` prints a row for each folder, by default for the samples: runs
alternate. ``python benchmarks/presets.py --draw FILE`` draws the samples with both masks instead.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from common import SAMPLES, files_of, photographs, versions, without_fixed_kernels
from PIL import Image

from iem_xp.config import PRESETS, IEMConfig
from iem_xp.engines import solve
from iem_xp.images import fit_image, read_image, restore_mask
from iem_xp.rendering import contact_sheet, overlay
from iem_xp.segmentation import segment

RUNS, MOST = 7, 100


def compare(folder: Path) -> str:
    """Row of a folder: its photographs, ms for each of them, and the ratio, medians of the runs."""
    images = photographs(128, folder, MOST)
    times: dict[str, list[float]] = {name: [] for name in PRESETS}
    for _ in range(RUNS + 1):
        for name, config in PRESETS.items():
            begin = time.perf_counter()
            solve(images, config.init_sides, config, "fused", 1)
            times[name].append((time.perf_counter() - begin) / len(images) * 1e3)
    paper, best = (times[name][1:] for name in ("paper", "best"))  # the first run compiles
    ratio = statistics.median(b / p for p, b in zip(paper, best, strict=True))
    medians = f"{statistics.median(paper):.1f} | {statistics.median(best):.1f}"
    return f"| {folder} | {len(images)} | {medians} | {ratio:.2f} |"


def draw(file: Path) -> None:
    """Draw the samples, and both presets' masks over them."""
    rows = []
    for path in files_of(SAMPLES):
        image = read_image(path).pixels
        working = fit_image(image, 128, "whole")
        masks = [
            restore_mask(segment(working, config).masks[0], *image.shape[:2])
            for config in (IEMConfig(choose="image"), IEMConfig.preset("best"))
        ]
        rows.append([image, *(overlay(image, mask) for mask in masks)])
    Image.fromarray(contact_sheet(["image", "paper", "best"], rows, 200)).save(file, optimize=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--draw"]:
        draw(Path(sys.argv[2]))
    else:
        without_fixed_kernels()
        print(f"{versions('numpy', 'numba')}\n")
        print("| photographs | | paper, ms | best, ms | ratio |\n|---|---|---|---|---|")
        for folder in map(Path, sys.argv[1:] or [SAMPLES]):
            print(compare(folder), flush=True)
