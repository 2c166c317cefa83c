"""`iem-xp segment --shard`, and `iem-xp merge` of what it makes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import tarfile
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image

from commands import run
from folders import PAPER
from iem_xp.runs.naming import Source
from iem_xp.runs.store import Run
from iem_xp.runs.storing import Files

SAMPLES = resources.files("iem_xp_cli") / "samples"
NAMES = ("cameraman", "cat", "cell", "coffee", "flower", "tissue")
QUICK = ("--iterations", "6", "--size", "32", "--device", "cpu")


@pytest.fixture(autouse=True)
def photos(here: Path) -> Path:
    """A folder with six photographs, one of them in a sub-folder, and a file that is none."""
    folder = here / "photos"
    (folder / "science").mkdir(parents=True)
    for name in NAMES:
        image = Image.open(SAMPLES / f"{name}.jpg").convert("RGB").resize((48, 40))
        image.save(folder / "science/cell.png" if name == "cell" else folder / f"{name}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def segment(*arguments: str, status: int = 0) -> Result:
    return run("segment", *PAPER, *arguments, *QUICK, status=status)


def make_parts(*arguments: str, of: int = 3, status: int = 0) -> list[str]:
    places = [f"part-{i}" for i in range(1, of + 1)]
    for i, place in enumerate(places, 1):
        segment(*arguments, "--shard", f"{i}/{of}", "-o", place, status=status)
    return places


def rows(folder: str) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(Path(folder, "run.sqlite"))
    found = database.execute(
        "SELECT path, status, error, mask, width, height, init_side, inpainting_error, updates,"
        " information, foreground_share, notes FROM images ORDER BY path"
    ).fetchall()
    database.close()
    return found


def masks(folder: str) -> dict[str, bytes]:
    root = Path(folder, "masks")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.png")}


def members(folder: str) -> dict[str, bytes]:
    with tarfile.open(Path(folder, "masks/00000.tar")) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


# ---- Parts of the images


@pytest.mark.parametrize("of", [1, 2, 4, 6, 9])
def test_the_parts_are_all_images_and_have_none_in_common(of: int) -> None:
    segment("photos", "-o", "plain", "--choose", "image")
    parts = [rows(place) for place in make_parts("photos", "--choose", "image", of=of)]
    assert sorted(row for part in parts for row in part) == rows("plain")
    assert {len(part) for part in parts} <= {6 // of, -(-6 // of)}


def test_parts_are_of_the_images_that_are_taken() -> None:
    parts = [rows(place) for place in make_parts("photos", "--limit", "4", of=2)]
    assert [len(part) for part in parts] == [2, 2]
    segment("photos", "-o", "plain", "--limit", "4")
    assert sorted(row[0] for part in parts for row in part) == [row[0] for row in rows("plain")]


@pytest.mark.parametrize("bad", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/4/2", "1 / 4", "", "1.5/2"])
def test_what_is_no_part_is_wrong_usage(bad: str) -> None:
    result = segment("photos", "--shard", bad, status=2)
    assert "is not I/N, such as 1/4" in result.stderr
    assert not Path("iem-run").exists()


# ---- Parts become one run


@pytest.mark.parametrize("choose", ["dataset", "image"])
def test_the_jobs_of_an_array_make_the_run_of_one_command(photos: Path, choose: str) -> None:
    (photos / "broken.png").write_bytes(b"not an image")
    options = ("photos", "--choose", choose, "--cutout")
    segment(*options, "-o", "plain", status=1)
    for i in range(1, 4):
        segment(*options, "--shard", f"{i}/3", "-o", f"part-{i}", status=1 if i == 1 else 0)
    result = run("merge", "part-1", "part-2", "part-3", "--json", status=1)
    assert rows("iem-run") == rows("plain")
    assert masks("iem-run") == masks("plain")
    assert {path.name for path in Path("iem-run/cutouts").rglob("*.png")} == {f"{name}.png" for name in NAMES}
    summary = json.loads(result.stdout)
    assert summary["run"] == "iem-run"
    assert summary["merged"] == [str(Path(f"part-{i}").resolve()) for i in range(1, 4)]
    assert (summary["done"], summary["failed"]) == (6, 1)
    assert summary["copied"] + summary["written"] == 6
    assert (summary["init_side"] is None) == (choose == "image")
    assert summary["mean_inpainting_error"] > 0
    assert "failed:" in result.stderr
    assert "broken.png" in result.stderr
    again = json.loads(segment(*options, "--json", status=1).stdout)
    assert (again["done"], again["skipped"], again["rewritten"], again["failed"]) == (0, 6, 0, 1)


def test_more_parts_than_images_make_the_same_run() -> None:
    segment("photos", "-o", "plain")
    result = run("merge", *make_parts("photos", of=9))
    assert rows("iem-run") == rows("plain")
    assert masks("iem-run") == masks("plain")
    assert "6 done, 0 failed, of 9 runs" in result.stdout
    assert "initial square: " in result.stdout
    assert "masks: iem-run/masks" in result.stdout


def test_parts_of_archives_are_merged_into_archives_unless_files_are_asked_for(photos: Path) -> None:
    for number in (1, 2):
        with tarfile.open(f"{number}.tar", "w") as tar:
            for path in sorted(photos.rglob("*.png"))[number::2]:
                tar.add(path, path.name)
    segment("1.tar", "2.tar", "-o", "plain")
    places = make_parts("1.tar", "2.tar")
    run("merge", *places, "-o", "merged")
    assert rows("merged") == rows("plain")
    assert members("merged") == members("plain")
    assert masks("merged") == {}
    run("merge", *places, "-o", "unpacked", "--store", "files")
    assert masks("unpacked") == members("plain")
    run("merge", *places, "-o", "unpacked")
    segment("1.tar", "2.tar", "-o", "merged")


def test_what_reads_a_run_reads_a_merged_one(photos: Path) -> None:
    run("merge", *make_parts("photos"))
    run("export-labels", "--top", "3", "-o", "labels")
    Path("truth/science").mkdir(parents=True)
    for name, data in masks("iem-run").items():
        Path("truth", name).write_bytes(data)
    scores = json.loads(run("evaluate", "iem-run", "truth", "--json").stdout)
    assert (scores["n"], scores["fixed"]["iou"]) == (6, 1)


def test_the_parts_can_be_deleted_once_they_are_merged() -> None:
    places = make_parts("photos")
    run("merge", *places)
    for place in places:
        run("merge", place, "-o", f"copy-of-{place}")
    segment("photos")
    assert len(masks("iem-run")) == 6


# ---- Once more


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_leaves_a_run_that_the_same_command_continues(
    monkeypatch: pytest.MonkeyPatch, number: int, status: int, said: str
) -> None:
    segment("photos", "-o", "plain")
    places = make_parts("photos")
    put = Files.put

    def signalled(store: Files, source: Source, made: dict[str, bytes]) -> Source:
        if source.mask == "coffee.png":
            os.kill(os.getpid(), number)
        return put(store, source, made)

    with monkeypatch.context() as patch:
        patch.setattr(Files, "put", signalled)
        result = run("merge", *places, "--overwrite", status=status)
    assert f"{said}: " in result.stderr
    assert "images are merged; the same command without --overwrite continues" in result.stderr
    run("merge", *places)
    assert rows("iem-run") == rows("plain")
    assert masks("iem-run") == masks("plain")


def test_the_same_command_again_has_nothing_left_to_do() -> None:
    places = make_parts("photos")
    run("merge", *places)
    summary = json.loads(run("merge", *places, "--json").stdout)
    assert (summary["done"], summary["copied"], summary["written"]) == (6, 0, 0)


def test_an_earlier_merge_is_replaced_if_that_is_asked_for() -> None:
    places = make_parts("photos")
    run("merge", *places)
    Path("iem-run/mine.txt").write_text("stays")
    result = run("merge", *places[:2], status=2)
    assert "part-3, too; give that again, use another -o, or --overwrite" in result.stderr
    run("merge", *places[:2], "--overwrite")
    assert len(masks("iem-run")) == len(rows("iem-run")) == 4
    assert Path("iem-run/mine.txt").read_text() == "stays"


def test_a_part_that_is_not_finished_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    segment("photos", "-o", "plain")
    places = make_parts("photos", of=2)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Files, "put", stop)
        segment("photos", "--shard", "2/2", "-o", "part-2", "--overwrite", status=130)
    result = run("merge", *places)
    assert "part-2: is not finished: 3 image(s) waited for their masks" in result.stderr
    assert rows("iem-run") == rows("plain")


def test_versions_that_differ_are_said() -> None:
    places = make_parts("photos")
    with Run.open(Path("part-2")) as opened:
        opened.set_meta("versions", {**opened.get_meta("versions"), "numpy": "1.0"})
    result = run("merge", *places)
    assert "numpy was not the same in all runs: " in result.stderr
    assert ", 1.0; masks may differ a little" in result.stderr


# ---- Wrong usage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing argument 'RUN...'"),
        (["part-1", "photos"], "photos: not a run, there is no run.sqlite in it"),
        (["part-1", "gone"], "gone: not a run"),
        (["part-1", "./part-1/"], "part-1: is given twice"),
        (["part-1", "other"], "sigma: 5.0 in the first, 2.0 in the second"),
        (["part-1", "part-2", "-o", "part-2"], "part-2: is not apart from"),
        (["part-1", "part-2", "-o", ".", "--overwrite"], ".: is not apart from"),
        (["part-1", "-o", "photos"], "photos: is no run and not empty"),
        (["part-1", "-o", "other"], "other: was made with another configuration"),
        (["part-1", "-o", "part-2"], "part-2: is a run that was not merged"),
    ],
)
def test_runs_that_cannot_be_merged_are_wrong_usage(arguments: list[str], said: str) -> None:
    make_parts("photos", of=2)
    segment("photos", "-o", "other", "--sigma", "2")
    assert said in run("merge", *arguments, status=2).stderr
    assert not Path("iem-run").exists()
    assert [len(masks(place)) for place in ("part-1", "part-2", "other")] == [3, 3, 6]


def test_one_process_at_a_time_merges_into_a_run() -> None:
    places = make_parts("photos")
    run("merge", *places)
    with Run.open(Path("iem-run")):
        assert "another process works on this run" in run("merge", *places, status=2).stderr
