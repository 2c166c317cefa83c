from __future__ import annotations

import sys
from dataclasses import replace
from importlib import resources
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from iem_xp import IEMConfig, inpainting_error, metrics, segment
from iem_xp.images import fit_image, read_image
from iem_xp.labels import Truth, to_labels
from iem_xp.reproduction.curves import STEPS, Point, draw, trace
from iem_xp.reproduction.drawing import FIGURES, FigureError, check_figures
from iem_xp.reproduction.figures import (
    MARGIN,
    Shown,
    evenly,
    inpainting_figure,
    results_figure,
    shrunk_and_grown,
)  # fmt: skip
from iem_xp.solver import centred_square

SAMPLES = resources.files("iem_xp_cli") / "samples"
CONFIG = IEMConfig(iterations=12)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    paths = [Path(str(SAMPLES / f"{name}.jpg")) for name in ("flower", "cell", "coffee")]
    return np.stack([fit_image(read_image(path).pixels, 64, "crop") for path in paths])


@pytest.fixture(scope="module")
def truths() -> list[Truth]:
    rows, columns = np.indices((64, 64))
    foreground = (rows - 30) ** 2 + (columns - 34) ** 2 < 20**2
    return [Truth(foreground, columns == 0), Truth(foreground.T, rows == 5), Truth(~foreground, rows < 0)]


def test_examples_are_taken_at_even_distances() -> None:
    assert evenly(range(100), 4) == [12, 37, 62, 87]
    assert evenly("abc", 8) == ["a", "b", "c"]
    assert evenly([], 3) == []


def test_a_mask_shrinks_and_grows_by_the_margin() -> None:
    mask = np.zeros((60, 60), bool)
    mask[:, :30] = True
    whole, eroded, dilated = shrunk_and_grown(mask).values()
    np.testing.assert_array_equal(whole, mask)
    assert eroded.any(axis=0).sum() == 30 - MARGIN  # the picture's border is not the mask's
    assert dilated.any(axis=0).sum() == 30 + MARGIN


def test_examples_of_figure_3_stand_below_each_other(images: np.ndarray, truths: list[Truth]) -> None:
    labels = to_labels(truths[0].foreground)
    sheet = inpainting_figure([(images[0], labels), (images[1], labels)], CONFIG)
    assert sheet.ndim == 3
    assert sheet.shape[0] % 2 == 0
    np.testing.assert_array_equal(
        sheet[sheet.shape[0] // 2 :], inpainting_figure([(images[1], labels)], CONFIG)
    )


def centres(sheet: np.ndarray) -> list[int]:
    """Grey values in the middle of the pictures in a sheet's first row."""
    return [int(sheet[36 + 120, 128 + 248 * column].mean()) for column in range(sheet.shape[1] // 248)]


def test_the_foreground_is_white(images: np.ndarray, truths: list[Truth]) -> None:
    labels = to_labels(truths[0].foreground)
    assert centres(inpainting_figure([(images[0], labels)], CONFIG))[1:] == [255, 255, 255]
    mask = np.zeros((64, 64), bool)
    assert centres(results_figure([Shown(images[0], labels, mask)], CONFIG))[1:3] == [255, 0]
    assert centres(results_figure([Shown(images[0], labels, ~mask)], CONFIG))[1:3] == [255, 255]


def test_results_have_no_column_of_truth_if_there_is_none(images: np.ndarray, truths: list[Truth]) -> None:
    mask, labels = truths[0].foreground, to_labels(truths[0].foreground)
    known = results_figure([Shown(images[0], labels, mask)] * 2, CONFIG)
    unknown = results_figure([Shown(images[0], None, mask)] * 2, CONFIG)
    assert known.shape[0] == unknown.shape[0]
    assert known.shape[1] > unknown.shape[1]


def test_results_have_a_column_of_the_network_s_masks_if_there_are_any(
    images: np.ndarray, truths: list[Truth]
) -> None:
    mask, labels = truths[0].foreground, to_labels(truths[0].foreground)
    for known in (labels, None):
        without = results_figure([Shown(images[0], known, mask)], CONFIG)
        for refined in (mask, ~mask):
            sheet = results_figure([Shown(images[0], known, mask, refined)], CONFIG)
            assert centres(sheet)[:-1] == centres(without)
            assert centres(sheet)[-1] == 255 * refined[32, 32]


def test_a_curve_begins_at_the_square_and_ends_at_the_mask(images: np.ndarray, truths: list[Truth]) -> None:
    points = trace(zip(images, truths, strict=True), 78, CONFIG, "array")
    assert [point.updates for point in points] == [step for step in STEPS if step < 12] + [12]
    foreground, ignored = (np.stack(part) for part in zip(*truths, strict=True))
    final = segment(images, replace(CONFIG, init_sides=(78,)), engine="array")
    for point, masks in ((points[0], centred_square(images, 78)), (points[-1], final.masks)):
        assert point.inpainting_error == pytest.approx(inpainting_error(images, masks).mean(), rel=1e-5)
        for polarity in ("either", "fixed"):
            ious = metrics.iou(masks, foreground, polarity=polarity, ignore=ignored)
            assert getattr(point, f"{polarity}_iou") == pytest.approx(ious.mean())


def test_a_curve_does_not_depend_on_how_many_images_are_followed_together(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = [(image, None) for image in images]
    together = trace(examples, 44, CONFIG, "array")
    monkeypatch.setattr("iem_xp.reproduction.curves._TOGETHER", 2)
    apart = trace(examples, 44, CONFIG, "array")
    assert [p.updates for p in apart] == [p.updates for p in together]
    np.testing.assert_allclose([p.inpainting_error for p in apart], [p.inpainting_error for p in together])
    assert {point.either_iou for point in together} == {None}


def test_a_curve_is_drawn_with_and_without_truth(images: np.ndarray, truths: list[Truth]) -> None:
    known = trace(zip(images, truths, strict=True), 78, CONFIG, "array")
    unknown = [point._replace(either_iou=None, fixed_iou=None) for point in known]
    drawn = [Image.open(BytesIO(draw(points, r"three $\fra images$"))) for points in (known, unknown)]
    assert drawn[0].size == drawn[1].size
    assert drawn[0].tobytes() != drawn[1].tobytes()


def test_a_curve_shows_its_points_the_iou_in_per_cent(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, file: drawn.append(figure))
    draw([Point(0, 0.1, 0.5, 0.4), Point(9, 0.3, 0.75, 0.25)], "two points")
    lines = [line for axes in drawn[0].axes for line in axes.lines]
    assert {line.get_label(): [*zip(*line.get_data(), strict=True)] for line in lines} == {
        "inpainting error": [(0, 0.1), (9, 0.3)],
        "IoU, either polarity": [(0, 50), (9, 75)],
        "IoU, fixed polarity": [(0, 40), (9, 25)],
    }


@pytest.mark.parametrize("name", FIGURES)
def test_files_of_something_else_are_not_overwritten_unasked(tmp_path: Path, name: str) -> None:
    check_figures(tmp_path / "new" / "er", overwrite=False)
    (tmp_path / name).touch()
    with pytest.raises(FigureError, match=f"{name}: exists and is none of these figures"):
        check_figures(tmp_path, overwrite=False)
    check_figures(tmp_path, overwrite=True)
    with pytest.raises(FigureError, match="is a file"):
        check_figures(tmp_path / name, overwrite=True)


def test_figures_drawn_before_may_be_drawn_anew(tmp_path: Path) -> None:
    for name in FIGURES:
        (tmp_path / name).touch()
    (tmp_path / "curve.csv").write_text("updates,inpainting_error,either_iou,fixed_iou\n0,1,,\n")
    check_figures(tmp_path, overwrite=False)


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(FigureError, match="cannot be written to"):
        check_figures(tmp_path / "new", overwrite=False)


def test_what_draws_is_named_if_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(FigureError, match=r"pip install 'iem-xp\[figures\]'"):
        check_figures(tmp_path, overwrite=False)
