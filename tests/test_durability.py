"""What outlasts a kill, a full disk or a power cut: in which order files and rows are written."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iem_xp import files
from iem_xp.config import IEMConfig
from iem_xp.labels import read_labels
from iem_xp.runs import store as store_module
from iem_xp.runs import storing
from iem_xp.runs.database import Database, RunError
from iem_xp.runs.naming import Source
from iem_xp.runs.pipeline import Segmenter
from iem_xp.runs.recording import Recorder
from iem_xp.runs.records import Candidate, Entry
from iem_xp.runs.settings import Settings
from iem_xp.runs.store import Run
from iem_xp.runs.storing import StoreOption
from iem_xp.runs.workers import Workers

SETTINGS = Settings(IEMConfig(init_sides=(44, 78)), size=16)
CONFIGURATION = SETTINGS.as_dict()
SQUARES = {44: np.zeros((16, 16), bool), 78: np.zeros((16, 16), bool)}
SQUARES[44][2:6, 2:6] = True
SQUARES[78][8:14, 8:14] = True


class Killed(BaseException):
    """Stands for the end of the process."""


def add(run: Run, name: str, errors: tuple[float, float]) -> None:
    """Add an image with the masks of two squares."""
    (source,) = run.admit([Source(Path(f"/images/{name}.jpg"), f"{name}.png")])
    found = zip(SQUARES.items(), errors, strict=True)
    candidates = [Candidate(side, mask, error, 3) for (side, mask), error in found]
    run.record_candidates(Entry(source, 16, 16, 0.1), candidates)


def finish(run: Run, option: StoreOption = "files") -> Segmenter:
    """Choose a square and write its masks."""
    segmenter = Segmenter(run, SETTINGS, workers=1, store=option)
    segmenter.choose_square()
    segmenter.write_masks()
    return segmenter


def held(run: Run) -> dict[str, tuple[int, int]]:
    """Of every image the square that its row says, and the square of its mask."""
    found = {}
    for entry in run.segmented():
        written = run.written(entry.source.path)
        assert written is not None
        mask = read_labels(run.masks / entry.source.shard / entry.source.mask) > 0
        (of,) = (side for side, square in SQUARES.items() if np.array_equal(square, mask))
        found[entry.source.path.stem] = written[1].side, of
    return found


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is synchronised, renamed and committed, in this order."""
    events: list[tuple[str, str]] = []
    fsync, replace, execute = os.fsync, os.replace, Database.execute

    def watched_fsync(descriptor: int) -> None:
        events.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def watched_replace(source: Any, target: Any) -> None:
        events.append(("replace", f"{source} {target}"))
        replace(source, target)

    def watched_execute(database: Database, statement: str, values: Any = ()) -> sqlite3.Cursor:
        if statement == "COMMIT":
            ((level,),) = execute(database, "PRAGMA synchronous")
            events.append(("commit", str(level)))
        return execute(database, statement, values)

    if not Path("/proc/self/fd").exists():
        pytest.skip("names of open files are known by /proc")
    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    monkeypatch.setattr(Database, "execute", watched_execute)
    return events


def write_one(run: Run, option: StoreOption) -> None:
    (source,) = run.admit([Source(Path("/images/a.jpg"), "sub/a.png")])
    recorder = Recorder(run, SETTINGS, (), option)
    with recorder as writer, Workers(1) as workers:
        entry, candidate = Entry(source, 16, 16, 0.1), Candidate(44, SQUARES[44], 0.1, 3)
        workers.submit(lambda: writer.write(entry, candidate), lambda o: recorder.wrote(entry, candidate, o))
        workers.wait(below=1)


def test_a_mask_is_on_the_disk_under_its_name_before_its_row_is_committed(
    tmp_path: Path, events: list[tuple[str, str]]
) -> None:
    with Run.create(tmp_path / "run", CONFIGURATION) as run:
        events.clear()
        write_one(run, "files")
    masks = tmp_path / "run/masks"
    kinds = [kind for kind, _ in events]
    renamed = next(i for i, (kind, of) in enumerate(events) if kind == "replace" and of.endswith("sub/a.png"))
    temporary = events[renamed][1].partition(" ")[0]
    assert ("fsync", str(masks)) in events[:renamed], "the new folder"
    assert ("fsync", temporary) in events[:renamed]
    assert events[renamed + 1] == ("fsync", str(masks / "sub"))
    assert "commit" not in kinds[: renamed + 2]
    assert "commit" in kinds[renamed + 2 :]


def test_an_archive_is_on_the_disk_before_rows_are_committed(
    tmp_path: Path, events: list[tuple[str, str]]
) -> None:
    with Run.create(tmp_path / "run", CONFIGURATION) as run:
        events.clear()
        write_one(run, "shards")
    commit = next(i for i, (kind, _) in enumerate(events) if kind == "commit")
    assert ("fsync", str(tmp_path / "run/masks/00000.tar")) in events[:commit]
    assert ("fsync", str(tmp_path / "run/masks")) in events[:commit], "its name"


def test_a_run_begins_with_its_file_on_the_disk(tmp_path: Path, events: list[tuple[str, str]]) -> None:
    Run.create(tmp_path / "run", CONFIGURATION).close()
    assert ("fsync", str(tmp_path)) in events, "the folder of the run"
    assert events[-1] == ("fsync", str(tmp_path / "run"))


def test_rows_are_taken_back_for_good_and_written_in_no_hurry(
    tmp_path: Path, events: list[tuple[str, str]]
) -> None:
    with Run.create(tmp_path / "run", CONFIGURATION) as run:
        add(run, "a", (0.9, 0.1))
        finish(run)
        assert {level for kind, level in events if kind == "commit"} == {"1", "2"}, "NORMAL, FULL"
        events.clear()
        run.forget([Path("/images/a.jpg")])
        assert [level for kind, level in events if kind == "commit"] == ["2"], "FULL"
        assert not (run.masks / "a.png").exists(), "nor is its mask taken for that of what comes"


def test_the_mask_comes_after_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = storing.write_atomically

    def watched(path: Path, *rest: Any) -> None:
        written.append(path.parent.name)
        write(path, *rest)

    monkeypatch.setattr(storing, "write_atomically", watched)
    with Run.create(tmp_path / "run", CONFIGURATION) as run:
        (source,) = run.admit([Source(Path("/images/a.jpg"), "a.png")])
        recorder = Recorder(run, SETTINGS, ["probability"])
        candidate = Candidate(0, SQUARES[44], 0.1, 0, 0.0, np.zeros((16, 16), np.uint8))
        with recorder as writer:
            writer.write(Entry(source, 16, 16, 0.1), candidate)
    assert written == ["probabilities", "masks"]


def test_what_another_session_was_writing_is_removed(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", CONFIGURATION).close()
    (tmp_path / "run/partial").mkdir()
    (tmp_path / "run/partial/.half.tmp").write_bytes(b"half")
    with Run.open(tmp_path / "run") as run:
        assert not run.partial.exists()


@pytest.mark.parametrize("option", ["files", "shards"])
def test_a_row_is_never_of_another_mask_than_is_there(
    tmp_path: Path, option: StoreOption, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The choice turns, the process ends between mask and row, and the choice turns back."""
    with Run.create(tmp_path / "run", CONFIGURATION) as run:
        add(run, "a", (0.9, 0.1))
        finish(run, option)
        assert held(run) == {"a": (44, 44)}
    commit = Recorder.commit

    def killed(recorder: Recorder) -> None:
        if recorder._written:
            raise Killed

    with Run.open(tmp_path / "run") as run:
        add(run, "b", (0.0, 0.95))
        monkeypatch.setattr(Recorder, "commit", killed)
        with pytest.raises(Killed):
            finish(run, option)
        monkeypatch.setattr(Recorder, "commit", commit)
    with Run.open(tmp_path / "run") as run:
        assert all(row == mask for row, mask in held(run).values())
        add(run, "c", (0.9, 0.0))
        finish(run, option)
        assert held(run) == {"a": (44, 44), "b": (44, 44), "c": (44, 44)}


def test_masks_of_another_square_count_as_rewritten(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", CONFIGURATION) as run:
        add(run, "a", (0.9, 0.1))
        assert (finish(run).tally.done, run.get_meta("init_side")) == (1, 44)
        add(run, "b", (0.0, 0.95))
        tally = finish(run).tally
        assert (tally.done, tally.rewritten, run.get_meta("init_side")) == (1, 1, 78)


def test_a_mask_that_cannot_be_rewritten_is_a_failure_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Run.create(tmp_path / "run", CONFIGURATION) as run:
        add(run, "a", (0.9, 0.1))
        finish(run)
        add(run, "b", (0.0, 0.95))
        failing = True

        def at_own_size(settings: Settings, mask: Any, height: int, width: int) -> Any:
            nonlocal failing
            if failing:
                failing = False
                raise MemoryError
            return mask

        monkeypatch.setattr(Settings, "at_own_size", at_own_size)
        finish(run)
        assert [failure.path.name for failure in run.failures()] == ["a.jpg"]
        assert run.counts() == (1, 1, 0)
        assert len(run.admit([Source(Path("/images/a.jpg"), "a.png")])) == 1


def test_a_disk_that_is_full_as_an_archive_ends_costs_no_row_its_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "PER_SHARD", 2)
    synchronise = storing._synchronise
    full = True

    def failing(opened: Iterator[Any]) -> None:
        nonlocal full
        if full:
            full = False  # there is room again, but too late
            raise OSError(28, "No space left on device")
        synchronise(opened)

    with Run.create(tmp_path / "run", CONFIGURATION) as run:
        for name in "abc":
            add(run, name, (0.9, 0.1))
        monkeypatch.setattr(storing, "_synchronise", failing)
        with pytest.raises(OSError, match="No space left"):
            finish(run, "shards")
        assert run.counts() == (0, 0, 3)
        finish(run, "shards")
        assert held(run) == {"a": (44, 44), "b": (44, 44), "c": (44, 44)}


@pytest.mark.parametrize("moment", ["run.sqlite-wal", "masks", "partial", "run.sqlite.cleared"])
def test_a_run_that_was_removed_in_part_is_no_run_and_begins_anew(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Run.create(tmp_path / "run", CONFIGURATION) as run:
        add(run, "a", (0.9, 0.1))
        finish(run)
    (tmp_path / "run/mine.txt").write_text("keep")
    real = files.remove

    def remove(path: Path) -> None:
        if path.name == moment and (path.name != "partial" or killing):
            raise Killed
        real(path)

    killing = True
    monkeypatch.setattr(store_module, "remove", remove)
    with pytest.raises(Killed):
        Run.clear(tmp_path / "run")
    monkeypatch.setattr(store_module, "remove", real)
    with pytest.raises(RunError, match="not a run"):
        Run.open(tmp_path / "run")
    with Run.resume(tmp_path / "run", CONFIGURATION) as run:
        assert run.counts() == (0, 0, 0)
        assert len(run.admit([Source(Path("/images/a.jpg"), "a.png")])) == 1
    assert not (tmp_path / "run/masks/a.png").exists()
    assert (tmp_path / "run/mine.txt").read_text() == "keep"


def test_a_run_is_locked_from_before_it_is_removed_until_the_new_one_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Run.create(tmp_path / "run", CONFIGURATION).close()
    create = Database.create
    tried: list[str] = []

    def meanwhile(file: Path, meta: Any) -> Database:
        with pytest.raises(RunError, match="another process works on this run") as caught:
            Run.create(tmp_path / "run", CONFIGURATION, overwrite=True)
        tried.append(str(caught.value))
        return create(file, meta)

    monkeypatch.setattr(Database, "create", meanwhile)
    with Run.create(tmp_path / "run", CONFIGURATION, overwrite=True):
        monkeypatch.setattr(Database, "create", create)
        with pytest.raises(RunError, match="another process works on this run"):
            Run.open(tmp_path / "run")
    assert tried


def test_what_is_in_the_log_alone_is_read_where_nobody_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create(tmp_path / "run", CONFIGURATION)
    add(run, "a", (0.9, 0.1))
    access: Callable[..., bool] = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    with Run.open(tmp_path / "run", to_write=False) as reader:
        assert reader.counts() == (0, 0, 1)
    run.close()
