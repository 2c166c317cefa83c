from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from PIL import Image
from pycocotools.coco import COCO

import colours
import scenes
from commands import run
from iem_xp.labels import read_labels
from iem_xp.runs.store import Run
from iem_xp_cli.main import INTERRUPTED
from packing import make_tar

pytestmark = pytest.mark.usefixtures("here")

PAGE = (Path(__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
EXAMPLES = [
    (heading, code)
    for heading, text in re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M)
    for code in re.findall(r"```python\n(.*?)```", text, re.S)
]
"""Code of the page, each with the heading that it is under."""

QUICK = ("--iterations", "3", "--size", "16", "--device", "cpu", "--engine", "array")


def export(*arguments: str, status: int = 0) -> Result:
    return run("export", *arguments, status=status)


def make_photos(count: int = 5) -> None:
    Path("photos").mkdir()
    for i in range(count):
        scene = scenes.image(np.random.default_rng(i), 20 + i, 28)
        Image.fromarray(scene).save(f"photos/{i}.png")


@pytest.fixture
def segmented(here: Path) -> None:
    """A run of five images and a failure, in `iem-run`."""
    make_photos()
    Path("photos/bad.jpg").write_text("no image")
    run("segment", "photos", *QUICK, status=1)


def check_coco(file: str, masks: Path) -> set[str]:
    """See that a file has the masks of a run, in loose files; return the names of its images."""
    read = COCO(file)
    for annotation in read.anns.values():
        name = read.imgs[annotation["image_id"]]["file_name"]
        truth = read_labels(masks / Path(name).with_suffix(".png")) > 0
        np.testing.assert_array_equal(read.annToMask(annotation), truth)
    assert read.anns
    return {image["file_name"] for image in read.imgs.values()}


@pytest.mark.usefixtures("segmented")
def test_the_masks_of_the_default_run() -> None:
    result = export("--to", "coco", "-o", "coco.json", "--json")
    summary = json.loads(result.stdout)
    assert summary.pop("seconds") > 0
    empty = summary.pop("empty")
    assert summary == {
        "path": "coco.json",
        "format": "coco",
        "count": 5,
        "left_out": {},
        "failed": [],
        "failed_in_run": 1,
    }
    assert "1 image(s) of the run failed, and have no mask; --to csv has their errors\n" in result.stderr
    assert (f"without foreground: {empty} image(s)" in result.stderr) == bool(empty)
    assert check_coco("coco.json", Path("iem-run/masks")) == {f"{i}.png" for i in range(5)}


@pytest.mark.usefixtures("segmented")
def test_the_options_of_formats() -> None:
    options = {
        "coco": ["--polygons", "--category", "cell"],
        "yolo": ["--category", "cell"],
        "parquet": ["--with-images"],
        "csv": [],
        "npz": [],
    }
    for to, given in options.items():
        result = export("--to", to, "-o", f"out.{to}", "--top", "9", *given)
        assert result.stdout == f"5 masks: out.{to}\n"
        assert "5 masks, which are all that there are (--top 9)" in result.stderr
    coco = json.loads(Path("out.coco").read_bytes())
    assert coco["categories"][0]["name"] == "cell"
    assert all(isinstance(annotation["segmentation"], list) for annotation in coco["annotations"])
    assert "0: cell" in Path("out.yolo/data.yaml").read_text().replace('"', "")
    assert "image" in pd.read_parquet("out.parquet")


@pytest.mark.usefixtures("segmented")
def test_images_may_be_listed() -> None:
    Path("good.txt").write_text("photos/1.png\nphotos/2.png\nphotos/8.png\n")
    Path("bad.txt").write_text("photos/2.png\n")
    result = export("--to", "csv", "-o", "masks.csv", "--only", "good.txt", "--except", "bad.txt")
    assert [Path(path).name for path in pd.read_csv("masks.csv")["path"]] == ["1.png"]
    assert "--only: 1 of 3 path(s) have no mask in iem-run: " in result.stderr
    assert "left out, listed by --except: 1 image(s)" in result.stderr


@pytest.mark.usefixtures("segmented")
def test_a_mask_that_is_gone_is_listed_and_exits_with_1() -> None:
    Path("iem-run/masks/3.png").unlink()
    result = export("--to", "npz", "-o", "masks.npz", "--json", status=1)
    (failed,) = json.loads(result.stdout)["failed"]
    assert failed["path"].endswith("photos/3.png")
    assert failed["error"] == "iem-run/masks/3.png: No such file or directory"
    assert "failed: iem-run/masks/3.png: No such file or directory\n" in result.stderr
    with np.load("masks.npz") as file:
        assert len(file["mask"]) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--to", "csv", "-o", "new"], "nowhere: not a run"),
        (["--to", "csv"], "Missing option '-o'"),
        (["-o", "new"], "Missing option '--to'"),
        (["--to", "voc", "-o", "new"], "'voc' is not one of"),
        (["--to", "csv", "-o", "new", "--top", "0"], "--top"),
        (["--to", "csv", "-o", "there"], "there: exists; use another -o, or --overwrite"),
        (["--to", "npz", "-o", "photos"], "photos: is a folder; use another -o"),
        (["--to", "yolo", "-o", "photos"], "photos: is a folder of something else, it holds 0.png"),
        (["--to", "yolo", "-o", "new", "--polygons"], "--polygons is for --to coco"),
        (["--to", "npz", "-o", "new", "--category", "x"], "--category is for --to coco and yolo"),
        (["--to", "coco", "-o", "new", "--category", ""], "category '': must be a name"),
        (["--to", "coco", "-o", "new", "--with-images"], "--with-images is for --to parquet"),
        (["--to", "coco", "-o", "new", "--only", "there"], "none of the 1 path(s) has a mask in iem-run"),
    ],
)
@pytest.mark.usefixtures("segmented")
def test_wrong_usage_exits_with_2_and_changes_nothing(arguments: list[str], message: str) -> None:
    Path("there").write_text("photos/unknown.png")
    assert message in export(*arguments, status=2).stderr
    assert not Path("new").exists()
    assert Path("there").read_text() == "photos/unknown.png"


@pytest.mark.usefixtures("segmented")
def test_an_interruption_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("iem_xp.exports.coco.encode_rle", interrupt)
    result = export("--to", "coco", "-o", "new/coco.json", status=INTERRUPTED)
    assert "interrupted: nothing is written" in result.stderr
    assert list(Path("new").iterdir()) == []


@pytest.mark.usefixtures("segmented")
def test_a_disk_that_does_not_take_it_exits_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("iem_xp.exports.coco.shutil.copyfileobj", fail)
    assert "No space left on device" in export("--to", "coco", "-o", "coco.json", status=1).stderr
    assert not Path("coco.json").exists()


# ---- Runs of every kind


def test_images_and_masks_in_archives() -> None:
    make_photos()
    members = {f"sub/{path.name}": path.read_bytes() for path in Path("photos").iterdir()}
    make_tar(Path("photos.tar"), members)
    run("segment", "photos.tar", *QUICK)
    assert [path.name for path in Path("iem-run/masks").iterdir()] == ["00000.tar"]
    run("merge", "iem-run", "-o", "loose", "--store", "files")
    (folder,) = Path("loose/masks").iterdir()
    export("--to", "coco", "-o", "coco.json")
    assert check_coco("coco.json", folder / "sub") == {f"{i}.png" for i in range(5)}
    export("--to", "npz", "-o", "masks.npz")
    with np.load("masks.npz") as file:
        for name, path in zip(file["mask"], file["path"], strict=True):
            assert name == f"masks/00000.tar/photos.tar/sub/{Path(path).stem}.png"
            truth = read_labels(folder / "sub" / Path(name).name) > 0
            np.testing.assert_array_equal(file[name], truth)
    export("--to", "yolo", "-o", "yolo")
    for name, data in members.items():
        assert Path("yolo/images/photos.tar", name).read_bytes() == data
    export("--to", "parquet", "-o", "masks.parquet", "--with-images")
    rows = pd.read_parquet("masks.parquet")
    assert {row["path"]: row["bytes"] for row in rows["image"]} == {
        Path(name).name: data for name, data in members.items()
    }


def test_refined_and_predicted_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    colours.install(monkeypatch)
    make_photos()
    run("segment", "photos", *QUICK)
    trained = ("--trainer", "colours", "--device", "cpu")
    run("refine", *trained)
    run("predict", "iem-run/models/colours", "photos", "-o", "predicted", "--device", "cpu")
    for folder in ("iem-run/refined", "predicted"):
        export(folder, "--to", "coco", "-o", "coco.json", "--overwrite")
        assert check_coco("coco.json", Path(folder) / "masks") == {f"{i}.png" for i in range(5)}
        with Run.open(Path(folder), to_write=False) as opened:
            best = [finished.entry.source.path.name for finished in opened.best()]
        images = json.loads(Path("coco.json").read_bytes())["images"]
        assert [image["file_name"] for image in images] == best


def test_a_run_of_crops() -> None:
    make_photos()
    run("segment", "photos", *QUICK, "--fit", "crop")
    assert "segment with --fit whole" in export("--to", "yolo", "-o", "yolo", status=2).stderr
    export("--to", "npz", "-o", "masks.npz")
    with np.load("masks.npz") as file:
        assert {file[name].shape for name in file["mask"]} == {(16, 16)}


# ---- The page


@pytest.mark.usefixtures("segmented")
def test_an_image_that_changed_is_mentioned() -> None:
    assert "changed" not in export("--to", "npz", "-o", "before.npz").stderr
    Image.new("RGB", (28, 20)).save("photos/0.png")
    said = export("--to", "npz", "-o", "after.npz").stderr
    assert re.search(r"1 image\(s\) changed, and their masks are of before: \S*photos/0\.png\n", said)


@pytest.mark.usefixtures("segmented")
def test_standard_output_is_no_file() -> None:
    assert "nothing is written to standard output" in export("--to", "csv", "-o", "-", status=2).stderr
    assert not Path("-").exists()


@pytest.mark.usefixtures("segmented")
@pytest.mark.parametrize(("heading", "code"), EXAMPLES)
def test_every_example_of_the_page_runs(
    heading: str, code: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "datasets" in code:
        datasets = pytest.importorskip("datasets", reason="datasets is not installed")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", here / "cache")
    places = {"COCO": "coco.json", "YOLO": "yolo"}
    place = places.get(heading, f"masks.{heading.lower()}")
    options = ["--with-images"] if heading == "Parquet" else []
    command = ["iem-xp", "export", "iem-run", "--to", heading.lower(), *options, "-o", place]
    assert f"\n{' '.join(command)}\n" in PAGE
    Path("photos/bad.jpg").unlink()  # nobody else reads it either
    run(*command[1:])
    names: dict[str, Any] = {}
    exec(code, names)
    for name, count in {"failed": 1, "done": 5, "masks": 5, "best": 5, "names": 5, "dataset": 5}.items():
        assert name not in names or len(names[name]) == count


def test_all_examples_are_found() -> None:
    assert [heading for heading, _ in EXAMPLES] == [
        *["COCO"] * 2,
        "YOLO",
        *["Parquet"] * 3,
        *["CSV"] * 2,
        "NPZ",
    ]
    assert PAGE.count("```python") == len(EXAMPLES)
