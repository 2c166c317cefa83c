from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from commands import run
from folders import PAPER
from iem_xp.images import fit_truth
from iem_xp.metrics import METRICS
from iem_xp.runs.store import Run
from iem_xp_cli.main import cli

PROGRAM = Path(sys.executable).with_name("iem-xp")
FIGURES = [f"{polarity}_{metric}" for polarity in ("either", "fixed") for metric in METRICS]

# Accuracy, IoU, mIoU and DICE of three masks of four pixels, by hand. The complement of the second is better.
TRUTHS = {"a": [255, 255, 0, 0], "b": [0, 0, 255, 255], "c": [255, 128, 0, 0]}
MASKS = {"a": [255, 255, 0, 0], "b": [255, 255, 255, 0], "c": [255, 255, 255, 0]}
FIXED = {"a": (1, 1, 1, 1), "b": (1 / 4, 1 / 4, 1 / 8, 2 / 5), "c": (2 / 3, 1 / 2, 1 / 2, 2 / 3)}
EITHER = {
    "a": (1, 1, 1, 1),
    "b": (3 / 4, 1 / 2, (1 / 2 + 2 / 3) / 2, 2 / 3),
    "c": (2 / 3, 1 / 2, 1 / 2, 2 / 3),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `predicted` and `truth`, one pixel high."""
    monkeypatch.chdir(tmp_path)
    for folder, images in (("predicted", MASKS), ("truth", TRUTHS)):
        for name, values in images.items():
            save(f"{folder}/{name}.png", [values])
    return tmp_path


def save(path: str, values: Any) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint8)).save(path)


def evaluate(*arguments: str, status: int = 0) -> Result:
    return run("evaluate", *arguments, status=status)


def found(*arguments: str, status: int = 0) -> dict[str, Any]:
    given = arguments or ("predicted", "truth")
    result: dict[str, Any] = json.loads(evaluate(*given, "--json", status=status).stdout)
    return result


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def mean(scores: dict[str, tuple[float, ...]]) -> dict[str, Any]:
    columns = zip(*scores.values(), strict=True)
    return {m: pytest.approx(np.mean(column), abs=1e-15) for m, column in zip(METRICS, columns, strict=True)}


# ---- Figures


def test_the_json_result_is_one_object_with_the_promised_keys() -> None:
    result = found()
    assert list(result) == [
        "n",
        "missing",
        "extra",
        "failed",
        "either",
        "fixed",
        "standard_error",
        "resized",
    ]
    assert (result["n"], result["missing"], result["extra"], result["failed"]) == (3, [], [], [])
    assert result["either"] == mean(EITHER)
    assert result["fixed"] == mean(FIXED)
    values = [score[1] for score in FIXED.values()]
    assert result["standard_error"]["fixed"]["iou"] == pytest.approx(np.std(values, ddof=1) / np.sqrt(3))
    assert result["standard_error"]["either"].keys() == METRICS.keys()
    assert result["resized"] == 0


def test_the_table_has_percent_and_standard_errors_of_both_polarities() -> None:
    lines = evaluate("predicted", "truth").stdout.splitlines()
    assert lines[0] == "3 compared, 0 missing, 0 extra, 0 failed"
    assert [" ".join(line.split()) for line in lines[2:5]] == [
        "accuracy IoU mIoU DICE",
        "either 80.56 ± 10.02 66.67 ± 16.67 69.44 ± 15.47 77.78 ± 11.11",
        "fixed 63.89 ± 21.70 58.33 ± 22.05 54.17 ± 25.34 68.89 ± 17.36",
    ]
    assert lines[-1] == "mean over images in % ± its standard error"


def test_one_image_has_no_standard_error() -> None:
    for name in ("b", "c"):
        Path(f"predicted/{name}.png").unlink()
        Path(f"truth/{name}.png").unlink()
    assert found()["standard_error"]["fixed"] == dict.fromkeys(METRICS)
    output = evaluate("predicted", "truth").stdout
    assert "either          100.00        100.00" in output
    assert output.endswith("mean over images in %\n")


@pytest.mark.parametrize("workers", ["1", "5"])
def test_the_scores_of_each_image_are_in_order_whatever_the_workers(workers: str) -> None:
    evaluate("predicted", "truth", "--csv", "new/scores.csv", "--workers", workers)
    table = rows(Path("new/scores.csv").read_text())
    assert list(table[0]) == ["name", "width", "height", *FIGURES, "note"]
    assert [row["name"] for row in table] == ["a", "b", "c"]
    for row in table:
        expected = (*EITHER[row["name"]], *FIXED[row["name"]])
        assert [float(row[figure]) for figure in FIGURES] == list(expected)
        assert (row["width"], row["height"], row["note"]) == ("4", "1", "")


def test_the_scores_may_be_printed_instead() -> None:
    done = subprocess.run([PROGRAM, "evaluate", "predicted", "truth", "--csv", "-"], capture_output=True)
    evaluate("predicted", "truth", "--csv", "scores.csv")
    assert (done.returncode, done.stdout, done.stderr) == (0, Path("scores.csv").read_bytes(), b"")


# ---- What does not fit


def test_what_is_missing_extra_or_broken_is_named_and_the_rest_compared() -> None:
    save("predicted/sub/x.png", [[0]])
    save("truth/d.png", [[0]])
    Path("predicted/c.png").write_text("text")
    result = evaluate("predicted", "truth", "--json", "--csv", "scores.csv", status=1)
    shown = json.loads(result.stdout)
    assert (shown["n"], shown["missing"], shown["extra"]) == (2, ["d"], ["sub/x"])
    (failed,) = shown["failed"]
    assert failed["name"] == "c"
    assert "predicted/c.png: not an image" in failed["error"]
    assert shown["fixed"]["iou"] == (1 + 1 / 4) / 2
    assert result.stderr.splitlines()[:2] == ["missing: d", "extra: sub/x"]
    assert "failed: " in result.stderr.splitlines()[2]
    table = {row["name"]: row for row in rows(Path("scores.csv").read_text())}
    assert list(table) == ["a", "b", "c", "d"]
    assert table["c"]["note"] == f"failed: {failed['error']}"
    assert (table["d"]["note"], table["d"]["fixed_iou"]) == ("missing", "")
    summary = evaluate("predicted", "truth", status=1).stdout
    assert summary.startswith("2 compared, 1 missing, 1 extra, 1 failed\n")


def test_a_broken_truth_is_an_error_too() -> None:
    save("truth/a.png", [[[255, 0, 0]]])
    assert (
        "truth/a.png: is a picture in colours, not a mask" in evaluate("predicted", "truth", status=1).stderr
    )


def test_masks_beyond_the_truth_are_no_error() -> None:
    save("predicted/x.png", [[0]])
    assert evaluate("predicted", "truth").stderr == "extra: x\n"


def test_no_more_than_20_names_of_a_kind_are_listed() -> None:
    for number in range(25):
        save(f"predicted/x{number:02}.png", [[0]])
    lines = evaluate("predicted", "truth").stderr.splitlines()
    assert lines[:20] == [f"extra: x{number:02}" for number in range(20)]
    assert lines[20:] == ["... 25 extra in all; --json lists them"]
    assert len(found()["extra"]) == 25


def test_where_nothing_can_be_compared_there_is_no_figure() -> None:
    for name in MASKS:
        Path(f"predicted/{name}.png").write_text("text")
    result = found(status=1)
    assert (result["n"], result["either"]) == (0, dict.fromkeys(METRICS))
    output = evaluate("predicted", "truth", status=1).stdout
    assert output == "0 compared, 0 missing, 0 extra, 3 failed\n"


def test_odd_names_come_out_whole_but_on_one_line() -> None:
    odd = os.fsdecode(b"\xff\n")
    save(f"predicted/{odd}.png", [[0]])
    save(f"truth/{odd}.png", [[0]])
    save(f"truth/{odd}2.png", [[0]])
    result = evaluate("predicted", "truth", "--csv", "scores.csv", status=1)
    assert result.stderr == "missing: \\udcff\\n2\n"
    text = Path("scores.csv").read_bytes()
    assert b'"\xff\n",1,1,' in text
    arguments = [PROGRAM, "evaluate", "predicted", "truth", "--csv", "-"]
    assert subprocess.run(arguments, capture_output=True).stdout == text
    assert found(status=1)["missing"] == [f"{odd}2"]


def test_masks_of_another_size_are_counted_and_doubted_if_they_are_of_another_shape() -> None:
    save("truth/a.png", np.kron([[255, 255, 0, 0]], np.ones((2, 2))))
    save("truth/b.png", np.zeros((4, 4)))
    result = evaluate("predicted", "truth", "--json")
    assert json.loads(result.stdout)["resized"] == 2
    assert result.stderr.splitlines() == [
        "mask resized to its truth: 2 image(s)",
        "mask and truth differ in aspect ratio: 1 image(s)",
    ]


# ---- Crops and runs


def test_masks_of_crops_are_compared_with_the_crops_of_the_truth(rng: np.random.Generator) -> None:
    truth = rng.choice(np.array([0, 128, 255], np.uint8), (60, 90))
    for side, options in ((128, ["--fit", "crop"]), (20, ["--fit", "crop", "--size", "20"])):
        save(f"crops{side}/a.png", np.where(fit_truth(truth, side, "crop") == 255, 255, 0))
        save("truths/a.png", truth)
        assert found(f"crops{side}", "truths", *options)["fixed"] == dict.fromkeys(METRICS, 1.0)
        assert found(f"crops{side}", "truths")["fixed"]["iou"] < 1


@pytest.fixture
def photographs(rng: np.random.Generator) -> None:
    """`photos` of ellipses, two of one stem and one that is broken, and `true` masks of them."""
    rows, columns = np.mgrid[:40, :60]
    for name, left in (("a.png", 20), ("a.bmp", 30), ("sub/b.png", 40)):
        inside = ((rows - 20) / 12) ** 2 + ((columns - left) / 15) ** 2 < 1
        photo = np.where(inside, 200, 60)[..., None] + rng.integers(-40, 40, (40, 60, 3))
        save(f"photos/{name}", photo)
        save(f"true/{'sub/b' if left == 40 else name}.png", inside * 255)
    Path("photos/broken.png").write_text("text")
    save("true/broken.png", inside * 255)


@pytest.mark.parametrize("fit", ["whole", "crop", "squash"])
@pytest.mark.usefixtures("photographs")
def test_a_run_is_compared_as_it_was_made(fit: str) -> None:
    quick = ["--fit", fit, "--size", "32", "--iterations", "20", "--device", "cpu", "-o", "run"]
    assert CliRunner().invoke(cli, ["segment", *PAPER, "photos", *quick]).exit_code == 1
    result = evaluate("run", "true", "--json", "--csv", "run.csv", status=1)
    shown = json.loads(result.stdout)
    assert (shown["n"], shown["missing"], shown["extra"], shown["resized"]) == (3, ["broken"], [], 0)
    assert shown["fixed"]["iou"] > 0.8
    assert "missing: broken: " in result.stderr
    assert "photos/broken.png: not an image" in result.stderr
    sizes = {(row["width"], row["height"]) for row in rows(Path("run.csv").read_text()) if row["width"]}
    assert sizes == {("32", "32") if fit == "crop" else ("60", "40")}
    Path("boxes.csv").write_text(
        "image,x,y,width,height\na.png,5,8,30,24\na.bmp,15,8,30,24\nsub/b.png,25,8,30,24"
    )
    boxes = found("run", "boxes.csv")
    assert list(boxes) == [
        "n",
        "missing",
        "extra",
        "failed",
        "box_iou",
        "localisation",
        "standard_error",
        "resized",
    ]
    assert (boxes["n"], boxes["missing"], boxes["localisation"]) == (3, [], 1)
    assert boxes["box_iou"] > 0.8
    assert boxes["standard_error"].keys() == {"box_iou", "localisation"}
    lines = evaluate("run", "boxes.csv").stdout.splitlines()
    assert lines[2].split() == ["box", "IoU", "localised"]
    assert lines[3].split()[:1] + lines[3].split()[4:] == ["fixed", "100.00", "±", "0.00"]


# ---- Wrong usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone", "truth"], "gone: no such folder"),
        (["predicted", "gone"], "gone: no such folder"),
        (["predicted", "gone.csv"], "gone.csv: No such file"),
        (["predicted", "other"], "no mask of predicted belongs to a truth of other"),
        (["predicted", "truth", "--size", "64"], "size is that of central squares"),
        (["predicted", "truth", "--csv", "-", "--json"], "--csv - and --json both print"),
        (["predicted", "truth", "--csv", "old.csv"], "old.csv: exists; use another name, or --overwrite"),
        (["predicted", "truth", "--csv", "truth"], "truth: is a folder; name a file in it"),
        (["predicted", "boxes.csv", "--fit", "crop"], "boxes of crops need the images' own sizes"),
        (["truth", "run"], "run: is a run, and no truth; masks come first: iem-xp evaluate run truth"),
        (["run", "run"], "run: is a run, and no truth; to compare two runs, give its folder run/masks"),
        (["predicted", "truth", "--workers", "0"], "0 is not in the range x>=1"),
    ],
)
def test_wrong_usage_is_explained_and_writes_nothing(arguments: list[str], message: str) -> None:
    save("other/z.png", [[0]])
    with Run.create(Path("run"), {}):
        pass
    Path("boxes.csv").write_text("image,x,y,width,height\na,0,0,1,1\n")
    Path("old.csv").write_text("old")
    there = sorted(Path().rglob("*"))
    result = evaluate(*arguments, status=2)
    assert message in result.stderr
    assert result.stdout == ""
    assert sorted(Path().rglob("*")) == there
    assert Path("old.csv").read_text() == "old"


def test_a_table_is_replaced_when_that_is_asked_for() -> None:
    Path("old.csv").write_text("old")
    evaluate("predicted", "truth", "--csv", "old.csv", "--overwrite")
    assert len(rows(Path("old.csv").read_text())) == 3


def test_a_table_that_cannot_be_written_is_a_message() -> None:
    assert "error: " in evaluate("predicted", "truth", "--csv", "predicted/a.png/x.csv", status=1).stderr


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent otherwise there")
def test_ctrl_c_leaves_no_half_of_a_table(tmp_path: Path) -> None:
    save("large.png", np.zeros((2000, 2000)))
    Path("many").mkdir()
    for number in range(200):
        Path(f"many/{number}.png").symlink_to(tmp_path / "large.png")
    # Programs that are started in the background of a shell, as these tests may be, ignore Ctrl-C.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from iem_xp_cli.main import cli; cli()"
    )
    arguments = ["evaluate", "many", "many", "--csv", "scores.csv", "--workers", "1"]
    running = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE)
    while not list(Path().glob(".*.tmp")):
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, messages = running.communicate(timeout=60)
    assert running.returncode == 130
    assert b"Traceback" not in messages
    assert messages.startswith(b"interrupted")
    assert not Path("scores.csv").exists()
    assert not list(Path().glob(".*.tmp"))


def test_the_boundary_is_scored_where_it_is_wanted(here: Path) -> None:
    for folder in ("found", "true"):
        Path(folder).mkdir()
    mask = np.zeros((60, 80), np.uint8)
    mask[20:40, 20:50] = 255
    Image.fromarray(mask).save("found/a.png")
    Image.fromarray(np.roll(mask, 10, axis=1)).save("true/a.png")
    plain = CliRunner().invoke(cli, ["evaluate", "found", "true", "--json"])
    assert "boundary_f" not in json.loads(plain.stdout)
    # The upper and the lower side lie on each other but for 10 of 30 pixels, the others 10 pixels apart.
    found = json.loads(CliRunner().invoke(cli, ["evaluate", "found", "true", "--json", "--boundary"]).stdout)
    assert 0.4 < found["boundary_f"] < 0.6
    assert "boundary F" in CliRunner().invoke(cli, ["evaluate", "found", "true", "--boundary"]).stdout
    Path("boxes.csv").write_text("image,x,y,width,height\na,1,2,3,4\n")
    refused = CliRunner().invoke(cli, ["evaluate", "found", "boxes.csv", "--boundary"])
    assert refused.exit_code == 2
    assert "--boundary needs true masks" in refused.stderr
    mask[0, 0] = 128
    Image.fromarray(mask).save("true/a.png")
    ignoring = CliRunner().invoke(cli, ["evaluate", "found", "true", "--boundary"])
    assert ignoring.exit_code == 1
    assert "true/a.png: ignores pixels" in ignoring.stderr
