"""The F-score of boundaries, of figures whose distances are known."""

import numpy as np
import pytest

from iem_xp.evaluation.boundaries import boundary_f
from iem_xp.evaluation.scores import score_mask
from iem_xp.labels import Truth

SHAPE = 120, 160  # 0.8 % of the diagonal of 200 are 1.6 pixels: boundaries may be 2 apart


def square(top, left, side):
    mask = np.zeros(SHAPE, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_a_mask_has_the_boundary_of_itself_and_about_that_of_its_complement():
    mask = square(30, 40, 50)
    assert boundary_f(mask, mask) == 1
    assert boundary_f(~mask, mask) == 1


@pytest.mark.parametrize(("shift", "expected"), [(1, 1), (2, 1), (3, 0)])
def test_a_boundary_counts_where_it_is_within_two_pixels(shift, expected):
    # A line across the image: the image's border is no boundary.
    above, below = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    above[:60], below[: 60 + shift] = True, True
    assert boundary_f(below, above) == expected


def test_it_is_the_harmonic_mean_of_both_shares():
    one, both = square(20, 20, 30), square(20, 20, 30) | square(70, 100, 30)
    assert boundary_f(both, one) == pytest.approx(2 * 0.5 * 1 / 1.5)
    assert boundary_f(one, both) == pytest.approx(2 * 0.5 * 1 / 1.5)


def test_without_boundaries_two_agree_and_one_with_another_does_not():
    full, empty, mask = np.ones(SHAPE, bool), np.zeros(SHAPE, bool), square(30, 40, 50)
    assert boundary_f(full, empty) == 1
    assert boundary_f(mask, empty) == 0
    assert boundary_f(empty, mask) == 0


def test_it_is_scored_where_it_is_wanted():
    mask = square(30, 40, 50)
    assert score_mask(mask, Truth(mask, np.zeros(SHAPE, bool)), boundary=True)["boundary_f"] == 1
    assert "boundary_f" not in score_mask(mask, Truth(mask, np.zeros(SHAPE, bool)))
