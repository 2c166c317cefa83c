"""A disk that is full while a run is written to it: a message, nothing by halves, and a run to continue."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from folders import PAPER

pytest.importorskip("resource")

SAMPLES = resources.files("iem_xp_cli") / "samples"
NAMES = ("cameraman", "cat", "cell", "coffee", "flower", "tissue")
PROGRAM = Path(sys.executable).with_name("iem-xp")
OPTIONS = ("--iterations", "3", "--size", "24", "--device", "cpu", "--engine", "array", "--workers", "2")


@pytest.fixture(autouse=True)
def photographs(here: Path) -> None:
    Path("photos").mkdir()
    for number in range(24):
        with Image.open(SAMPLES / f"{NAMES[number % 6]}.jpg") as image:
            image.convert("RGB").resize((160, 120)).save(f"photos/{number:02}.png")


LIMIT = (
    "import os, resource, sys; most = int(sys.argv[1]);"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)); os.execv(sys.argv[2], sys.argv[2:])"
)


def segment(output: str, *more: str, most: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command, whose files may be no longer than `most`."""
    limit = [] if most is None else [sys.executable, "-c", LIMIT, str(most)]
    command = [*limit, PROGRAM, "segment", *PAPER, "photos", "-o", output, "--overlay", *OPTIONS, *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def written(output: str) -> dict[str, bytes]:
    """The files of all images, or what archives hold of them; none of it is a part of a file."""
    found = {}
    for file in sorted(path for name in ("masks", "overlays") for path in Path(output, name).rglob("*.*")):
        if file.suffix != ".tar":
            found[file.relative_to(output).as_posix()] = file.read_bytes()
            continue
        with tarfile.open(file) as archive:
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None
                found[f"{file.parent.name}/{member.name}"] = content.read()
    return found


def check(output: str, limited: Callable[[], subprocess.CompletedProcess[str]]) -> bool:
    """Whether a run did not fit; then see that it stopped as it should, and that it goes on."""
    done = limited()
    if done.returncode == 0:
        return False
    assert done.returncode == 1, done.stderr
    cause = "database or disk is full|disk I/O error|No space left on device|File too large"
    assert re.search(rf"Error: .*{output}.*({cause}).*; the same command continues once", done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    for file in (*Path(output, "masks").rglob("*.png"), *Path(output, "overlays").rglob("*.png")):
        with Image.open(file) as image:
            image.load()
    assert not list(Path(output).rglob("*.tmp"))
    return True


@pytest.fixture(params=[("files", "image"), ("shards", "dataset")], ids=["files", "shards"])
def options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    store, choose = request.param
    return ("--store", store, "--choose", choose)


def rows(output: str) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(Path(output, "run.sqlite"))
    try:
        return database.execute(
            "SELECT path, status, mask, init_side, inpainting_error, updates FROM images ORDER BY path"
        ).fetchall()
    finally:
        database.close()


def ends_as_another(output: str, options: tuple[str, ...]) -> None:
    """The same command, with room, ends as one that always had it."""
    resumed = segment(output, *options)
    assert resumed.returncode == 0, resumed.stderr
    whole = segment("whole", *options)
    assert whole.returncode == 0
    assert len(written("whole")) == 48
    assert written(output) == written("whole")
    assert rows(output) == rows("whole")
    assert not list(Path(output).glob("partial"))


@pytest.mark.parametrize("most", [24_000, 60_000, 150_000])
def test_files_that_may_not_grow_any_more(options: tuple[str, ...], most: int) -> None:
    """A limit that every system has: `most` is where the database, an archive or a picture ends."""
    stopped = check("run", lambda: segment("run", *options, most=most))
    assert stopped or most == 150_000
    ends_as_another("run", options)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system of a size, as "500k", to which another size can be given."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size: str) -> Path:
        again = "remount," if folder.is_mount() else ""
        command = ["mount", "-t", "tmpfs", "-o", f"{again}size={size}", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
        return folder

    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root mounts a small file system")
    yield mount
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("size", ["64k", "200k", "300k", "600k"])
def test_a_disk_without_room(options: tuple[str, ...], size: str, small_disk: Callable[[str], Path]) -> None:
    output = str(small_disk(size) / "run")
    assert check(output, lambda: segment(output, *options))
    small_disk("64m")
    ends_as_another(output, options)
