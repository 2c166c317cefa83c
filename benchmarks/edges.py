"""Masks at the own size of their images by each way to get there: how well they follow edges, and the time.

``python benchmarks/edges.py FOLDER...`` takes the photographs and masks in ``images`` and ``masks`` of each
folder and prints a table: of all, of a random half, that on which the numbers of `iem_xp.edges` were chosen,
and of the other. ``--preset paper`` is for the paper's search of whole images, with the choice for each
image. ``--truth N`` begins with true masks reduced to a shorter side of N instead of masks that were found,
so that nothing counts but the way back. ``--draw FILE`` draws details of samples instead, whose masks are
reduced to a shorter side of 32: so coarse is a mask of 128 for a photograph four times as large.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
from common import SAMPLES, files_of, versions, without_fixed_kernels
from PIL import Image

from iem_xp.config import IEMConfig
from iem_xp.edges import Edges, refine_edges
from iem_xp.evaluation.boundaries import boundary_f
from iem_xp.images import Mask, Pixels, fit_image, read_image, restore_mask
from iem_xp.labels import FOREGROUND, read_labels
from iem_xp.rendering import contact_sheet, overlay
from iem_xp.segmentation import segment

CONFIGS = {"best": IEMConfig.preset("best"), "paper": IEMConfig(choose="image")}
MODES: tuple[Edges, ...] = get_args(Edges)
DETAILS = {"flower": (10, 70), "cameraman": (40, 60), "cat": (30, 30)}
"""Top and left of a detail of a sample, in its pixels."""
SIDE, COARSE = 220, 32


def found(image: Pixels, config: IEMConfig) -> Mask:
    """The mask at work."""
    mask: Mask = segment(fit_image(image), config, engine="fused").masks[0]
    return mask


def reduced(truth: Mask, size: int) -> Mask:
    """A true mask at a shorter side of so many pixels."""
    scale = size / min(truth.shape)
    width, height = (max(1, round(side * scale)) for side in truth.shape[::-1])
    grey = Image.fromarray(truth.astype(np.uint8) * 255)
    return np.asarray(grey.resize((width, height), Image.Resampling.BOX)) > 127


def measure(folder: Path, config: IEMConfig, size: int | None) -> None:
    """Print rows of a folder."""
    files = files_of(folder / "images")
    order = list(range(len(files)))
    random.Random(0).shuffle(order)
    chosen = set(order[: len(files) // 2])
    scores: dict[Edges, list[tuple[float, float, float]]] = {mode: [] for mode in MODES}
    for file in files:
        image = read_image(file).pixels
        truth = read_labels(folder / "masks" / f"{file.stem}.png") == FOREGROUND
        mask = found(image, config) if size is None else reduced(truth, size)
        for mode in MODES:
            begin = time.thread_time()
            refined = refine_edges(image, mask, mode, config, engine="fused")
            spent = time.thread_time() - begin
            union = np.count_nonzero(refined | truth)
            iou = np.count_nonzero(refined & truth) / union if union else 1.0
            scores[mode].append((iou, boundary_f(refined, truth), spent))
    halves: dict[str, Callable[[int], bool]] = {
        "all": lambda i: True,
        "chosen on": lambda i: i in chosen,
        "the others": lambda i: i not in chosen,
    }
    for name, within in halves.items():
        rows = [i for i in range(len(files)) if within(i)]
        for mode in MODES:
            iou, boundary, spent = np.mean([scores[mode][i] for i in rows], axis=0)
            what = f"{folder.name}, {name} ({len(rows)}) | {mode}"
            print(f"| {what} | {iou:.2%} | {boundary:.2%} | {spent * 1e3:.1f} |")


def draw(file: Path) -> None:
    """Draw details of the samples, with their masks over them."""
    rows = []
    for name, (top, left) in DETAILS.items():
        image = read_image(SAMPLES / f"{name}.jpg").pixels
        mask = reduced(restore_mask(found(image, CONFIGS["best"]), *image.shape[:2]), COARSE)
        detail = slice(top, top + SIDE), slice(left, left + SIDE)
        masks = [refine_edges(image, mask, mode, CONFIGS["best"]) for mode in MODES]
        rows.append([image[detail], *(overlay(image[detail], one[detail]) for one in masks)])
    Image.fromarray(contact_sheet(["image", *MODES], rows, 200)).save(file, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--preset", choices=CONFIGS, default="best")
    parser.add_argument("--truth", type=int, metavar="N")
    parser.add_argument("--draw", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.draw:
        draw(options.draw)
    else:
        without_fixed_kernels()
        print(f"{versions('numpy', 'scipy', 'numba')}\n")
        print("| photographs | edges | IoU | boundary F | ms of a CPU |\n|---|---|---|---|---|")
        for folder in options.folders:
            measure(folder, CONFIGS[options.preset], options.truth)
