"""A run that is killed again and again (SIGKILL), beside one that is not.

``python benchmarks/kills.py FOLDER``: the command is started, killed at a random moment, and started again,
50 times, and then left to end. Masks have to be the same to the last byte, rows but for the seconds that
images took. Options of ``iem-xp segment`` may follow the folder.
"""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from common import PAPER, SAMPLES, files_of, versions, without_fixed_kernels

from iem_xp.contents import read_contents
from iem_xp.runs.store import Run, is_run

IMAGES = 400
KILLS = 50
PROGRAM = str(Path(sys.executable).with_name("iem-xp"))
COLUMNS = (
    "path, status, error, width, height, mask, init_side, inpainting_error, updates, foreground_share, notes"
)


def held(folder: Path) -> tuple[list[tuple[object, ...]], dict[str, bytes]]:
    """Rows and masks of a run."""
    with sqlite3.connect(folder / "run.sqlite") as database:
        rows = database.execute(f"SELECT {COLUMNS} FROM images ORDER BY path").fetchall()
    with Run.open(folder, to_write=False) as run:
        masks = {
            source.mask: read_contents(run.masks / source.shard / source.mask).data
            for source, *_ in run.segmented()
        }
    return rows, masks


def state(folder: Path) -> str:
    """How far a run is."""
    if not is_run(folder):
        return "not begun"
    with Run.open(folder, to_write=False) as run:
        counts = run.counts()
    return "searching" if not counts.done else "writing" if counts.waiting else "done"


def main(files: list[Path], options: list[str]) -> None:
    """Kill, compare and print."""
    print(f"{versions('numpy', 'numba')}; {len(files)} photographs, killed {KILLS} times; {options}")
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder, "list.txt")
        listed.write_text("\n".join(map(str, files)))
        command = [PROGRAM, "segment", str(listed), *PAPER, *options, "-o"]
        start = time.perf_counter()
        subprocess.run([*command, f"{folder}/whole"], check=True, stderr=subprocess.DEVNULL)
        whole = time.perf_counter() - start
        states: Counter[str] = Counter()
        for _ in range(KILLS):
            # Few get far: the program starts in about a second.
            moment = rng.uniform(0, 1.6 + 2 * whole / KILLS)
            process = subprocess.Popen(
                [*command, f"{folder}/killed"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            time.sleep(moment)
            process.kill()
            process.wait()
            states[state(Path(folder, "killed"))] += 1
        subprocess.run([*command, f"{folder}/killed"], check=True, stderr=subprocess.DEVNULL)
        rows, masks = held(Path(folder, "killed"))
        other_rows, other_masks = held(Path(folder, "whole"))
        print(f"killed while: {dict(states)}")
        print(f"rows: {len(rows)}, the same: {rows == other_rows}")
        print(f"masks: {len(masks)}, the same: {masks == other_masks}")
        left = [path for path in Path(folder, "killed").rglob("*") if path.name.startswith(".")]
        print(f"files left over: {len(left)}")
    if rows != other_rows or masks != other_masks or left:
        raise SystemExit(1)


if __name__ == "__main__":
    without_fixed_kernels()
    given = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else SAMPLES
    main(files_of(given, IMAGES), sys.argv[2:])
