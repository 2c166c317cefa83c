from __future__ import annotations

from fractions import Fraction
from typing import Any

import array_api_strict
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from iem_xp import metrics

METRICS = [metrics.accuracy, metrics.iou, metrics.mean_iou, metrics.dice]
NAMES = [metric.__name__ for metric in METRICS]


def literal(mask: NDArray[np.bool_], truth: NDArray[np.bool_], ignore: NDArray[np.bool_]) -> dict[str, float]:
    """All metrics of one image, pixel by pixel; ratios are exact, and rounded once."""
    right = total = both = either = neither = not_both = found = true = 0
    for m, t, i in zip(mask.flat, truth.flat, ignore.flat, strict=True):
        if i:
            continue
        total += 1
        right += m == t
        both += m and t
        either += m or t
        neither += not m and not t
        not_both += not (m and t)
        found += m
        true += t

    def ratio(part: int, whole: int) -> float:
        return float(Fraction(int(part), int(whole))) if whole else 1.0

    return {
        "accuracy": ratio(right, total),
        "iou": ratio(both, either),
        "mean_iou": (ratio(both, either) + ratio(neither, not_both)) / 2,
        "dice": ratio(2 * both, found + true),
    }


@st.composite
def triples(draw: st.DrawFn) -> list[NDArray[np.bool_]]:
    shape = draw(array_shapes(min_dims=3, max_dims=3, max_side=5))
    return [draw(arrays(bool, shape)) for _ in range(3)]


def assert_literal(metric: Any, masks: Any, truth: Any, ignore: Any) -> None:
    """A metric is, to the last digit, what its definition says."""
    images = list(zip(masks, truth, ignore, strict=True))
    fixed = [literal(m, t, i)[metric.__name__] for m, t, i in images]
    other = [literal(~m, t, i)[metric.__name__] for m, t, i in images]
    assert metric(masks, truth, ignore=ignore).tolist() == fixed
    best = [max(pair) for pair in zip(fixed, other, strict=True)]
    assert metric(masks, truth, ignore=ignore, polarity="either").tolist() == best


@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
@given(data=triples())
def test_a_metric_is_what_its_definition_says_pixel_by_pixel(
    metric: Any, data: list[NDArray[np.bool_]]
) -> None:
    assert_literal(metric, *data)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (333, 2), (97, 61), (480, 640)])
@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
def test_a_metric_is_what_its_definition_says_whatever_the_shape(
    metric: Any, shape: tuple[int, int], rng: np.random.Generator
) -> None:
    shares = rng.random((3, 2, 1, 1))
    assert_literal(metric, *(rng.random((3, 2, *shape)) < shares))


def row(text: str) -> NDArray[np.bool_]:
    return np.array([[[character == "#" for character in text]]])


@pytest.mark.parametrize(
    ("mask", "truth", "expected"),
    [
        ("##..", "#...", (3 / 4, 1 / 2, (1 / 2 + 2 / 3) / 2, 2 / 3)),
        ("....", "....", (1, 1, 1, 1)),  # nothing found where nothing is
        ("####", "####", (1, 1, 1, 1)),
        ("....", "####", (0, 0, 0, 0)),
        ("....", "#...", (3 / 4, 0, 3 / 8, 0)),
        ("####", "#...", (1 / 4, 1 / 4, 1 / 8, 2 / 5)),
        ("##..", "..##", (0, 0, 0, 0)),
    ],
)
def test_cases_computed_by_hand(mask: str, truth: str, expected: tuple[float, ...]) -> None:
    values = [float(metric(row(mask), row(truth))[0]) for metric in METRICS]
    assert values == list(expected)


def test_either_polarity_takes_the_better_side_for_each_image() -> None:
    masks = np.concatenate([row("###."), row("#...")])
    truth = np.concatenate([row("...#"), row("#...")])
    assert metrics.iou(masks, truth, polarity="either").tolist() == [1, 1]
    assert metrics.iou(masks, truth).tolist() == [0, 1]


def test_either_polarity_takes_the_better_side_for_each_metric() -> None:
    mask, truth = row(".........."), row("###.......")
    assert metrics.accuracy(mask, truth, polarity="either") == [7 / 10]
    assert metrics.dice(mask, truth, polarity="either") == [6 / 13]  # of the complement


@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
def test_ignored_pixels_count_nowhere(metric: Any) -> None:
    mask, truth, ignore = row("#..###"), row("##..##"), row("....##")
    assert metric(mask, truth, ignore=ignore) == metric(row("#..#"), row("##.."))


@pytest.mark.parametrize("polarity", ["fixed", "either"])
@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
def test_an_image_of_which_nothing_counts_is_all_right(metric: Any, polarity: str) -> None:
    mask, truth = row("#..#"), row("##..")
    assert metric(mask, truth, polarity=polarity, ignore=row("####")) == 1


@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
def test_no_images_have_no_values(metric: Any) -> None:
    none = np.zeros((0, 3, 4), bool)
    assert metric(none, none).shape == (0,)


@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
def test_any_array_library_will_do(metric: Any) -> None:
    masks, truth = row("##.#"), row("#..#")
    value = metric(array_api_strict.asarray(masks), array_api_strict.asarray(truth), polarity="either")
    assert isinstance(value, array_api_strict._array_object.Array)
    assert float(value[0]) == metric(masks, truth, polarity="either")[0]


def test_counts_of_a_large_image_are_exact() -> None:
    mask = np.zeros((1, 3000, 3000), bool)
    mask[0, :, :1000] = True
    assert metrics.accuracy(mask, np.zeros_like(mask)) == [2 / 3]


@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
def test_arrays_that_do_not_belong_together_are_named(metric: Any) -> None:
    masks = np.zeros((2, 3, 4), bool)
    with pytest.raises(ValueError, match=r"truth of shape \(1, 3, 4\).*masks of shape \(2, 3, 4\)"):
        metric(masks, masks[:1])
    with pytest.raises(ValueError, match=r"ignore of shape \(3, 4\)"):
        metric(masks, masks, ignore=masks[0])
    with pytest.raises(ValueError, match=r"masks of shape \(3, 4\)"):
        metric(masks[0], masks[0])
    with pytest.raises(TypeError, match="truth must be bool, not uint8"):
        metric(masks, masks.astype(np.uint8))
    with pytest.raises(TypeError, match="ignore must be bool, not int64"):
        metric(masks, masks, ignore=masks.astype(np.int64))
    with pytest.raises(TypeError, match="masks must be an array"):
        metric([[[True]]], masks)
    with pytest.raises(ValueError, match="polarity must be"):
        metric(masks, masks, polarity="best")
