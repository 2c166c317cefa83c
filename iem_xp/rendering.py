"""Pictures of a result, for people: cut-out, overlay, inpainting, contact sheet, strip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from iem_xp.config import IEMConfig
from iem_xp.formulas import inpaint
from iem_xp.images import Mask, Pixels

TINT = (255, 0, 200)
"""Colour of the foreground in an overlay."""

ABSENT = 128
"""Grey of a panel whose picture is not there."""


def cutout(image: Pixels, mask: Mask) -> Pixels:
    """The image with everything but the foreground transparent: uint8 (H, W, 4)."""
    return np.dstack([image, np.where(mask, np.uint8(255), np.uint8(0))])


def overlay(image: Pixels, mask: Mask) -> Pixels:
    """The image with its foreground tinted and outlined: uint8 (H, W, 3)."""
    tinted = np.where(mask[..., None], image * 0.5 + np.multiply(TINT, 0.5), image).astype(np.uint8)
    tinted[_outline(mask, width=max(1, min(mask.shape) // 200))] = TINT
    return tinted


def inpainted(image: Pixels, mask: Mask, config: IEMConfig) -> Pixels:
    """The image with every pixel predicted from the other side of the mask (figure 4): uint8 (H, W, 3)."""
    predicted = inpaint(image, mask, config)[0]
    return np.rint(np.clip(predicted, 0, 1) * 255).astype(np.uint8)


def contact_sheet(titles: Sequence[str], rows: Sequence[Sequence[Pixels]], cell: int = 240) -> Pixels:
    """Pictures in rows under the titles of their columns, each scaled to `cell` pixels: uint8 (H, W, 3).

    Parameters
    ----------
    titles : sequence of str
        One for each column.
    rows : sequence of sequences of arrays
        Grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4) pictures, uint8; transparency shows as a checkerboard.
    cell : int
        Longest side of a picture on the sheet, in pixels.
    """
    gap, header = 8, 28
    pictures = [[_scaled(_on_checkerboard(pixels), cell) for pixels in row] for row in rows]
    heights = [max(picture.height for picture in row) for row in pictures]
    size = (len(titles) * (cell + gap) + gap, header + sum(heights) + gap * (len(rows) + 1))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        draw.text((gap + column * (cell + gap), gap), title, fill="black", font_size=16)
    top = header + gap
    for row, height in zip(pictures, heights, strict=True):
        for column, picture in enumerate(row):
            left = gap + column * (cell + gap) + (cell - picture.width) // 2
            sheet.paste(picture, (left, top + (height - picture.height) // 2))
        top += height + gap
    return np.asarray(sheet)


def strip(panels: Sequence[Pixels | None], height: int, width: int) -> Pixels:
    """Pictures side by side, each scaled to `height` x `width`: uint8 (height, n * width, 3).

    Parameters
    ----------
    panels : sequence of arrays or None
        As those of `contact_sheet`; of what is not there, a grey panel.
    height, width : int
        Of a panel, in pixels, >= 1.
    """
    made = np.full((height, len(panels) * width, 3), ABSENT, np.uint8)
    for i, pixels in enumerate(panels):
        if pixels is not None:
            picture = resized(_on_checkerboard(pixels, square=8), height, width)
            made[:, i * width : (i + 1) * width] = picture if picture.ndim == 3 else picture[..., None]
    return made


def resized(pixels: Pixels, height: int, width: int) -> Pixels:
    """A grey, RGB or RGBA picture at another size, antialiased: uint8 (height, width, ...)."""
    if pixels.shape[:2] == (height, width):
        return pixels
    picture = Image.fromarray(pixels)
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2))


def _scaled(pixels: Pixels, longest: int) -> Image.Image:
    height, width = (max(1, round(side * longest / max(pixels.shape[:2]))) for side in pixels.shape[:2])
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def _outline(mask: Mask, width: int) -> Mask:
    padded = np.pad(mask, width, mode="edge")  # the border of the picture is no outline
    inside = slice(width, -width)
    within = padded[: -2 * width, inside] & padded[2 * width :, inside]
    within &= padded[inside, : -2 * width] & padded[inside, 2 * width :]
    return mask & ~within


def _on_checkerboard(pixels: Pixels, square: int = 16) -> Pixels:
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return pixels
    rows, columns = np.indices(pixels.shape[:2]) // square
    board = np.where((rows + columns) % 2, 208, 240)[..., None]
    alpha = pixels[..., 3:] / 255
    return (pixels[..., :3] * alpha + board * (1 - alpha)).astype(np.uint8)
