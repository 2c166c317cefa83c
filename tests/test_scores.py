from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iem_xp import metrics
from iem_xp.boxes import Box
from iem_xp.evaluation.scores import BOX_FIGURES, MASK_FIGURES, Means, score_mask
from iem_xp.labels import to_truth


def test_a_mask_has_every_metric_by_both_polarities(rng: np.random.Generator) -> None:
    mask = rng.random((30, 40)) < 0.4
    truth = to_truth(rng.choice(np.array([0, 128, 255], np.uint8), (30, 40)))
    score = score_mask(mask, truth)
    assert set(score) == set(MASK_FIGURES)
    for name, metric in zip(metrics.METRICS, ("accuracy", "iou", "mean_iou", "dice"), strict=True):
        for polarity in ("either", "fixed"):
            arrays = (mask[None], truth.foreground[None])
            expected = getattr(metrics, metric)(*arrays, polarity=polarity, ignore=truth.ignored[None])
            assert score[f"{polarity}_{name}"] == expected[0]


def test_a_mask_has_the_overlap_of_the_box_of_its_largest_part() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:6, 2:6] = True
    mask[9, 9] = True
    assert score_mask(mask, box=Box(2, 2, 4, 4)) == {"box_iou": 1.0, "localisation": 1.0}
    assert score_mask(mask, box=Box(2, 2, 4, 8)) == {
        "box_iou": 0.5,
        "localisation": 0.0,
    }  # not above
    assert score_mask(~mask, box=Box(2, 2, 4, 4))["box_iou"] == 16 / 100
    assert score_mask(mask & False, box=Box(2, 2, 4, 4)) == {"box_iou": 0.0, "localisation": 0.0}


def test_a_mask_may_have_both() -> None:
    mask = np.ones((2, 2), bool)
    score = score_mask(mask, to_truth(np.full((2, 2), 255, np.uint8)), Box(0, 0, 2, 2))
    assert score == dict.fromkeys((*MASK_FIGURES, *BOX_FIGURES), 1.0)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="truth of shape"):
        score_mask(np.ones((2, 3), bool), to_truth(np.zeros((3, 2), np.uint8)))


def means(values: list[float]) -> Means:
    result = Means(["iou"])
    for value in values:
        result.add({"iou": value})
    return result


@given(st.lists(st.floats(0, 1), min_size=2, max_size=50))
def test_means_are_those_of_the_exact_values(values: list[float]) -> None:
    result = means(values)
    assert result.n == len(values)
    assert result.mean == {"iou": statistics.mean(values)}  # which Python computes exactly, and rounds once
    error = statistics.stdev(values) / math.sqrt(len(values))
    assert result.standard_error["iou"] == pytest.approx(error, rel=1e-14)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_the_images_changes_no_digit(values: list[float], random: st.randoms) -> None:
    there = means(values)
    random.shuffle(values)
    again = means(values)
    assert (again.mean, again.standard_error) == (there.mean, there.standard_error)


def test_a_small_spread_is_not_lost_in_rounding() -> None:
    values = [0.9 + k * 2.0**-50 for k in range(5)]
    expected = 2.0**-50 * math.sqrt(2.5 / 5)
    assert means(values).standard_error["iou"] == pytest.approx(expected, rel=1e-12)
    assert means([0.1] * 1000).standard_error == {"iou": 0.0}
    assert means([0.1] * 1000).mean == {"iou": 0.1}


def test_of_nothing_there_is_no_mean_and_of_one_no_error() -> None:
    assert (means([]).mean, means([]).standard_error) == ({"iou": None}, {"iou": None})
    assert (means([0.25]).mean, means([0.25]).standard_error) == ({"iou": 0.25}, {"iou": None})
