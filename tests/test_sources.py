from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from downloads import make_lmdb
from folders import touch
from iem_xp.runs.inputs import SourceError, find_images, stream_images
from iem_xp.runs.naming import Source
from iem_xp.runs.sources import ImageSearch
from packing import make_parquet, make_tar

SUFFIXES = frozenset({".jpg", ".png", ".webp"})


pytestmark = pytest.mark.usefixtures("here")


def search(*inputs: str, exclude: Path | None = None) -> ImageSearch:
    return find_images(inputs, suffixes=SUFFIXES, exclude=exclude)


def found(*inputs: str, exclude: Path | None = None) -> dict[str, str]:
    """Mask names by image, relative to the current folder."""
    return {os.path.relpath(found.path): found.mask for found in search(*inputs, exclude=exclude)}


def masks(names: Sequence[str]) -> dict[str, str]:
    touch(*(f"imgs/{name}" for name in names))
    return {os.path.basename(path): mask for path, mask in found("imgs").items()}


def test_a_folder_is_searched_in_sorted_order_and_keeps_its_sub_folders() -> None:
    touch("imgs/b.jpg", "imgs/a.png", "imgs/sub/deep/c.JPG", "imgs/also/d.png")
    assert list(found("imgs").items()) == [
        ("imgs/a.png", "a.png"),
        ("imgs/b.jpg", "b.png"),
        ("imgs/also/d.png", "also/d.png"),
        ("imgs/sub/deep/c.JPG", "sub/deep/c.png"),
    ]


def test_paths_are_absolute_and_links_stay(here: Path) -> None:
    touch("real/a.png")
    Path("link").symlink_to("real")
    assert list(search("link/../link")) == [Source(here / "link/a.png", "a.png")]


def test_what_is_no_image_is_left_out_and_counted() -> None:
    touch("imgs/a.png", "imgs/a.txt", "imgs/b.TXT", "imgs/README", "imgs/.hidden.png", "imgs/.git/x.png")
    images = search("imgs")
    assert [source.path.name for source in images] == ["a.png"]
    assert images.left_out == {".txt": 2, "": 1}


def test_suffixes_that_each_file_has_of_its_own_are_of_one_kind() -> None:
    numbered = [f"img.{i}" for i in range(150)]
    hashed = [f"img.{i:040x}" for i in range(150)]
    short = [f"img.x{i}" for i in range(150)]
    touch(*(f"imgs/{name}" for name in (*numbered, *hashed, *short, "a.png", "a.txt", "b.txt")))
    make_tar(Path("imgs/a.tar"), dict.fromkeys([*numbered, *hashed, *(f"y.y{i}" for i in range(150))], b""))
    for given in ("imgs", "imgs/*"):
        images = search(given)
        assert images.count() == 1
        assert images.left_out.total() == 902
        assert len(images.left_out) <= 101
        assert images.left_out["other suffixes"] >= 600
    Path("imgs/a.png").unlink()
    with pytest.raises(SourceError, match=r"left out .* x \.\w+, \d+ x other suffixes; looked for") as caught:
        search("imgs")
    assert len(str(caught.value)) < 400


def test_a_file_named_explicitly_is_tried_whatever_its_suffix() -> None:
    touch("a.heic", ".b.png", "c")
    assert found("a.heic", ".b.png", "c") == {"a.heic": "a.heic.png", ".b.png": ".b.png.png", "c": "c.png"}


def test_masks_start_from_the_deepest_folder_of_all_inputs() -> None:
    touch("data/one/a.png", "data/two/sub/a.png", "data/three/a.png")
    assert list(found("data/one", "data/two", "data/three/a.png").values()) == [
        "one/a.png",
        "two/sub/a.png",
        "three/a.png",
    ]


def test_a_folder_reached_twice_is_searched_once() -> None:
    touch("imgs/sub/a.png", "imgs/b.png")
    Path("imgs/sub/loop").symlink_to("..")
    Path("imgs/zlink").symlink_to("sub")
    assert list(found("imgs", "imgs/sub", "imgs/b.png")) == ["imgs/b.png", "imgs/sub/a.png"]


def test_links_that_lead_nowhere_are_left_to_fail() -> None:
    Path("imgs").mkdir()
    Path("imgs/gone.png").symlink_to("nowhere")
    Path("imgs/self.png").symlink_to("self.png")
    assert list(found("imgs")) == ["imgs/gone.png", "imgs/self.png"]


def test_the_run_folder_is_not_searched(here: Path) -> None:
    touch("imgs/a.png", "imgs/run/masks/a.png")
    run = here / "imgs/run"
    assert list(found("imgs", exclude=run)) == ["imgs/a.png"]
    assert list(found("imgs/**/*.png", exclude=run)) == ["imgs/a.png"]
    for inside in ("imgs/run", "imgs/run/masks", "imgs/run/masks/a.png"):
        with pytest.raises(SourceError, match="the folder of the run; use another -o"):
            found(inside, exclude=run)


def test_the_run_folder_may_be_made_during_the_search(here: Path) -> None:
    touch("imgs/a.png")
    images = iter(search("imgs", exclude=here / "imgs/run"))
    next(images)
    touch("imgs/run/masks/a.png")
    assert list(images) == []


def test_a_pattern_finds_images_and_searches_folders() -> None:
    touch("imgs/a.png", "imgs/b.txt", "imgs/.c.png", "imgs/one/d.jpg", "imgs/.git/e.png", "else/f.png")
    assert found("imgs/*") == {"imgs/a.png": "a.png", "imgs/one/d.jpg": "one/d.png"}
    assert found("**/*.jpg") == {"imgs/one/d.jpg": "imgs/one/d.png"}
    assert found("imgs/**") == found("imgs")


def test_what_exists_is_no_pattern(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch("[2020]/a.png", "[2020]/b.png", "b[1].png", "b1.png")
    assert list(found("b[1].png")) == ["b[1].png"]
    assert list(found("[2020]/b*")) == ["[2020]/b.png"]
    monkeypatch.chdir("[2020]")
    assert list(found("a*", str(here / "b1.png"))) == ["a.png", "../b1.png"]


def test_a_list_names_files_folders_and_what_is_missing() -> None:
    touch("imgs/a.png", "imgs/b.heic", "more/c.png", "imgs/ d .png")
    Path("list.txt").write_bytes(
        b"\xef\xbb\xbf# photographs\r\nimgs/a.png\r\n\n  \nimgs/b.heic\nmore\nimgs/a.png\nimgs/gone.png\n"
        b"imgs/ d .png\nmore/late.png"
    )
    assert found("list.txt") == {
        "imgs/a.png": "imgs/a.png",
        "imgs/b.heic": "imgs/b.heic.png",
        "more/c.png": "more/c.png",
        "imgs/gone.png": "imgs/gone.png",
        "imgs/ d .png": "imgs/ d .png",
        "more/late.png": "more/late.png",
    }


def test_a_list_names_masks_as_a_search_does() -> None:
    touch("imgs/a.png", "imgs/a.jpg", "imgs/b.png")
    Path("list.txt").write_text("imgs/b.png\nimgs/a.jpg\n")
    assert found("list.txt") == {"imgs/b.png": "b.png", "imgs/a.jpg": "a.jpg.png"}


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "no input at all"),
        ([""], "'': no such file or folder"),
        (["gone"], "'gone': no such file or folder"),
        (["gone/*.png"], "'gone/\\*.png': no file matches this pattern"),
        (["gone/a**b"], "'gone/a\\*\\*b': (not a valid|no file matches this) pattern"),
        (["blank.txt"], "'blank.txt': lists no path"),
        (["utf16.txt"], "'utf16.txt': not a list of paths in UTF-8"),
        (["broken.txt"], "'broken.txt': cannot read this list"),
        (["docs"], "no image found in 'docs'; left out 1 x .pdf; looked for .jpg, .png, .webp"),
        (["docs/*"], "no image found in 'docs/\\*'; left out 1 x .pdf; looked for .jpg, .png, .webp"),
    ],
)
def test_inputs_that_name_no_image_are_errors(inputs: list[str], message: str) -> None:
    touch("docs/a.pdf")
    Path("blank.txt").write_text("\n# nothing\n")
    Path("utf16.txt").write_text("a.png\n", encoding="utf-16")
    Path("broken.txt").symlink_to("nowhere")
    with pytest.raises(SourceError, match=message):
        search(*inputs)


def test_a_folder_that_cannot_be_listed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("imgs/a.png", "imgs/locked/b.png")
    scandir = os.scandir

    def guarded(folder: str) -> object:
        if folder.endswith("locked"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", guarded)
    images = search("imgs")
    assert len(list(images)) == 1
    assert images.unreadable == [f"{os.path.abspath('imgs/locked')}: cannot be searched: Permission denied"]
    with pytest.raises(SourceError, match=r"locked: cannot be searched: Permission denied"):
        search("imgs/locked")


def test_images_that_share_a_stem_keep_their_suffixes() -> None:
    assert masks(["a.jpg", "a.png", "b.jpg"]) == {
        "a.jpg": "a.jpg.png",
        "a.png": "a.png.png",
        "b.jpg": "b.png",
    }


def test_a_stem_is_shared_whatever_its_case() -> None:
    assert masks(["a.jpg", "A.png"]) == {"a.jpg": "a.jpg.png", "A.png": "A.png.png"}


def test_a_kept_suffix_makes_no_new_clash() -> None:
    assert masks(["a.jpg", "a.png", "a.jpg.webp"])["a.jpg.webp"] == "a.jpg.webp.png"


def test_a_mask_is_not_named_like_a_folder() -> None:
    touch("imgs/a.png/b.png")
    assert masks(["a.jpg"]) == {"a.jpg": "a.jpg.png", "b.png": "a.png/b.png"}


@pytest.mark.parametrize(
    "name",
    [
        "a b.png",
        "new\nline.png",
        "🦜.png",
        os.fsdecode(b"\xff\xfe.png"),
        "x" * 251 + ".png",
        "é" * 125 + ".webp",
    ],
)
def test_odd_names_have_masks_that_can_be_written(name: str) -> None:
    (mask,) = masks([name]).values()
    Path(mask + ".temporary").touch()
    assert mask.endswith(".png")


def test_long_names_that_differ_at_the_end_have_distinct_masks() -> None:
    assert len(set(masks(["x" * 249 + end for end in ("a.png", "b.png")]).values())) == 2


# ---- Archives


def members(*names: str) -> dict[str, bytes]:
    return dict.fromkeys(names, b"x")


def test_a_folder_s_archives_are_searched_and_keep_their_names() -> None:
    touch("imgs/a.png")
    make_tar(Path("imgs/b.tar"), members("1.jpg", "sub/2.png", "3.cls", ".hidden.jpg", "__x/._y/z.jpg"))
    make_tar(Path("imgs/c.tar.gz"), members("1.jpg"), "w:gz")
    make_parquet(Path("imgs/d.parquet"), [b"x", b"y"])
    images = search("imgs")
    assert [(os.path.relpath(source.path), source.mask) for source in images] == [
        ("imgs/a.png", "a.png"),
        ("imgs/b.tar/1.jpg", "b.tar/1.png"),
        ("imgs/b.tar/sub/2.png", "b.tar/sub/2.png"),
        ("imgs/c.tar.gz/1.jpg", "c.tar.gz/1.png"),
        ("imgs/d.parquet/000000", "d.parquet/000000.png"),
        ("imgs/d.parquet/000001", "d.parquet/000001.png"),
    ]
    assert images.left_out == {".cls": 1}
    assert images.loose == 1


def test_masks_of_a_single_archive_keep_its_name_since_others_may_come() -> None:
    make_tar(Path("a.tar"), members("sub/1.jpg"))
    assert found("a.tar") == {"a.tar/sub/1.jpg": "a.tar/sub/1.png"}
    make_lmdb(Path("db"), {b"k/1": b"x", b"k2": b"x"})
    assert found("db") == {
        "db/data.mdb/k%2F1": "data.mdb/k%2F1.png",
        "db/data.mdb/k2": "data.mdb/k2.png",
    }


def test_patterns_and_lists_name_archives_and_what_is_in_them() -> None:
    for name in ("a.tar", "b.tar"):
        make_tar(Path(name), members("1.jpg", "2.jpg"))
    assert list(found("*.tar").values()) == ["a.tar/1.png", "a.tar/2.png", "b.tar/1.png", "b.tar/2.png"]
    Path("list.txt").write_text("a.tar/2.jpg\nb.tar\n")
    assert list(found("list.txt")) == ["a.tar/2.jpg", "b.tar/1.jpg", "b.tar/2.jpg"]
    assert list(found("a.tar/2.jpg")) == ["a.tar/2.jpg"]


def test_what_is_named_in_an_archive_has_the_mask_that_the_whole_archive_gives_it() -> None:
    names = ("twin.jpg", "twin.png", "sub/one.jpg", "sub/one.png", "sub/deep/two.jpg", "no.heic")
    make_tar(Path("a.tar"), members(*names))
    make_lmdb(Path("db"), {b"k.jpg": b"x", b"k.png": b"x"})
    for archive, whole in {"a.tar": "a.tar", "db/data.mdb": "db"}.items():
        expected = found(whole)
        assert len(expected) >= 2
        Path("all.txt").write_text(archive)
        for path, mask in expected.items():
            assert found(path) == {path: mask}
            assert streamed(path.encode())[path] == streamed(archive.encode())[path]
            Path("one.txt").write_text(path)
            assert found("one.txt")[path] == found("all.txt")[path]


def test_the_order_of_an_archive_is_kept_and_its_masks_are_distinct() -> None:
    make_tar(Path("a.tar"), members("z/1.jpg", "a.jpg", "z/1.png", "a.png/x.jpg", "../z/1.jpg", "/z/2.jpg"))
    named = found("a.tar").items()
    names = {name.removeprefix("a.tar/"): mask.removeprefix("a.tar/") for name, mask in named}
    assert names == {
        "z/1.jpg": "z/1.jpg.png",
        "a.jpg": "a.jpg.png",
        "z/1.png": "z/1.png.png",
        "a.png/x.jpg": "a.png/x.png",
        "%2E%2E/z/1.jpg": "%2E%2E/z/1.png",
        "z/2.jpg": "z/2.png",
    }
    assert list(names) == ["z/1.jpg", "a.jpg", "z/1.png", "a.png/x.jpg", "%2E%2E/z/1.jpg", "z/2.jpg"]


def test_a_mask_is_not_named_like_an_archive_beside_it() -> None:
    touch("imgs/a.jpg")
    make_tar(Path("imgs/a.png.tar"), members("1.jpg"))
    Path("imgs/a.png.tar").rename("imgs/a.tar")
    touch("imgs/a.tar.jpg")
    assert found("imgs")["imgs/a.tar.jpg"] == "a.tar.png"


def test_an_archive_reached_twice_is_searched_once() -> None:
    make_tar(Path("imgs.tar"), members("1.jpg"))
    Path("link.tar").symlink_to("imgs.tar")
    assert list(found(".", "imgs.tar", "link.tar")) == ["imgs.tar/1.jpg"]


def test_archives_that_cannot_be_read_are_reported_and_cost_nothing_else() -> None:
    touch("imgs/a.png", "imgs/empty.tar")
    Path("imgs/bad.parquet").write_bytes(b"PAR1 not really")
    make_tar(Path("imgs/cut.tar"), {f"{i}.jpg": bytes(3000) for i in range(3)})
    os.truncate("imgs/cut.tar", 5000)
    images = search("imgs")
    assert [source.path.name for source in images] == ["a.png", "0.jpg", "1.jpg"]
    assert [os.path.basename(error.partition(": ")[0]) for error in images.unreadable] == [
        "bad.parquet",
        "cut.tar",
        "empty.tar",
    ]
    with pytest.raises(SourceError, match=r"empty\.tar: cannot be searched: cannot be read as a tar"):
        search("imgs/empty.tar")


def test_folders_of_runs_are_not_searched_unless_they_are_named() -> None:
    touch("imgs/a.png", "imgs/iem-run/run.sqlite", "imgs/iem-run/masks/a.png")
    images = search("imgs")
    assert [source.path.name for source in images] == ["a.png"]
    assert images.runs == [os.path.abspath("imgs/iem-run")]
    assert list(found("imgs/iem-run")) == ["imgs/iem-run/masks/a.png"]
    touch("only/iem-run/run.sqlite")
    with pytest.raises(SourceError, match=r"iem-run: is a run, not searched"):
        search("only")


# ---- Lists that are read as they come


def streamed(data: bytes, ending: bytes = b"\n") -> dict[str, str]:
    images = stream_images(io.BytesIO(data), suffixes=SUFFIXES, ending=ending)
    return {os.path.relpath(source.path): source.mask for source in images}


def test_a_stream_names_images_folders_archives_and_what_is_missing(here: Path) -> None:
    touch("imgs/a.png", "more/c.png", "new\nline.png")
    make_tar(Path("b.tar"), members("1.jpg"))
    assert streamed(b"imgs/a.png\nmore\n\nb.tar\r\ngone.png\nimgs/a.heic") == {
        "imgs/a.png": "imgs/a.png",
        "more/c.png": "more/c.png",
        "b.tar/1.jpg": "b.tar/1.png",
        "gone.png": "gone.png",
        "imgs/a.heic": "imgs/a.heic.png",
    }
    assert streamed(b"new\nline.png\0imgs/a.png\0", b"\0") == {
        "new\nline.png": "new\nline.png",
        "imgs/a.png": "imgs/a.png",
    }
    assert streamed(b"/else/where/x.png\n") == {
        os.path.relpath("/else/where/x.png"): "else/where/x.png",
    }
    assert streamed(b"") == {}


@pytest.mark.parametrize(
    ("data", "ending", "cause"),
    [
        (b"a.png\nb.png\0c.png\0", b"\n", "line 2 of the list has a NUL; if paths end with NUL, use -0"),
        (b"a.png\n\n" + b"x" * 70_000 + b"\n", b"\n", "path 3 of the list is longer than any"),
        (b"a.png\0" + b"x\n" * 40_000, b"\0", "path 2 of the list is longer than any"),
    ],
)
def test_a_stream_of_what_is_no_path_is_refused_where_that_is(data: bytes, ending: bytes, cause: str) -> None:
    touch("a.png")
    images = iter(stream_images(io.BytesIO(data), suffixes=SUFFIXES, ending=ending))
    assert next(images).path.name == "a.png"
    with pytest.raises(SourceError, match=cause):
        list(images)


def test_a_list_without_an_end_is_not_read_on() -> None:
    class Endless(io.BytesIO):
        blocks = 0

        def read1(self, size: int | None = -1) -> bytes:
            self.blocks += 1
            return b"/x\0" * 1_000

    for ending in (b"\n", b"\1"):
        file = Endless()
        with pytest.raises(SourceError, match="of the list"):
            list(stream_images(file, suffixes=SUFFIXES, ending=ending))
        assert file.blocks < 30


def test_a_stream_is_read_no_further_than_its_images_are_asked_for() -> None:
    touch("a.png", "b.png")
    end, start = os.pipe()
    with os.fdopen(end, "rb") as file, os.fdopen(start, "wb", buffering=0) as other:
        images = iter(stream_images(file, suffixes=SUFFIXES))
        for name in ("a.png", "b.png"):
            other.write(name.encode() + b"\n")  # nothing more: to wait for it would be for ever
            assert next(images).path.name == name
