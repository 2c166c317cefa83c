"""How often the two engines end at the same mask: ``python benchmarks/agreement.py FOLDER...``.

A FOLDER holds photographs in `images/`, and true masks of the same names in `masks/` (255 foreground, 0
background, 128 ignored). The paper's protocol, 128 x 128; every photograph from each of the three squares.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from iem_xp import IEMConfig, fused, metrics, solver
from iem_xp.images import fit_image, fit_truth, read_image

BATCH = 64


def mean_iou(masks: np.ndarray, truth: np.ndarray) -> float:
    """Mean foreground IoU in percent, either polarity, as in the paper's tables."""
    values = metrics.iou(masks, truth == 255, polarity="either", ignore=truth == 128)
    return 100 * float(np.mean(values))


def main(folders: list[Path]) -> None:
    """Print a row for every folder and one for all."""
    config = IEMConfig()
    names = " | ".join(f"IoU from {side}, array / fused" for side in config.init_sides)
    print(f"| photographs | pairs | masks identical | {names} | s, array / fused |")
    print("|---|---|---|" + "---|" * len(config.init_sides) + "---|")
    pairs = same = 0
    for folder in folders:
        files = sorted((folder / "images").iterdir())
        truths = {file.stem: file for file in (folder / "masks").iterdir()}
        truth = np.stack([fit_truth(read_image(truths[f.stem]).pixels[..., 0], 128, "crop") for f in files])
        found: dict[str, list[np.ndarray]] = {"array": [], "fused": []}
        seconds = dict.fromkeys(found, 0.0)
        for begin in range(0, len(files), BATCH):
            batch = files[begin : begin + BATCH]
            images = np.stack([fit_image(read_image(file).pixels, 128, "crop") for file in batch])
            starts = [solver.centred_square(images, side) for side in config.init_sides]
            for engine, solve in (("array", solver.solve), ("fused", fused.solve)):
                clock = time.perf_counter()
                ascents = solve(images, starts, config)
                seconds[engine] += time.perf_counter() - clock
                found[engine].append(np.stack([ascent.masks for ascent in ascents]))
        array, compiled = (np.concatenate(found[engine], axis=1) for engine in ("array", "fused"))
        identical = np.all(array == compiled, axis=(2, 3))
        pairs, same = pairs + identical.size, same + int(np.sum(identical))
        ious = [
            f"{mean_iou(a, truth):.2f} / {mean_iou(b, truth):.2f}"
            for a, b in zip(array, compiled, strict=True)
        ]
        print(
            f"| {folder.name}, {len(files)} | {identical.size} | {100 * np.mean(identical):.2f} % "
            f"| {' | '.join(ious)} | {seconds['array']:.0f} / {seconds['fused']:.0f} |",
            flush=True,
        )
    print(f"| all | {pairs} | {100 * same / pairs:.2f} % |")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
