from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import Result

import commands
from iem_xp.images import encode_mask, write_atomically
from iem_xp.report.making import EMBEDDED
from reports import data_of, make_run, square

pytestmark = pytest.mark.usefixtures("here")

PAGE = Path("iem-run/report/index.html")


def report(*arguments: str, status: int = 0) -> Result:
    return commands.run("report", *arguments, status=status)


@pytest.fixture
def run(here: Path) -> Path:
    return make_run(here / "iem-run", ["a.png", "b.png", "c.png"], failed=["x.png"])


@pytest.mark.usefixtures("run")
def test_a_report_of_the_default_run_is_written_and_named() -> None:
    result = report()
    assert result.stdout == f"3 images, 1 failed: {PAGE.resolve()}\n"
    assert result.stderr == ""
    assert len(data_of(PAGE)["rows"]) == 4


@pytest.mark.usefixtures("run")
def test_json_and_options() -> None:
    write_atomically("truth/0.png", encode_mask(square()))
    options = ["--truth", "truth", "--top", "2", "--limit", "2", "--panel", "32", "-o", "elsewhere"]
    result = report("iem-run", *options, "--json", "--workers", "1")
    assert json.loads(result.stdout) == {
        "report": "elsewhere/index.html",
        "count": 2,
        "failed": 1,
        "waiting": 0,
        "total": 3,
        "problems": [],
    }
    assert result.stderr == "2 of 3 images are shown, from the best mask to the worst (--limit)\n"
    data = data_of(Path("elsewhere/index.html"))
    assert (data["top"], data["rows"][0]["iou"], data["rows"][0]["panel"]) == (2, 1, [27, 32])
    assert not PAGE.exists()


def test_failures_beyond_the_limit_are_counted(here: Path) -> None:
    make_run(here / "iem-run", ["a.png"], failed=["x.png", "y.png"])
    assert report("--limit", "1").stderr == "1 of 2 failures are shown (--limit)\n"


@pytest.mark.usefixtures("run")
def test_pictures_that_are_missing_are_named_and_exit_with_1() -> None:
    Path("photos/a.png").unlink()
    result = report(status=1)
    assert result.stdout.startswith("3 images, 1 failed: ")
    assert result.stderr == f"not shown: {Path('photos').resolve()}/a.png: No such file or directory\n"


@pytest.mark.usefixtures("run")
def test_a_report_is_made_again_without_asking() -> None:
    report("--top", "1")
    report("--top", "2")
    assert data_of(PAGE)["top"] == 2


def test_wrong_usage_says_what_to_do(run: Path) -> None:
    assert "make one with: iem-xp segment" in report("nothing", status=2).stderr
    Path("truth").mkdir()
    assert "truth" in report("--truth", "truth", status=2).stderr
    Path("other").mkdir()
    Path("other/mine").touch()
    assert (
        "other: holds mine, which is no part of a report; use another -o"
        in report("-o", "other", status=2).stderr
    )


def test_an_interruption_says_that_there_is_no_report(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("iem_xp_cli.report.make_report", interrupted)
    assert report(status=130).stderr == "interrupted: no report is written\n"


@pytest.mark.usefixtures("run")
def test_it_is_opened_if_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(click, "launch", opened.append)
    report()
    assert opened == []
    report("--open")
    assert opened == [PAGE.resolve().as_uri()]


def test_the_help_says_of_how_many_images_a_report_is_one_file() -> None:
    assert f"A report of at most {EMBEDDED} images is one file" in " ".join(report("--help").stdout.split())
