from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from itertools import count
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

import iem_xp
from counting import Library
from iem_xp import solver
from iem_xp.choice import Ascent
from iem_xp.config import IEMConfig
from iem_xp.images import SUFFIXES, fit_image, read_image, restore_mask, write_atomically
from iem_xp.memory import bytes_per_image
from iem_xp.rendering import cutout
from iem_xp.runs import finding
from iem_xp.runs.candidates import Candidates
from iem_xp.runs.finding import Finder
from iem_xp.runs.inputs import find_images
from iem_xp.runs.methods import Search
from iem_xp.runs.naming import Source
from iem_xp.runs.pipeline import Segmenter
from iem_xp.runs.records import Output
from iem_xp.runs.settings import Settings
from iem_xp.runs.store import Run
from iem_xp.runs.storing import Shards, StoreOption
from iem_xp.runs.writing import Writer

SAMPLES = resources.files("iem_xp_cli") / "samples"
NAMES = ("cameraman", "cat", "cell", "coffee", "flower", "tissue")
CONFIG = IEMConfig(iterations=6)
SETTINGS = Settings(CONFIG, size=32)


def photograph(name: str, width: int, height: int) -> Image.Image:
    return Image.open(SAMPLES / f"{name}.jpg").convert("RGB").resize((width, height))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six photographs of 48 x 40 pixels, of one working size."""
    made = tmp_path / "photographs"
    made.mkdir()
    for name in NAMES:
        photograph(name, 48, 40).save(made / f"{name}.png")
    return made


def sources(folder: Path) -> list[Source]:
    return list(find_images([str(folder)], suffixes=SUFFIXES))


def session(
    run_folder: Path,
    images: Iterable[Source],
    settings: Settings = SETTINGS,
    *,
    device: str = "cpu",
    workers: int = 2,
    batch_size: int | None = 64,
    outputs: tuple[Output, ...] = (),
    store: StoreOption = "files",
    advance: Callable[[int], object] = lambda count: None,
    announce: Callable[[str], object] | None = None,
) -> Segmenter:
    with Run.resume(run_folder, settings.as_dict()) as run:
        search = Search(settings.config, device, announce=announce)
        segmenter = Segmenter(
            run, settings, search, workers=workers, batch_size=batch_size, outputs=outputs, store=store
        )
        segmenter.segment(images, advance)
        segmenter.choose_square()
        segmenter.write_masks()
    return segmenter


def rows(run_folder: Path) -> list[dict[str, Any]]:
    """What a run says of its images, but for the time they took."""
    with sqlite3.connect(run_folder / "run.sqlite") as database:
        database.row_factory = sqlite3.Row
        found = [dict(row) for row in database.execute("SELECT * FROM images ORDER BY path")]
    database.close()
    for row in found:
        del row["seconds"], row["file_modified"]
    return found


def files(run_folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run_folder)): path.read_bytes()
        for path in sorted(run_folder.rglob("*.png"))
        if path.is_file()
    }


def meta(run_folder: Path, key: str) -> Any:
    with Run.open(run_folder) as run:
        return run.get_meta(key)


def mask_of(run_folder: Path, name: str) -> np.ndarray:
    return iio.imread(run_folder / "masks" / f"{name}.png")


def interrupt(*args: Any, after: int, **options: Any) -> None:
    """Begin a session that is interrupted once it has segmented so many images."""
    segmented, interrupted = 0, False

    def advance(count: int) -> None:
        nonlocal segmented, interrupted
        segmented += count
        if segmented >= after and not interrupted:
            interrupted = True
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session(*args, **options, advance=advance)


@pytest.mark.parametrize("choose", ["dataset", "image"])
def test_a_run_has_the_masks_of_segment(folder: Path, tmp_path: Path, choose: Any) -> None:
    settings = SETTINGS.updated({"choose": choose})
    session(tmp_path / "run", sources(folder), settings)
    stack = np.stack([fit_image(read_image(source.path).pixels, 32) for source in sources(folder)])
    expected = iem_xp.segment(stack, settings.config)
    assert len(set(expected.init_side.tolist())) == (1 if choose == "dataset" else 2)
    for i, row in enumerate(rows(tmp_path / "run")):
        assert Path(row["path"]) == sources(folder)[i].path
        assert row["status"] == "done"
        assert (row["width"], row["height"]) == (48, 40)
        assert row["init_side"] == expected.init_side[i]
        assert row["updates"] == expected.updates[i]
        assert row["inpainting_error"] == pytest.approx(float(expected.inpainting_error[i]), rel=1e-5)
        written = iio.imread(tmp_path / "run" / "masks" / row["mask"])
        np.testing.assert_array_equal(written > 0, restore_mask(expected.masks[i], 40, 48))
        assert set(np.unique(written)) <= {0, 255}
        assert row["foreground_share"] == pytest.approx(np.mean(written > 0))


def test_the_choice_for_all_is_kept_with_the_run(folder: Path, tmp_path: Path) -> None:
    session(tmp_path / "run", sources(folder))
    (side,) = {row["init_side"] for row in rows(tmp_path / "run")}
    assert meta(tmp_path / "run", "init_side") == side


@pytest.mark.parametrize("choose", ["dataset", "image"])
def test_the_batch_size_changes_nothing(folder: Path, tmp_path: Path, choose: str) -> None:
    photograph("cat", 40, 60).save(folder / "tall.png")
    photograph("cell", 40, 60).save(folder / "z.png")
    settings = SETTINGS.updated({"choose": choose})
    for batch_size in (1, 3, 64):
        session(tmp_path / str(batch_size), sources(folder), settings, batch_size=batch_size)
    for batch_size in ("3", "64"):
        assert files(tmp_path / batch_size) == files(tmp_path / "1")
        for row, other in zip(rows(tmp_path / batch_size), rows(tmp_path / "1"), strict=True):
            assert row.pop("inpainting_error") == pytest.approx(other.pop("inpainting_error"), rel=1e-5)
            assert row == other


@pytest.mark.parametrize("choose", ["dataset", "image"])
def test_the_number_of_workers_changes_nothing(folder: Path, tmp_path: Path, choose: str) -> None:
    photograph("cat", 40, 60).save(folder / "tall.png")
    photograph("cell", 40, 60).save(folder / "z.png")
    (folder / "broken.png").write_bytes(b"")
    settings = SETTINGS.updated({"choose": choose})
    for workers in (1, 2, 5):
        session(tmp_path / str(workers), sources(folder), settings, workers=workers, batch_size=5)
    for workers in (2, 5):
        assert files(tmp_path / str(workers)) == files(tmp_path / "1")
        assert rows(tmp_path / str(workers)) == rows(tmp_path / "1")
        assert meta(tmp_path / str(workers), "init_side") == meta(tmp_path / "1", "init_side")


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_images_of_all_sizes_go_into_one_run(tmp_path: Path, batch_size: int) -> None:
    sizes = {
        "a": (48, 40),
        "b": (30, 70),
        "c": (32, 32),
        "d": (48, 40),
        "e": (1, 1),
        "f": (300, 1),
        "g": (9, 5),
    }
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name, size in sizes.items():
        photograph("flower", *size).save(folder / f"{name}.png")
    segmenter = session(tmp_path / "run", sources(folder), batch_size=batch_size)
    assert segmenter.tally.done == len(sizes)
    for name, (width, height) in sizes.items():
        assert mask_of(tmp_path / "run", name).shape == (height, width)


def test_of_equal_errors_the_first_square_wins(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SETTINGS.updated({"choose": "image", "init_sides": (78, 44, 92)})
    score = solver.score

    def equal(*arguments: Any) -> Ascent:
        ascent = score(*arguments)
        return ascent._replace(inpainting_error=np.ones_like(ascent.inpainting_error))

    monkeypatch.setattr(solver, "score", equal)
    session(tmp_path / "run", sources(folder), settings)
    assert {row["init_side"] for row in rows(tmp_path / "run")} == {78}


def test_images_that_differ_in_size_share_the_square_of_all(folder: Path, tmp_path: Path) -> None:
    photograph("cat", 40, 60).save(folder / "tall.png")
    session(tmp_path / "run", sources(folder))
    assert len({row["init_side"] for row in rows(tmp_path / "run")}) == 1


def test_a_crop_has_a_square_mask_of_the_working_size(folder: Path, tmp_path: Path) -> None:
    settings = SETTINGS.updated({"fit": "crop"})
    session(tmp_path / "run", sources(folder), settings)
    stack = np.stack([fit_image(read_image(source.path).pixels, 32, "crop") for source in sources(folder)])
    expected = iem_xp.segment(stack, CONFIG).masks
    for name, mask in zip(NAMES, expected, strict=True):
        np.testing.assert_array_equal(mask_of(tmp_path / "run", name) > 0, mask)
    assert {(row["width"], row["height"]) for row in rows(tmp_path / "run")} == {(48, 40)}


def test_a_bad_file_costs_that_file_alone(folder: Path, tmp_path: Path) -> None:
    session(tmp_path / "good", sources(folder))
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "zzz.png").write_bytes(b"")
    segmenter = session(tmp_path / "run", sources(folder), batch_size=3)
    assert (segmenter.tally.done, segmenter.tally.failed, segmenter.tally.skipped) == (6, 2, 0)
    assert files(tmp_path / "run") == files(tmp_path / "good")
    failed = [row for row in rows(tmp_path / "run") if row["status"] == "failed"]
    assert [Path(row["path"]).name for row in failed] == ["broken.png", "zzz.png"]
    assert "broken.png: not an image" in failed[0]["error"]
    assert "zzz.png: the file is empty" in failed[1]["error"]


def test_a_run_of_failures_chooses_no_square(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    segmenter = session(tmp_path / "run", [Source(tmp_path / "a.png", "a.png")])
    assert segmenter.tally.failed == 1
    assert meta(tmp_path / "run", "init_side") is None


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("choose", ["dataset", "image"])
@pytest.mark.parametrize("after", [2, 4, 6])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    folder: Path, tmp_path: Path, choose: str, after: int, workers: int
) -> None:
    settings = SETTINGS.updated({"choose": choose})
    session(tmp_path / "whole", sources(folder), settings)
    interrupt(tmp_path / "run", sources(folder), settings, workers=workers, batch_size=2, after=after)
    written = files(tmp_path / "run")
    assert len(written) == len(rows(tmp_path / "run"))
    assert (not written) if choose == "dataset" else (after <= len(written) < after + 2)
    resumed = session(tmp_path / "run", sources(folder), settings, workers=workers, batch_size=2)
    assert files(tmp_path / "run") == files(tmp_path / "whole")
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")
    assert (resumed.tally.done, resumed.tally.skipped) == (6 - len(written), len(written))


def test_an_image_segmented_before_an_interruption_is_not_read_again(folder: Path, tmp_path: Path) -> None:
    images = sources(folder)
    interrupt(tmp_path / "run", images, batch_size=2, after=4)
    with sqlite3.connect(tmp_path / "run" / "run.sqlite") as database:
        segmented = [path for (path,) in database.execute("SELECT path FROM entries")]
    database.close()
    assert len(segmented) >= 4
    for path in segmented:
        Path(path).unlink()
    assert session(tmp_path / "run", images).tally.done == 6


@pytest.mark.parametrize("workers", [1, 3])
def test_an_interruption_while_masks_are_written_loses_none(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    session(tmp_path / "whole", sources(folder))
    record, recorded = Run.record_done, 0

    def stop_at_the_fourth(*args: Any, **fields: Any) -> None:
        nonlocal recorded
        recorded += 1
        if recorded == 4:
            raise KeyboardInterrupt
        record(*args, **fields)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "record_done", stop_at_the_fourth)
        with pytest.raises(KeyboardInterrupt):
            session(tmp_path / "run", sources(folder), workers=workers)
    recorded = len(rows(tmp_path / "run"))
    assert 3 <= recorded < 6
    resumed = session(tmp_path / "run", sources(folder))
    assert (resumed.tally.done, resumed.tally.skipped) == (6 - recorded, recorded)
    assert files(tmp_path / "run") == files(tmp_path / "whole")
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


def test_a_search_that_fails_midway_leaves_a_run_to_continue(folder: Path, tmp_path: Path) -> None:
    def failing() -> Iterator[Source]:
        yield from sources(folder)[:3]
        raise OSError("the disk is gone")

    session(tmp_path / "whole", sources(folder))
    with pytest.raises(OSError, match="the disk is gone"):
        session(tmp_path / "run", failing())
    session(tmp_path / "run", sources(folder))
    assert files(tmp_path / "run") == files(tmp_path / "whole")
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


def test_what_is_done_is_not_done_again(folder: Path, tmp_path: Path) -> None:
    session(tmp_path / "run", sources(folder))
    before = files(tmp_path / "run"), rows(tmp_path / "run")
    again = session(tmp_path / "run", sources(folder))
    assert (again.tally.done, again.tally.skipped) == (0, 6)
    assert (files(tmp_path / "run"), rows(tmp_path / "run")) == before


def test_images_that_come_later_take_part_in_the_choice(folder: Path, tmp_path: Path) -> None:
    session(tmp_path / "whole", sources(folder))
    chosen = meta(tmp_path / "whole", "init_side")
    for image in sources(folder):
        run = tmp_path / image.path.stem
        session(run, [image])
        alone = meta(run, "init_side")
        later = session(run, sources(folder))
        assert (later.tally.done, later.tally.skipped) == (5, 1)
        assert later.tally.rewritten == (alone != chosen)
        assert files(run) == files(tmp_path / "whole")
        assert rows(run) == rows(tmp_path / "whole")
    assert later.tally.segmented == 5


def test_a_failed_image_is_tried_again(folder: Path, tmp_path: Path) -> None:
    session(tmp_path / "whole", sources(folder), SETTINGS.updated({"choose": "image"}))
    intact = (folder / "cat.png").read_bytes()
    (folder / "cat.png").write_bytes(intact[:500])
    settings = SETTINGS.updated({"choose": "image"})
    assert session(tmp_path / "run", sources(folder), settings).tally.failed == 1
    assert session(tmp_path / "run", sources(folder), settings).tally.failed == 1
    (folder / "cat.png").write_bytes(intact)
    mended = session(tmp_path / "run", sources(folder), settings)
    assert (mended.tally.done, mended.tally.failed, mended.tally.skipped) == (1, 0, 5)
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


@pytest.mark.parametrize("fate", ["deleted", "replaced by another size", "truncated"])
def test_an_image_that_changes_before_its_pictures_are_drawn_fails_alone(
    folder: Path, tmp_path: Path, fate: str
) -> None:
    images, cat = sources(folder), folder / "cat.png"
    with Run.resume(tmp_path / "run", {}) as run:
        segmenter = Segmenter(run, SETTINGS, outputs=["overlay"])
        segmenter.segment(images)
        if fate == "deleted":
            cat.unlink()
        elif fate == "truncated":
            cat.write_bytes(cat.read_bytes()[:500])
        else:
            photograph("cat", 40, 48).save(cat)
        segmenter.choose_square()
        segmenter.write_masks()
    assert (segmenter.tally.done, segmenter.tally.failed) == (5, 1)
    (failed,) = (row for row in rows(tmp_path / "run") if row["status"] == "failed")
    assert failed["path"] == str(cat)
    assert str(cat) in failed["error"]
    assert not [name for name in files(tmp_path / "run") if "cat" in name]


def test_pictures_of_whole_images_have_their_size_and_inpaintings_the_working_size(
    folder: Path, tmp_path: Path
) -> None:
    session(tmp_path / "run", sources(folder), outputs=("cutout", "overlay", "inpainted"))
    for name in NAMES:
        image, mask = read_image(folder / f"{name}.png").pixels, mask_of(tmp_path / "run", name)
        cut = iio.imread(tmp_path / "run" / "cutouts" / f"{name}.png")
        np.testing.assert_array_equal(cut, cutout(image, mask > 0))
        assert iio.imread(tmp_path / "run" / "overlays" / f"{name}.png").shape == (40, 48, 3)
        assert iio.imread(tmp_path / "run" / "inpainted" / f"{name}.png").shape == (32, 38, 3)


def test_pictures_of_crops_have_the_working_size(folder: Path, tmp_path: Path) -> None:
    settings = SETTINGS.updated({"fit": "crop"})
    session(tmp_path / "run", sources(folder), settings, outputs=("cutout", "overlay", "inpainted"))
    for made, channels in (("cutouts", 4), ("overlays", 3), ("inpainted", 3)):
        assert iio.imread(tmp_path / "run" / made / "cat.png").shape == (32, 32, channels)
    crop = fit_image(read_image(folder / "cat.png").pixels, 32, "crop")
    np.testing.assert_array_equal(iio.imread(tmp_path / "run" / "cutouts" / "cat.png")[..., :3], crop)


def test_what_was_altered_on_reading_is_noted(folder: Path, tmp_path: Path) -> None:
    photograph("cat", 48, 40).convert("RGBA").resize((48, 40)).save(folder / "opaque.png")
    clear = photograph("cat", 48, 40).convert("RGBA")
    clear.putalpha(100)
    clear.save(folder / "clear.png")
    segmenter = session(tmp_path / "run", sources(folder))
    assert segmenter.tally.notes == {"alpha ignored": 1}
    notes = {Path(row["path"]).stem: row["notes"] for row in rows(tmp_path / "run")}
    assert notes["clear"] == "alpha ignored"
    assert notes["opaque"] is None


def test_progress_counts_every_image_once(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.png").write_bytes(b"")
    for _ in range(2):
        counted: list[int] = []
        with Run.resume(tmp_path / "run", {}) as run:
            segmenter = Segmenter(run, SETTINGS, batch_size=2)
            segmenter.segment(sources(folder), counted.append)
            written: list[int] = []
            waiting = segmenter.choose_square()
            segmenter.write_masks(written.append)
        assert sum(counted) == 7
        assert sum(written) == waiting


def test_no_image_is_left_waiting(folder: Path, tmp_path: Path) -> None:
    session(tmp_path / "run", sources(folder))
    with Run.open(tmp_path / "run") as run:
        assert run.counts() == (6, 0, 0)


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    original = tmp_path / "cat.png"
    photograph("cat", 300, 200).save(original)

    def peak(count: int) -> int:
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            shutil.copyfile(original, folder / f"{number}.png")
        images = sources(folder)
        tracemalloc.start()
        try:
            settings = Settings(IEMConfig(iterations=1))
            session(tmp_path / f"run-{count}", images, settings, workers=1, batch_size=4)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(4)  # what is imported and cached at first use
    # An image is 72 kB at its working size: holding those of 50 more would take 3.6 MB.
    assert peak(60) - peak(10) < 1_000_000


def test_a_mask_that_says_nothing_is_noted(folder: Path, tmp_path: Path) -> None:
    full = session(tmp_path / "run", sources(folder), SETTINGS.updated({"init_sides": [500]}))
    assert full.tally.notes == {"mask is full": 6}
    assert {row["notes"] for row in rows(tmp_path / "run")} == {"mask is full"}


# ---- Workers


class Watched:
    """Segmenters whose computing can be watched and held up, from the worker that does it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.groups: list[int] = []
        self.read = self.written = 0
        self.before_solving: Callable[[], object] = lambda: None
        self.after_solving: Callable[[], object] = lambda: None
        self.after_reading: Callable[[], object] = lambda: None
        self.after_writing: Callable[[], object] = lambda: None
        read, find, write = Finder._load, Search.find, Writer.write
        lock = threading.Lock()

        def watched_read(finder: Finder, source: Source) -> Any:
            with lock:
                self.read += 1
            image = read(finder, source)
            self.after_reading()
            return image

        def watched_find(search: Search, images: np.ndarray) -> Any:
            with lock:
                self.groups.append(len(images))
            self.before_solving()
            ascents = find(search, images)
            self.after_solving()
            return ascents

        def watched_write(writer: Writer, *args: Any) -> float:
            share = write(writer, *args)
            with lock:
                self.written += 1
            self.after_writing()
            return share

        monkeypatch.setattr(Finder, "_load", watched_read)
        monkeypatch.setattr(Search, "find", watched_find)
        monkeypatch.setattr(Writer, "write", watched_write)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def test_images_of_different_sizes_are_computed_side_by_side(tmp_path: Path, watched: Watched) -> None:
    for number in range(8):
        photograph("cat", 40, 40 + 2 * number).save(tmp_path / f"{number}.png")
    together = threading.Barrier(4)
    watched.before_solving = lambda: together.wait(timeout=60)
    assert session(tmp_path / "run", sources(tmp_path), workers=4, batch_size=16).tally.done == 8
    assert watched.groups == [1] * 8


def test_images_of_one_size_are_computed_in_groups(folder: Path, tmp_path: Path, watched: Watched) -> None:
    assert session(tmp_path / "run", sources(folder), workers=1, batch_size=6).tally.done == 6
    assert watched.groups == [3, 3]


def test_masks_are_written_while_others_are_computed(folder: Path, tmp_path: Path, watched: Watched) -> None:
    written = threading.Event()
    watched.after_writing = written.set

    def hold_the_first_up() -> None:
        if len(watched.groups) == 1:
            assert written.wait(timeout=60)

    watched.before_solving = hold_the_first_up
    settings = SETTINGS.updated({"choose": "image"})
    assert session(tmp_path / "run", sources(folder), settings, batch_size=4).tally.done == 6


# ---- A GPU, for which arrays that count stand in


def test_a_gpu_computes_one_group_at_a_time_of_all_that_has_been_read(
    folder: Path, tmp_path: Path, watched: Watched, stand_in: Library
) -> None:
    computing, all_read = threading.Lock(), threading.Event()

    def after_reading() -> None:
        if watched.read == 6:
            all_read.set()

    def before_solving() -> None:
        assert computing.acquire(blocking=False)
        assert all_read.wait(timeout=60)

    watched.after_reading = after_reading
    watched.before_solving = before_solving
    watched.after_solving = computing.release
    session(tmp_path / "run", sources(folder), device="gpu:0", workers=2, batch_size=12)
    assert sum(watched.groups) == 6
    # Two reads may have been under way when the first group, of one image, was done.
    assert len(watched.groups) <= 4


@pytest.mark.parametrize("choose", ["dataset", "image"])
def test_a_gpu_finds_the_masks_of_a_cpu(folder: Path, tmp_path: Path, stand_in: Library, choose: str) -> None:
    photograph("cat", 40, 60).save(folder / "tall.png")
    settings = SETTINGS.updated({"choose": choose})
    session(tmp_path / "cpu", sources(folder), settings)
    session(tmp_path / "gpu", sources(folder), settings, device="gpu:0")
    assert stand_in.calls
    assert files(tmp_path / "gpu") == files(tmp_path / "cpu")
    assert rows(tmp_path / "gpu") == rows(tmp_path / "cpu")


def test_a_gpu_takes_no_worker_from_reading(
    folder: Path, tmp_path: Path, watched: Watched, stand_in: Library
) -> None:
    computing, reads = threading.Event(), count(1)

    def after_reading() -> None:
        if next(reads) == 2:
            assert computing.wait(timeout=60)

    watched.after_reading = after_reading
    watched.before_solving = computing.set
    assert session(tmp_path / "run", sources(folder), device="gpu:0", workers=1).tally.done == 6


def test_while_a_gpu_computes_a_group_another_one_is_read(
    folder: Path, tmp_path: Path, watched: Watched, stand_in: Library
) -> None:
    session(tmp_path / "run", sources(folder), device="gpu:0", workers=3, batch_size=4)
    assert sum(watched.groups) == 6
    assert max(watched.groups) <= 2


def test_by_default_more_images_are_held_for_a_gpu_and_fewer_of_larger_ones(
    tmp_path: Path, watched: Watched, stand_in: Library
) -> None:
    (tmp_path / "photographs").mkdir()
    for number in range(20):
        photograph("cat", 48, 40).save(tmp_path / "photographs" / f"{number}.png")
    all_read = threading.Event()
    watched.after_reading = lambda: all_read.set() if watched.read == 20 else None
    watched.before_solving = lambda: all_read.wait(timeout=60) or pytest.fail("not all are held")
    images = sources(tmp_path / "photographs")
    assert session(tmp_path / "run", images, device="gpu:0", workers=1, batch_size=None).tally.done == 20
    of_a_gpu = Search(CONFIG, "gpu:0").group_size
    assert [of_a_gpu(np.empty((size, size, 3), np.uint8)) for size in (128, 512, 10_000)] == [1024, 64, 1]


# ---- Memory that does not suffice


def room_for(count: float, height: int, width: int) -> int:
    return int(count * bytes_per_image((height, width, 3)))


def test_a_run_in_little_memory_ends_as_another_and_says_that_it_was_little(
    folder: Path, tmp_path: Path, stand_in: Library
) -> None:
    session(tmp_path / "whole", sources(folder))
    lines: list[str] = []
    stand_in.limit = room_for(1.5, 32, 38)
    made = session(tmp_path / "run", sources(folder), device="gpu:0", announce=lines.append)
    assert (made.tally.done, made.tally.failed) == (6, 0)
    assert lines[-1] == "out of memory on gpu:0 with 2 images of 38 x 32 pixels together, 1 from now on"
    assert len(lines) <= 2
    assert files(tmp_path / "run") == files(tmp_path / "whole")
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


@pytest.mark.parametrize("choose", ["dataset", "image"])
def test_an_image_too_large_for_a_gpu_fails_alone_and_is_tried_again_by_the_same_command(
    folder: Path, tmp_path: Path, stand_in: Library, choose: str
) -> None:
    settings = SETTINGS.updated({"choose": choose})
    session(tmp_path / "small", sources(folder), settings)
    photograph("coffee", 200, 40).save(folder / "panorama.png")
    session(tmp_path / "whole", sources(folder), settings)
    stand_in.limit = room_for(2, 32, 38)
    tried = session(tmp_path / "run", sources(folder), settings, device="gpu:0", announce=lambda line: None)
    assert (tried.tally.done, tried.tally.failed) == (6, 1)
    assert files(tmp_path / "run") == files(tmp_path / "small")
    (failed,) = (row for row in rows(tmp_path / "run") if row["status"] == "failed")
    expected = "an image of 160 x 32 pixels, 3 channel(s), does not fit into the memory of gpu:0"
    assert failed["error"].startswith(f"{folder / 'panorama.png'}: {expected}")
    stand_in.limit = None
    assert session(tmp_path / "run", sources(folder), settings, device="gpu:0").tally.failed == 0
    assert files(tmp_path / "run") == files(tmp_path / "whole")
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


@pytest.mark.parametrize("message", ["", "Unable to allocate it"])
@pytest.mark.parametrize(
    ("owner", "name", "is_huge"),
    [
        (finding, "read_stamped", lambda path: path.stem == "huge"),
        (Settings, "at_work", lambda settings, image: len(image) == 80),
        (Search, "find", lambda search, images: images.shape[1] == 43),
        (Settings, "at_own_size", lambda settings, mask, height, width: height == 80),
    ],
)
def test_an_image_too_large_for_the_host_fails_alone(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    is_huge: Callable[..., bool],
    message: str,
) -> None:
    do = getattr(owner, name)

    def limited(*args: Any) -> Any:
        if is_huge(*args):
            raise MemoryError(message)
        return do(*args)

    photograph("cat", 60, 80).save(folder / "huge.png")
    monkeypatch.setattr(owner, name, limited)
    made = session(tmp_path / "run", sources(folder))
    assert (made.tally.done, made.tally.failed) == (6, 1)
    (failed,) = (row for row in rows(tmp_path / "run") if row["status"] == "failed")
    cause = message or "out of memory"
    assert failed["error"] == f"{folder / 'huge.png'}: {cause}; fewer --workers need less"


# ---- What is held


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("choose", ["dataset", "image"])
def test_no_more_than_a_batch_is_held(
    folder: Path, tmp_path: Path, watched: Watched, workers: int, choose: str
) -> None:
    recorded, held = 0, []

    def advance(count: int) -> None:
        nonlocal recorded
        recorded += count

    watched.before_solving = lambda: held.append(watched.read - recorded)
    settings = SETTINGS.updated({"choose": choose})
    session(tmp_path / "run", sources(folder), settings, workers=workers, batch_size=2, advance=advance)
    assert 1 <= max(held) <= 2


def test_no_more_than_a_batch_of_masks_is_held_while_they_are_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, written, held = 0, 0, []
    unwritten = Candidates.unwritten

    def counted(candidates: Candidates, side: int) -> Iterator[Any]:
        nonlocal taken
        for found in unwritten(candidates, side):
            taken += 1
            held.append(taken - written)
            yield found

    def advance(count: int) -> None:
        nonlocal written
        written += count

    monkeypatch.setattr(Candidates, "unwritten", counted)
    with Run.create(tmp_path / "run", {}) as run:
        segmenter = Segmenter(run, SETTINGS, workers=2, batch_size=2)
        segmenter.segment(sources(folder))
        segmenter.choose_square()
        segmenter.write_masks(advance)
    assert len(held) == written == 6
    assert max(held) <= 3  # one waits for its turn


def test_images_are_looked_for_as_they_are_needed(folder: Path, tmp_path: Path) -> None:
    endless = (Source(folder / f"{number}.png", f"{number}.png") for number in count())
    interrupt(tmp_path / "run", endless, after=10)
    assert int(next(endless).path.stem) <= 2000


@pytest.mark.parametrize("workers", [1, 3])
def test_a_full_disk_ends_the_session_and_every_mask_written_has_its_row(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    settings = SETTINGS.updated({"choose": "image"})
    session(tmp_path / "whole", sources(folder), settings)

    def full(path: Path, data: bytes, partial: Path) -> None:
        if path.stem == "coffee":
            raise OSError(28, "No space left on device")
        write_atomically(path, data, partial)

    with monkeypatch.context() as patch:
        patch.setattr("iem_xp.runs.storing.write_atomically", full)
        with pytest.raises(OSError, match="No space left"):
            session(tmp_path / "run", sources(folder), settings, workers=workers)
    assert set(files(tmp_path / "run")) == {f"masks/{row['mask']}" for row in rows(tmp_path / "run")}
    session(tmp_path / "run", sources(folder), settings)
    assert files(tmp_path / "run") == files(tmp_path / "whole")
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


def test_an_error_of_a_worker_is_raised_and_no_worker_is_left(
    folder: Path, tmp_path: Path, watched: Watched
) -> None:
    def fail() -> None:
        raise ArithmeticError("out of luck")

    before = threading.active_count()
    watched.before_solving = fail
    with pytest.raises(ArithmeticError, match="out of luck"):
        session(tmp_path / "run", sources(folder))
    assert threading.active_count() == before


def test_an_engine_whose_start_is_interrupted_is_not_started_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, both_read = 0, threading.Barrier(2)
    read = Finder._load

    def read_together(finder: Finder, source: Source) -> Any:
        image = read(finder, source)
        both_read.wait(timeout=60)
        return image

    def prepare(search: Search, image: np.ndarray, count: int) -> None:
        nonlocal started
        started += 1
        time.sleep(0.2)  # by now the other image waits to be handed over
        raise KeyboardInterrupt

    monkeypatch.setattr(Finder, "_load", read_together)
    monkeypatch.setattr(Search, "prepare", prepare)
    with pytest.raises(KeyboardInterrupt):
        session(tmp_path / "run", sources(folder)[:2], workers=2)
    assert started == 1


def test_the_time_of_every_stage_is_told(folder: Path, tmp_path: Path) -> None:
    stages = session(tmp_path / "run", sources(folder)).tally.stages
    assert list(stages) == ["read", "compute", "write"]
    assert all(stages.values())


def test_all_formats_are_loaded_before_workers_need_them(folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from PIL import Image; "
        "from iem_xp.runs import finding, pipeline; from iem_xp.runs.store import Run; "
        "from iem_xp.runs.settings import Settings; from iem_xp.runs.naming import Source; "
        "read = finding.read_stamped; "
        "finding.read_stamped = lambda path: print('WEBP' in Image.OPEN) or read(path); "
        "run = Run.create(Path(sys.argv[2]), {}); "
        "pipeline.Segmenter(run, Settings(size=16)).segment([Source(Path(sys.argv[1]), 'a.png')]); "
        "run.close()"
    )
    command = [sys.executable, "-c", code, str(folder / "cat.png"), str(tmp_path / "run")]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout == "True\n"


# ---- Masks in archives


def archived(run_folder: Path) -> dict[str, bytes]:
    """Files of the images in the archives of a run, as the rows name them."""
    found = {}
    for folder in ("masks", "overlays"):
        for row in rows(run_folder):
            with tarfile.open(run_folder / folder / row["shard"]) as tar:
                found[f"{folder}/{row['mask']}"] = tar.extractfile(row["mask"]).read()  # type: ignore[union-attr]
    return found


@pytest.mark.parametrize("choose", ["dataset", "image"])
def test_archives_hold_the_files_that_would_be_there(folder: Path, tmp_path: Path, choose: str) -> None:
    settings = SETTINGS.updated({"choose": choose})
    session(tmp_path / "files", sources(folder), settings, outputs=("overlay",))
    session(tmp_path / "run", sources(folder)[:4], settings, outputs=("overlay",), store="shards")
    session(tmp_path / "run", sources(folder), settings, outputs=("overlay",), store="shards")
    assert archived(tmp_path / "run") == files(tmp_path / "files")
    for row, other in zip(rows(tmp_path / "run"), rows(tmp_path / "files"), strict=True):
        assert row | {"shard": None} == other


def test_a_session_that_fails_commits_what_the_archives_hold(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SETTINGS.updated({"choose": "image"})
    put = Shards.put

    def full(store: Shards, source: Source, made: dict[str, bytes]) -> Source:
        if source.mask == "coffee.png":
            raise OSError(28, "No space left on device")
        return put(store, source, made)

    with monkeypatch.context() as patch:
        patch.setattr(Shards, "put", full)
        with pytest.raises(OSError, match="No space left"):
            session(tmp_path / "run", sources(folder), settings, workers=1, store="shards")
    with tarfile.open(tmp_path / "run/masks/00000.tar") as tar:
        assert sorted(tar.getnames()) == [row["mask"] for row in rows(tmp_path / "run")]
    session(tmp_path / "run", sources(folder), settings, outputs=("overlay",), store="shards")
    with tarfile.open(tmp_path / "run/masks/00000.tar") as tar:
        assert sorted(tar.getnames()) == sorted(source.mask for source in sources(folder))


# ---- Images that change


def test_changed_images_are_known_and_those_that_were_only_touched_are_not(
    folder: Path, tmp_path: Path
) -> None:
    session(tmp_path / "run", sources(folder))
    with Run.open(tmp_path / "run") as run:
        assert list(run.changed()) == []
        os.utime(folder / "cat.png", ns=(1, 1))
        (folder / "cell.png").unlink()
        assert list(run.changed()) == []
        (folder / "coffee.png").write_bytes((folder / "cat.png").read_bytes())
        assert {path.name for path in run.changed()} == {"coffee.png"}
        run.forget(run.changed())
        assert run.counts().done == 5
        assert list(run.changed()) == []


def test_an_image_of_the_same_size_that_has_changed_gets_no_pictures(folder: Path, tmp_path: Path) -> None:
    with Run.resume(tmp_path / "run", {}) as run:
        segmenter = Segmenter(run, SETTINGS, outputs=["overlay"])
        segmenter.segment(sources(folder))
        (folder / "coffee.png").write_bytes((folder / "cat.png").read_bytes())
        segmenter.choose_square()
        segmenter.write_masks()
        (failure,) = run.failures()
    assert failure.error == f"{folder / 'coffee.png'}: has changed since it was segmented"
