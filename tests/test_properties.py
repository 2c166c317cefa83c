"""Symmetries of the method, over random images and masks."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from iem_xp import IEMConfig, inpainting_error, objective, segment
from iem_xp.layout import to_colours
from iem_xp.solver import update
from iem_xp.terms import Scene, add_up, inpaint, regional_errors


@st.composite
def problems(draw, low=2, high=16):
    """float64 images (2, H, W, C) and bool masks (2, H, W), neither of whose regions is empty."""
    height, width = draw(st.integers(low, high)), draw(st.integers(low, high))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images = rng.random((2, height, width, draw(st.integers(1, 4))))
    masks = rng.random((2, height, width)) < draw(st.sampled_from([0.1, 0.5, 0.8]))
    masks[:, 0, 0], masks[:, -1, -1] = True, False
    return images, masks


configs = st.sampled_from(
    [IEMConfig(), IEMConfig(kernel_size=3, sigma=1.0), IEMConfig(repeats=3, kernel_size=7, epsilon=1e-3)]
)


colour_configs = st.sampled_from(
    [IEMConfig(colour_weight=1e-2, colours=6), IEMConfig(colour_weight=1.0, kernel_size=3, sigma=1.0)]
)
"""For what leaves a palette as it is: turned images have another, for it begins at other pixels."""


def scene_of(images, config):
    return Scene.of(to_colours(images, np.float64), config)


def errors_by_region(images, masks, config):
    scene = scene_of(images, config)
    sums = add_up(scene, masks)
    return regional_errors(sums, inpaint(scene, sums))[:, :, 0, 0]


def assert_close(result, expected):
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9 * np.max(np.abs(expected)))


@given(problems(), configs)
def test_the_complement_swaps_the_two_errors(problem, config):
    images, masks = problem
    errors = errors_by_region(images, masks, config)
    assert_close(errors_by_region(images, ~masks, config), errors[:, ::-1])
    assert_close(inpainting_error(images, masks, config), errors.sum(1))


@given(problems(), configs | colour_configs)
def test_the_complement_has_the_same_objective_and_the_opposite_gradient(problem, config):
    images, masks = problem
    value, gradient = objective(images, masks, config)
    of_complement = objective(images, ~masks, config)
    assert_close(of_complement[0], value)
    assert_close(of_complement[1], -gradient)


SYMMETRIES = {
    "upside down": lambda array: array[:, ::-1],
    "mirrored": lambda array: array[:, :, ::-1],
    "transposed": lambda array: np.swapaxes(array, 1, 2),
}


@given(problems(), configs, st.sampled_from(sorted(SYMMETRIES)))
def test_a_symmetry_of_the_image_is_one_of_the_gradient_and_the_update(problem, config, name):
    symmetry = SYMMETRIES[name]
    images, masks = problem
    value, gradient = objective(images, masks, config)
    moved = objective(symmetry(images), symmetry(masks), config)
    assert_close(moved[0], value)
    assert_close(moved[1], symmetry(gradient))
    after = update(scene_of(images, config), masks)
    np.testing.assert_array_equal(
        update(scene_of(symmetry(images), config), symmetry(masks)), symmetry(after)
    )


@given(problems(), configs, st.randoms(use_true_random=False))
def test_the_order_of_the_channels_means_nothing(problem, config, random):
    images, masks = problem
    order = random.sample(range(images.shape[-1]), images.shape[-1])
    for one, other in zip(
        objective(images, masks, config), objective(images[..., order], masks, config), strict=True
    ):
        assert_close(other, one)


@given(problems(), configs)
def test_the_negative_of_an_image_has_the_same_objective_and_gradient(problem, config):
    images, masks = problem
    for one, other in zip(
        objective(images, masks, config), objective(1 - images, masks, config), strict=True
    ):
        assert_close(other, one)


@given(problems(), st.floats(0.1, 1))
def test_contrast_scales_the_error(problem, contrast):
    images, masks = problem
    assert_close(inpainting_error(images * contrast, masks), inpainting_error(images, masks) * contrast)


@given(problems(), configs)
def test_errors_are_between_0_and_twice_the_colours_range(problem, config):
    images, masks = problem
    errors = inpainting_error(images, masks, config)
    assert (errors >= 0).all()
    assert (errors <= 4).all()


@given(problems())
def test_a_finished_mask_has_the_error_that_is_reported(problem):
    images, masks = problem
    result = segment(images, IEMConfig(iterations=5), init=masks)
    np.testing.assert_allclose(inpainting_error(images, result.masks), result.inpainting_error, atol=1e-5)
