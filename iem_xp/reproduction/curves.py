"""Mean inpainting error and IoU over the updates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from io import BytesIO
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np

from iem_xp.config import IEMConfig
from iem_xp.engines import EngineOption
from iem_xp.evaluation.scores import POLARITIES, Means
from iem_xp.images import Pixels
from iem_xp.labels import Truth
from iem_xp.metrics import count, score
from iem_xp.segmentation import segment
from iem_xp.solver import centred_square

STEPS = (0, 1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 60, 75, 100, 125, 150)
"""Updates after which the masks are looked at."""

_TOGETHER = 64
_FIGURES = ("inpainting_error", "either_iou", "fixed_iou")


class Point(NamedTuple):
    """Means over all images after so many updates; of the IoU, None without true masks."""

    updates: int
    inpainting_error: float | None
    either_iou: float | None
    fixed_iou: float | None


def trace(
    examples: Iterable[tuple[Pixels, Truth | None]],
    side: int,
    config: IEMConfig,
    engine: EngineOption = "auto",
) -> list[Point]:
    """Follow the masks from one initial square through their updates.

    Parameters
    ----------
    examples : iterable of (uint8 array (H, W, 3), Truth or None)
        Of one size; with true masks all, or none.
    side : int
        Of the initial square, at a shorter side of 128.
    config : IEMConfig
        Whose `iterations` end the curve.
    engine : {"auto", "array", "fused"}
    """
    steps = [step for step in STEPS if step < config.iterations] + [config.iterations]
    means: dict[int, Means] = {}
    examples = iter(examples)
    while batch := list(islice(examples, _TOGETHER)):
        images = np.stack([image for image, _ in batch])
        truths = [truth for _, truth in batch if truth is not None]
        foreground, ignored = map(np.stack, zip(*truths, strict=True)) if truths else (None, None)
        masks = centred_square(images, side)
        for before, step in pairwise([0, *steps]):
            found = segment(images, replace(config, iterations=step - before), init=masks, engine=engine)
            masks = found.masks
            figures = {"inpainting_error": found.inpainting_error}
            if truths:
                counts = count(masks, foreground, ignored)
                for polarity in POLARITIES:
                    figures[f"{polarity}_iou"] = score("iou", counts, polarity)
            of_step = means.setdefault(step, Means(list(figures)))
            for values in zip(*figures.values(), strict=True):
                of_step.add(dict(zip(figures, map(float, values), strict=True)))
    return [Point(step, *map(of_step.mean.get, _FIGURES)) for step, of_step in means.items()]


def draw(points: list[Point], title: str) -> bytes:
    """Draw a curve, as a PNG file: error on the left axis, IoU in % on the right one.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=150, layout="constrained")
    left = figure.subplots()
    updates = [point.updates for point in points]
    errors = np.array([point.inpainting_error for point in points], float)
    lines = left.plot(updates, errors, "k", label="inpainting error")
    left.set(xlabel="updates", ylabel="mean inpainting error $L_{inp}$")
    left.set_title(title, parse_math=False)
    if points[0].either_iou is not None:
        right = left.twinx()
        for polarity, colour in (("either", "tab:blue"), ("fixed", "tab:orange")):
            values = [100 * getattr(point, f"{polarity}_iou") for point in points]
            lines += right.plot(updates, values, colour, label=f"IoU, {polarity} polarity")
        right.set(ylabel="mean IoU, %")
    left.legend(handles=lines, loc="lower right")
    file = BytesIO()
    figure.savefig(file)
    return file.getvalue()
