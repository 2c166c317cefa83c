"""How far two workers are faster than one, from JPEG files to PNG masks: ``make bench``.

Runs alternate. Beside one command with two workers stand two commands at once, with one worker and half of
the photographs each: that is what the machine gives, since two CPUs of a shared machine are seldom twice
one. Other photographs: ``python benchmarks/workers.py FOLDER``.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from common import SAMPLES, versions, without_fixed_kernels

IMAGES = 400
RUNS = 7


def segment(*commands: tuple[list[Path], int]) -> float:
    """Seconds of commands at once, each with its photographs and workers, but for starting Python."""
    with tempfile.TemporaryDirectory() as folder:
        running = []
        for i, (files, workers) in enumerate(commands):
            listed = Path(folder, f"{i}.txt")
            listed.write_text("\n".join(map(str, files)))
            program = Path(sys.executable).with_name("iem-xp")
            options = ["-o", f"{folder}/{i}", "--engine", "fused", "--workers", str(workers), "--json"]
            command = [program, "segment", "--preset", "paper", "--fit", "whole", listed, *options]
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
        return max(float(json.loads(process.communicate()[0])["seconds"]) for process in running)


def main(folder: Path) -> None:
    """Print a row for every run, and the medians."""
    files = sorted(folder.resolve().iterdir())[:IMAGES]
    print(f"{versions('numpy', 'numba')}; {len(files)} photographs of {folder}\n")
    print("| one worker, s | two, s | faster by | two commands, faster by |\n|---|---|---|---|")
    rows = []
    for _ in range(RUNS):
        one, two = segment((files, 1)), segment((files, 2))
        apart = segment((files[::2], 1), (files[1::2], 1))
        rows.append((one, two, one / two, one / apart))
        print("| " + " | ".join(f"{value:.2f}" for value in rows[-1]) + " |", flush=True)
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    print("| median " + " | ".join(f"{value:.2f}" for value in medians) + " |")


if __name__ == "__main__":
    without_fixed_kernels()
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as copies:
            samples = sorted(SAMPLES.glob("*.jpg"))
            for i in range(IMAGES):
                Path(copies, f"{i:03}.jpg").write_bytes(samples[i % len(samples)].read_bytes())
            main(Path(copies))
