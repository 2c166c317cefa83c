"""`iem-xp segment` of what is not a folder of files: archives and lists."""

from __future__ import annotations

import io
import json
import re
import sqlite3
import subprocess
import sys
import tarfile
import time
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from downloads import make_lmdb
from folders import PAPER
from iem_xp.contents import read_contents
from iem_xp_cli.main import cli
from packing import make_parquet, make_tar

SAMPLES = resources.files("iem_xp_cli") / "samples"
NAMES = ("cameraman", "cat", "cell", "coffee", "flower", "tissue")
QUICK = ("--iterations", "6", "--size", "32", "--device", "cpu", "--engine", "array")
ROWS = "SELECT path, status, error, mask, init_side, inpainting_error FROM images ORDER BY path"


def encoded(name: str) -> bytes:
    file = io.BytesIO()
    Image.open(SAMPLES / f"{name}.jpg").convert("RGB").resize((48, 40)).save(file, "PNG")
    return file.getvalue()


PHOTOS = {f"{name}.png": encoded(name) for name in NAMES}

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(autouse=True)
def photos(here: Path) -> None:
    """A folder of six photographs in the current one."""
    (here / "photos").mkdir()
    for name, data in PHOTOS.items():
        (here / "photos" / name).write_bytes(data)


def segment(*arguments: str, status: int = 0, stdin: bytes = b"") -> Result:
    result = CliRunner().invoke(cli, ["segment", *PAPER, *arguments, *QUICK], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result


def summary(*arguments: str, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(segment(*arguments, "--json", **options).stdout)
    return found


def rows(folder: str = "iem-run", query: str = ROWS) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(Path(folder, "run.sqlite"))
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


def masks(folder: str = "iem-run", kind: str = "masks") -> dict[str, bytes]:
    """Files of the images that are done, by their names, in their archive if they are in one."""
    done = rows(folder, "SELECT mask, ifnull(shard, '') FROM images WHERE status = 'done'")
    return {
        re.sub(r"^[^/]+\.(tar|tgz|parquet|mdb)/", "", name): read_contents(
            Path(folder, kind, shard, name)
        ).data
        for name, shard in done
    }


def pack(kind: str) -> str:
    """Pack the photographs; return the INPUT that stands for them."""
    if kind == "lmdb":
        make_lmdb(Path("db"), {name.encode(): data for name, data in PHOTOS.items()})
        return "db"
    if kind == "parquet":
        return str(make_parquet(Path("photos.parquet"), list(PHOTOS.values())))
    mode = {"photos.tar": "w", "photos.tgz": "w:gz"}[kind]
    more = {"cat.json": b"{}", "cat.cls": b"3"}
    return str(make_tar(Path(kind), {**PHOTOS, **more}, mode))


@pytest.mark.parametrize("kind", ["photos.tar", "photos.tgz", "lmdb", "parquet"])
@pytest.mark.parametrize("choose", ["dataset", "image"])
def test_photographs_in_an_archive_have_the_masks_of_loose_ones(kind: str, choose: str) -> None:
    given = pack(kind)
    segment("photos", "-o", "loose", "--choose", choose, "--cutout")
    segment(given, "--choose", choose, "--cutout")
    names = {
        "lmdb": [f"{name}.png" for name in sorted(PHOTOS)],
        "parquet": [f"{i:06d}.png" for i in range(len(PHOTOS))],
    }.get(kind, list(PHOTOS))
    for folder in ("masks", "cutouts"):
        loose = masks("loose", folder)
        assert masks("iem-run", folder) == {
            new: loose[old] for new, old in zip(names, sorted(PHOTOS), strict=True)
        }
    assert {row[4:] for row in rows()} == {row[4:] for row in rows("loose")}


def test_masks_of_archives_lie_in_archives_unless_it_is_said_otherwise() -> None:
    given = pack("photos.tar")
    segment(given)
    assert [path.name for path in Path("iem-run/masks").iterdir()] == ["00000.tar"]
    assert rows(query="SELECT DISTINCT shard FROM images") == [("00000.tar",)]
    segment(given, "-o", "files", "--store", "files")
    assert sorted(path.name for path in Path("files/masks/photos.tar").iterdir()) == sorted(PHOTOS)
    segment(given, "photos", "-o", "both")
    assert Path("both/masks/photos/cat.png").is_file()
    assert Path("both/masks/photos.tar/cat.png").is_file()


def test_a_run_keeps_the_kind_of_its_store() -> None:
    segment("photos")
    given = pack("photos.tar")
    assert summary(given)["done"] == 6
    assert Path("iem-run/masks/photos.tar/cat.png").is_file()
    segment("photos", "--store", "shards", "-o", "packed")
    assert summary("photos", "-o", "packed")["skipped"] == 6
    assert "store: " in segment("photos", "--store", "files", "-o", "packed", status=2).stderr


def test_a_run_of_an_archive_goes_on_where_it_stopped() -> None:
    given = pack("photos.tar")
    assert summary(given, "--limit", "2")["done"] == 2
    assert summary(given)["done"] == 4
    segment(given, "-o", "whole")
    assert masks() == masks("whole")
    assert rows() == rows("whole")
    assert summary(given)["skipped"] == 6


def test_what_is_bad_in_an_archive_costs_that_alone() -> None:
    data = {**PHOTOS, "cut.png": PHOTOS["cat.png"][:200], "empty.jpg": b"", "text.jpg": b"no image"}
    make_tar(Path("a.tar"), data)
    result = segment("a.tar", status=1)
    assert "6 done, 3 failed" in result.stdout
    assert "a.tar/empty.jpg: the file is empty" in result.stderr
    assert {row[0].rpartition("/")[2] for row in rows() if row[1] == "failed"} == {
        "cut.png",
        "empty.jpg",
        "text.jpg",
    }


def test_an_archive_that_is_cut_off_is_said_to_be() -> None:
    given = Path(pack("photos.tar"))
    with tarfile.open(given) as tar:
        last = tar.getmember("tissue.png")
    given.write_bytes(given.read_bytes()[: last.offset_data + 1000])
    result = segment(str(given), status=1)
    assert "5 done, 1 failed" in result.stdout
    assert "tissue.png: the archive ends within this file" in result.stderr
    assert "photos.tar: is damaged" in result.stderr


def test_no_name_in_an_archive_leads_out_of_the_run(here: Path) -> None:
    names = ["../../evil.png", "/abs/evil.png", "a/../../../b.png", "d\\..\\..\\c.png", "x" * 300 + ".png"]
    make_tar(here / "a.tar", dict.fromkeys(names, PHOTOS["cat.png"]))
    before = {path for path in here.parent.rglob("*") if "iem-run" not in path.parts}
    for store in ("files", "shards"):
        segment("a.tar", "--store", store, "--overwrite")
        assert len(masks()) == len(names)
        assert {path for path in here.parent.rglob("*") if "iem-run" not in path.parts} == before
        for name in masks():
            assert ".." not in Path(name).parts
            assert not Path(name).is_absolute()


def test_a_changed_member_is_noticed_and_another_order_is_no_change() -> None:
    given = Path(pack("photos.tar"))
    segment(str(given))
    make_tar(given, dict(reversed(PHOTOS.items())))
    assert summary(str(given))["skipped"] == 6
    make_tar(given, {**PHOTOS, "cat.png": PHOTOS["coffee.png"]})
    assert "photos.tar/cat.png; --redo-changed" in segment(str(given), status=2).stderr
    assert summary(str(given), "--redo-changed")["done"] >= 1
    cat, coffee = (masks()[name] for name in ("cat.png", "coffee.png"))
    assert cat == coffee


def test_labels_are_exported_from_archives(here: Path) -> None:
    segment(pack("photos.tar"))
    segment("photos", "-o", "loose")
    for run, labels in (("iem-run", "a"), ("loose", "b")):
        done = CliRunner().invoke(cli, ["export-labels", run, "--top", "4", "-o", labels])
        assert done.exit_code == 0, done.output
    for name in ("images.npy", "masks.npy"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes()


def test_masks_in_archives_are_those_of_a_truth_that_was_never_packed() -> None:
    segment(pack("photos.tar"))
    Path("truth").mkdir()
    for name, mask in masks().items():
        Path("truth", name).write_bytes(mask)
    done = CliRunner().invoke(cli, ["evaluate", "iem-run", "truth", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["n"], found["missing"], found["extra"], found["fixed"]["accuracy"]) == (6, [], [], 1.0)


def test_jobs_that_take_an_archive_each_have_the_names_of_one_command() -> None:
    halves = list(PHOTOS.items())[:3], list(PHOTOS.items())[3:]
    for i, half in enumerate(halves):
        make_tar(Path(f"{i}.tar"), dict(half))
        segment(f"{i}.tar", "-o", f"part{i}")
    merged = CliRunner().invoke(cli, ["merge", "part0", "part1", "-o", "merged"])
    assert merged.exit_code == 0, merged.output
    segment("0.tar", "1.tar", "-o", "one")
    assert rows("merged") == rows("one")
    assert masks("merged") == masks("one")


def test_a_list_from_standard_input() -> None:
    listed = b"photos/cat.png\nphotos/coffee.png\n"
    assert summary("--files-from", "-", stdin=listed)["done"] == 2
    assert set(masks()) == {"photos/cat.png", "photos/coffee.png"}
    assert summary("--files-from", "-", stdin=listed)["skipped"] == 2
    Path("list").write_bytes(b"photos\0")
    assert summary("--files-from", "list", "-0", "-o", "all")["done"] == 6
    with_gone = segment("--files-from", "-", "-o", "gone", stdin=b"photos/cat.png\nnone.png\n", status=1)
    assert "none.png: No such file" in with_gone.stderr


def test_a_list_whose_paths_end_with_nul_needs_to_be_said_to_be_one() -> None:
    refused = segment("--files-from", "-", stdin=b"photos/cat.png\0photos/cell.png\0", status=2)
    assert "line 1 of the list has a NUL; if paths end with NUL, use -0" in refused.stderr


def test_nothing_in_a_name_reaches_the_terminal_as_a_command(here: Path) -> None:
    evil = "a.\x1b]0;b\x07"
    make_tar(here / "a.tar", {f"x{evil}": b"", f"{evil}.png": b"no image", "cat.png": PHOTOS["cat.png"]})
    (here / f"photos/{evil}.tar").write_bytes(b"no archive")
    told = [segment("a.tar", "photos", "-o", "run", status=1).stderr]
    make_tar(here / "b.tar", {f"x{evil}": b""})
    told.append(segment("b.tar", status=2).stderr)
    (here / evil / "run.sqlite").mkdir(parents=True)
    told.append(segment("photos", "-o", evil, status=2).stderr)
    for number in (1, 2):
        (here / f"photos/{evil}.png").write_bytes(PHOTOS["cat.png"] + b" " * number)
        segment("photos", "-o", f"part{number}", status=1)
    merged = CliRunner().invoke(cli, ["merge", "part1", "part2"])
    assert merged.exit_code == 2
    told.append(merged.stderr)
    for text in told:
        assert "\x1b" not in text
        assert r".\x1b]0;b\x07" in text


def wait_for(condition: Any) -> None:
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to be")


def test_an_endless_list_is_segmented_as_it_comes() -> None:
    options = ("--files-from", "-", "--choose", "image", "--batch-size", "1", *QUICK)
    process = subprocess.Popen(
        [Path(sys.executable).with_name("iem-xp"), "segment", *PAPER, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    for name in ("cat", "coffee", "cell"):
        process.stdin.write(f"photos/{name}.png\n".encode())
        process.stdin.flush()
    wait_for(Path("iem-run/masks/photos/cat.png").is_file)
    assert process.poll() is None
    _, message = process.communicate()
    assert process.returncode == 0, message
    assert len(masks()) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give INPUT, or --files-from"),
        (["photos", "--files-from", "-"], "give INPUT, or --files-from"),
        (["photos", "--null"], "--null is for --files-from"),
        (["--files-from", "-", "--shard", "1/2"], "--shard needs to know how many"),
        (["--files-from", "gone"], "No such file"),
    ],
)
def test_inputs_that_do_not_go_together(arguments: list[str], message: str) -> None:
    assert message in segment(*arguments, status=2).stderr


def test_earlier_runs_below_the_input_are_left_alone() -> None:
    segment(".")
    again = segment(".", "-o", "second")
    assert "6 done, 0 failed" in again.stdout
    assert "iem-run: is a run, whose masks are not taken for images" in again.stderr


def test_a_run_is_no_folder_of_images() -> None:
    segment("photos")
    said = segment("iem-run", "-o", "again", status=2).stderr
    assert "iem-run: is a run, whose masks are no images; give the images themselves" in said
    assert not Path("again").exists()
