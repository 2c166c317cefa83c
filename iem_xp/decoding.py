"""The bytes of an image's file to pixels, whatever they are, in memory and time that have bounds."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

Pixels = NDArray[np.uint8]

MAX_PIXELS = 178_956_970
"""Pixels of the largest image that is read unless `pixels_limited`: Pillow's guard against small files that
decode to more than the memory holds."""

_STRIP = 1 << 22
"""Pixels converted at a time."""

_SCANS = 500
"""Scans of a JPEG: one of a few bytes takes as long as the whole image, and no photograph has a hundred."""

_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
"""Those that a length follows, and the end. Others have none, or libjpeg does not heed it."""

_END, _SCAN = 0xD9, 0xDA

_ORIENTATION, _BITS = 0x0112, 0x0102  # tags of EXIF and TIFF


class ImageError(ValueError):
    """A file that cannot be used as an image; the message names the cause, and the remedy if it has one."""


@dataclass(frozen=True)
class Photograph:
    """An image as it was read.

    Parameters
    ----------
    pixels : uint8 array (H, W, 3)
        Upright RGB, H and W >= 1.
    notes : tuple of str
        What was left out or altered on reading, one short phrase each, as "alpha ignored".
    """

    pixels: Pixels
    notes: tuple[str, ...] = ()


def load_formats() -> None:
    """Load what reads the formats of files; to be called before several threads do it at their first file.

    Pillow loads the rarer formats when it meets one. A thread that meets one while another thread is loading
    them may find them neither known nor left to load.
    """
    Image.init()


@contextmanager
def pixels_limited(count: int = MAX_PIXELS) -> Iterator[None]:
    """`limit_pixels` in the ``with`` block; a program enters it before it starts threads."""
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        limit_pixels(count)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def limit_pixels(count: int) -> None:
    """Refuse images of more than `count` pixels, and have Pillow warn of nothing.

    Both are Pillow's and Python's settings for all threads.
    """
    warnings.filterwarnings("ignore", module="PIL")
    Image.MAX_IMAGE_PIXELS = -(-count // 2)  # Pillow warns of more than this, and refuses twice as many


def pixel_limit() -> int:
    """Return the number of pixels beyond which images are refused."""
    return 2 * (Image.MAX_IMAGE_PIXELS or sys.maxsize)


def decode(data: bytes) -> Photograph:
    """Decode a file's contents, as `iem_xp.images.read_image` has it.

    Raises
    ------
    ImageError
        If they are no image that can be used.
    """
    if not data:
        raise ImageError("the file is empty")
    try:
        with Image.open(BytesIO(data)) as image:
            pixels, notes = _read(image, data)
            orientation = _orientation(image)
        return Photograph(np.ascontiguousarray(_upright(pixels, orientation)), notes)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        hint = "; for HEIC photographs, pip install pillow-heif" if data[4:8] == b"ftyp" else ""
        raise ImageError(f"not an image, or of a format that Pillow cannot read{hint}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        size = str(error).partition(", could")[0]  # of a compressed attack, with Pillow
        raise ImageError(f"has too many pixels; raise --max-pixels, or shrink it ({size})") from error
    except MemoryError as error:
        raise ImageError("too little memory to decode it; fewer --workers need less") from error
    except Exception as error:  # Decoders meet damaged files with errors of every type.
        raise ImageError(f"cannot be decoded: {str(error) or type(error).__name__}") from error


def _read(image: Any, data: bytes) -> tuple[Pixels, tuple[str, ...]]:
    """Pixels of an image as they are stored, and notes."""
    if image.format == "EPS":  # for which Pillow runs Ghostscript, for as long as it takes
        raise ImageError("PostScript is a program that draws; render it to PNG first")
    if image.format in ("JPEG", "MPO") and _scans(data) > _SCANS:
        raise ImageError(f"a JPEG of more than {_SCANS} scans, which takes long; write it anew")
    image.load()
    if not all(image.size):
        raise ImageError("has no pixels")
    pixels, notes = (_stretched if image.mode[0] in "IF" else _converted)(image)
    tiff = image.format == "TIFF"
    bits = int(np.max(image.getexif().get(_BITS, 8))) if tiff else 8
    if image.format == "PNG":
        bits = data[24]  # in its header, of which Pillow says nothing
    if bits > 8 and image.mode[0] not in "IF":
        notes = (f"{bits}-bit colours read by their upper 8 bits", *notes)
    # How many would take a walk through all of the file, or more: a damaged one may lead in circles.
    if getattr(image, "is_animated", False):
        notes = ("first of several frames", *notes)
    return pixels, notes


def _converted(image: Image.Image) -> tuple[Pixels, tuple[str, ...]]:
    mode = "RGBA" if image.mode[-1] in "Aa" or "transparency" in image.info else "RGB"
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    alpha = False
    for rows, strip in _strips(image):
        values = np.asarray(strip.convert(mode))
        pixels[rows] = values[..., :3]
        alpha = alpha or bool((values[..., 3:] < 255).any())
    return pixels, ("alpha ignored",) if alpha else ()


def _stretched(image: Image.Image) -> tuple[Pixels, tuple[str, ...]]:
    """Integers or floats, which Pillow would clip at 255."""
    low, high = np.inf, -np.inf
    for _, strip in _strips(image):
        values = np.asarray(strip)
        if not np.isfinite(values).all():
            raise ImageError("has values that are not finite (NaN or infinity)")
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    scale = 255 / (high - low) if high > low else 0
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for rows, strip in _strips(image):
        grey = np.rint((np.asarray(strip, np.float64) - low) * scale)
        pixels[rows] = grey.astype(np.uint8)[..., None]
    return pixels, (f"{values.dtype.name} values stretched from their darkest to their brightest",)


def _strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Parts of an image, and their rows: a copy of the whole would be its memory once more, twice, ..."""
    height = max(1, _STRIP // image.width)
    for top in range(0, image.height, height):
        bottom = min(top + height, image.height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))


def _scans(data: bytes) -> int:
    """Count the scans of the first picture of a JPEG, or some more than `_SCANS`."""
    count, at = 0, 2
    while count <= _SCANS and (found := _MARKER.search(data, at)) and data[found.end() - 1] != _END:
        count += data[found.end() - 1] == _SCAN
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return count


def _orientation(image: Image.Image) -> int:
    # Pillow has turned a TIFF already. Asked after the pixels, since a PNG may store it behind them.
    return 1 if image.format == "TIFF" else image.getexif().get(_ORIENTATION, 1)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn pixels by the EXIF orientation, which says where their first row and column belong."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


# Pillow reads HEIC photographs with the help of a package, where it is installed.
if find_spec("pillow_heif"):
    import_module("pillow_heif").register_heif_opener()
