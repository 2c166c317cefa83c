"""Files as they lie among photographs, odd, bad or made to do harm, and what is to become of each."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

DONE = None
"""What becomes of a file that is odd but an image."""

_LESS = ("--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
UNPRIVILEGED = ["setpriv", *_LESS] if os.geteuid() == 0 and shutil.which("setpriv") else []
"""What to begin a command with so that permissions hold for it, which root passes over."""

PERMISSIONS_HOLD = os.geteuid() != 0 or bool(UNPRIVILEGED)


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG file."""
    checksum = zlib.crc32(kind + content)
    return len(content).to_bytes(4, "big") + kind + content + checksum.to_bytes(4, "big")


def png(
    width: int, height: int, rows: bytes, depth: int = 8, colour_type: int = 2, more: bytes = b""
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    parts = chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def odd_files(photograph: Image.Image) -> dict[str, bytes]:
    """Files that are images all the same, by name."""
    values = np.asarray(photograph.convert("L"))
    plain = encode(photograph, "PNG")
    transparent = encode(photograph.quantize(8), "PNG", transparency=bytes([0, 99] + [255] * 6))
    exif = Image.Exif()
    exif[0x0112] = 6
    films = {"save_all": True, "append_images": [photograph.rotate(180)] * 3}
    return {
        **dict.fromkeys((" a b .png", "two\nlines.png", "🐈.png", "[0-9]*.png", "-o.png", "png.jpg"), plain),
        **dict.fromkeys((os.fsdecode(b"\xe9\xff.png"), "x" * 251 + ".png", "é" * 125 + ".webp"), plain),
        # A stem with two suffixes, a name in two folders.
        **dict.fromkeys(("twin.jpg", "twin.png", "Twin.PNG", "one/same.png", "two/same.png"), plain),
        "animated.gif": encode(photograph, "GIF", **films),
        "pages.tif": encode(photograph, "TIFF", **films),
        "cmyk.jpg": encode(photograph.convert("CMYK"), "JPEG"),
        "transparent.png": transparent,
        "alpha.png": encode(photograph.convert("RGBA").rotate(20), "PNG"),
        "bits.png": encode(photograph.convert("1"), "PNG"),
        "grey.jpg": encode(photograph.convert("L"), "JPEG"),
        "deep.png": encode(Image.fromarray(values.astype(np.uint16) * 200), "PNG"),
        "deep colours.png": png(
            20, 9, b"".join(b"\0" + bytes(range(row, row + 120)) for row in range(9)), depth=16
        ),
        "floats.tif": encode(Image.fromarray(values.astype(np.float32)), "TIFF"),
        "turned.jpg": encode(photograph, "JPEG", exif=exif),
        "long.png": encode(photograph.resize((30_000, 1)), "PNG"),
        "tall.png": encode(photograph.resize((1, 30_000)), "PNG"),
        "dot.png": encode(photograph.resize((1, 1)), "PNG"),
        "dots.png": encode(photograph.resize((2, 1)), "PNG"),
        "late garbage.jpg": encode(photograph, "JPEG") + b"\xff\xda" * 1000,
    }


def bad_files(photograph: Image.Image) -> dict[str, tuple[bytes, str]]:
    """Files that are no images, by name, each with the cause that is to be told, as a pattern."""
    flaw = np.asarray(photograph.convert("F")).copy()
    flaw[3, 4] = np.nan
    million = zlib.compress(bytes(100 << 20), 9)  # of bytes, a hundred
    jpeg = encode(photograph, "JPEG")
    progressive = encode(photograph, "JPEG", progressive=True)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    return {
        "empty.png": (b"", r"the file is empty"),
        "truncated.jpg": (jpeg[:700], r"cannot be decoded: .*truncated"),
        "truncated.png": (encode(photograph, "PNG")[:-700], r"cannot be decoded: .*truncated"),
        "header.webp": (encode(photograph, "WEBP")[:12], r"not an image"),
        "text.jpg": (b"Dear diary", r"not an image"),
        "two\nletters.jpg": (b"Dear diary", r"not an image"),
        "film.heic": (b"\0\0\0\x18ftypheic" + bytes(99), r"not an image.*pip install pillow-heif|cannot be"),
        "nan.tif": (encode(Image.fromarray(flaw), "TIFF"), r"not finite \(NaN or infinity\)"),
        "program.jpg": (encode(photograph, "EPS"), r"PostScript is a program"),
        "bomb.png": (png(60_000, 60_000, bytes(9)), r"too many pixels; raise --max-pixels"),
        "text bomb.png": (png(4, 4, bytes(52), more=chunk(b"zTXt", b"a\0\0" + million)), r"too large"),
        "scans.jpg": (
            progressive[:-2] + scan * 600,
            r"more than 500 scans",
        ),
    }


def fill(folder: Path, photograph: Image.Image) -> dict[str, str | None]:
    """Make all of these files in a folder.

    Returns
    -------
    dict
        By the path of each image, relative to the folder: `DONE`, or a pattern for why it is to fail.
    """
    expected: dict[str, str | None] = {}
    for name, data in odd_files(photograph).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
        expected[name] = DONE
    for name, (data, cause) in bad_files(photograph).items():
        (folder / name).write_bytes(data)
        expected[name] = cause

    (folder / "link.png").symlink_to("dot.png")
    expected["link.png"] = DONE
    (folder / "dangling.png").symlink_to("gone.png")
    expected["dangling.png"] = r"No such file"
    (folder / "loop.png").symlink_to("loop.png")
    expected["loop.png"] = r"[Tt]oo many levels of symbolic links"
    (folder / "closed.png").write_bytes(encode(photograph, "PNG"))
    (folder / "closed.png").chmod(stat.S_IWUSR)
    expected["closed.png"] = r"Permission denied" if PERMISSIONS_HOLD else DONE
    (folder / "sparse.jpg").touch()
    os.truncate(folder / "sparse.jpg", 100 << 30)
    expected["sparse.jpg"] = r"107,374,182,400 bytes"
    os.mkfifo(folder / "pipe.jpg")
    expected["pipe.jpg"] = r"not a file"

    # No images: nothing becomes of them.
    (folder / "folder.png").mkdir()
    (folder / "round").symlink_to(folder, target_is_directory=True)
    (folder / ".hidden.png").write_bytes(b"hidden")
    (folder / "notes.md").write_text("None of these is a photograph.")
    return expected
