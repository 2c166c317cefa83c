from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import scenes
from commands import run
from folders import PAPER
from iem_xp.pseudo_labels import read_meta
from iem_xp_cli.main import cli

pytestmark = pytest.mark.usefixtures("here")


def export(*arguments: str, status: int = 0) -> Result:
    return run("export-labels", *arguments, status=status)


@pytest.fixture
def segmented(here: Path, rng: np.random.Generator) -> None:
    """A run of six images, in `iem-run`."""
    Path("photos").mkdir()
    for i in range(6):
        Image.fromarray(scenes.image(rng)).save(f"photos/{i}.png")
    quick = ["--iterations", "3", "--init-sides", "78", "--size", "16", "--device", "cpu"]
    run("segment", *PAPER, "photos", *quick, "--engine", "array")


@pytest.mark.usefixtures("segmented")
def test_the_best_masks_of_the_default_run_become_labels() -> None:
    result = export("--top", "4", "-o", "labels", "--json")
    assert json.loads(result.stdout) == {
        "labels": "labels",
        "count": 4,
        "top": 4,
        "left_out": {},
        "failed": [],
    }
    assert result.stderr == ""
    facts = read_meta(Path("labels"))
    assert (facts["count"], facts["size"], facts["fit"]) == (4, 16, "squash")
    assert np.load("labels/images.npy", mmap_mode="r").shape == (4, 16, 16, 3)


@pytest.mark.usefixtures("segmented")
def test_fewer_labels_than_asked_for_is_said() -> None:
    result = export("iem-run", "--top", "8000", "-o", "labels", "--largest-component", "--fill-holes")
    assert result.stdout == "6 labels: labels\n"
    assert result.stderr == "6 labels, which are all that there are (--top 8000)\n"
    curation = read_meta(Path("labels"))["curation"]
    assert curation == {"min_share": 0, "max_share": 1, "largest_component": True, "fill_holes": True}


@pytest.mark.usefixtures("segmented")
def test_what_is_left_out_is_counted_and_what_fails_is_listed_and_exits_with_1() -> None:
    Path("photos/3.png").unlink()
    result = export("--top", "5", "-o", "labels", status=1)
    assert result.stdout == "5 labels: labels\n"
    assert "photos/3.png: No such file" in result.stderr
    share = sorted(
        float(line.split(",")[3]) for line in Path("labels/labels.csv").read_text().splitlines()[1:]
    )
    bound = f"{(share[0] + share[1]) / 2:.4f}"
    result = export("--top", "5", "-o", "labels", "--min-share", bound, "--overwrite", "--json", status=1)
    summary = json.loads(result.stdout)
    assert summary["count"] == 4
    assert list(summary["left_out"].values()) == [1]
    (failed,) = summary["failed"]
    assert failed["path"].endswith("photos/3.png")
    assert "left out, foreground share below " in result.stderr


@pytest.mark.usefixtures("segmented")
def test_images_may_be_listed() -> None:
    Path("good.txt").write_text("# marked by eye\nphotos/0.png\nphotos/3.png\nphotos/9.png\n")
    result = export("--top", "6", "-o", "labels", "--only", "good.txt")
    assert result.stdout == "2 labels: labels\n"
    absolute = Path("photos/9.png").absolute()
    assert f"--only: 1 of 3 path(s) have no mask in iem-run: {absolute}\n" in result.stderr
    assert "left out, not listed by --only: 4 image(s)" in result.stderr
    command = ["export-labels", "--top", "6", "-o", "labels", "--overwrite", "--only", "good.txt"]
    given = CliRunner().invoke(cli, [*command, "--except", "-"], input="photos/0.png\n")
    assert given.stdout == "1 labels: labels\n"
    assert "photos/3.png" in Path("labels/labels.csv").read_text()
    both = CliRunner().invoke(cli, [*command[:-2], "--only", "-", "--except", "-"], input="photos/0.png\n")
    assert both.exit_code == 2
    assert "only one of them can be standard input" in both.stderr


@pytest.mark.parametrize("flag", ["--only", "--except"])
@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("photos/8.png\nphotos/9.png", "none of the 2 path(s) has a mask in iem-run: "),
        ("photos/\0.png", "not a list of paths in UTF-8"),
        (None, "No such file"),
    ],
)
@pytest.mark.usefixtures("segmented")
def test_a_wrong_list_exits_with_2_and_says_why(flag: str, listed: str | None, message: str) -> None:
    if listed is not None:
        Path("list.txt").write_text(listed)
    assert message in export("--top", "3", "-o", "new", flag, "list.txt", status=2).stderr
    assert not Path("new").exists()


@pytest.mark.usefixtures("segmented")
def test_a_list_of_nothing_takes_nothing_and_leaves_nothing_out() -> None:
    Path("list.txt").write_text("# none\n")
    assert "lists no path" in export("--top", "3", "-o", "new", "--only", "list.txt", status=2).stderr
    assert export("--top", "6", "-o", "new", "--except", "list.txt").stdout == "6 labels: new\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--top", "3", "-o", "new"], "nowhere: not a run"),
        (["--top", "3", "-o", "labels"], "labels: holds labels; use another -o, or --overwrite"),
        (["--top", "0", "-o", "new"], "--top"),
        (["-o", "new"], "Missing option '--top'"),
        (["--top", "3"], "Missing option '-o'"),
        (
            ["--top", "3", "-o", "new", "--min-share", "0.5", "--max-share", "0.2"],
            "--min-share and --max-share must be bounds within 0 and 1, not 0.5 and 0.2",
        ),
        (["--top", "3", "-o", "new", "--min-share", "1"], "new: no image is left to be a label"),
    ],
)
@pytest.mark.usefixtures("segmented")
def test_wrong_usage_is_a_message_and_exits_with_2(arguments: list[str], message: str) -> None:
    export("--top", "2", "-o", "labels")
    assert message in export(*arguments, status=2).stderr
    assert read_meta(Path("labels"))["count"] == 2
    assert not Path("new").exists() or not list(Path("new").iterdir())


@pytest.mark.usefixtures("segmented")
def test_an_interruption_exits_with_130_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("iem_xp.pseudo_labels.fit_image", interrupt)
    assert "interrupted: no labels are written" in export("--top", "2", "-o", "labels", status=130).stderr
    assert list(Path("labels").iterdir()) == []


@pytest.mark.usefixtures("segmented")
def test_a_disk_that_does_not_take_it_exits_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("iem_xp.pseudo_labels.write_atomically", fail)
    assert "No space left on device" in export("--top", "2", "-o", "labels", status=1).stderr
