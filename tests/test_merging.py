"""Runs of parts of the images, merged: the run that one session over all of them would have made."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from iem_xp.config import IEMConfig
from iem_xp.contents import read_contents
from iem_xp.images import SUFFIXES, Pixels
from iem_xp.runs import candidates, merging, results
from iem_xp.runs.candidates import Candidates
from iem_xp.runs.database import RunError
from iem_xp.runs.inputs import find_images
from iem_xp.runs.merging import Merger
from iem_xp.runs.methods import Method
from iem_xp.runs.naming import Source
from iem_xp.runs.parts import differing_versions, open_merged, read_parts
from iem_xp.runs.pipeline import Segmenter
from iem_xp.runs.records import FOLDERS, Output
from iem_xp.runs.settings import Settings
from iem_xp.runs.store import Run
from iem_xp.runs.storing import Files, Shards, StoreOption
from iem_xp.runs.writing import Writer

SAMPLES = resources.files("iem_xp_cli") / "samples"
NAMES = ("cameraman", "cat", "cell", "coffee", "flower", "tissue")
SETTINGS = Settings(IEMConfig(iterations=6), size=32)
VERSIONS = {"iem-xp": "1", "numpy": "2"}


def photograph(name: str) -> Image.Image:
    return Image.open(SAMPLES / f"{name}.jpg").convert("RGB").resize((48, 40))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven photographs, two of one name but for the suffix, one in a folder; and two files that are none."""
    made = tmp_path / "photographs"
    (made / "science").mkdir(parents=True)
    for name in NAMES:
        photograph(name).save(made / "science" / f"{name}.png" if name == "cell" else made / f"{name}.png")
    photograph("coffee").save(made / "flower.jpg")
    (made / "broken.png").write_bytes(b"not an image")
    (made / "empty.jpg").write_bytes(b"")
    return made


def sources(folder: Path) -> list[Source]:
    return list(find_images([str(folder)], suffixes=SUFFIXES))


def segment(
    place: Path,
    images: Iterable[Source],
    settings: Settings = SETTINGS,
    *,
    method: Method | None = None,
    outputs: Sequence[Output] = ("overlay",),
    store: StoreOption = "files",
    versions: dict[str, str] = VERSIONS,
    choose: bool = True,
) -> None:
    configuration = {**settings.as_dict(), "outputs": list(outputs), "store": store}
    if method is not None:
        configuration["method"] = method.name
    with Run.resume(place, configuration, {"versions": versions}) as run:
        segmenter = Segmenter(run, settings, method, workers=2, outputs=outputs, store=store)
        segmenter.segment(images)
        if choose:
            segmenter.choose_square()
            segmenter.write_masks()


def make_parts(
    root: Path, folder: Path, settings: Settings = SETTINGS, of: int = 3, **options: Any
) -> list[Path]:
    """Runs of parts of a folder's images, and one of no image at all."""
    images, places = sources(folder), [root / f"part-{i}" for i in range(of + 1)]
    for i, place in enumerate(places):
        segment(place, images[i::of] if i < of else [], settings, **options)
    return places


def merge(place: Path, parts: Sequence[Path], store: StoreOption | None = None, **options: Any) -> Merger:
    read = read_parts(parts)
    with open_merged(place, read, store, **options) as run:
        merger = Merger(run, read, workers=2)
        merger.gather(lambda count: None)
        merger.copy(lambda count: None)
        merger.write(lambda count: None)
    return merger


def rows(place: Path, *left_out: str) -> list[dict[str, Any]]:
    """What a run says of its images, but for the time they took and the archives that their masks are in."""
    database = sqlite3.connect(place / "run.sqlite")
    database.row_factory = sqlite3.Row
    found = [dict(row) for row in database.execute("SELECT * FROM images ORDER BY path")]
    database.close()
    for row in found:
        for name in ("seconds", "shard", *left_out):
            del row[name]
    return found


def kept(place: Path) -> list[tuple[Any, ...]]:
    """The masks of every square that a run keeps."""
    database = sqlite3.connect(place / "run.sqlite")
    found = database.execute(
        "SELECT path, entries.mask, width, height, notes, digest, side, inpainting_error, updates,"
        " candidates.mask FROM entries JOIN candidates ON entry = id ORDER BY path, side"
    ).fetchall()
    database.close()
    return found


def pictures(place: Path, outputs: Sequence[Output] = ("overlay",)) -> dict[str, bytes]:
    """The files of the images that are done, wherever they are."""
    with Run.open(place, to_write=False) as run:
        return {
            f"{name}/{entry.source.mask}": read_contents(
                place / name / entry.source.shard / entry.source.mask
            ).data
            for entry in run.segmented()
            for name in ("masks", *(FOLDERS[output] for output in outputs))
        }


def meta(place: Path, key: str) -> Any:
    with Run.open(place, to_write=False) as run:
        return run.get_meta(key)


def all_files(place: Path) -> dict[str, tuple[bytes, int]]:
    """All files of a run, but for those that SQLite makes to read."""
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in place.rglob("*")
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def assert_same(place: Path, plain: Path) -> None:
    assert rows(place) == rows(plain)
    assert kept(place) == kept(plain)
    assert pictures(place) == pictures(plain)
    for key in ("init_side", "engines", "versions", "format_version"):
        assert meta(place, key) == meta(plain, key), key
    store = {"store": None}
    assert meta(place, "configuration") | store == meta(plain, "configuration") | store


# ---- What it becomes


@pytest.mark.parametrize("store", ["files", "shards"])
@pytest.mark.parametrize("before", ["files", "shards"])
@pytest.mark.parametrize("choose", ["dataset", "image"])
def test_a_merged_run_is_that_of_all_images(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    choose: str,
    before: StoreOption,
    store: StoreOption,
) -> None:
    for module in (candidates, results, merging):
        monkeypatch.setattr(module, "_BATCH", 2)
    settings = SETTINGS.updated({"choose": choose})
    segment(tmp_path / "plain", sources(folder), settings)
    parts = make_parts(tmp_path, folder, settings, store=before)
    merger = merge(tmp_path / "merged", parts, store)
    assert_same(tmp_path / "merged", tmp_path / "plain")
    assert meta(tmp_path / "merged", "configuration")["store"] == store
    loose = [path for path in (tmp_path / "merged/masks").rglob("*") if path.suffix == ".png"]
    assert len(loose) == (7 if store == "files" else 0)
    chosen = {meta(part, "init_side") for part in parts[:3]}
    if choose == "dataset":
        assert len(chosen) > 1, "the parts chose different squares"
        assert 0 < merger.copied < 7
        assert merger.copied + merger.written == 7
    else:
        assert (merger.copied, merger.written, chosen) == (7, 0, {None})


def test_masks_are_stored_as_in_the_first_run_by_default(folder: Path, tmp_path: Path) -> None:
    images = sources(folder)
    segment(tmp_path / "a", images[:3], store="shards")
    segment(tmp_path / "b", images[3:])
    merge(tmp_path / "merged", [tmp_path / "a", tmp_path / "b"])
    assert meta(tmp_path / "merged", "configuration")["store"] == "shards"


def test_the_runs_themselves_are_only_read(folder: Path, tmp_path: Path) -> None:
    parts = make_parts(tmp_path, folder)
    before = [all_files(part) for part in parts]
    merge(tmp_path / "merged", parts)
    assert [all_files(part) for part in parts] == before


def test_a_session_goes_on_with_a_merged_run(folder: Path, tmp_path: Path) -> None:
    images = sources(folder)
    segment(tmp_path / "plain", images)
    segment(tmp_path / "a", images[:3])
    segment(tmp_path / "b", images[3:6])
    merge(tmp_path / "merged", [tmp_path / "a", tmp_path / "b"])
    segment(tmp_path / "merged", images)
    assert_same(tmp_path / "merged", tmp_path / "plain")


def test_what_runs_get_later_is_merged_later(folder: Path, tmp_path: Path) -> None:
    images = sources(folder)
    segment(tmp_path / "plain", images)
    parts = make_parts(tmp_path, folder)
    shutil.rmtree(parts[1])
    segment(parts[1], images[1:2])
    merge(tmp_path / "merged", parts[:2])
    segment(parts[1], images[1::3])
    merge(tmp_path / "merged", parts)
    assert_same(tmp_path / "merged", tmp_path / "plain")
    assert [one["run"] for one in meta(tmp_path / "merged", "merged")] == list(map(str, parts))


@pytest.mark.parametrize("choose", ["dataset", "image"])
def test_a_run_that_was_interrupted_is_merged_as_far_as_it_came(
    folder: Path, tmp_path: Path, choose: str
) -> None:
    settings, images = SETTINGS.updated({"choose": choose}), sources(folder)
    segment(tmp_path / "plain", images[:7], settings)
    segment(tmp_path / "a", images[:4], settings)
    segment(tmp_path / "b", images[4:7], settings, choose=False)
    merge(tmp_path / "merged", [tmp_path / "a", tmp_path / "b"])
    assert_same(tmp_path / "merged", tmp_path / "plain")


class Bright:
    """Masks what is bright, as a network would."""

    name = "bright"
    engine = "thresholds"
    device = "cpu"
    sides = (0,)
    serial = False

    def prepare(self, image: Pixels, count: int) -> None:
        pass

    def group_size(self, image: Pixels) -> int:
        return 2

    def find(self, images: Pixels) -> list[tuple[NDArray[Any], ...]]:
        grey = images.mean(axis=3)
        errors = grey.mean(axis=(1, 2)).astype(np.float32)
        none = np.zeros(len(grey), int)
        return [(grey > 127, errors, none, errors / 255, none, grey.astype(np.uint8))]


def test_runs_of_a_network_are_merged(folder: Path, tmp_path: Path) -> None:
    outputs: list[Output] = ["probability"]
    segment(tmp_path / "plain", sources(folder), method=Bright(), outputs=outputs)
    parts = make_parts(tmp_path, folder, method=Bright(), outputs=outputs)
    merge(tmp_path / "merged", parts)
    assert rows(tmp_path / "merged") == rows(tmp_path / "plain")
    assert pictures(tmp_path / "merged", outputs) == pictures(tmp_path / "plain", outputs)
    assert meta(tmp_path / "merged", "configuration") == meta(tmp_path / "plain", "configuration")
    assert meta(tmp_path / "merged", "engines") == ["thresholds"]


def test_images_in_archives_keep_their_paths(folder: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as tar:
            for name in NAMES[number::2]:
                tar.add(folder / ("science" if name == "cell" else "") / f"{name}.png", f"{name}.png")
    images = list(
        find_images(
            [str(tmp_path / "1.tar"), str(tmp_path / "2.tar")], suffixes=SUFFIXES, exclude=tmp_path / "x"
        )
    )
    segment(tmp_path / "plain", images, store="shards")
    segment(tmp_path / "a", images[:2], store="shards")
    segment(tmp_path / "b", images[2:], store="shards")
    merge(tmp_path / "merged", [tmp_path / "a", tmp_path / "b"])
    assert len(rows(tmp_path / "merged")) == 5
    assert_same(tmp_path / "merged", tmp_path / "plain")


# ---- Images of several runs


def test_of_an_image_in_several_runs_a_mask_counts_more_than_a_failure(folder: Path, tmp_path: Path) -> None:
    for choose in ("dataset", "image"):
        settings, root = SETTINGS.updated({"choose": choose}), tmp_path / choose
        segment(root / "plain", sources(folder), settings)
        for first, second in (("a", "b"), ("b", "a")):
            if not (root / "a").exists():
                (folder / "cat.png").rename(tmp_path / "hidden")
                segment(root / "a", [Source(folder / "cat.png", "cat.png"), *sources(folder)[:3]], settings)
                (tmp_path / "hidden").rename(folder / "cat.png")
                segment(root / "b", sources(folder)[1:], settings)
            merge(root / f"merged-{first}", [root / first, root / second])
            assert_same(root / f"merged-{first}", root / "plain")


@pytest.mark.parametrize("choose", ["dataset", "image"])
def test_an_image_that_changed_between_two_runs_is_an_error(
    folder: Path, tmp_path: Path, choose: str
) -> None:
    settings, images = SETTINGS.updated({"choose": choose}), sources(folder)
    segment(tmp_path / "a", images[:4], settings)
    shutil.copy(folder / "tissue.png", folder / "cat.png")
    segment(tmp_path / "b", images[2:], settings)
    with pytest.raises(RunError, match=r"cat.png: is another image in .*b than in .*a; continue the older"):
        merge(tmp_path / "merged", [tmp_path / "a", tmp_path / "b"])


def test_an_image_that_was_only_touched_is_the_same(folder: Path, tmp_path: Path) -> None:
    segment(tmp_path / "a", sources(folder))
    for image in sources(folder):
        os.utime(image.path, ns=(1, 1))
    segment(tmp_path / "b", sources(folder))
    merger = merge(tmp_path / "merged", [tmp_path / "a", tmp_path / "b"])
    assert merger.copied == 7
    assert_same(tmp_path / "merged", tmp_path / "a")


def test_masks_are_not_taken_from_a_run_that_found_others(folder: Path, tmp_path: Path) -> None:
    segment(tmp_path / "a", sources(folder))
    shutil.copytree(tmp_path / "a", tmp_path / "plain")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(tmp_path / "a/masks")
    database = sqlite3.connect(tmp_path / "b/run.sqlite")
    with database:
        database.execute("UPDATE images SET inpainting_error = inpainting_error + 1")
    database.close()
    merger = merge(tmp_path / "merged", [tmp_path / "a", tmp_path / "b"])
    assert (merger.copied, merger.written) == (0, 7)
    assert_same(tmp_path / "merged", tmp_path / "plain")


def test_a_mask_that_two_squares_lead_to_is_recorded_with_the_chosen_one(
    folder: Path, tmp_path: Path
) -> None:
    segment(tmp_path / "a", sources(folder)[1:2], SETTINGS.updated({"init_sides": (44, 78)}))
    database = sqlite3.connect(tmp_path / "a/run.sqlite")
    with database:
        database.execute(
            "UPDATE candidates SET (inpainting_error, updates, mask) = "
            "(SELECT inpainting_error, updates, mask FROM candidates WHERE side = 44)"
        )
        database.execute(
            "UPDATE images SET init_side = 78, (inpainting_error, updates) = "
            "(SELECT inpainting_error, updates FROM candidates WHERE side = 44)"
        )
    database.close()
    merger = merge(tmp_path / "merged", [tmp_path / "a"])
    assert (merger.copied, merger.written) == (0, 1)
    assert meta(tmp_path / "merged", "init_side") == 44
    assert [row["init_side"] for row in rows(tmp_path / "merged")] == [44]


@pytest.mark.parametrize("choose", ["dataset", "image"])
def test_masks_of_one_name_get_names_of_their_own(folder: Path, tmp_path: Path, choose: str) -> None:
    settings = SETTINGS.updated({"choose": choose, "init_sides": (44,)} if choose == "image" else {})
    for name, image in (("a", "cat"), ("b", "coffee")):
        (tmp_path / name).mkdir()
        photograph(image).save(tmp_path / name / "x.png")
        segment(tmp_path / f"run-{name}", sources(tmp_path / name), settings)
    merge(tmp_path / "merged", [tmp_path / "run-a", tmp_path / "run-b"])
    first, second = (row["mask"] for row in rows(tmp_path / "merged"))
    assert first == "x.png"
    assert second.startswith("x.png-")
    segment(tmp_path / "plain", [*sources(tmp_path / "a"), *sources(tmp_path / "b")], settings)
    assert_same(tmp_path / "merged", tmp_path / "plain")


# ---- Interruptions


PLACES = [
    (Candidates, "add", "dataset", "files"),
    (Candidates, "choose_side", "dataset", "files"),
    (Files, "put", "dataset", "files"),
    (Files, "put", "image", "files"),
    (Shards, "put", "dataset", "shards"),
    (Shards, "put", "image", "shards"),
    (Run, "record_finished", "image", "files"),
    (Run, "record_finished", "image", "shards"),
    (Run, "record_failed", "image", "files"),
    (Writer, "write", "dataset", "shards"),
]


@pytest.mark.parametrize(("owner", "name", "choose", "store"), PLACES)
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_is_interrupted_is_continued(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    choose: str,
    store: StoreOption,
    error: type[BaseException],
) -> None:
    settings = SETTINGS.updated({"choose": choose})
    segment(tmp_path / "plain", sources(folder), settings)
    parts = make_parts(tmp_path, folder, settings)
    does, calls = getattr(owner, name), 0

    def fail(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == (1 if name == "choose_side" else 2):
            raise error("stopped here")
        return does(*args)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        with pytest.raises(error, match="stopped here"):
            merge(tmp_path / "merged", parts, store)
    merge(tmp_path / "merged", parts, store)
    assert_same(tmp_path / "merged", tmp_path / "plain")
    assert not (tmp_path / "merged/partial").exists()


@pytest.mark.parametrize("store", ["files", "shards"])
@pytest.mark.parametrize("count", [1, 4, 7])
def test_what_is_killed_is_continued(folder: Path, tmp_path: Path, store: StoreOption, count: int) -> None:
    settings = SETTINGS.updated({"choose": "image"})
    segment(tmp_path / "plain", sources(folder), settings)
    parts = make_parts(tmp_path, folder, settings)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from iem_xp.runs import merging, storing\n"
        "from iem_xp.runs.parts import open_merged, read_parts\n"
        "store, count, place, *folders = sys.argv[1:]\n"
        "owner, left = {'files': storing.Files, 'shards': storing.Shards}[store], int(count)\n"
        "put, merging._BATCH = owner.put, 3\n"
        "def die(*args):\n"
        "    global left\n"
        "    put(*args)\n"
        "    left -= 1\n"
        "    if not left: os._exit(9)\n"
        "    return args[1]._replace(shard='00000.tar' if store == 'shards' else '')\n"
        "owner.put = die\n"
        "parts = read_parts(list(map(Path, folders)))\n"
        "merging.Merger(open_merged(Path(place), parts, store), parts, workers=1).copy(lambda n: None)\n"
    )
    command = [sys.executable, "-c", code, store, str(count), str(tmp_path / "merged"), *map(str, parts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr
    merge(tmp_path / "merged", parts, store)
    assert_same(tmp_path / "merged", tmp_path / "plain")
    if store == "shards":
        with tarfile.open(tmp_path / "merged/masks/00000.tar") as tar:
            names = tar.getnames()
        assert sorted(names) == sorted(row["mask"] for row in rows(tmp_path / "merged") if row["mask"])


def test_a_mask_that_is_missing_costs_its_image_alone_until_that_is_segmented(
    folder: Path, tmp_path: Path
) -> None:
    settings = SETTINGS.updated({"choose": "image"})
    segment(tmp_path / "plain", sources(folder), settings)
    parts = make_parts(tmp_path, folder, settings)
    for part in parts:
        (part / "overlays/cat.png").unlink(missing_ok=True)
    merge(tmp_path / "merged", parts)
    with Run.open(tmp_path / "merged", to_write=False) as run:
        assert run.counts()[:2] == (6, 3)
        (error,) = [failure.error for failure in run.failures() if failure.path.name == "cat.png"]
    assert "cat.png: cannot be copied with its mask, cat.png: No such file" in error
    segment(tmp_path / "merged", sources(folder), settings)
    assert_same(tmp_path / "merged", tmp_path / "plain")


def test_a_mask_that_is_missing_is_written_from_what_is_kept(folder: Path, tmp_path: Path) -> None:
    segment(tmp_path / "plain", sources(folder))
    parts = make_parts(tmp_path, folder)
    for part in parts:
        shutil.rmtree(part / "masks")
    assert merge(tmp_path / "merged", parts).written == 7
    assert_same(tmp_path / "merged", tmp_path / "plain")


# ---- What does not go together


def test_runs_of_different_configurations_are_no_one_run(folder: Path, tmp_path: Path) -> None:
    segment(tmp_path / "a", sources(folder)[:2])
    segment(tmp_path / "b", sources(folder)[:2], SETTINGS.updated({"sigma": 2.5}), outputs=())
    with pytest.raises(RunError, match=r"a and .*b were made with different configurations") as caught:
        read_parts([tmp_path / "a", tmp_path / "b"])
    assert "sigma: 5.0 in the first, 2.5 in the second" in str(caught.value)
    assert 'outputs: ["overlay"] in the first, [] in the second' in str(caught.value)
    segment(tmp_path / "c", sources(folder)[:2], method=Bright())
    with pytest.raises(RunError, match='method: null in the first, "bright" in the second'):
        read_parts([tmp_path / "a", tmp_path / "c"])


def test_what_versions_the_runs_had_is_kept(folder: Path, tmp_path: Path) -> None:
    images = sources(folder)
    segment(tmp_path / "a", images[:2], versions={"iem-xp": "1", "numpy": "2.0"})
    segment(tmp_path / "b", images[2:4], versions={"iem-xp": "1", "numpy": "2.1", "numba": "0.6"})
    parts = [tmp_path / "a", tmp_path / "b"]
    assert differing_versions(read_parts(parts)) == {"numpy": ["2.0", "2.1"]}
    merge(tmp_path / "merged", parts)
    assert meta(tmp_path / "merged", "versions") == {"iem-xp": "1", "numpy": "2.0, 2.1", "numba": "0.6"}
    assert [one["versions"]["numpy"] for one in meta(tmp_path / "merged", "merged")] == ["2.0", "2.1"]


def test_a_run_is_not_merged_with_itself(folder: Path, tmp_path: Path) -> None:
    segment(tmp_path / "a", sources(folder)[:2])
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(RunError, match="link: is given twice"):
        read_parts([tmp_path / "a", tmp_path / "link"])


@pytest.mark.parametrize("place", ["a", "link", "a/masks/merged", "."])
@pytest.mark.parametrize("overwrite", [False, True])
def test_the_merged_run_is_apart_from_the_runs(
    folder: Path, tmp_path: Path, place: str, overwrite: bool
) -> None:
    segment(tmp_path / "a", sources(folder)[:2])
    (tmp_path / "link").symlink_to(tmp_path / "a")
    before = all_files(tmp_path / "a")
    with pytest.raises(RunError, match=r"is not apart from .*a, which is to be merged"):
        merge(tmp_path / place, [tmp_path / "a"], overwrite=overwrite)
    assert all_files(tmp_path / "a") == before


def test_nothing_is_merged_into_a_run_that_is_there(folder: Path, tmp_path: Path) -> None:
    images = sources(folder)
    parts = make_parts(tmp_path, folder)
    segment(tmp_path / "other", images[:1])
    before = rows(tmp_path / "other")
    with pytest.raises(RunError, match="other: is a run that was not merged; use another -o"):
        merge(tmp_path / "other", parts)
    assert rows(tmp_path / "other") == before
    merge(tmp_path / "merged", parts)
    with pytest.raises(RunError, match=r"merged: was merged of .*part-1, too"):
        merge(tmp_path / "merged", [parts[0], *parts[2:]])
    merge(tmp_path / "merged", parts[:1], overwrite=True)
    segment(tmp_path / "plain", images[::3])
    assert_same(tmp_path / "merged", tmp_path / "plain")


def test_a_folder_that_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nothing: not a run, there is no run.sqlite in it"):
        read_parts([tmp_path / "nothing"])
