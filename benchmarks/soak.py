"""A long run: throughput and memory over time, then how soon the complete run is seen to be complete.

``python benchmarks/soak.py 100000`` makes as many images (128 x 128, JPEG, of one kind and none alike), in
tar archives of 10,000, segments them with the command, and looks at it twice a second. Options of
``iem-xp segment`` may follow. What other programs do at the time shows in the images per second, less in the
images per second of CPU time.
"""

from __future__ import annotations

import io
import os
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import PAPER, versions, without_fixed_kernels
from PIL import Image

PER_ARCHIVE = 10_000
SIZE = 128
PROGRAM = str(Path(sys.executable).with_name("iem-xp"))


class Look(NamedTuple):
    """The state of the process at a time."""

    seconds: float
    cpu: float
    megabytes: float
    searched: int
    written: int


def photograph(rng: np.random.Generator) -> bytes:
    """An ellipse on a ground, both of colours that change smoothly, with noise, as JPEG."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE - rng.uniform(0.35, 0.65, (2, 1, 1))
    inside = (x / rng.uniform(0.15, 0.4)) ** 2 + (y / rng.uniform(0.15, 0.4)) ** 2 < 1
    front, back = (rng.uniform(30, 225, 3) + x[..., None] * rng.uniform(-80, 80, 3) for _ in range(2))
    pixels = np.where(inside[..., None], front, back) + rng.normal(0, 6, (SIZE, SIZE, 1))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


def make(folder: Path, count: int) -> None:
    """Make archives of `count` images."""
    rng = np.random.default_rng(0)
    for first in range(0, count, PER_ARCHIVE):
        with tarfile.open(folder / f"{first // PER_ARCHIVE:05d}.tar", "w") as tar:
            for i in range(first, min(count, first + PER_ARCHIVE)):
                data = photograph(rng)
                member = tarfile.TarInfo(f"{i:07d}.jpg")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def look(process: subprocess.Popen[bytes], run: Path, start: float) -> Look:
    """Look at the process, and at how far its run is."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    cpu = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    now = time.perf_counter() - start
    try:
        with sqlite3.connect(f"{(run / 'run.sqlite').as_uri()}?mode=ro", uri=True) as database:
            counts = [
                database.execute(f"SELECT ifnull(MAX(rowid), 0) FROM {table}").fetchone()[0]
                for table in ("entries", "images")
            ]
    except sqlite3.Error:  # not made yet
        counts = [0, 0]
    return Look(now, cpu, resident / 1024, *counts)


def watch(command: list[str], run: Path) -> list[Look]:
    """Run a command to its end."""
    looks: list[Look] = []
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            looks.append(look(process, run, start))
        except (StopIteration, OSError):  # it has just ended
            break
        time.sleep(0.5)
    if process.wait():
        raise SystemExit(process.returncode)
    print(f"{time.perf_counter() - start:.0f} s in all\n")
    return looks


def table(title: str, looks: list[Look], done: list[int]) -> None:
    """Print a row for every tenth of what was done."""
    marks = [next(i for i, n in enumerate(done) if n >= share * done[-1] / 10) for share in range(11)]
    if len(set(marks)) < len(marks):
        print(f"{title}: too few images to be looked at in tenths\n")
        return
    # Of the first tenth, the start of the program and of its engine are no part.
    marks[0] = next(i for i, n in enumerate(done) if n)
    print(f"| {title} | images/s | images per second of CPU | memory, MB |\n|---|---|---|---|")
    rates = []
    for tenth, (a, b) in enumerate(pairwise(marks), 1):
        images, (before, after) = done[b] - done[a], (looks[a], looks[b])
        rates.append((images / (after.seconds - before.seconds), images / (after.cpu - before.cpu)))
        print(f"| tenth {tenth} | {rates[-1][0]:.1f} | {rates[-1][1]:.1f} | {after.megabytes:.0f} |")
    last, first = rates[-1], rates[0]
    growth = looks[marks[10]].megabytes / looks[marks[1]].megabytes - 1
    print(
        f"\nlast against first tenth: {last[0] / first[0]:.3f}, by CPU time {last[1] / first[1]:.3f}; "
        f"memory {growth:+.1%}\n"
    )


def main(count: int, options: list[str]) -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as folder:
        images, run = Path(folder, "images"), Path(folder, "run")
        images.mkdir()
        make(images, count)
        size = sum(file.stat().st_size for file in images.iterdir())
        print(f"{versions('numpy', 'numba', 'pillow')}; {count:,} images, {size / 1e6:.0f} MB; {options}\n")
        command = [PROGRAM, "segment", str(images), "-o", str(run), *PAPER, *options]
        looks = watch(command, run)
        searched = [look.searched for look in looks]
        if searched[-1]:
            table("searched", looks, searched)
        table("written", looks, [look.written for look in looks])
        database = (run / "run.sqlite").stat().st_size
        masks = sum(file.stat().st_size for file in (run / "masks").rglob("*") if file.is_file())
        print(f"run.sqlite: {database / count:.0f} bytes an image; masks: {masks / count:.0f}")
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        print(f"the same command again: {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    without_fixed_kernels()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, sys.argv[2:])
