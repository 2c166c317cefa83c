from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from iem_xp.boxes import Box
from iem_xp.evaluation.comparing import (
    BEYOND,
    DISTORTED,
    RESIZED,
    Comparison,
    compare,
    compare_all,
)
from iem_xp.evaluation.matching import Matching, Pair, Prediction
from iem_xp.evaluation.scores import MASK_FIGURES, Means, score_mask
from iem_xp.images import fit_truth
from iem_xp.labels import Labels, to_truth


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pair(mask: NDArray[Any], truth: NDArray[Any] | Box, of_image: tuple[int, int] | None = None) -> Pair:
    """A pair `a` of files `mask.png` and `truth.png`."""
    Image.fromarray(mask).save("mask.png")
    if not isinstance(truth, Box):
        Image.fromarray(truth).save("truth.png")
        truth = "truth.png"
    return Pair("a", Prediction("a", "mask.png", shape=of_image), truth)


def square(height: int, width: int, box: Box) -> Labels:
    labels = np.zeros((height, width), np.uint8)
    top, left = int(box.y), int(box.x)
    labels[top : top + int(box.height), left : left + int(box.width)] = 255
    return labels


def figures(comparison: Comparison) -> dict[str, float]:
    assert comparison.error is None
    assert comparison.score is not None
    return comparison.score


def test_a_mask_of_the_truths_size_is_scored_as_it_is(rng: np.random.Generator) -> None:
    mask = rng.choice(np.array([0, 255], np.uint8), (20, 30))
    truth = rng.choice(np.array([0, 128, 255], np.uint8), (20, 30))
    score = score_mask(mask > 0, to_truth(truth))
    assert compare(pair(mask, truth)) == Comparison("a", score, width=30, height=20)


@pytest.mark.parametrize("stored", [np.uint8(1), np.bool_(True)])
def test_a_mask_may_be_of_ones(stored: Any) -> None:
    truth = square(4, 6, Box(1, 1, 3, 2))
    score = figures(compare(pair((truth // 255).astype(stored.dtype), truth)))
    assert set(score.values()) == {1.0}


@pytest.mark.parametrize("scale", [2, 5])
def test_a_smaller_mask_is_brought_to_its_truth_by_nearest_neighbour(scale: int) -> None:
    mask = square(8, 6, Box(1, 2, 4, 3))
    truth = np.kron(mask, np.ones((scale, scale), np.uint8))
    comparison = compare(pair(mask, truth))
    assert set(figures(comparison).values()) == {1.0}
    assert comparison[2:5] == (6 * scale, 8 * scale, (RESIZED,))


def test_the_truth_keeps_its_size_and_its_ignored_pixels() -> None:
    truth = np.array([[0, 128, 255, 255]], np.uint8)
    mask = np.kron(np.array([[0, 255, 255, 0]], np.uint8), np.ones((3, 3), np.uint8))
    comparison = compare(pair(mask, truth))
    assert (comparison.width, comparison.height) == (4, 1)
    assert figures(comparison)["fixed_iou"] == 1 / 2


@pytest.mark.parametrize(
    ("mask", "truth", "distorted"),
    [
        ((128, 191), (333, 500), False),  # 128 x 192.2
        ((128, 192), (333, 500), False),
        ((128, 193), (333, 500), False),
        ((128, 190), (333, 500), True),
        ((128, 128), (333, 500), True),
        ((333, 500), (128, 192), False),
        ((333, 500), (128, 195), True),
        ((500, 333), (333, 500), True),
        ((1, 128), (3, 500), False),
    ],
)
def test_another_aspect_ratio_is_noted(
    mask: tuple[int, int], truth: tuple[int, int], distorted: bool
) -> None:
    comparison = compare(pair(np.zeros(mask, np.uint8), np.zeros(truth, np.uint8)))
    assert comparison.notes == ((RESIZED, DISTORTED) if distorted else (RESIZED,))


def test_the_truth_of_a_crop_is_cut_as_its_image_was(rng: np.random.Generator) -> None:
    truth = rng.choice(np.array([0, 128, 255], np.uint8), (50, 80))
    mask = rng.choice(np.array([0, 255], np.uint8), (16, 16))
    comparison = compare(pair(mask, truth), crop=16)
    assert comparison.score == score_mask(mask > 0, to_truth(fit_truth(truth, 16, "crop")))
    assert comparison[2:5] == (16, 16, ())


def test_a_truth_that_is_not_of_the_crops_image_is_noted() -> None:
    mask, truth = np.zeros((16, 16), np.uint8), np.zeros((50, 80), np.uint8)
    assert compare(pair(mask, truth, of_image=(100, 160)), crop=16).notes == ()
    assert compare(pair(mask, truth, of_image=(100, 100)), crop=16).notes == (DISTORTED,)


def test_a_truth_that_ignores_everything_cannot_be_compared() -> None:
    comparison = compare(pair(np.zeros((2, 3), np.uint8), np.full((2, 3), 128, np.uint8)))
    assert comparison.score is None
    assert "ignores every pixel" in str(comparison.error)


def test_a_box_is_in_pixels_of_the_image() -> None:
    box = Box(4, 6, 8, 10)
    mask = square(30, 20, box)
    assert figures(compare(pair(mask, box)))["box_iou"] == 1
    assert compare(pair(mask, box, of_image=(30, 20)))[2:5] == (20, 30, ())
    small = compare(pair(mask[::2, ::2], box, of_image=(30, 20)))
    assert (figures(small)["box_iou"], small.notes) == (1, (RESIZED,))


def test_a_box_of_a_crop_is_cut_as_its_image_was() -> None:
    mask = square(50, 50, Box(8, 10, 20, 20))
    comparison = compare(pair(mask, Box(40, 20, 40, 40), of_image=(100, 150)), crop=50)
    assert comparison[2:5] == (50, 50, ())
    assert figures(comparison)["box_iou"] == 1


def test_a_box_that_is_not_of_this_image_is_noted() -> None:
    mask = square(30, 20, Box(0, 0, 20, 30))
    for inside in (Box(0, 0, 20, 30), Box(-0.9, -0.5, 21, 31)):
        assert compare(pair(mask, inside)).notes == ()
    for beyond in (Box(-2, 0, 9, 9), Box(0, -2, 9, 9), Box(15, 0, 9, 9), Box(0, 25, 9, 9)):
        assert compare(pair(mask, beyond)).notes == (BEYOND,)


def test_a_mask_may_leave_no_pixel_open() -> None:
    mask = np.array([[0, 128, 255]], np.uint8)
    error = compare(pair(mask, np.zeros((1, 3), np.uint8))).error
    assert error == (
        "mask.png: has pixels of 128, which only a truth may leave open; write masks as 255 foreground and 0 "
        "background"
    )


def test_a_file_that_cannot_be_used_fails_alone() -> None:
    good = pair(np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint8))
    Path("text.png").write_text("text")
    bad_mask = good._replace(name="b", prediction=Prediction("b", "text.png"))
    bad_truth = good._replace(name="c", truth="gone.png")
    matching = Matching([bad_mask, good, bad_truth], {}, [], boxes=False, crop=None, left_out=Counter())
    first, second, third = compare_all(matching, workers=2)
    assert (first.name, first.score) == ("b", None)
    assert str(first.error).startswith("text.png: not an image")
    assert second == compare(good)
    assert third == Comparison("c", error="gone.png: No such file or directory")


def test_many_images_of_all_shapes_have_the_literal_mean(rng: np.random.Generator) -> None:
    pairs, scores = [], []
    means = Means(MASK_FIGURES)
    for number, shape in enumerate(rng.integers(1, 60, (100, 2))):
        mask = rng.choice(np.array([0, 255], np.uint8), shape)
        truth = rng.choice(np.array([0, 128, 255], np.uint8), shape, p=rng.dirichlet((1, 1, 1)))
        Image.fromarray(mask).save(f"mask{number}.png")
        Image.fromarray(truth).save(f"truth{number}.png")
        pairs.append(Pair(str(number), Prediction(str(number), f"mask{number}.png"), f"truth{number}.png"))
        scores.append(score_mask(mask > 0, to_truth(truth)))
    matching = Matching(pairs, {}, [], boxes=False, crop=None, left_out=Counter())
    comparisons = list(compare_all(matching, workers=3))
    assert [comparison.name for comparison in comparisons] == [pair.name for pair in pairs]
    for comparison in comparisons:
        means.add(figures(comparison))
    for figure in MASK_FIGURES:
        values = [score[figure] for score in scores]
        assert means.mean[figure] == float(sum(map(Fraction, values)) / 100)
        assert means.mean[figure] == pytest.approx(math.fsum(values) / 100, abs=math.ulp(1))


def test_few_pairs_are_in_work_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    def note(pair: Pair, crop: int | None, boundary: bool) -> Comparison:
        taken.append(pair.name)
        return Comparison(pair.name)

    monkeypatch.setattr("iem_xp.evaluation.comparing.compare", note)
    pairs = [Pair(str(number), Prediction("a", "gone.png"), "gone.png") for number in range(100)]
    comparisons = compare_all(Matching(pairs, {}, [], boxes=False, crop=None, left_out=Counter()), workers=2)
    for number in range(20):
        assert next(comparisons).name == str(number)
    assert len(taken) <= 20 + 2 * 4
