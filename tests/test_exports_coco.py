from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as numpy_strategies
import numpy as np
import pytest
import supervision
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco
from pycocotools.coco import COCO

from iem_xp.exports.coco import encode_rle
from iem_xp.exports.formats import export_run
from iem_xp.exports.reading import Exported, ExportError
from iem_xp.runs.store import Run
from made_run import CONFIGURATION, add

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Run.create(tmp_path / "run", CONFIGURATION) as made:
        yield made


def export(run: Run, **options: Any) -> Exported:
    return export_run(run, "coco", run.folder.parent / "coco.json", overwrite=True, **options)


def load(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.folder.parent / "coco.json").read_bytes())
    return found


@given(numpy_strategies.arrays(bool, SHAPES))
def test_run_lengths_are_those_of_pycocotools(mask: NDArray[np.bool_]) -> None:
    expected = coco.encode(np.asfortranarray(mask.view(np.uint8)))
    assert encode_rle(mask) == {"size": expected["size"], "counts": expected["counts"].decode()}


def test_long_runs_take_more_characters_and_are_those_of_pycocotools() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        mask = np.zeros((1500, 1200), bool)
        mask.T.reshape(-1)[rng.integers(0, mask.size, 2 ** (seed % 12))] = True
        mask = np.logical_xor.accumulate(mask.ravel()).reshape(mask.shape)
        expected = coco.encode(np.asfortranarray(mask.view(np.uint8)))
        assert encode_rle(mask)["counts"] == expected["counts"].decode()


def test_pycocotools_reads_every_mask_as_it_is(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    masks = {f"{i}.png": add(run, f"{i}.png", i / 9) for i in range(9)}
    masks["sub/wide.png"] = add(run, "sub/wide.png", 0.95, np.ones((5, 80), bool))
    export(run, category="flower")
    read = COCO(run.folder.parent / "coco.json")
    assert read.loadCats(read.getCatIds()) == [{"id": 1, "name": "flower", "supercategory": ""}]
    assert len(read.anns) == len(read.imgs) == 10
    for annotation in read.anns.values():
        image = read.imgs[annotation["image_id"]]
        mask = masks[image["file_name"]]
        np.testing.assert_array_equal(read.annToMask(annotation), mask)
        assert (image["height"], image["width"]) == mask.shape
        assert annotation["area"] == mask.sum() == coco.area(annotation["segmentation"])
        assert annotation["bbox"] == coco.toBbox(annotation["segmentation"]).tolist()
        assert annotation["iscrowd"] == 0
    assert [image["information"] for image in read.dataset["images"]] == sorted(
        (image["information"] for image in read.dataset["images"]), reverse=True
    )


def test_supervision_reads_it(run: Run) -> None:
    masks = {f"{i}.png": add(run, f"{i}.png", i / 9) for i in range(4)}
    export(run)
    folder = run.folder.parent
    dataset = supervision.DetectionDataset.from_coco(
        str(folder / "photos"), str(folder / "coco.json"), force_masks=True
    )
    assert dataset.classes == ["foreground"]
    assert len(dataset) == 4
    for path, _, detections in dataset:
        np.testing.assert_array_equal(detections.mask, masks[Path(path).name][None])


def test_names_start_from_the_folder_of_all_images(run: Run) -> None:
    for name in ("a/x.png", "a/b/y.png", "a/ü z.png"):
        add(run, name, 0.5)
    export(run, top=1)
    found = load(run)
    assert found["info"]["images"] == str(run.folder.parent / "photos/a")
    export(run)
    names = {image["file_name"] for image in load(run)["images"]}
    assert names == {"x.png", "b/y.png", "ü z.png"}


def test_an_image_without_foreground_has_no_annotation(run: Run) -> None:
    for i, mask in enumerate((np.zeros((4, 5), bool), None, np.zeros((4, 5), bool), None)):
        add(run, f"{i}.png", 1 - i / 10, mask)
    assert export(run).empty == 2
    found = load(run)
    assert [image["id"] for image in found["images"]] == [1, 2, 3, 4]
    assert [annotation["image_id"] for annotation in found["annotations"]] == [2, 4]


def test_nothing_but_empty_masks_is_a_file_too(run: Run) -> None:
    add(run, "a.png", 0.5, np.zeros((4, 5), bool))
    export(run)
    assert load(run)["annotations"] == []


def test_polygons_instead(run: Run) -> None:
    mask = np.zeros((40, 60), bool)
    mask[5:20, 10:50] = mask[30:36, 4:9] = True
    add(run, "a.png", 0.5, mask)
    export(run, polygons=True)
    read = COCO(run.folder.parent / "coco.json")
    (annotation,) = read.anns.values()
    assert [len(polygon) % 2 for polygon in annotation["segmentation"]] == [0, 0]
    np.testing.assert_array_equal(read.annToMask(annotation), mask)
    assert annotation["area"] == mask.sum()
    assert annotation["bbox"] == [4, 5, 46, 31]


@pytest.mark.skipif(os.name != "posix", reason="file names are text elsewhere")
def test_a_name_that_json_cannot_hold_fails_by_name(run: Run) -> None:
    add(run, os.fsdecode(b"caf\xe9.png"), 0.9)
    add(run, "a.png", 0.5)
    (failed,) = export(run).failed
    assert failed.error.endswith("its name is not valid Unicode, as JSON has to be; rename it")
    assert [image["file_name"] for image in load(run)["images"]] == ["a.png"]


def test_crops_are_refused(tmp_path: Path) -> None:
    with (
        Run.create(tmp_path / "run", {**CONFIGURATION, "fit": "crop"}) as run,
        pytest.raises(ExportError, match=r"central crops, 8 x 8.*coco cannot say"),
    ):
        export(run)
    assert not (tmp_path / "coco.json").exists()


def test_without_opencv_polygons_are_an_error_that_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    add(run, "a.png", 0.5)
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    export(run)
    with pytest.raises(ExportError, match=r"pip install 'iem-xp\[polygons\]'"):
        export(run, polygons=True)
