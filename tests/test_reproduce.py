"""The whole of `iem-xp reproduce`, on small made-up copies of every data set."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import colours
import downloads
from iem_xp import IEMConfig, baselines
from iem_xp.engines import EngineOption
from iem_xp.reproduction import drawing
from iem_xp.reproduction.figures import Shown
from iem_xp.reproduction.studies import PAPER
from iem_xp.runs.methods import Search
from iem_xp.runs.settings import PRESETS, Settings
from iem_xp.runs.store import Run
from iem_xp_cli import reproduce as command
from iem_xp_cli.main import cli

MAKERS: dict[str, Callable[..., Path]] = {
    "flowers": downloads.make_flowers102,
    "flowers17": downloads.make_flowers17,
    "cub": downloads.make_cub,
    "lsun-car": downloads.make_lsun_car,
    "folder": downloads.make_folder,
}
"""Each makes 10 images that are tested."""


pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four updates, not 150: what they find is the business of other tests."""

    def search(settings: Settings, device: str, engine: EngineOption) -> Search:
        return Search(replace(settings.config, iterations=4), device, engine)

    monkeypatch.setattr(command, "search", search)
    monkeypatch.setattr(drawing, "PAPER", PAPER.updated({"iterations": 4}))


def reproduce(kind: str, *arguments: str, status: int = 0, root: str = "data") -> Result:
    given = ["reproduce", kind, "--root", root, "--device", "cpu", *arguments]
    result = CliRunner().invoke(cli, given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result


def report(kind: str, *arguments: str, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(reproduce(kind, *arguments, "--json", **options).stdout)
    return found


def lines(found: dict[str, Any], source: str, table: str = "results") -> dict[str, dict[str, Any]]:
    """Lines of a table, by method and square."""
    return {
        " ".join(str(line[key]) for key in ("method", "square", "choice") if line[key] is not None): line
        for line in found[table]
        if line["source"] == source
    }


def configuration(folder: Path) -> dict[str, Any]:
    with Run.open(folder, to_write=False) as run:
        found: dict[str, Any] = run.get_meta("configuration")
    return found


@pytest.mark.parametrize(
    ("kind", "published"), [("flowers", 4), ("cub", 5), ("lsun-car", 4), ("flowers17", 0)]
)
def test_the_paper_s_rows_stand_beside_ours(here: Path, kind: str, published: int) -> None:
    MAKERS[kind](here / "data")
    found = report(kind, "--limit", "3")
    assert len(lines(found, "paper")) == published
    ours = lines(found, "here")
    sides = {f"IEM {side}": " data set" if side == found["init_side"] else "" for side in (44, 78, 92)}
    assert list(ours)[:5] == [*map(str.__add__, sides, sides.values()), "IEM image", "IEM truth"]
    assert list(ours)[5:9] == [f"GrabCut {side}" for side in baselines.SIDES]
    square, ellipse = list(ours)[9:]
    assert (square[:15], ellipse[:16]) == ("centred square ", "centred ellipse ")
    assert square.endswith(" truth")
    assert {line["n"] for line in ours.values()} == {3}
    for line in ours.values():
        assert all(line["either"][metric] >= line["fixed"][metric] for metric in line["fixed"])


@pytest.mark.parametrize("kind", MAKERS)
def test_what_cannot_be_used_is_named_and_counts_nowhere(here: Path, kind: str) -> None:
    MAKERS[kind](here / "data", truncated=True, missing_mask=True)
    found = report(kind, "--no-baselines", status=1)
    assert found["n"] == 8
    assert len(found["failed"]) == 2
    assert {line["n"] for line in lines(found, "here").values()} == {8}
    for failure in found["failed"]:
        assert failure["name"]
        assert failure["error"]
    assert any(
        "truncated" in failure["error"] or "decoded" in failure["error"] for failure in found["failed"]
    )


def test_grey_birds_and_webp_cars_are_read(here: Path) -> None:
    downloads.make_cub(here / "data", gray=True)
    assert report("cub", "--no-baselines")["n"] == 10
    downloads.make_lsun_car(here / "cars", webp=True)
    assert report("lsun-car", "--no-baselines", root="cars")["n"] == 10
    unpacked = list((here / "iem-reproduce" / "lsun-car" / "images").rglob("*"))
    assert {file.suffix for file in unpacked} == {".webp"}
    assert len(unpacked) == 10


def test_birds_without_masks_are_scored_by_their_boxes(here: Path) -> None:
    downloads.make_cub(here / "data", masks=False)
    found = report("cub", "--limit", "4")
    (iem,) = (line for name, line in lines(found, "here").items() if name.endswith("data set"))
    assert 0 <= iem["box_iou"] <= 1
    assert iem["localisation"] in (0, 0.25, 0.5, 0.75, 1)
    assert "either" not in iem


def test_the_ablation_leaves_out_one_thing_at_a_time(here: Path) -> None:
    downloads.make_folder(here / "data", n=3)
    found = report("folder", "--no-baselines", "--ablate")
    ours = lines(found, "here", "ablation")
    assert list(dict.fromkeys(line["method"] for line in ours.values())) == [
        "IEM",
        "lambda = 0",
        "no smoothing",
        "not restricted to the boundary",
    ]
    (chosen,) = (line for name, line in ours.items() if name.startswith("lambda") and line["choice"])
    assert chosen["paper_iou"] == {"cub": 0.506, "flowers": 0.680}
    configurations = {
        study: configuration(here / "iem-reproduce" / "folder-data" / study)
        for study in ("iem", "no-diversity", "no-smoothing", "any-pixel")
    }
    default = configurations.pop("iem")
    assert (default["iterations"], default["init_sides"], default["fit"]) == (150, [44, 78, 92], "crop")
    changed = {
        study: {key: value for key, value in configuration.items() if value != default[key]}
        for study, configuration in configurations.items()
    }
    assert changed == {
        "no-diversity": {"regularization": 0},
        "no-smoothing": {"smooth": False},
        "any-pixel": {"boundary_only": False},
    }


def test_the_best_preset_has_a_row_and_leaves_the_paper_s_as_they_are(here: Path) -> None:
    downloads.make_folder(here / "data", n=2)
    plain = report("folder", "--no-baselines")
    found = report("folder", "--no-baselines", "--best")
    (best,) = (line for line in found["results"] if line["method"] == "IEM, best preset")
    assert (best["square"], best["choice"], best["n"], best["source"]) == (None, None, 2, "here")
    assert [line for line in found["results"] if line is not best] == plain["results"]
    kept = configuration(here / "iem-reproduce" / "folder-data" / "best")
    expected = PRESETS["best"].updated({"fit": "crop"}).as_dict()
    assert {name: kept[name] for name in expected} == json.loads(json.dumps(expected))
    assert configuration(here / "iem-reproduce" / "folder-data" / "iem")["choose"] == "dataset"
    assert "IEM, best preset" in reproduce("folder", "--no-baselines", "--best").stdout


def test_it_continues_where_it_was_interrupted(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads.make_folder(here / "data")
    whole = report("folder", "--no-baselines", "-o", "whole", "--workers", "1")
    find, count = Search.find, 0

    def interrupted(search: Search, images: np.ndarray) -> Any:
        nonlocal count
        count += len(images)
        if count > 4:
            raise KeyboardInterrupt
        return find(search, images)

    with monkeypatch.context() as patch:
        patch.setattr(Search, "find", interrupted)
        arguments = ["folder", "--no-baselines", "-o", "parts", "--workers", "1"]
        stopped = reproduce(*arguments, "--overwrite", status=130)
    assert "of 10 images are segmented; the same command without --overwrite continues" in stopped.stderr
    computed = []
    monkeypatch.setattr(
        Search, "find", lambda search, images: computed.append(len(images)) or find(search, images)
    )
    continued = reproduce(*arguments, "--json")
    parts = json.loads(continued.stdout)
    assert 0 < sum(computed) < 10
    assert f"IEM: {sum(computed)} segmented in" in continued.stderr
    assert parts["results"] == whole["results"]
    computed.clear()
    assert report("folder", "--no-baselines", "-o", "parts")["results"] == whole["results"]
    assert not computed


def test_the_scores_of_every_image_are_kept(here: Path) -> None:
    downloads.make_folder(here / "data", n=4)
    found = report("folder")
    with (here / "iem-reproduce" / "folder-data" / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * (3 + 3 * len(baselines.SIDES))
    for name, line in list(lines(found, "here").items())[:3]:
        side = line["square"]
        scores = [
            float(row["fixed_miou"]) for row in rows if (row["study"], row["square"]) == ("iem", str(side))
        ]
        assert np.mean(scores) == pytest.approx(line["fixed"]["miou"]), name


def test_every_format_has_every_line(here: Path) -> None:
    downloads.make_folder(here / "data", n=3)
    arguments = ["folder", "--ablate", "--no-baselines", "--format"]
    found = json.loads(reproduce(*arguments, "json").stdout)
    expected = len(found["results"]) + len(found["ablation"])
    assert expected == 5 + 4 * 3
    text = reproduce(*arguments, "text").stdout
    markdown = reproduce(*arguments, "markdown").stdout
    table = list(csv.DictReader(StringIO(reproduce(*arguments, "csv").stdout)))
    assert len(table) == expected
    assert sum(line.startswith("| ") for line in markdown.splitlines()) == expected + 4
    for row in table:
        shown = f"{100 * float(row['either_iou']):.1f}"
        assert any(
            row["method"] in line and row["square"] in line and shown in line for line in text.splitlines()
        )
    assert "in the paper" in text


def test_figures_are_drawn(here: Path) -> None:
    downloads.make_folder(here / "data", n=3)
    result = reproduce("folder", "--no-baselines", "--figures", "drawn")
    names = {"figure-3.png", "results.png", "curve.png", "curve.csv"}
    assert {file.name for file in (here / "drawn").iterdir()} == names
    assert all(f"drawn/{name}" in result.stderr for name in names)
    assert np.asarray(Image.open(here / "drawn" / "results.png")).std() > 10
    with (here / "drawn" / "curve.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [rows[0]["updates"], rows[-1]["updates"]] == ["0", "4"]
    found = report("folder", "--no-baselines")
    (iem,) = (line for line in found["results"] if line["choice"] == "data set")
    assert float(rows[-1]["either_iou"]) == pytest.approx(iem["either"]["iou"], abs=1e-9)
    reproduce("folder", "--no-baselines", "--figures", "drawn")
    (here / "drawn" / "curve.csv").write_text("mine")
    assert "name another folder" in reproduce("folder", "--figures", "drawn", status=2).stderr
    assert (here / "drawn" / "curve.csv").read_text() == "mine"


def test_figures_show_the_masks_of_the_run_where_they_count(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads.make_folder(here / "data", truncated=True, missing_mask=True)
    shown: list[Shown] = []

    def results_figure(rows: list[Shown], config: IEMConfig) -> np.ndarray:
        shown.extend(rows)
        return np.zeros((1, 1), np.uint8)

    monkeypatch.setattr(drawing, "results_figure", results_figure)
    reproduce("folder", "--no-baselines", "--figures", "drawn", status=1)
    masks = (here / "iem-reproduce" / "folder-data" / "iem" / "masks").rglob("*.png")
    counted = [np.asarray(Image.open(file)) > 0 for file in masks if file.stem != "flower 09"]
    assert len(counted) == len(shown) == 8
    assert {mask.tobytes() for mask in counted} == {row.mask.tobytes() for row in shown}


def test_the_tables_are_printed_also_where_an_image_is_gone_before_its_figure(here: Path) -> None:
    downloads.make_folder(here / "data", n=2)
    printed = reproduce("folder", "--no-baselines").stdout
    gone = here / "data" / "images" / "flower 01.jpg"
    gone.unlink()
    gone.symlink_to("nowhere")
    result = reproduce("folder", "--no-baselines", "--figures", "drawn", status=1)
    assert result.stdout == printed
    assert "no figures are drawn" in result.stderr
    assert "flower 01.jpg" in result.stderr
    assert not (here / "drawn").exists()


def test_an_image_that_changed_is_segmented_anew(here: Path) -> None:
    downloads.make_folder(here / "data", n=2)
    first = report("folder", "--no-baselines")
    changed = here / "data" / "images" / "flower 01.jpg"
    Image.open(changed).transpose(Image.Transpose.ROTATE_180).save(changed)
    again = reproduce("folder", "--no-baselines")
    assert "1 image(s) changed, and are masked anew" in again.stderr
    assert lines(report("folder", "--no-baselines"), "here") != lines(first, "here")


def test_figures_without_true_masks_leave_figure_3_out(here: Path) -> None:
    downloads.make_folder(here / "data", n=3, masks=False, boxes=True)
    reproduce("folder", "--no-baselines", "--figures", "drawn")
    assert {file.name for file in (here / "drawn").iterdir()} == {"results.png", "curve.png", "curve.csv"}


def test_runs_of_another_data_set_are_not_continued(here: Path) -> None:
    downloads.make_folder(here / "data", n=2)
    downloads.make_folder(here / "other", n=2)
    reproduce("folder", "--no-baselines", "-o", "out")
    refused = reproduce("folder", "--no-baselines", "-o", "out", root="other", status=2)
    assert "root:" in refused.stderr
    assert "--overwrite" in refused.stderr
    assert report("folder", "--no-baselines", "-o", "out", "--overwrite", root="other")["n"] == 2


def test_a_folder_of_something_else_is_left_alone(here: Path) -> None:
    downloads.make_folder(here / "data", n=1)
    scores = here / "out" / "scores.csv"
    downloads.write(scores, b"mine")
    refused = reproduce("folder", "--no-baselines", "-o", "out", status=2)
    assert "out: holds scores.csv and is no reproduction" in refused.stderr
    assert scores.read_bytes() == b"mine"
    reproduce("folder", "--no-baselines", "-o", "out", "--overwrite")
    assert scores.read_bytes().startswith(b"name,study,square,")
    downloads.write(here / "thesis" / "chapter.tex", b"")
    for more in ([], ["--overwrite"]):
        assert "holds chapter.tex" in reproduce("folder", "-o", "thesis", *more, status=2).stderr
    assert "is a run of its own" in reproduce("folder", "-o", "out/iem", "--overwrite", status=2).stderr
    assert "is a file" in reproduce("folder", "-o", "thesis/chapter.tex", status=2).stderr


def test_overwrite_leaves_no_run_of_the_other_data_set(here: Path) -> None:
    downloads.make_folder(here / "data", n=1)
    downloads.make_lsun_car(here / "cars")
    reproduce("lsun-car", "-o", "out", "--limit", "1", root="cars")
    reproduce("folder", "-o", "out", "--no-baselines", "--overwrite")
    assert [path.name for path in (here / "out" / "grabcut").iterdir()] == ["run.lock"]
    assert not (here / "out" / "images").exists()
    reproduce("folder", "-o", "out")


def test_each_root_has_its_own_runs_by_default(here: Path) -> None:
    for name in ("a", "b"):
        downloads.make_folder(here / name, n=2)
        assert report("folder", "--no-baselines", root=name)["n"] == 2
    assert {folder.name for folder in (here / "iem-reproduce").iterdir()} == {"folder-a", "folder-b"}


def test_grabcut_is_left_out_aloud_where_opencv_is_missing(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads.make_folder(here / "data", n=2)
    monkeypatch.setitem(sys.modules, "cv2", None)
    result = reproduce("folder")
    assert "GrabCut is left out" in result.stdout.splitlines()[-1]
    assert "pip install 'iem-xp[baselines]'" in result.stdout
    assert "GrabCut is left out" in reproduce("folder", "--format", "csv").stderr
    assert "GrabCut," not in result.stdout
    assert "centred ellipse" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("folder",), "data"),
        (("flowers",), "robots.ox.ac.uk"),
        (("cub",), "caltech"),
        (("lsun-car",), "yf.io"),
        (("birds",), "is not one of"),
    ],
)
def test_a_data_set_that_is_not_there_is_wrong_usage(arguments: tuple[str, ...], message: str) -> None:
    assert message in reproduce(*arguments, status=2).stderr
    assert not Path("iem-reproduce").exists()


def test_images_of_which_nothing_is_known_are_wrong_usage(here: Path) -> None:
    downloads.make_lsun_car(here / "data", n=4, masks=False)
    refused = reproduce("lsun-car", "--split", "all", status=2)
    assert "has neither masks nor boxes" in refused.stderr
    assert not Path("iem-reproduce").exists()


def test_if_no_image_counts_there_is_no_table(here: Path) -> None:
    downloads.make_folder(here / "data", n=2)
    for file in (here / "data" / "masks").rglob("*.png"):
        downloads.cut(file)
    result = reproduce("folder", "--no-baselines", "--figures", "drawn", status=1)
    assert "no image of data counts" in result.stderr
    assert "not counted: flower 00:" in result.stderr
    assert not result.stdout
    found = report("folder", "--no-baselines", status=1)
    assert (found["n"], found["init_side"], len(found["failed"])) == (0, None, 2)
    assert not (here / "drawn").exists()


def test_nothing_is_written_where_it_would_be_taken_for_an_image_or_a_run(here: Path) -> None:
    downloads.make_folder(here / "data", n=1)
    for arguments in (
        ["-o", "data/images/out"],
        ["--figures", "data/masks"],
        ["-o", "out", "--figures", "out/iem"],
        ["-o", "out", "--figures", "./out/grabcut/masks/../figures", "--overwrite"],
    ):
        assert "where nothing else belongs" in reproduce("folder", *arguments, status=2).stderr
    assert not (here / "out").exists()
    reproduce("folder", "-o", "data/out", "--figures", "data/out/figures", "--no-baselines")


def test_no_figure_of_another_data_set_is_left(here: Path) -> None:
    downloads.make_folder(here / "data", n=2)
    downloads.make_folder(here / "boxes", n=2, masks=False, boxes=True)
    reproduce("folder", "--no-baselines", "--figures", "drawn")
    assert (here / "drawn" / "figure-3.png").exists()
    reproduce("folder", "--no-baselines", "--figures", "drawn", root="boxes")
    assert not (here / "drawn" / "figure-3.png").exists()


def test_notes_and_what_is_left_out_stand_below_the_table(here: Path) -> None:
    downloads.make_cub(here / "data", redo_split=False)
    text = reproduce("cub", "--limit", "2", "--no-baselines").stdout
    assert text.splitlines()[0].endswith(", 2 of 10 images")
    assert "official" in text.splitlines()[-1]
    assert "official" in report("cub", "--limit", "2", "--no-baselines")["notes"][0]


def test_only_one_format_can_be_asked_for(here: Path) -> None:
    downloads.make_folder(here / "data", n=1)
    assert "one of them only" in reproduce("folder", "--json", "--format", "csv", status=2).stderr


def test_the_default_split_has_the_same_runs_by_its_name(here: Path) -> None:
    downloads.make_flowers102(here / "data")
    for split in ([], ["--split", "test"], ["--split", "validation"]):
        reproduce("flowers", "--limit", "1", "--no-baselines", *split)
    assert {folder.name for folder in (here / "iem-reproduce").iterdir()} == {"flowers", "flowers-validation"}


def test_the_name_of_a_folder_may_be_anything(here: Path) -> None:
    name = os.fsdecode(b"a$\\fra$ | \n\xff")
    downloads.make_folder(here / name, n=2)
    result = reproduce("folder", "--no-baselines", "--figures", "drawn", root=name)
    assert r"a$\fra$ | \n\udcff, 2 images" in result.stdout.splitlines()


def test_the_network_s_row_is_of_the_masks_that_refine_made(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = colours.install(monkeypatch)
    downloads.make_folder(here / "data", n=4)
    options = ["--no-baselines", "--refine", "--trainer", "colours", "--top", "3"]
    found = report("folder", *options)
    iem, truth = here / "iem-reproduce" / "folder-data" / "iem", here / "data" / "masks"
    (row,) = (line for name, line in lines(found, "here").items() if name == "IEM + SegNet")
    assert row["n"] == 4
    scores = json.loads(
        CliRunner().invoke(cli, ["evaluate", str(iem / "refined"), str(truth), "--json"]).stdout
    )
    for polarity in ("either", "fixed"):
        assert row[polarity] == pytest.approx(scores[polarity], abs=1e-12)
    assert row["fixed"] != lines(found, "here")[f"IEM {found['init_side']} data set"]["fixed"]
    assert (
        "IEM + SegNet: 3 labels, 2 epochs of the trainer colours by its default schedule." in found["notes"]
    )
    ranked = list(Run.open(iem, to_write=False).ranked())
    with (iem / "models" / "colours" / "labels" / "labels.csv").open(newline="", encoding="utf-8") as file:
        labels = list(csv.DictReader(file))
    assert [label["mask"] for label in labels] == [one.source.mask for one in ranked[:3]]
    assert {int(label["init_side"]) for label in labels} == {found["init_side"]}

    assert report("folder", *options) == found
    assert len(trainer.fits) == 1
    changed = reproduce("folder", *options, "--then-iem", status=2)
    assert "was refined with another configuration" in changed.stderr
    assert f"iem-xp refine {Path('iem-reproduce/folder-data/iem')}" in changed.stderr


def test_refinement_is_passed_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = colours.install(monkeypatch)
    downloads.make_folder(here / "data", n=3)
    options = ["--no-baselines", "--refine", "--trainer", "colours", "--then-iem", "--rounds", "2"]
    refused = reproduce("folder", *options, "--schedule", "paper", status=2)
    assert "there is no option 'schedule'" in refused.stderr
    assert trainer.fits[0][1] == {"schedule": "paper"}
    notes = report("folder", *options)["notes"]
    assert notes == [
        "IEM + SegNet: 3 labels, 2 epochs of the trainer colours by its default schedule, round 2 of 2, "
        "then IEM."
    ]
    assert len(trainer.fits) == 3


def test_how_to_refine_is_an_error_where_nothing_is_refined(here: Path) -> None:
    downloads.make_folder(here / "data", n=1)
    for option in (["--top", "5"], ["--then-iem"], ["--rounds", "2"], ["--schedule", "quick"]):
        refused = reproduce("folder", *option, status=2)
        assert f"{option[0]} says how to --refine" in refused.stderr
    assert not (here / "iem-reproduce").exists()


def test_a_trainer_that_is_not_there_is_an_error_before_the_work_begins(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colours.install(monkeypatch)
    downloads.make_folder(here / "data", n=1)
    assert "no trainer is named 'keras'" in reproduce("folder", "--refine", status=2).stderr
    assert not (here / "iem-reproduce").exists()


def test_figures_show_the_network_s_masks_too(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colours.install(monkeypatch)
    downloads.make_folder(here / "data", n=3)
    shown: list[Shown] = []

    def results_figure(rows: list[Shown], config: IEMConfig) -> np.ndarray:
        shown.extend(rows)
        return np.zeros((1, 1), np.uint8)

    monkeypatch.setattr(drawing, "results_figure", results_figure)
    reproduce("folder", "--no-baselines", "--refine", "--trainer", "colours", "--figures", "drawn")
    refined = here / "iem-reproduce" / "folder-data" / "iem" / "refined" / "masks"
    masks = {(np.asarray(Image.open(file)) > 0).tobytes() for file in refined.rglob("*.png")}
    assert {row.refined.tobytes() for row in shown if row.refined is not None} == masks
