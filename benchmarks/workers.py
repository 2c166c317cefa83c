"""How far two workers are faster than one, from JPEG files to PNG masks: ``make bench``.

Pairs of runs alternate; what the machine itself gives two threads, hashing, is measured between them, since
two CPUs of a shared machine are seldom twice one. Other photographs: ``python benchmarks/workers.py FOLDER``.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import SAMPLES, versions, without_fixed_kernels

IMAGES = 400
PAIRS = 7


def segment(folder: str, workers: int) -> float:
    """Seconds that the command takes for a folder, but for starting Python and loading the engine."""
    with tempfile.TemporaryDirectory() as out:
        options = ["--limit", str(IMAGES), "-o", f"{out}/run", "--engine", "fused", "--workers", str(workers)]
        program = Path(sys.executable).with_name("iem-xp")
        command = [program, "segment", folder, "--json", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(json.loads(done.stdout)["seconds"])


def hash_in_threads(count: int) -> float:
    """Seconds in which so many threads hash as much each."""
    data = bytes(10_000_000)

    def work(_: int) -> None:
        for _ in range(40):
            hashlib.sha256(data).digest()

    begin = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(work, range(count)))
    return time.perf_counter() - begin


def main(folder: str) -> None:
    """Print a row for every pair, and the medians."""
    print(f"{versions('numpy', 'numba')}\n")
    print("| one worker, s | two, s | faster by | the machine's two threads |\n|---|---|---|---|")
    rows = []
    for _ in range(PAIRS):
        given = 2 * hash_in_threads(1) / hash_in_threads(2)
        one, two = segment(folder, 1), segment(folder, 2)
        rows.append((one, two, one / two, given))
        print("| " + " | ".join(f"{value:.2f}" for value in rows[-1]) + " |", flush=True)
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    print("| median " + " | ".join(f"{value:.2f}" for value in medians) + " |")


if __name__ == "__main__":
    without_fixed_kernels()
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as copies:
            samples = sorted(SAMPLES.glob("*.jpg"))
            for i in range(IMAGES):
                Path(copies, f"{i:03}.jpg").write_bytes(samples[i % len(samples)].read_bytes())
            main(copies)
