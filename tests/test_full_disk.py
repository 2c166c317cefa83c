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
from click.testing import CliRunner
from PIL import Image

from folders import PAPER
from iem_xp_cli.main import cli

pytest.importorskip("resource")

SAMPLES = resources.files("iem_xp_cli") / "samples"
NAMES = ("cameraman", "cat", "cell", "coffee", "flower", "tissue")
PROGRAM = Path(sys.executable).with_name("iem-xp")
OPTIONS = ("--iterations", "3", "--size", "24", "--device", "cpu", "--engine", "array", "--workers", "2")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(24):
        with Image.open(SAMPLES / f"{NAMES[number % 6]}.jpg") as image:
            image.convert("RGB").resize((160, 120)).save(folder / f"{number:02}.png")
    return folder


LIMIT = (
    "import os, resource, sys; most = int(sys.argv[1]);"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)); os.execv(sys.argv[2], sys.argv[2:])"
)


def command(photographs: Path, output: str | Path, options: tuple[str, ...]) -> list[str]:
    return ["segment", *PAPER, str(photographs), "-o", str(output), "--overlay", *OPTIONS, *options]


def written(output: str | Path) -> dict[str, bytes]:
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


def check(arguments: list[str], output: str, most: int | None = None) -> bool:
    """Whether a run did not fit, of files no longer than `most`; then see that it stopped as it should."""
    limit = [] if most is None else [sys.executable, "-c", LIMIT, str(most)]
    done = subprocess.run([*limit, PROGRAM, *arguments], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return False
    assert done.returncode == 1, done.stderr
    cause = "database or disk is full|disk I/O error|No space left on device|File too large"
    assert re.search(rf"error: .*{output}.*({cause}).*; the same command continues once", done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    for file in (*Path(output, "masks").rglob("*.png"), *Path(output, "overlays").rglob("*.png")):
        with Image.open(file) as image:
            image.load()
    assert not list(Path(output).rglob("*.tmp"))
    return True


@pytest.fixture(scope="module", params=[("files", "image"), ("shards", "dataset")], ids=["files", "shards"])
def options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    store, choose = request.param
    return ("--store", store, "--choose", choose)


@pytest.fixture(scope="module")
def whole(
    photographs: Path, options: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, bytes], list[tuple[Any, ...]]]:
    """Files and rows of a run that always had room."""
    output = tmp_path_factory.mktemp("whole") / "run"
    assert CliRunner().invoke(cli, command(photographs, output, options)).exit_code == 0
    files = written(output)
    assert len(files) == 48
    return files, rows(output)


def rows(output: str | Path) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(Path(output, "run.sqlite"))
    try:
        return database.execute(
            "SELECT path, status, mask, init_side, inpainting_error, updates FROM images ORDER BY path"
        ).fetchall()
    finally:
        database.close()


def ends_as(whole: tuple[dict[str, bytes], list[tuple[Any, ...]]], arguments: list[str], output: str) -> None:
    """The same command, with room, ends as one that always had it."""
    resumed = CliRunner().invoke(cli, arguments)
    assert resumed.exit_code == 0, resumed.stderr
    assert (written(output), rows(output)) == whole
    assert not list(Path(output).glob("partial"))


@pytest.mark.parametrize("most", [24_000, 60_000, 150_000])
def test_files_that_may_not_grow_any_more(
    here: Path, photographs: Path, options: tuple[str, ...], whole: Any, most: int
) -> None:
    """A limit that every system has: `most` is where the database, an archive or a picture ends."""
    arguments = command(photographs, "run", options)
    stopped = check(arguments, "run", most)
    assert stopped or most == 150_000
    ends_as(whole, arguments, "run")


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
def test_a_disk_without_room(
    photographs: Path,
    options: tuple[str, ...],
    whole: Any,
    size: str,
    small_disk: Callable[[str], Path],
) -> None:
    output = str(small_disk(size) / "run")
    arguments = command(photographs, output, options)
    assert check(arguments, output)
    small_disk("64m")
    ends_as(whole, arguments, output)
