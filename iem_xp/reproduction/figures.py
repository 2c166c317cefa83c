"""The paper's figures of a data set: 3 (what the error says of a mask), and the rows of 4 to 6."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from scipy import ndimage

from iem_xp.config import IEMConfig
from iem_xp.formulas import inpainting_error
from iem_xp.images import Mask, Pixels
from iem_xp.labels import FOREGROUND, Labels
from iem_xp.rendering import contact_sheet, inpainted, overlay

T = TypeVar("T")

MARGIN = 6
"""Pixels by which figure 3 shrinks and grows a true mask, of 128."""


class Shown(NamedTuple):
    """An example as a figure shows it, at the paper's size: image, labels if there are any, masks found."""

    image: Pixels
    labels: Labels | None
    mask: Mask
    refined: Mask | None = None


def evenly(items: Sequence[T], count: int) -> list[T]:
    """Return `count` items at even distances, or all if they are fewer: neither the best nor the worst."""
    count = min(count, len(items))
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]


def results_figure(examples: Sequence[Shown], config: IEMConfig) -> Pixels:
    """The rows of figures 4 to 6: image, truth, mask, and the inpainting of either side from the other.

    If there are refined masks, they stand behind.
    """
    titles = ["image", "truth", "IEM mask", "inpainting", "IEM + SegNet mask"]
    rows = [
        [
            image,
            *([] if labels is None else [labels]),
            np.uint8(255) * mask,
            inpainted(image, mask, config),
            *([] if refined is None else [np.uint8(255) * refined]),
        ]
        for image, labels, mask, refined in examples
    ]
    if all(example.labels is None for example in examples):
        titles.remove("truth")
    return contact_sheet(titles[: max(map(len, rows))], rows)


def inpainting_figure(examples: Sequence[tuple[Pixels, Labels]], config: IEMConfig) -> Pixels:
    """Figure 3: each image inpainted with its true mask, and with that mask shrunk and grown by `MARGIN`.

    The error L_inp stands over each mask: the true one should have the highest.
    """
    return np.vstack([_inpainting_sheet(image, labels == FOREGROUND, config) for image, labels in examples])


def shrunk_and_grown(truth: Mask) -> dict[str, Mask]:
    """A true mask, and that mask eroded and dilated by a disc of radius `MARGIN`, by title."""
    disc = np.hypot(*np.ogrid[-MARGIN : MARGIN + 1, -MARGIN : MARGIN + 1]) <= MARGIN
    return {
        "true mask": truth,
        "eroded": ndimage.binary_erosion(truth, disc, border_value=1),
        "dilated": ndimage.binary_dilation(truth, disc),
    }


def _inpainting_sheet(image: Pixels, truth: Mask, config: IEMConfig) -> Pixels:
    masks = shrunk_and_grown(truth)
    errors = inpainting_error(np.stack([image] * 3), np.stack(list(masks.values())), config)
    titles = [f"{name}: {error:.3f}" for name, error in zip(masks, errors, strict=True)]
    return contact_sheet(
        ["image", *titles],
        [
            [image, *(np.uint8(255) * mask for mask in masks.values())],
            [overlay(image, truth), *(inpainted(image, mask, config) for mask in masks.values())],
        ],
    )
