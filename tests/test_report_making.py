"""The folder of a report: its rows, its pictures, and what becomes of what was there."""

from __future__ import annotations

import base64
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import reports
from iem_xp.evaluation.matching import MatchError
from iem_xp.images import encode_mask, encode_png, write_atomically
from iem_xp.rendering import ABSENT, TINT
from iem_xp.report import making
from iem_xp.report.making import Made, ReportError, make_report
from iem_xp.report.strips import Artist
from iem_xp.runs.naming import Source
from iem_xp.runs.records import Candidate, Entry
from iem_xp.runs.store import Run
from reports import data_of, make_run, panels_of, square

NAMES = ["a.png", "b.png", "c.png", "d.png"]


def report(run: Path, **options) -> tuple[Made, dict]:
    with Run.open(run, to_write=False) as opened:
        made = make_report(opened, run / "report", longest=40, **options)
    return made, data_of(run / "report" / "index.html")


def strip_of(row: dict) -> bytes:
    kind, _, text = row["strip"].partition(",")
    assert kind == "data:image/webp;base64"
    return base64.b64decode(text)


def test_rows_are_from_the_best_mask_with_what_the_run_says(tmp_path: Path) -> None:
    made, data = report(make_run(tmp_path / "run", NAMES, failed=["e.png"]))
    assert (made.count, made.failed, made.total, made.problems) == (4, 1, 4, [])
    assert data["root"] == f"{tmp_path}/photos/"
    assert [row["name"] for row in data["rows"]] == [*NAMES, "e.png"]
    first, second, *_, last = data["rows"]
    expected = {"rank": 1, "information": 1, "error": 0.5, "share": 0.208333, "side": 44, "updates": 5}
    assert {name: first[name] for name in expected} == expected
    assert (first["width"], first["height"], first["panel"], first["has"]) == (20, 24, [33, 40], "1111")
    assert second["notes"] == "alpha ignored"
    assert (last["status"], last["problem"]) == ("failed", f"{tmp_path}/photos/e.png: not an image")
    assert last["rank"] is last["strip"] is None
    assert (data["ranked_by"], data["top"]) == ("information", 1)
    assert data["counts"] == {"done": 4, "failed": 1, "waiting": 0}
    assert data["facts"]["configuration"]["size"] == 16
    assert data["facts"]["versions"] == {"iem-xp": "0"}


def test_a_run_that_ranks_by_inpainting_error_is_shown_by_it(tmp_path: Path) -> None:
    settings = reports.SETTINGS.updated({"choose": "image"})
    _, data = report(make_run(tmp_path / "run", NAMES, settings=settings), top=3)
    assert [row["name"] for row in data["rows"]] == NAMES[::-1]
    assert (data["ranked_by"], data["top"]) == ("error", 3)


def test_panels_show_image_mask_cutout_and_inpainting(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [])
    image = np.full((24, 20, 3), (20, 120, 40), np.uint8)
    image[square()] = (220, 180, 20)
    write_atomically(tmp_path / "photos" / "a.png", encode_png(image))
    shutil.rmtree(run)
    _, data = report(make_run(run, ["a.png"]))
    picture, mask, cutout, inpainted = panels_of(strip_of(data["rows"][0]), 4)
    inside, outside = (14, 14), (33, 25)  # of panels of 40 x 33
    np.testing.assert_allclose(picture[inside], (220, 180, 20), atol=12)
    np.testing.assert_allclose(mask[inside], np.add((220, 180, 20), TINT) / 2, atol=12)
    np.testing.assert_allclose(mask[outside], picture[outside], atol=12)
    np.testing.assert_allclose(cutout[inside], (220, 180, 20), atol=12)
    assert np.ptp(cutout[outside].astype(int)) < 12  # of a grey checkerboard
    assert cutout[outside].min() > 180
    np.testing.assert_allclose(inpainted[inside], (20, 120, 40), atol=30)  # predicted from the other side
    np.testing.assert_allclose(inpainted[outside], (220, 180, 20), atol=40)


def test_with_crops_the_crop_and_its_mask_are_shown(tmp_path: Path) -> None:
    settings = replace(reports.SETTINGS, fit="crop")
    mask = np.zeros((16, 16), np.bool_)
    mask[:, :8] = True
    _, data = report(make_run(tmp_path / "run", ["a.png"], settings=settings, masks={"a.png": mask}))
    (row,) = data["rows"]
    assert (row["panel"], row["has"]) == ([40, 40], "1111")
    _, _, cutout, _ = panels_of(strip_of(row), 4)
    assert cutout[:, 24:].min() > 180  # the checkerboard


def test_of_an_image_nothing_but_its_crop_is_shown(tmp_path: Path) -> None:
    image = np.full((16, 48, 3), (220, 30, 30), np.uint8)
    image[:, 16:32] = (30, 220, 30)
    write_atomically(tmp_path / "photos" / "a.png", encode_png(image))
    settings = replace(reports.SETTINGS, fit="crop")
    masks = {"a.png": np.eye(16, dtype=np.bool_)}
    _, data = report(make_run(tmp_path / "run", ["a.png"], settings=settings, masks=masks))
    picture, *_ = panels_of(strip_of(data["rows"][0]), 4)
    inside = picture[:, :36]  # beside the next panel colours mix
    np.testing.assert_allclose(inside, np.broadcast_to((30, 220, 30), inside.shape), atol=20)


def test_of_many_images_some_are_shown_with_their_ranks_among_all(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [f"{i:02d}.png" for i in range(9)], failed=["x.png", "y.png", "z.png"])
    made, data = report(run, limit=2)
    assert (made.count, made.total, made.failed) == (2, 9, 2)
    assert [(row["name"], row["rank"]) for row in data["rows"]] == [
        ("00.png", 1),
        ("08.png", 9),
        ("x.png", None),
        ("y.png", None),
    ]
    assert data["counts"] == {"done": 9, "failed": 3, "waiting": 0}


def test_what_is_gone_or_has_changed_costs_its_pictures_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", NAMES)
    (tmp_path / "photos" / "a.png").unlink()
    write_atomically(tmp_path / "photos" / "b.png", encode_png(np.zeros((24, 20, 3), np.uint8)))
    (run / "masks" / "2.png").unlink()
    made, data = report(run)
    gone, changed, maskless, whole = data["rows"]
    assert [row["has"] for row in data["rows"]] == ["0100", "0100", "1000", "1111"]
    assert gone["problem"] == f"{tmp_path}/photos/a.png: No such file or directory"
    assert changed["problem"] == f"{tmp_path}/photos/b.png: has changed since it was segmented"
    assert maskless["problem"] == f"{run}/masks/2.png: No such file or directory"
    assert whole["problem"] is None
    assert made.problems == [row["problem"] for row in (gone, changed, maskless)]
    absent, mask, *_ = panels_of(strip_of(gone), 4)
    np.testing.assert_allclose(absent, ABSENT, atol=8)
    assert mask[14, 14].min() > 240  # white on black, without its image
    assert mask[33, 25].max() < 15


@pytest.mark.parametrize("longest", [15, 1025])
def test_a_panel_has_its_limits(tmp_path: Path, longest: int) -> None:
    run = make_run(tmp_path / "run", ["a.png"])
    with Run.open(run, to_write=False) as opened, pytest.raises(ValueError, match="longest must be at"):
        make_report(opened, run / "report", longest=longest)


def test_a_mask_of_another_size_is_a_problem(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ["a.png"])
    write_atomically(run / "masks" / "0.png", encode_mask(np.ones((5, 5), np.bool_)))
    _, data = report(run)
    assert data["rows"][0]["problem"].endswith("0.png: has another size than when it was written")


def test_truth_is_shown_and_scored(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", NAMES)
    truth = square(5)
    for i in (0, 1):
        write_atomically(tmp_path / "truth" / f"{i}.png", encode_mask(truth if i else square()))
    made, data = report(run, truth=tmp_path / "truth")
    assert made.problems == []
    assert data["panels"] == ["image", "mask", "cutout", "inpainted", "truth"]
    assert [row["iou"] for row in data["rows"]] == [1, 0.25, None, None]
    assert [row["has"] for row in data["rows"]] == ["11111", "11111", "11110", "11110"]
    assert data["truth"] == str(tmp_path / "truth")
    *_, shown = panels_of(strip_of(data["rows"][1]), 5)
    _, mask, *_ = panels_of(strip_of(data["rows"][0]), 5)
    assert np.abs(shown.astype(int) - mask).max() > 50


def test_truth_of_another_run_is_an_error_and_no_report(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", NAMES)
    write_atomically(tmp_path / "truth" / "other.png", encode_mask(square()))
    with pytest.raises(MatchError, match="no mask of"):
        report(run, truth=tmp_path / "truth")
    assert not (run / "report").exists()


def test_refined_masks_are_shown_beside_with_their_agreement(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", NAMES)
    make_run(run / "refined", NAMES[:2], photos=tmp_path / "photos", masks={"b.png": square(5)})
    for i in (0, 1):
        write_atomically(tmp_path / "truth" / f"{i}.png", encode_mask(square()))
    _, data = report(run, truth=tmp_path / "truth")
    assert data["panels"] == ["image", "mask", "cutout", "inpainted", "refined", "truth"]
    assert [row["agreement"] for row in data["rows"]] == [1, 0.25, None, None]
    assert [row["iou"] for row in data["rows"]] == [1, 1, None, None]
    assert [row["refined_iou"] for row in data["rows"]] == [1, 0.25, None, None]
    assert [row["has"] for row in data["rows"]] == ["111111", "111111", "111100", "111100"]


def test_a_mask_that_was_refined_before_the_image_changed_is_not_shown(tmp_path: Path) -> None:
    run, photos = tmp_path / "run", tmp_path / "photos"
    before = make_run(tmp_path / "before", NAMES[:2])
    (photos / "b.png").write_bytes(encode_png(np.zeros((reports.HEIGHT, reports.WIDTH, 3), np.uint8)))
    before.rename(make_run(run, NAMES[:2]) / "refined")
    made, data = report(run)
    first, second = data["rows"]
    assert first["agreement"] == 1
    assert second["agreement"] is None
    assert second["problem"] == f"{photos}/b.png: was refined before it changed; iem-xp refine does so anew"
    assert made.problems == [second["problem"]]


def test_refined_masks_without_a_truth_are_not_scored(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", NAMES)
    make_run(run / "refined", NAMES[:1], photos=tmp_path / "photos")
    write_atomically(tmp_path / "truth" / "3.png", encode_mask(square()))
    _, data = report(run, truth=tmp_path / "truth")
    assert [row["iou"] for row in data["rows"]] == [None, None, None, 1]
    assert "refined_iou" not in data["rows"][0]
    assert data["rows"][0]["agreement"] == 1


def test_masks_in_archives_are_read(tmp_path: Path) -> None:
    import tarfile

    run = make_run(tmp_path / "run", ["a.png"])
    with tarfile.open(run / "masks" / "00000.tar", "w") as tar:
        tar.add(run / "masks" / "0.png", "0.png")
    (run / "masks" / "0.png").unlink()
    with Run.open(run) as opened:
        (finished,) = opened.finished()
        source = finished.entry.source._replace(shard="00000.tar")
        opened.record_finished(finished._replace(entry=finished.entry._replace(source=source)))
    made, data = report(run)
    assert made.problems == []
    assert data["rows"][0]["has"] == "1111"


def test_images_in_archives_are_read(tmp_path: Path) -> None:
    import tarfile

    make_run(tmp_path / "first", ["a.png"])
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(tmp_path / "photos" / "a.png", "sub/a.png")
    run = tmp_path / "run"
    with Run.create(run, reports.SETTINGS.as_dict()) as opened:
        source = Source(tmp_path / "photos.tar" / "sub" / "a.png", "a.png")
        write_atomically(run / "masks" / "a.png", encode_mask(square()))
        opened.record_done(Entry(source, 20, 24, 0.1), Candidate(44, square(), 0.5, 5, 0.5), 0.2)
    made, data = report(run)
    assert made.problems == []
    assert (data["root"], data["rows"][0]["name"]) == (f"{tmp_path}/photos.tar/sub/", "a.png")


@pytest.mark.parametrize("failed", [[], ["a.png", "b.png"]])
def test_runs_without_masks_have_a_report(tmp_path: Path, failed: list[str]) -> None:
    (tmp_path / "truth").mkdir()
    for options in ({}, {"truth": tmp_path / "truth"}):
        made, data = report(make_run(tmp_path / f"run{len(options)}", [], failed=failed), **options)
        assert (made.count, made.failed) == (0, len(failed))
        assert [row["name"] for row in data["rows"]] == failed


def test_masks_that_wait_are_counted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ["a.png"])
    with Run.open(run) as opened:
        entry = Entry(Source(tmp_path / "photos" / "b.png", "b.png"), 20, 24, 0.1)
        opened.record_candidates(entry, [Candidate(side, square(), 0.5, 5) for side in (44, 78)])
    _, data = report(run)
    assert data["counts"] == {"done": 1, "failed": 0, "waiting": 1}


def test_the_figures_of_trainings_are_told_round_by_round(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ["a.png"])
    known = {"format_version": 1, "trainer": "pixels", "config": {}, "size": 16, "fit": "whole"}
    first = {**known, "trained": True, "history": [{"loss": 0.5}, {"loss": float("nan")}]}
    files = {
        "rounds/1/models/pixels": json.dumps(first),
        "models/keras": json.dumps({**known, "trained": False}),
    }
    for name, text in {**files, "models/other": "?"}.items():
        (run / name).mkdir(parents=True)
        (run / name / "iem-xp.json").write_text(text)
    _, data = report(run)
    first, second, third = data["networks"]
    assert (first["name"], first["history"]) == ("rounds/1/models/pixels", [{"loss": 0.5}, {"loss": None}])
    assert (second["name"], second["trained"], second["history"]) == ("models/keras", False, [])
    assert third["name"] == "models/other"
    assert "cannot be read" in third["problem"]


# What is written, and what was there


def test_of_few_images_the_page_is_all_and_of_many_the_strips_lie_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", NAMES)
    report(run)
    assert os.listdir(run / "report") == ["index.html"]
    monkeypatch.setattr(making, "EMBEDDED", 3)
    _, data = report(run)
    assert sorted(os.listdir(run / "report")) == ["index.html", "strips"]
    assert [row["strip"] for row in data["rows"]] == [f"strips/000/{i:06d}.webp" for i in range(4)]
    for row in data["rows"]:
        with Image.open(run / "report" / row["strip"]) as picture:
            assert picture.size == (4 * 33, 40)
    report(run, limit=2)
    assert os.listdir(run / "report") == ["index.html"]  # nothing is left of the one before


def test_the_same_run_gives_the_same_report_whatever_the_workers(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", NAMES)
    pages = []
    for workers in (1, 3):
        report(run, workers=workers)
        pages.append((run / "report" / "index.html").read_bytes())
    assert pages[0] == pages[1]


def test_an_interruption_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "run", NAMES)
    report(run)
    before = (run / "report" / "index.html").read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Artist, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        report(run, limit=2)
    assert (run / "report" / "index.html").read_bytes() == before
    shutil.rmtree(run / "report")
    with pytest.raises(KeyboardInterrupt):
        report(run)
    assert not list(run.glob("*report*")) + list(run.glob(".*"))


@pytest.mark.parametrize("name", ["notes.txt", "index.html"])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path / "run", NAMES)
    (run / "report").mkdir()
    (run / "report" / name).write_text("mine")
    with pytest.raises(ReportError, match="use another -o"):
        report(run)
    assert (run / "report" / name).read_text() == "mine"


def test_an_empty_folder_is_taken_and_a_file_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", NAMES)
    (run / "report").touch()
    with pytest.raises(ReportError, match="is a file"):
        report(run)
    (run / "report").unlink()
    (run / "report").mkdir()
    report(run)


def test_overwriting_a_run_removes_its_report(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", NAMES)
    report(run)
    Run.clear(run)
    assert not (run / "report").exists()
