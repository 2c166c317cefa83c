"""What the benchmarks share: photographs, medians, and a process without what slows OpenBLAS."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib import metadata
from pathlib import Path

import numpy as np

from iem_xp.images import fit_image, read_image

PAPER = ("--preset", "paper", "--fit", "whole")
"""Options of `iem-xp segment` that the figures in the documentation of runs are of."""

SAMPLES = Path(__file__).parents[1] / "cli/iem_xp_cli/samples"


def without_fixed_kernels() -> None:
    """Run this script again without the two variables that fix OpenBLAS's kernels, at half their speed."""
    fixed = {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"} & os.environ.keys()
    if fixed:
        for name in fixed:
            del os.environ[name]
        os.execv(sys.executable, [sys.executable, *sys.argv])


def files_of(folder: Path, count: int | None = None) -> list[Path]:
    """A folder's photographs, or `count` of them, evenly taken."""
    files = sorted(file for file in folder.iterdir() if file.suffix in (".jpg", ".png"))
    return files[:: max(1, len(files) // count)][:count] if count else files


def photographs(size: int, folder: Path = SAMPLES, count: int | None = None) -> np.ndarray:
    """Central squares of a folder's photographs: uint8 (N, size, size, 3)."""
    files = files_of(folder, count)
    return np.stack([fit_image(read_image(file).pixels, size, "crop") for file in files])


def seconds(function: Callable[..., object], *arguments: object, runs: int = 5) -> float:
    """Time of a call: the median over runs."""
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def versions(*packages: str) -> str:
    """Date, machine and versions, in one line."""
    named = ", ".join(f"{package} {metadata.version(package)}" for package in packages)
    return f"{date.today()}, {platform.machine()}, Python {platform.python_version()}, {named}"
