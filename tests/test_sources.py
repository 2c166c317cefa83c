from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from folders import touch
from iem_xp.runs.inputs import SourceError, find_images
from iem_xp.runs.naming import Source
from iem_xp.runs.sources import ImageSearch

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
        (["docs"], "no image found in 'docs'; looked for .jpg, .png, .webp; left out 1 x .pdf"),
        (["docs/*"], "no image found in 'docs/\\*'; looked for .jpg, .png, .webp; left out 1 x .pdf"),
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
    assert [str(error.filename) for error in images.unreadable] == [os.path.abspath("imgs/locked")]
    with pytest.raises(SourceError, match=r"cannot search: .*Permission denied.*locked"):
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
