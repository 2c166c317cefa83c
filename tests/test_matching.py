from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from folders import touch
from iem_xp.boxes import Box, BoxError
from iem_xp.evaluation.matching import MatchError, Matching, match
from iem_xp.images import Fit
from iem_xp.runs.database import RunError
from iem_xp.runs.inputs import SourceError
from iem_xp.runs.naming import Source
from iem_xp.runs.records import Candidate, Entry
from iem_xp.runs.store import Run

CANDIDATE = Candidate(side=78, mask=np.zeros((3, 5), bool), inpainting_error=0.5, updates=12)


pytestmark = pytest.mark.usefixtures("here")


def make_run(masks: dict[str, str], failed: Iterable[str] = (), **configuration: Any) -> Path:
    """A run in `run`: names of masks by path of the image below `/photos`, and images that failed."""
    with Run.create(Path("run"), {"fit": "whole", "size": 128, **configuration}) as run:
        for image, mask in masks.items():
            source = Source(Path("/photos", image), mask)
            run.record_done(Entry(source, width=30, height=20, seconds=0.5), CANDIDATE, 0.25)
        for image in failed:
            run.record_failed(Source(Path("/photos", image), ""), f"{image}: no such file")
    return Path("run")


def boxes(*names: str) -> Path:
    rows = [f"{name},{number},2,3,4" for number, name in enumerate(names)]
    Path("boxes.csv").write_text("\n".join(["image,x,y,width,height", *rows]))
    return Path("boxes.csv")


def owners(matching: Matching) -> dict[str, str]:
    """Names of the masks by the truth that they belong to."""
    return {name: prediction.name for name, prediction, _ in matching.pairs}


PREDICTED, TRUTH = Path("predicted"), Path("truth")

# ---- Folders


def test_files_are_matched_by_their_paths_without_suffix(here: Path) -> None:
    touch("predicted/b.png", "predicted/a.TIFF", "predicted/sub/a.png", "predicted/v1.2.png")
    touch("truth/a.png", "truth/b.bmp", "truth/sub/a.gif", "truth/v1.2.png")
    matching = match(PREDICTED, TRUTH)
    assert owners(matching) == {"a": "a", "b": "b", "v1.2": "v1.2", "sub/a": "sub/a"}
    assert [truth for _, _, truth in matching.pairs] == [
        str(here / "truth" / name) for name in ("a.png", "b.bmp", "v1.2.png", "sub/a.gif")
    ]
    assert matching.pairs[0].prediction == ("a", str(here / "predicted/a.TIFF"), None, None)
    assert (matching.missing, matching.extra, matching.boxes, matching.crop) == ({}, [], False, None)


def test_what_has_no_counterpart_is_named() -> None:
    touch("predicted/a.png", "predicted/sub/b.png", "predicted/c.png", "truth/a.png", "truth/b.png")
    matching = match(PREDICTED, TRUTH)
    assert owners(matching) == {"a": "a"}
    assert matching.missing == {"b": None}
    assert matching.extra == ["c", "sub/b"]


def test_files_that_are_no_images_are_counted() -> None:
    touch("predicted/a.png", "predicted/a.txt", "truth/a.png", "truth/b.txt", "truth/README")
    assert match(PREDICTED, TRUTH).left_out == {".txt": 2, "": 1}


def test_two_masks_of_one_truth_are_an_error() -> None:
    touch("predicted/a.png", "predicted/a.bmp", "truth/a.png")
    with pytest.raises(MatchError, match=r"two masks are of a: .*predicted/a\.bmp and .*predicted/a\.png"):
        match(PREDICTED, TRUTH)


def test_two_truths_of_one_name_are_an_error() -> None:
    touch("predicted/a.png", "truth/a.png", "truth/a.bmp")
    with pytest.raises(MatchError, match=r"two truths are named a: .*truth/a\.bmp and .*truth/a\.png"):
        match(PREDICTED, TRUTH)


def test_where_nothing_matches_the_names_of_both_sides_are_shown() -> None:
    touch(*(f"predicted/{name}_mask.png" for name in "abcd"), "truth/a.png")
    message = (
        r"no mask of predicted belongs to a truth of truth; they are matched by path below the folder, "
        r"without suffix, but the masks are a_mask, b_mask, c_mask, \.\.\., and the truths are a$"
    )
    with pytest.raises(MatchError, match=message):
        match(PREDICTED, TRUTH)


@pytest.mark.parametrize(
    ("predicted", "truth", "error", "message"),
    [
        ("gone", "truth", MatchError, "gone: no such folder"),
        ("truth", "gone", MatchError, "gone: no such folder"),
        ("empty", "truth", SourceError, "no image found in 'empty'"),
        ("truth", "empty", SourceError, "no image found in 'empty'"),
        ("tru*", "truth", MatchError, r"tru\*: no such folder"),
        ("truth/a.png", "truth", MatchError, "truth/a.png: not a folder"),
        ("truth", "truth/a.png", MatchError, "truth/a.png: not a folder"),
        ("truth", "gone.csv", BoxError, "gone.csv: No such file"),
        ("broken", "truth", RunError, "cannot be read as a run"),
    ],
)
def test_what_cannot_be_used_is_named(
    predicted: str, truth: str, error: type[Exception], message: str
) -> None:
    touch("truth/a.png", "empty/notes.txt")
    Path("broken").mkdir()
    Path("broken/run.sqlite").write_text("no database, " * 100)
    with pytest.raises(error, match=message):
        match(Path(predicted), Path(truth))


# ---- Runs


def test_a_run_says_which_image_a_mask_is_of() -> None:
    run = make_run({"sub/a.jpg": "sub/a.png"})
    touch("truth/sub/a.png")
    (pair,) = match(run, TRUTH).pairs
    assert pair.prediction == ("sub/a", "run/masks/sub/a.png", "sub/a.jpg", (20, 30))


def test_a_mask_that_kept_its_images_suffix_belongs_to_the_images_truth() -> None:
    run = make_run({"a.jpg": "a.jpg.png", "sub/b.tif": "sub/b.tif-0123456789abcdef.png"})
    touch("truth/a.png", "truth/sub/b.png")
    assert owners(match(run, TRUTH)) == {"a": "a.jpg", "sub/b": "sub/b.tif-0123456789abcdef"}


def test_truths_may_keep_suffixes_too() -> None:
    run = make_run({"a.jpg": "a.jpg.png", "a.tif": "a.tif.png"})
    touch("truth/a.jpg.png", "truth/a.tif.png")
    assert owners(match(run, TRUTH)) == {"a.jpg": "a.jpg", "a.tif": "a.tif"}


def test_the_masks_own_name_comes_first() -> None:
    run = make_run({"a.jpg": "a.png", "a.jpg.webp": "a.jpg.png"})
    touch("truth/a.png", "truth/a.jpg.png")
    assert owners(match(run, TRUTH)) == {"a": "a", "a.jpg": "a.jpg"}


def test_two_images_of_one_truth_are_an_error() -> None:
    run = make_run({"a.jpg": "a.jpg.png", "a.tif": "a.tif.png"})
    touch("truth/a.png")
    with pytest.raises(MatchError, match=r"two masks are of a: .*a\.jpg\.png and .*a\.tif\.png"):
        match(run, TRUTH)


def test_a_truth_whose_image_failed_is_missing_for_its_reason() -> None:
    run = make_run({"a.jpg": "a.png"}, failed=["b.jpg", "sub/c.jpg", "x/d.jpg", "y/d.jpg", "bb.jpg"])
    touch("truth/a.png", "truth/b.png", "truth/sub/c.png", "truth/d.png", "truth/e.png")
    assert match(run, TRUTH).missing == {
        "b": "b.jpg: no such file",
        "sub/c": "sub/c.jpg: no such file",
        "d": None,  # of which folder?
        "e": None,
    }
    assert match(run, boxes("a.jpg", "b.jpg", "sub/c", "b")).missing == {
        "b.jpg": "b.jpg: no such file",
        "sub/c": "sub/c.jpg: no such file",
        "b": "b.jpg: no such file",
    }


def test_a_run_knows_whether_its_masks_are_of_crops() -> None:
    touch("truth/a.png")
    run = make_run({"a.jpg": "a.png"}, fit="crop", size=64)
    assert match(run, TRUTH).crop == 64
    options: list[dict[str, Any]] = [{"fit": "whole"}, {"fit": "crop"}, {"size": 64}]
    for given in options:
        with pytest.raises(MatchError, match="run: a run knows itself what its masks show; leave out fit"):
            match(run, TRUTH, **given)


def test_masks_of_a_folder_are_of_crops_if_that_is_said() -> None:
    touch("predicted/a.png", "truth/a.png")
    assert match(PREDICTED, TRUTH, fit="whole").crop is None
    assert match(PREDICTED, TRUTH, fit="crop").crop == 128
    assert match(PREDICTED, TRUTH, fit="crop", size=64).crop == 64
    fits: tuple[Fit | None, ...] = (None, "whole", "squash")
    for fit in fits:
        with pytest.raises(MatchError, match="size is that of central squares; it needs the fit crop"):
            match(PREDICTED, TRUTH, fit=fit, size=64)


def test_a_run_without_masks_is_an_error() -> None:
    touch("truth/a.png")
    with pytest.raises(MatchError, match="no image of this run has a mask, 1 failed"):
        match(make_run({}, failed=["a.jpg"]), TRUTH)


# ---- Boxes


def test_boxes_are_matched_with_or_without_suffix() -> None:
    touch("predicted/a.png", "predicted/sub/b.png", "predicted/c.jpg.png", "predicted/x.png")
    matching = match(PREDICTED, boxes("sub/b.jpg", "a", "c.jpg", "d.jpg"))
    assert owners(matching) == {"sub/b.jpg": "sub/b", "a": "a", "c.jpg": "c.jpg"}
    assert [truth for _, _, truth in matching.pairs] == [Box(number, 2, 3, 4) for number in range(3)]
    assert (matching.missing, matching.extra, matching.boxes) == ({"d.jpg": None}, ["x"], True)


def test_a_runs_images_tell_boxes_apart() -> None:
    run = make_run({"a.jpg": "a.jpg.png", "a.tif": "a.tif.png", "b.jpg": "b.png", "c.jpg.tif": "c.jpg.png"})
    names = ("a.jpg", "a.tif", "b.jpg", "b.tif", "c.jpg", "c.jpg.tif")
    matching = match(run, boxes(*names))
    assert owners(matching) == {"a.jpg": "a.jpg", "a.tif": "a.tif", "b.jpg": "b", "c.jpg.tif": "c.jpg"}
    assert list(matching.missing) == ["b.tif", "c.jpg"]


def test_a_mask_that_may_be_of_two_boxes_is_an_error() -> None:
    touch("predicted/a.png")
    with pytest.raises(MatchError, match=r"predicted/a\.png may be of a\.jpg and of a\.tif"):
        match(PREDICTED, boxes("a.jpg", "a.tif"))


def test_boxes_of_crops_need_a_run() -> None:
    touch("predicted/a.png")
    with pytest.raises(MatchError, match="boxes of crops need the images' own sizes, which a run knows"):
        match(PREDICTED, boxes("a.jpg"), fit="crop")
    assert match(make_run({"a.jpg": "a.png"}, fit="crop"), boxes("a.jpg")).crop == 128


def test_of_several_runs_one_is_to_be_given(tmp_path: Path) -> None:
    Run.create(tmp_path / "runs" / "iem", {}).close()
    with pytest.raises(MatchError, match=r"holds several runs; give one of them, such as .*iem"):
        match(tmp_path / "runs", tmp_path)


def test_a_run_may_hold_another_one(tmp_path: Path) -> None:
    touch("truth/a.png")
    with Run.create(tmp_path / "run", {"fit": "whole", "size": 128}) as run:
        source = Source(tmp_path / "a.jpg", "a.png")
        run.record_done(Entry(source, 5, 3, 0.1), CANDIDATE, 0.5)
    Run.create(tmp_path / "run" / "other", {}).close()
    assert [pair.name for pair in match(Path("run"), Path("truth")).pairs] == ["a"]
