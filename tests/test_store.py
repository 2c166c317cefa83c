from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from iem_xp.images import ImageError, encode_mask, write_atomically
from iem_xp.runs.database import FORMAT_VERSION, RunError
from iem_xp.runs.naming import Source
from iem_xp.runs.records import Candidate, Counts, Entry, Failure, from_bits, to_bits
from iem_xp.runs.store import Run

CONFIGURATION = {"iterations": 150, "init_sides": (44, 78), "sigma": 5.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "one"


@pytest.fixture
def run(folder: Path) -> Iterator[Run]:
    with Run.create(folder, CONFIGURATION) as made:
        yield made


def source(name: str, mask: str | None = None) -> Source:
    return Source(Path("/images") / name, mask or f"{Path(name).stem}.png")


ENTRY = Entry(source=Source(Path(), ""), width=30, height=20, seconds=0.5)
CANDIDATE = Candidate(side=78, mask=np.zeros((3, 5), bool), inpainting_error=0.5, updates=12)


def record_done(run: Run, image: Source, foreground_share: float = 0.25, **fields: Any) -> None:
    """Record an image; `fields` are those of its Entry and Candidate."""
    entry = {name: fields.pop(name) for name in Entry._fields if name in fields}
    run.record_done(ENTRY._replace(source=image, **entry), CANDIDATE._replace(**fields), foreground_share)


def wait(run: Run, image: Source, errors: Sequence[float], **fields: Any) -> None:
    """Add an image with one candidate per side: 44, 78, ..."""
    candidates = [
        Candidate(side, np.full((3, 5), side == 78), error, updates=7)
        for side, error in zip((44, 78, 92), errors, strict=False)
    ]
    run.record_candidates(ENTRY._replace(source=image, **fields), candidates)


def rows(run: Run, query: str) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(run.folder / "run.sqlite")
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


def test_a_run_is_one_file_and_a_folder_of_masks(run: Run, folder: Path) -> None:
    run.close()
    assert sorted(path.name for path in folder.iterdir()) == ["masks", "run.lock", "run.sqlite"]
    assert run.masks == folder / "masks"


def test_the_tables_are_those_that_others_read(run: Run) -> None:
    columns = {row[1] for row in rows(run, "PRAGMA table_info (images)")}
    assert columns >= {
        "path", "status", "error", "width", "height", "init_side", "inpainting_error", "updates",
        "foreground_share",
    }  # fmt: skip
    assert dict(rows(run, "SELECT key, value FROM meta"))["format_version"] == str(FORMAT_VERSION)
    assert rows(run, "PRAGMA journal_mode") == [("wal",)]


def test_meta_is_json(folder: Path) -> None:
    with Run.create(folder, CONFIGURATION, {"versions": {"numpy": "2.0"}, "odd": ["\udcff", None]}):
        pass
    with Run.open(folder) as run:
        assert run.get_meta("versions") == {"numpy": "2.0"}
        assert run.get_meta("odd") == ["\udcff", None]
        assert run.get_meta("unknown") is None


def test_nothing_is_made_in_a_folder_that_holds_something(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "thesis.tex").touch()
    for overwrite in (False, True):
        with pytest.raises(RunError, match="is no run and not empty"):
            Run.create(folder, CONFIGURATION, overwrite=overwrite)
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]
    with pytest.raises(RunError, match="is a file"):
        Run.create(folder / "thesis.tex", CONFIGURATION)


def test_a_run_is_not_made_twice(run: Run, folder: Path) -> None:
    with pytest.raises(RunError, match="is a run already"):
        Run.create(folder, CONFIGURATION)


def test_overwriting_removes_what_a_run_owns_and_no_more(run: Run, folder: Path, tmp_path: Path) -> None:
    record_done(run, source("a.jpg"))
    run.close()
    (run.masks / "sub").mkdir()
    (run.masks / "sub/a.png").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "model").touch()
    (folder / "models").symlink_to(elsewhere)
    (folder / "notes.md").touch()
    with Run.create(folder, {}, overwrite=True) as anew:
        assert anew.counts() == Counts(0, 0, 0)
        assert list(anew.masks.iterdir()) == []
    assert sorted(path.name for path in folder.iterdir()) == ["masks", "notes.md", "run.lock", "run.sqlite"]
    assert (elsewhere / "model").exists()


def test_clearing_what_is_not_there_is_no_error(folder: Path) -> None:
    Run.clear(folder)
    assert not folder.exists()


def test_only_a_run_is_opened(folder: Path) -> None:
    with pytest.raises(RunError, match=r"not a run.*iem-xp segment"):
        Run.open(folder)
    folder.mkdir(parents=True)
    for content in (b"", b"no database at all" * 100):
        (folder / "run.sqlite").write_bytes(content)
        with pytest.raises(RunError, match=r"run.sqlite: cannot be read as a run.*--overwrite"):
            Run.open(folder)


def test_a_newer_format_is_an_error(run: Run, folder: Path) -> None:
    with sqlite3.connect(folder / "run.sqlite") as database:
        database.execute("UPDATE meta SET value = ? WHERE key = 'format_version'", (FORMAT_VERSION + 1,))
    database.close()
    run.close()
    with pytest.raises(RunError, match="upgrade with: pip install"):
        Run.open(folder)


def test_a_run_resumes_with_its_own_configuration_only(folder: Path) -> None:
    with Run.resume(folder, CONFIGURATION) as run:
        record_done(run, source("a.jpg"))
    with Run.resume(folder, CONFIGURATION) as run:
        assert run.counts().done == 1
    with pytest.raises(RunError) as caught:
        Run.resume(folder, {"iterations": 150, "init_sides": (44,), "sigma": 3.0, "new": True})
    assert str(caught.value).splitlines() == [
        f"{folder}: was made with another configuration",
        "  init_sides: [44, 78] there, [44] now",
        "  sigma: 5.0 there, 3.0 now",
        "  new: null there, true now",
        "give what is there to continue it; use another -o to keep it, or --overwrite to replace it",
    ]


def test_numbers_are_plain_numbers(run: Run) -> None:
    record_done(
        run,
        source("a.jpg"),
        inpainting_error=np.float32(0.5),
        updates=np.int32(3),
        foreground_share=np.float32(0.25),
        side=np.int64(44),
    )
    query = "SELECT inpainting_error, updates, foreground_share, init_side FROM images"
    assert rows(run, query) == [(0.5, 3, 0.25, 44)]


def test_done_and_waiting_images_are_not_admitted_but_failed_ones_are(run: Run) -> None:
    images = [source(f"{name}.jpg") for name in "abcd"]
    record_done(run, images[0])
    wait(run, images[1], [0.1])
    run.record_failed(images[2], "truncated")
    assert run.admit(images) == images[2:]


def test_an_image_is_admitted_once(run: Run) -> None:
    image = source("a.jpg")
    assert run.admit([image, image]) == [image]
    assert run.admit([image]) == []
    run.record_failed(image, "truncated")
    assert run.admit([image]) == [image]


def test_an_image_in_work_is_not_admitted_when_the_name_it_could_not_have_is_free(run: Run) -> None:
    first, second = source("a.jpg", "a.png"), source("a.webp", "a.png")
    assert len(run.admit([first, second])) == 2
    run.record_failed(first, "truncated")
    assert run.admit([second]) == []


@pytest.mark.parametrize("state", ["in work", "done", "waiting"])
def test_a_mask_is_never_shared(run: Run, state: str) -> None:
    first, second = source("a.jpg", "sub/a.png"), source("a.webp", "sub/a.png")
    run.admit([first])
    if state == "done":
        record_done(run, first)
    elif state == "waiting":
        wait(run, first, [0.1])
    (renamed,) = run.admit([second, second])
    assert renamed.path == second.path
    assert renamed.mask.startswith("sub/a.webp-")
    record_done(run, renamed)
    assert run.admit([second]) == []


def test_the_images_that_are_done_come_by_the_names_of_their_masks(run: Run) -> None:
    odd = Source(Path(os.fsdecode(b"/images/\xff.jpg")), os.fsdecode(b"\xff.png"))
    sources = (source("a.jpg"), source("b.jpg", "sub/b.png"), odd)
    for image in reversed(sources):
        record_done(run, image, notes="alpha ignored")
    run.record_failed(source("c.jpg"), "truncated")
    wait(run, source("d.jpg"), [0.1])
    expected = [
        ENTRY._replace(source=image, notes="alpha ignored")
        for image in (source("a.jpg"), source("b.jpg", "sub/b.png"), odd)
    ]
    assert list(run.segmented()) == expected


def test_a_done_image_replaces_its_failure_and_not_the_reverse(run: Run) -> None:
    image = source("a.jpg")
    run.record_failed(image, "truncated")
    run.record_failed(image, "no such file")
    assert run.failures() == [Failure(image.path, "no such file")]
    record_done(run, image)
    run.record_failed(image, "too late")
    assert run.failures() == []
    assert run.counts() == Counts(done=1, failed=0, waiting=0)


def test_an_image_is_in_one_state(run: Run) -> None:
    image = source("a.jpg")
    run.record_failed(image, "truncated")
    wait(run, image, [0.1, 0.2])
    assert run.counts() == Counts(done=0, failed=0, waiting=1)
    run.record_failed(image, "disk full")
    assert run.counts() == Counts(done=0, failed=1, waiting=0)
    assert rows(run, "SELECT COUNT(*) FROM candidates") == [(0,)]
    wait(run, image, [0.1, 0.2])
    record_done(run, image)
    assert run.counts() == Counts(done=1, failed=0, waiting=0)


def test_the_mean_is_over_images_that_are_done(run: Run) -> None:
    assert run.means() == {"mean_inpainting_error": None, "mean_information": None}
    run.record_failed(source("c.jpg"), "truncated")
    for name, error, information in (("a.jpg", 0.25, 2.0), ("b.jpg", 0.75, 5.0)):
        record_done(run, source(name), inpainting_error=error, information=information)
    assert run.means() == {"mean_inpainting_error": 0.5, "mean_information": 3.5}


def test_the_side_of_highest_mean_error_over_all_images_is_chosen(run: Run) -> None:
    assert run.candidates.choose_side((44, 78)) is None
    wait(run, source("a.jpg"), [0.9, 0.5])
    wait(run, source("b.jpg"), [0.1, 0.6])
    assert run.candidates.choose_side((44, 78)) == 78
    for entry, candidate in run.candidates.unwritten(78):
        run.record_done(entry, candidate, 0.5)
    wait(run, source("c.jpg"), [9.0, 0.0])
    assert run.candidates.choose_side((44, 78)) == 44
    assert run.get_meta("init_side") == 44


@pytest.mark.parametrize("sides", [(44, 78), (78, 44)])
def test_the_earlier_side_wins_a_tie(run: Run, sides: tuple[int, int]) -> None:
    wait(run, source("a.jpg"), [0.25, 0.75])
    wait(run, source("b.jpg"), [0.75, 0.25])
    assert run.candidates.choose_side(sides) == sides[0]


def test_the_candidates_of_an_image_are_found_by_its_path(run: Run) -> None:
    wait(run, source("a.jpg"), [0.5, 0.2], notes="alpha ignored")
    wait(run, source("b.jpg"), [0.1])
    entry, candidates = run.candidates.of(source("a.jpg").path)
    assert (entry.source, entry.notes) == (source("a.jpg"), "alpha ignored")
    assert [(found.side, found.inpainting_error) for found in candidates] == [(44, 0.5), (78, 0.2)]
    assert run.candidates.of(source("c.jpg").path) is None


def test_a_mask_that_was_written_is_found_by_its_image_s_path(run: Run) -> None:
    mask = np.eye(4, 6, dtype=bool)
    entry = Entry(source("a.jpg"), 6, 4, 0.5, "alpha ignored")
    write_atomically(run.masks / entry.source.mask, encode_mask(mask))
    run.record_done(entry, Candidate(0, mask, 0.25, 7), 0.5)
    wait(run, source("b.jpg"), [0.1])
    found = run.written(entry.source.path)
    assert found is not None
    assert found[0] == entry
    np.testing.assert_array_equal(found[1].mask, mask)
    assert found[1]._replace(mask=mask) == Candidate(0, mask, 0.25, 7)
    assert run.written(source("b.jpg").path) is None
    (run.masks / entry.source.mask).unlink()
    with pytest.raises(ImageError, match=re.escape(entry.source.mask)):
        run.written(entry.source.path)


def test_candidates_come_back_whole_while_they_are_recorded(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iem_xp.runs.candidates._BATCH", 2)
    images = [source(f"{index}.jpg") for index in range(5)]
    for image in images:
        wait(run, image, [0.1, 0.2], notes="converted from CMYK")
    seen = []
    for entry, candidate in run.candidates.unwritten(78):
        seen.append(entry.source)
        assert candidate.side == 78
        assert candidate.inpainting_error == 0.2
        assert candidate.updates == 7
        assert candidate.mask.dtype == bool
        assert candidate.mask.shape == (3, 5)
        assert candidate.mask.all()
        assert entry[1:] == (30, 20, 0.5, "converted from CMYK", None)
        run.record_done(entry, candidate, 0.5)
    assert seen == images
    assert run.candidates.count_unwritten(78) == 0


def test_masks_of_another_square_are_to_be_written_again(run: Run) -> None:
    for name in ("a.jpg", "b.jpg"):
        wait(run, source(name), [0.1, 0.2])
    (first, candidate), _ = run.candidates.unwritten(78)
    run.record_done(first, candidate, 0.5)
    assert run.candidates.count_unwritten(None) == 1
    assert run.candidates.count_unwritten(78) == 1
    assert run.candidates.count_unwritten(44) == 2
    assert [entry.source.path.name for entry, _ in run.candidates.unwritten(44)] == ["a.jpg", "b.jpg"]


@given(st.data(), st.integers(1, 9), st.integers(1, 9))
def test_masks_survive_packing(data: st.DataObject, height: int, width: int) -> None:
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask: NDArray[np.bool_] = np.array(bits).reshape(height, width)
    np.testing.assert_array_equal(from_bits(to_bits(mask), height, width), mask)


@pytest.mark.parametrize("name", ["plain.png", "new\nline.png", "🦜 '\".png", os.fsdecode(b"\xff\xfe.png")])
def test_any_file_name_comes_back(run: Run, name: str) -> None:
    image = source(name, f"sub/{name}")
    wait(run, image, [0.1])
    assert [entry.source for entry, _ in run.candidates.unwritten(44)] == [image]
    run.record_failed(image, f"cannot read {name}")
    assert [failure.path for failure in run.failures()] == [image.path]
    record_done(run, image)
    assert run.admit([image]) == []
    ((path, mask),) = rows(run, "SELECT path, mask FROM images")
    assert (os.fsdecode(path), os.fsdecode(mask)) == (str(image.path), image.mask)
    assert isinstance(path, str) == ("\udcff" not in name)


def test_a_transaction_is_all_or_nothing(run: Run) -> None:
    def fail_midway() -> None:
        with run.transaction():
            record_done(run, source("a.jpg"))
            wait(run, source("b.jpg"), [0.1])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_midway()
    assert run.counts() == Counts(0, 0, 0)
    with run.transaction():
        record_done(run, source("a.jpg"))
        wait(run, source("b.jpg"), [0.1])
        assert rows(run, "SELECT COUNT(*) FROM images") == [(0,)]
    assert rows(run, "SELECT COUNT(*) FROM images") == [(1,)]


def test_another_process_reads_while_one_writes(run: Run, folder: Path) -> None:
    with run.transaction(), Run.open(folder, to_write=False) as reader:
        record_done(run, source("a.jpg"))
        assert reader.counts().done == 0


def test_a_run_that_was_killed_as_it_began_begins_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("iem_xp.runs.database.Database.set_meta", killed)
        with pytest.raises(KeyboardInterrupt):
            Run.resume(folder, CONFIGURATION)
    assert sorted(path.name for path in folder.iterdir()) == ["masks", "run.lock", "run.sqlite.new"]
    with Run.resume(folder, CONFIGURATION) as run:
        assert run.counts() == Counts(0, 0, 0)


def test_a_run_that_cannot_be_written_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "50 % ü?#"
    with Run.create(folder, {"sigma": 5}) as run:
        wait(run, source("a.jpg"), [0.5])
    monkeypatch.setattr("os.access", lambda path, mode: False)
    files = set(folder.iterdir())
    with Run.open(folder, to_write=False) as run:
        assert run.get_meta("configuration") == {"sigma": 5}
        assert run.counts() == Counts(done=0, failed=0, waiting=1)
        assert set(folder.iterdir()) == files  # SQLite leaves nothing beside it
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            run.set_meta("sigma", 6)


def test_a_run_in_progress_can_be_read(run: Run) -> None:
    wait(run, source("a.jpg"), [0.5])
    with Run.open(run.folder, to_write=False) as reader:
        assert reader.counts().waiting == 1
        wait(run, source("b.jpg"), [0.5])
        assert reader.counts().waiting == 2
