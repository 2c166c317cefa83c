import numpy as np
import pytest

import oracle
import scenes
from iem_xp import IEMConfig
from iem_xp.projection import boundary, project, smooth

SIZES = [(24, 20), (5, 7), (2, 2), (1, 9), (9, 1), (1, 2), (1, 1)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_boundary_and_smooth_are_the_literal_loops(backend, rng, size):
    masks = rng.random((6, *size)) < np.array([0.1, 0.3, 0.5, 0.5, 0.7, 0.9])[:, None, None]
    ours = backend.asarray(masks)
    for function, literal in [(boundary, oracle.boundary), (smooth, oracle.smooth)]:
        result = backend.to_numpy(function(ours))
        assert result.dtype == bool
        np.testing.assert_array_equal(result, [literal(mask.astype(float)) for mask in masks])


@pytest.mark.parametrize("value", [False, True])
def test_the_border_of_the_image_is_boundary_for_both_regions(value):
    expected = np.ones((1, 5, 6), dtype=bool)
    expected[:, 1:-1, 1:-1] = False
    np.testing.assert_array_equal(boundary(np.full((1, 5, 6), value)), expected)


def test_smoothing_keeps_a_straight_edge_and_a_full_corner_and_drops_specks():
    mask = np.zeros((1, 8, 8), dtype=bool)
    mask[:, :, :4] = True
    np.testing.assert_array_equal(smooth(mask), mask)
    corner = np.zeros((1, 8, 8), dtype=bool)
    corner[:, :2, :2] = True
    assert smooth(corner)[0, 0, 0]  # 4 of 4 pixels inside the image
    speck = np.zeros((1, 8, 8), dtype=bool)
    speck[:, 4, 3:6] = True
    assert not smooth(speck).any()
    np.testing.assert_array_equal(smooth(~speck), np.ones_like(speck))


@pytest.mark.parametrize("is_smooth", [False, True])
@pytest.mark.parametrize("boundary_only", [False, True])
def test_a_pixel_takes_the_sign_of_its_gradient_where_it_may_change(backend, rng, boundary_only, is_smooth):
    config = IEMConfig(boundary_only=boundary_only, smooth=is_smooth)
    masks = np.stack([scenes.mask(rng), scenes.mask(rng)])
    gradient = rng.normal(size=masks.shape).astype(np.float32)
    gradient[rng.random(masks.shape) < 0.3] = 0
    expected = masks.copy()
    may_change = gradient != 0
    if boundary_only:
        may_change &= np.stack([oracle.boundary(mask.astype(float)) for mask in masks])
    expected[may_change] = gradient[may_change] > 0
    if is_smooth:
        expected = np.stack([oracle.smooth(mask.astype(float)) for mask in expected])
    result = project(backend.asarray(masks), backend.asarray(gradient), config)
    np.testing.assert_array_equal(backend.to_numpy(result), expected)


def test_without_gradient_and_smoothing_a_mask_stays(rng):
    masks = scenes.mask(rng)[None, ...]
    unsmoothed = IEMConfig(smooth=False, boundary_only=False)
    np.testing.assert_array_equal(project(masks, np.zeros(masks.shape), unsmoothed), masks)
