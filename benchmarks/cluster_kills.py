"""A run by workers that are killed again and again, beside one that nothing happens to.

Made-up images; 8 worker processes, of which one at a time is killed at random moments, as by a machine that
fails. ``python benchmarks/cluster_kills.py [SEED]`` ends with an error if the runs differ.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import dask
import imageio.v3 as iio
import numpy as np
from common import versions
from distributed import LocalCluster

IMAGES = 2000
WORKERS = 8
BETWEEN = 3
"""Seconds between two deaths, on average; on two CPUs a worker takes about as long to come back."""

PROGRAM = Path(sys.executable).with_name("iem-xp")
ROWS = (
    "path, status, error, width, height, mask, init_side, inpainting_error, updates, information,"
    " foreground_share, notes"
)


def make_images(folder: Path, rng: np.random.Generator) -> None:
    """Discs of one colour on another, with noise."""
    y, x = np.mgrid[:64, :64]
    for i in range(IMAGES):
        inside = (y - rng.integers(20, 44)) ** 2 + (x - rng.integers(20, 44)) ** 2 < rng.integers(8, 24) ** 2
        colours = rng.integers(0, 200, (2, 3))
        image = np.where(inside[..., None], *colours) + rng.integers(0, 56, (64, 64, 3))
        iio.imwrite(folder / f"{i:04}.png", image.astype(np.uint8))


def segment(images: Path, run: Path, *options: str) -> dict[str, Any]:
    """Run the command, and return its summary."""
    command = [PROGRAM, "segment", images, "-o", run, "--preset", "paper", "--fit", "whole", "--size", "64"]
    command += ["--engine", "fused", "--json", *options]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def contents(run: Path) -> tuple[list[tuple[Any, ...]], dict[str, bytes]]:
    """Rows and masks of a run."""
    with sqlite3.connect(run / "run.sqlite") as database:
        rows = database.execute(f"SELECT {ROWS} FROM images ORDER BY path").fetchall()
    return rows, {path.name: path.read_bytes() for path in (run / "masks").iterdir()}


def main(seed: int) -> None:
    """Print what happened."""
    choice = random.Random(seed)
    killed: list[float] = []
    over = threading.Event()

    def kill(cluster: Any, start: float) -> None:
        while not over.wait(choice.expovariate(1 / BETWEEN)):
            with suppress(ProcessLookupError, TypeError):  # has just died, or not begun
                os.kill(choice.choice(list(cluster.workers.values())).pid, signal.SIGKILL)
                killed.append(time.perf_counter() - start)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = folder / "images"
        images.mkdir()
        make_images(images, np.random.default_rng(seed))
        plain = segment(images, folder / "plain")
        with (
            dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}),
            LocalCluster(WORKERS, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
        ):
            killer = threading.Thread(target=kill, args=(cluster, time.perf_counter()))
            killer.start()
            try:
                found = segment(images, folder / "cluster", "--cluster", cluster.scheduler_address)
            finally:
                over.set()
                killer.join()
        same = contents(folder / "plain") == contents(folder / "cluster")
    print(f"{versions('numpy', 'numba', 'distributed')}; seed {seed}")
    print(f"{IMAGES} images, {WORKERS} workers, {len(killed)} killed")
    print(f"plain {plain['seconds']:.1f} s, with deaths {found['seconds']:.1f} s, {found['failed']} failed")
    print("the same rows and masks" if same else "DIFFERENT")
    sys.exit(not same)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
