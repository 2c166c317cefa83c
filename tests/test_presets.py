"""What the presets of the command make of a run: its configuration, its choice and the order of its masks."""

from __future__ import annotations

import csv
import json
import sqlite3
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from iem_xp.config import IEMConfig
from iem_xp.runs.database import FORMAT_VERSION
from iem_xp.runs.settings import PRESETS
from iem_xp.runs.store import Run
from iem_xp_cli.main import cli

SAMPLES = resources.files("iem_xp_cli") / "samples"
NAMES = ("cat", "cell", "coffee", "flower")
QUICK = ("--size", "32", "--device", "cpu")

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(autouse=True)
def photos(here: Path) -> None:
    Path("photos").mkdir()
    for name in NAMES:
        Image.open(SAMPLES / f"{name}.jpg").convert("RGB").resize((48, 40)).save(f"photos/{name}.png")


def run(*arguments: str, status: int = 0) -> Result:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == status, result.output
    return result


def segment(*arguments: str) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(run("segment", "photos", *arguments, "--json").stdout)
    return summary


def configuration() -> dict[str, Any]:
    """What the run `iem-run` keeps of its settings."""
    with Run.open(Path("iem-run"), to_write=False) as opened:
        kept: dict[str, Any] = opened.get_meta("configuration")
    return {name: kept[name] for name in PRESETS["paper"].as_dict()}


def labels(folder: str) -> list[dict[str, str]]:
    run("export-labels", "--top", "9", "-o", folder)
    with Path(folder, "labels.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def rows(folder: str) -> list[tuple[Any, ...]]:
    columns = "path, mask, init_side, inpainting_error, updates, information, foreground_share"
    with sqlite3.connect(f"{folder}/run.sqlite") as database:
        return database.execute(f"SELECT {columns} FROM images ORDER BY path").fetchall()


def as_stored(settings: dict[str, Any]) -> Any:
    return json.loads(json.dumps(settings))


def test_without_options_the_best_preset_chooses_for_each_image() -> None:
    summary = segment("--limit", "1", "--device", "cpu")
    assert configuration() == as_stored(PRESETS["best"].as_dict())
    assert (summary["done"], summary["init_side"]) == (1, None)
    with sqlite3.connect("iem-run/run.sqlite") as database:
        assert database.execute("SELECT COUNT(*) FROM candidates").fetchone() == (0,)
        ((side, information),) = database.execute("SELECT init_side, information FROM images").fetchall()
    assert side in PRESETS["best"].config.init_sides
    assert 0 < information <= 1


def test_the_preset_of_the_paper_has_its_numbers_and_crops() -> None:
    summary = segment("--preset", "paper", "--limit", "1", "--engine", "array", "--device", "cpu")
    paper = PRESETS["paper"]
    assert (paper.config, paper.size, paper.fit) == (IEMConfig(), 128, "crop")
    assert configuration() == as_stored(paper.as_dict())
    assert summary["init_side"] in paper.config.init_sides
    with Run.open(Path("iem-run"), to_write=False) as opened:
        assert [ranked.information for ranked in opened.ranked()] == [0]


def test_an_option_wins_over_the_preset_that_nobody_named() -> None:
    segment("--no-cut", "--iterations", "2", *QUICK)
    changed = {"cut": False, "iterations": 2, "size": 32}
    assert configuration() == as_stored({**PRESETS["best"].as_dict(), **changed})


def test_standard_input_gives_the_mask_that_a_run_has() -> None:
    segment(*QUICK)
    mask = Path("iem-run/masks/coffee.png").read_bytes()
    piped = CliRunner().invoke(cli, ["segment", "-", *QUICK], input=Path("photos/coffee.png").read_bytes())
    assert (piped.exit_code, piped.stdout_bytes) == (0, mask)


def test_parts_are_merged_to_the_run_of_one_command() -> None:
    segment(*QUICK, "-o", "whole")
    parts = [f"part-{i}" for i in (1, 2)]
    for i, part in enumerate(parts, start=1):
        segment(*QUICK, "--shard", f"{i}/2", "-o", part)
    run("merge", *parts, "-o", "merged")
    assert len(rows("whole")) == len(NAMES)
    assert rows("merged") == rows("whole")
    for name in NAMES:
        mask = Path("whole/masks", f"{name}.png").read_bytes()
        assert Path("merged/masks", f"{name}.png").read_bytes() == mask


@pytest.mark.parametrize(("preset", "by"), [("best", "information"), ("paper", "inpainting_error")])
def test_labels_are_ranked_by_what_chose_their_squares(preset: str, by: str) -> None:
    segment("--preset", preset, "--iterations", "4", *QUICK)
    # So that the order of names, of the one column and of the other are three.
    with sqlite3.connect("iem-run/run.sqlite") as database:
        for name, information, error in zip(NAMES, (0.2, 0.4, 0.1, 0.3), (0.3, 0.1, 0.2, 0.4), strict=True):
            database.execute(
                "UPDATE images SET information = ?, inpainting_error = ? WHERE mask = ?",
                (information, error, f"{name}.png"),
            )
    rows = labels("labels")
    figures = [float(row[by]) for row in rows]
    assert figures == [0.4, 0.3, 0.2, 0.1]
    assert rows[0]["mask"] == {"best": "cell.png", "paper": "flower.png"}[preset]


def test_a_run_of_an_older_format_is_refused_with_the_remedy() -> None:
    segment("--iterations", "2", *QUICK)
    with sqlite3.connect("iem-run/run.sqlite") as database:
        database.execute("UPDATE meta SET value = '2' WHERE key = 'format_version'")
    before = Path("iem-run/masks/cat.png").read_bytes()
    for command in (
        ["segment", "photos", "--iterations", "2", *QUICK],
        ["export-labels", "--top", "1", "-o", "x"],
    ):
        message = run(*command, status=2).stderr
        assert f"run.sqlite: has format 2, this iem-xp has {FORMAT_VERSION}; make it anew" in message
    assert Path("iem-run/masks/cat.png").read_bytes() == before
    segment("--iterations", "2", *QUICK, "--overwrite")
    assert configuration()["iterations"] == 2


def test_a_mask_that_colours_explain_nothing_of_is_no_label() -> None:
    Image.new("RGB", (48, 40), "orange").save("photos/orange.png")
    segment(*QUICK)
    left_out = run("export-labels", "--top", "9", "-o", "labels")
    assert "left out, colours explain nothing of the mask: 1 image(s)" in left_out.stderr
    assert left_out.stdout == f"{len(NAMES)} labels: labels\n"
    # By the paper's rules it is a label like any other.
    segment("--preset", "paper", "--overwrite", *QUICK)
    assert len(labels("others")) == len(NAMES) + 1
