"""The command among files that are odd, bad or made to do harm."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from folders import PAPER
from zoo import DONE, PERMISSIONS_HOLD, UNPRIVILEGED, encode, fill

SAMPLES = resources.files("iem_xp_cli") / "samples"
NAMES = ("cameraman", "cat", "cell", "coffee", "flower", "tissue")
PROGRAM = Path(sys.executable).with_name("iem-xp")
QUICK = ("--iterations", "4", "--size", "24", "--device", "cpu", "--engine", "array", "--workers", "2")

pytestmark = [
    pytest.mark.usefixtures("here"),
    pytest.mark.skipif(os.name != "posix", reason="file names, links and permissions are POSIX's"),
]


def photograph(name: str) -> Image.Image:
    return Image.open(SAMPLES / f"{name}.jpg").convert("RGB").resize((48, 40))


def segment(*arguments: str, status: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [*UNPRIVILEGED, str(PROGRAM), "segment", *PAPER, *arguments, *QUICK]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    return done


def rows(folder: str = "iem-run") -> dict[str, tuple[Any, ...]]:
    """Status, error, mask, height, width and notes of every image, by its name below `photos`."""
    database = sqlite3.connect(Path(folder, "run.sqlite"))
    try:
        found = database.execute("SELECT path, status, error, mask, height, width, notes FROM images")
        return {os.path.relpath(os.fsdecode(path), "photos"): tuple(row) for path, *row in found}
    finally:
        database.close()


def masks(folder: str = "iem-run") -> dict[str, bytes]:
    root = Path(folder, "masks")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.png")}


@pytest.fixture
def expected(here: Path) -> dict[str, str | None]:
    """What is to become of each file in `photos`: a hundred photographs, and all the others."""
    Path("photos").mkdir()
    expected = fill(Path("photos"), photograph("cat"))
    for number in range(100):
        name = f"photograph {number:03}.jpg"
        Path("photos", name).write_bytes(encode(photograph(NAMES[number % len(NAMES)]), "JPEG"))
        expected[name] = DONE
    return expected


def test_every_image_gets_its_mask_and_every_other_file_its_cause(expected: dict[str, str | None]) -> None:
    bad = {name: cause for name, cause in expected.items() if cause is not DONE}
    # The run lies among the images, and is not read back.
    first = segment("photos", "-o", "photos/run", status=1)
    found = rows("photos/run")
    assert {name: row[0] for name, row in found.items()} == {
        name: "failed" if name in bad else "done" for name in expected
    }
    assert f"{len(expected) - len(bad)} done, {len(bad)} failed, 0 done before" in first.stdout
    for name in expected.keys() - bad.keys():
        mask, height, width = found[name][2:5]
        with Image.open(Path("photos/run/masks", os.fsdecode(mask))) as image:
            assert (image.mode, image.size) == ("L", (width, height))
            assert set(np.unique(image)) <= {0, 255}
    assert len(masks("photos/run")) == len(expected) - len(bad)
    assert found["animated.gif"][5] == "first of several frames"
    assert found["transparent.png"][5] == "alpha ignored"
    assert found["turned.jpg"][3:5] == (48, 40)
    assert "not images, left out: 1 x .md" in first.stderr

    listed = sorted(line for line in first.stderr.splitlines() if line.startswith("failed: "))
    assert len(listed) == len(bad)
    for line, (name, cause) in zip(listed, sorted(bad.items()), strict=True):
        escaped = name.replace("\n", "\\n")
        assert re.fullmatch(rf"failed: .*/photos/{re.escape(escaped)}: .*({cause}).*", line)
        assert re.search(cause, found[name][1])

    before = masks("photos/run")
    again = segment("photos", "-o", "photos/run", status=1)
    assert f"0 done, {len(bad)} failed, {len(expected) - len(bad)} done before" in again.stdout
    assert sorted(line for line in again.stderr.splitlines() if line.startswith("failed: ")) == listed
    assert (rows("photos/run"), masks("photos/run")) == (found, before)

    Path("photos/text.jpg").write_bytes(encode(photograph("cat"), "JPEG"))
    mended = segment("photos", "-o", "photos/run", status=1)
    assert f"1 done, {len(bad) - 1} failed, {len(expected) - len(bad)} done before" in mended.stdout
    after = masks("photos/run")
    assert after.items() > before.items()
    assert after.keys() - before.keys() == {"text.png"}


def test_a_limit_of_pixels_is_no_setting_of_the_run() -> None:
    Path("photos").mkdir()
    photograph("cat").save("photos/small.png")
    photograph("cat").resize((100, 100)).save("photos/large.png")
    refused = segment("photos", "--max-pixels", "5000", status=1)
    assert re.search(
        r"^failed: .*/photos/large\.png: has too many pixels; raise --max-pixels", refused.stderr, re.M
    )
    assert "1 done, 1 failed" in refused.stdout
    # Of more than half of the limit Pillow would warn.
    assert "1 done, 0 failed, 1 done before" in segment("photos", "--max-pixels", "10000").stdout
    with Path("photos/large.png").open() as file:
        piped = segment("-", "--max-pixels", "5000", status=1, stdin=file)
    assert "standard input: has too many pixels" in piped.stderr


@pytest.mark.skipif(not PERMISSIONS_HOLD, reason="every folder is open to root, and there is no setpriv")
@pytest.mark.parametrize("begun", [False, True])
def test_an_output_that_is_read_only_is_an_error_with_its_remedy(begun: bool) -> None:
    Path("photos").mkdir()
    photograph("cat").save("photos/cat.png")
    output = Path("closed")
    output.mkdir()
    if begun:
        segment("photos", "-o", "closed")
    before = masks("closed")
    paths = [output, *output.rglob("*")]
    try:
        for path in paths:
            path.chmod(path.stat().st_mode & ~0o222)
        message = segment("photos", "-o", "closed", status=2).stderr
    finally:
        for path in paths:
            path.chmod(path.stat().st_mode | 0o200)
    assert "closed" in message
    assert re.search(r"Permission denied.*; use another -o$", message, re.MULTILINE)
    assert masks("closed") == before
    assert segment("photos", "-o", "closed").stdout.startswith("0 done" if begun else "1 done")
