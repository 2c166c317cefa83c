from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision
import yaml
from PIL import Image
from scipy import ndimage

import scenes
from iem_xp.exports.formats import export_run
from iem_xp.exports.reading import Exported, ExportError
from iem_xp.images import encode_png
from iem_xp.runs.naming import Source
from iem_xp.runs.records import Candidate, Entry
from iem_xp.runs.store import Run
from made_run import CONFIGURATION, add
from packing import make_tar


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Run.create(tmp_path / "run", CONFIGURATION) as made:
        yield made


@pytest.fixture
def folder(run: Run) -> Path:
    """Where it is exported to."""
    return run.folder.parent / "yolo"


def export(run: Run, **options: Any) -> Exported:
    return export_run(run, "yolo", run.folder.parent / "yolo", overwrite=True, **options)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def blob(seed: int) -> Any:
    """A mask with smooth edges, several parts and holes."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(120, 90)), 7)
    return smooth > 0.2 * smooth.std()


def iou(one: Any, other: Any) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_supervision_reads_nearly_the_masks(run: Run, folder: Path) -> None:
    masks = {f"{i}.png": add(run, f"{i}.png", i / 9, blob(i)) for i in range(5)}
    export(run, category='a "b": é')
    dataset = supervision.DetectionDataset.from_yolo(
        *(str(folder / name) for name in ("images", "labels", "data.yaml")), force_masks=True
    )
    assert dataset.classes == ['a "b": é']
    assert len(dataset) == 5
    for path, image, detections in dataset:
        mask = masks[Path(path).name]
        assert image.shape[:2] == mask.shape
        assert len(detections) == ndimage.label(mask, np.ones((3, 3)))[1]
        assert iou(detections.mask.any(axis=0), mask) > 0.985


def test_vertices_are_pixels_of_the_mask_rounded_or_cut_off(run: Run, folder: Path) -> None:
    mask = add(run, "a.png", 0.5, blob(3))
    export(run)
    for line in (folder / "labels" / "a.txt").read_text().splitlines():
        shares = np.array(line.split()[1:], float).reshape(-1, 2)
        columns, rows = (shares * mask.shape[::-1]).astype(int).T
        assert mask[rows, columns].all()
        np.testing.assert_array_equal(np.stack([columns, rows], 1), np.round(shares * mask.shape[::-1]))


def test_ultralytics_reads_nearly_the_masks(run: Run, folder: Path) -> None:
    pytest.importorskip("ultralytics", reason="Ultralytics is not installed")
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset, polygons2masks

    masks = {name: add(run, name, 0.5, blob(i)) for i, name in enumerate(("a.png", "images/sub/b.png"))}
    export(run)
    data = check_det_dataset(str(folder / "data.yaml"))
    found = YOLODataset(img_path=data["train"], data=data, task="segment", augment=False).labels
    assert len(found) == 2
    for label in found:
        height, width = label["shape"]
        parts = [polygon * [width, height] for polygon in label["segments"]]
        mask = polygons2masks((height, width), [part.reshape(-1) for part in parts], 1).any(axis=0)
        assert iou(mask, masks["a.png" if "a.png" in label["im_file"] else "images/sub/b.png"]) > 0.985


def test_a_label_is_found_by_the_name_of_its_image(run: Run, folder: Path) -> None:
    for name in ("a.png", "sub/b.png", "sub/images/c.png", "images/d.png"):
        add(run, name, 0.5)
    export(run)
    images = {
        "images/a.png",
        "images/sub/b.png",
        "images/sub/images_/c.png",
        "images/images_/d.png",
    }
    # By Ultralytics' rule: the last folder "images" is "labels", and the suffix ".txt".
    stems = ("/labels/".join(f"/{name}".rsplit("/images/", 1)).rsplit(".", 1)[0][1:] for name in images)
    labels = {f"{stem}.txt" for stem in stems}
    assert "labels/sub/images_/c.txt" in labels
    assert files(folder) == {"data.yaml"} | images | labels
    facts = yaml.safe_load((folder / "data.yaml").read_text())
    assert facts == {"train": "images", "val": "images", "names": {0: "foreground"}}


def test_an_empty_mask_is_background(run: Run, folder: Path) -> None:
    add(run, "a.png", 0.5, np.zeros((4, 5), bool))
    assert export(run).empty == 1
    assert (folder / "labels" / "a.txt").read_bytes() == b""
    assert (folder / "images" / "a.png").exists()


def test_images_are_links_to_the_files(run: Run, folder: Path) -> None:
    add(run, "a.png", 0.5)
    export(run)
    assert (folder / "images" / "a.png").samefile(run.folder.parent / "photos" / "a.png")


@pytest.mark.parametrize(("name", "more"), [("a.jpg", b""), ("b.jpg", b"\n"), ("c.png", b"\0")])
def test_a_jpeg_that_ultralytics_would_write_anew_is_no_link(
    run: Run, folder: Path, name: str, more: bytes
) -> None:
    buffer = BytesIO()
    Image.new("RGB", (17, 12)).save(buffer, "JPEG" if name != "c.png" else "PNG")
    add(run, name, 0.5, image=buffer.getvalue() + more)
    export(run)
    photo, image = run.folder.parent / "photos" / name, folder / "images" / name
    assert image.read_bytes() == photo.read_bytes()
    assert image.samefile(photo) == (name != "b.jpg")


@pytest.mark.parametrize("links", ["symbolic", "none"])
def test_where_there_are_no_hard_links(
    run: Run, folder: Path, links: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    add(run, "a.png", 0.5)
    monkeypatch.setattr("iem_xp.exports.yolo.os.link", fail)
    if links == "none":
        monkeypatch.setattr("iem_xp.exports.yolo.os.symlink", fail)
    export(run)
    photo, image = run.folder.parent / "photos" / "a.png", folder / "images" / "a.png"
    assert image.is_symlink() == (links == "symbolic")
    assert image.samefile(photo) == (links == "symbolic")
    assert image.read_bytes() == photo.read_bytes()


def test_a_file_of_another_format_is_written_as_png(run: Run, folder: Path) -> None:
    pixels = scenes.image(np.random.default_rng(0), 12, 17)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PPM")
    add(run, "a.ppm", 0.5, image=file.getvalue())
    export(run)
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "images" / "a.png")), pixels)


def test_an_image_in_an_archive_is_copied(run: Run, folder: Path) -> None:
    data = encode_png(scenes.image(np.random.default_rng(0), 12, 17))
    archive = make_tar(run.folder.parent / "photos.tar", {"sub/a.png": data})
    mask = scenes.mask(np.random.default_rng(1), 12, 17)
    add(run, "b.png", 0.5, mask)
    (run.masks / "sub").mkdir()
    (run.masks / "b.png").rename(run.masks / "sub/a.png")
    run.forget([run.folder.parent / "photos" / "b.png"])
    entry = Entry(Source(archive / "sub/a.png", "sub/a.png"), 17, 12, 0.1)
    run.record_done(entry, Candidate(44, mask, 0.5, 3), 0.5)
    export(run)
    assert (folder / "images/sub/a.png").read_bytes() == data


def test_what_cannot_be_had_fails_by_name(run: Run, folder: Path) -> None:
    for i, name in enumerate(("gone.png", "other.png", "x.txt.png", "x.png", "x.txt/y.png", "good.png")):
        add(run, name, 1 - i / 10)
    photos = run.folder.parent / "photos"
    (photos / "gone.png").unlink()
    (photos / "other.png").write_bytes((photos / "good.png").read_bytes())
    os.utime(photos / "good.png", (1, 1))
    exported = export(run, workers=1)
    (gone, other, taken) = exported.failed
    assert gone.error == f"{photos}/gone.png: is not there any more"
    assert other.error == f"{photos}/other.png: has changed since it was segmented"
    # labels/x.txt is a file
    assert taken.path == photos / "x.txt" / "y.png"
    assert "x.txt/y.png or x.txt/y.txt, is taken" in taken.error
    assert exported.count == 3
    assert (folder / "labels/good.txt").is_file()


def test_an_image_whose_label_would_be_a_folder_is_no_background(run: Run, folder: Path) -> None:
    add(run, "x.txt/y.png", 0.9)
    add(run, "x.png", 0.5)
    (failed,) = export(run).failed
    assert failed.path == run.folder.parent / "photos" / "x.png"
    assert files(folder) == {"data.yaml", "images/x.txt/y.png", "labels/x.txt/y.txt"}


def test_a_folder_of_something_else_is_not_replaced(run: Run, folder: Path) -> None:
    add(run, "a.png", 0.5)
    folder.mkdir()
    export_run(run, "yolo", folder)  # nothing was in it
    with pytest.raises(ExportError, match="exists; use another -o, or --overwrite"):
        export_run(run, "yolo", folder)
    (folder / "labels.cache").touch()
    add(run, "b.png", 0.4)
    export(run)
    assert files(folder) == {"data.yaml", "images/a.png", "images/b.png", "labels/a.txt", "labels/b.txt"}
    (folder / "notes.txt").touch()
    with pytest.raises(ExportError, match=r"something else, it holds notes\.txt"):
        export(run)
    (folder / "notes.txt").unlink()
    (folder / "data.yaml").unlink()
    with pytest.raises(ExportError, match="something else, it holds images"):
        export(run)
    assert len(files(folder)) == 4


def test_crops_are_refused_and_opencv_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crops = {**CONFIGURATION, "fit": "crop"}
    with (
        Run.create(tmp_path / "crops", crops) as run,
        pytest.raises(ExportError, match="yolo cannot say"),
    ):
        export(run)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with Run.create(tmp_path / "run", CONFIGURATION) as run:
        add(run, "a.png", 0.5)
        with pytest.raises(ExportError, match=r"pip install 'iem-xp\[polygons\]'"):
            export(run)
    assert os.listdir(tmp_path / "photos") == ["a.png"]
    assert not (tmp_path / "yolo").exists()
