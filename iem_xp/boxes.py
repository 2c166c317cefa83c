"""Bounding boxes: of a mask, in a file, at the working size, and how well two of them agree."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from iem_xp.images import Fit, Mask, check_fit

LOCALISED = 0.5
"""Box IoU above which a subject counts as localised."""

COLUMNS = ("image", "x", "y", "width", "height")


class Box(NamedTuple):
    """A rectangle in pixels: the left edge of its first column, the top of its first row, and its size."""

    x: float
    y: float
    width: float
    height: float


class BoxError(ValueError):
    """A file of boxes that cannot be read; the message names the file and the line."""


def largest_part(mask: Mask) -> Mask:
    """Largest connected part of a mask, neighbours touching by sides; of equals, the first by rows."""
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return (parts == sizes.argmax()) & mask


def box_of(mask: Mask) -> Box:
    """Tight box around the largest connected part of a mask; empty for none.

    The largest part, as is usual for localisation (Zhou et al., CVPR 2016), since a speck far away would make
    the box of everything meaningless.
    """
    if not mask.any():
        return Box(0, 0, 0, 0)
    ((rows, columns),) = ndimage.find_objects(largest_part(mask).astype(np.uint8))
    return Box(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)


def box_iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]; 0 where one is empty."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (one.width * one.height + other.width * other.height - both)


def reaches_beyond(box: Box, height: int, width: int) -> bool:
    """Whether a box lies outside its image by more than a pixel, as those drawn by hand may."""
    return min(box.x, box.y) < -1 or box.x + box.width > width + 1 or box.y + box.height > height + 1


def fit_box(box: Box, height: int, width: int, size: int, fit: Fit) -> Box:
    """Box of an image at the size of its mask, as `fit_image` and `restore_mask` make that.

    Parameters
    ----------
    box : Box
        In pixels of the image.
    height, width : int
        Of the image.
    size, fit
        As for `iem_xp.images.fit_image`. With "crop" the box is scaled with the image, and cut off with it;
        otherwise a mask has its image's own size, and the box stays as it is.
    """
    check_fit(size, fit)
    if fit != "crop":
        return box
    short = min(height, width)
    spans = []
    for begin, length, whole in ((box.x, box.width, width), (box.y, box.height, height)):
        resized = size * whole // short
        offset = round((resized - size) / 2)
        first, last = (resized * edge / whole - offset for edge in (begin, begin + length))
        spans.append((max(0.0, first), min(float(size), last)))
    (left, right), (top, bottom) = spans
    return Box(left, top, max(0.0, right - left), max(0.0, bottom - top))


def read_boxes(file: str | os.PathLike[str]) -> dict[str, Box]:
    """Boxes of images by name, from a CSV file with the columns image, x, y, width, height, in pixels.

    Raises
    ------
    BoxError
        If the file cannot be read, lacks a column, names an image twice or holds what is no box.
    """
    boxes: dict[str, Box] = {}
    try:
        with Path(file).open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines)
            missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
            if missing:
                raise BoxError(
                    f"{file}: has no column {', '.join(missing)}; its first line must be {','.join(COLUMNS)}"
                )
            for row in rows:
                name, place = row["image"], f"{file}, line {rows.line_num}"
                if not name:
                    raise BoxError(f"{place}: names no image")
                if name in boxes:
                    raise BoxError(f"{place}: a second box of {name}")
                if None in row:  # the key of what DictReader has no column for
                    raise BoxError(
                        f"{place}: has more values than there are columns; decimals need a point, not a comma"
                    )
                boxes[name] = parse_box([row[column] for column in COLUMNS[1:]], place)
    except OSError as error:
        raise BoxError(f"{file}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BoxError(f"{file}: not a CSV file in UTF-8: {error}") from error
    if not boxes:
        raise BoxError(f"{file}: lists no box")
    return boxes


def parse_box(numbers: Sequence[str], place: str) -> Box:
    """Box of four numbers as text: x, y, width, height; a BoxError names their `place` if they are none."""
    try:
        box = Box(*map(float, numbers))
    except (TypeError, ValueError) as error:
        given = ", ".join("nothing" if number is None else number for number in numbers)
        raise BoxError(f"{place}: not four numbers: {given}; separate them by commas") from error
    if not all(map(np.isfinite, box)) or box.width <= 0 or box.height <= 0:
        raise BoxError(f"{place}: not a box of positive size: {','.join(map(str, box))}")
    return box
