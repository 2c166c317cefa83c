"""Whatever bytes there are: they are an image, or an error that says why not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from iem_xp.decoding import ImageError, Photograph, decode, load_formats, pixels_limited

NO_PICTURES = {"BUFR", "GRIB", "HDF5", "WMF", "PDF", "EPS", "PALM", "IM"}  # stubs, documents, deprecated
MODES = ("RGB", "L", "P", "1", "RGBA", "I;16", "F", "CMYK")


@cache
def examples() -> list[bytes]:
    """Small files of every format and kind of pixel that Pillow writes and reads here."""
    load_formats()
    rows, columns = np.indices((11, 13))
    image = Image.fromarray(np.stack([rows * 23, columns * 19, rows * columns], 2).astype(np.uint8))
    grey = np.asarray(image.convert("F"))
    exif = Image.Exif()
    exif[0x0112] = 6
    found: dict[bytes, str] = {}
    for format in sorted(Image.SAVE.keys() - NO_PICTURES):
        for mode in MODES:
            made = Image.fromarray(grey.astype(np.uint16)) if mode == "I;16" else image.convert(mode)
            for options in ({}, {"exif": exif}, {"save_all": True, "append_images": [made.rotate(90)]}):
                file = BytesIO()
                try:
                    made.save(file, format, **options)
                    decode(file.getvalue())
                except (OSError, ValueError, KeyError, TypeError, AttributeError):  # it has no such pixels
                    continue
                found.setdefault(file.getvalue(), format)
    assert {"PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "JPEG2000"} <= set(found.values())
    return list(found)


def flip(data: bytearray, at: int, what: bytes) -> None:
    data[at : at + len(what)] = what


def insert(data: bytearray, at: int, what: bytes) -> None:
    data[at:at] = what


def cut(data: bytearray, at: int, what: bytes) -> None:
    del data[at : at + len(what) ** 2]


def end(data: bytearray, at: int, what: bytes) -> None:
    del data[at:]


CHANGES: tuple[Callable[[bytearray, int, bytes], None], ...] = (flip, flip, flip, insert, cut, end)
# Lengths and sizes are what decoders trust.
BYTES = st.one_of(
    st.binary(min_size=1, max_size=4), st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\xff\x7f" * 2])
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(examples())))
    if draw(st.integers(0, 4)) == 0:  # the end of another
        other = draw(st.sampled_from(examples()))
        data[draw(st.integers(0, len(data))) :] = other[draw(st.integers(0, len(other))) :]
    for change in draw(st.lists(st.sampled_from(CHANGES), max_size=6)):
        # Most of what matters is near the beginning, but for the very first bytes, by which a file is known.
        first, last = draw(st.sampled_from(((0, 40), (12, 60), (12, 300), (12, len(data)))))
        change(data, min(draw(st.integers(first, max(first, last))), len(data)), draw(BYTES))
    return bytes(data)


def check(data: bytes) -> None:
    """What is read is pixels; what is not is refused, without another error or a warning."""
    try:
        with pixels_limited(100_000):
            found: Any = decode(data)
    except ImageError:
        return
    assert isinstance(found, Photograph)
    assert found.pixels.dtype == np.uint8
    assert found.pixels.ndim == 3
    assert found.pixels.shape[2] == 3
    assert 1 <= found.pixels.size <= 300_000
    assert found.pixels.flags.c_contiguous


@settings(max_examples=1500)
@given(damaged())
def test_damaged_files_are_read_or_refused(data: bytes) -> None:
    check(data)


@settings(max_examples=200)
@given(
    st.binary(max_size=200), st.sampled_from((b"", b"\x89PNG\r\n\x1a\n", b"II*\0", b"BM", b"GIF89a", b"P6 "))
)
def test_bytes_without_meaning_are_read_or_refused(data: bytes, start: bytes) -> None:
    check(start + data)


@pytest.mark.parametrize("part", range(20))
def test_a_file_cut_anywhere_is_read_or_refused(part: int) -> None:
    for data in examples():
        for end in range(part, min(len(data), 600), 20):
            check(data[:end])
