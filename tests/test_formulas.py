import numpy as np
import pytest

import oracle
import scenes
from iem_xp import IEMConfig, centred_square, inpainting_error, objective, segment, update

SHORT = IEMConfig(iterations=6, init_sides=92)


def mixed_images(rng):
    """uint8 images: a usual one, one with a channel of one value, one of one colour."""
    images = scenes.images(rng, 3)
    images[1, ..., 2] = 200
    images[2] = [10, 200, 77]
    return images


def updated(images, config):
    """Masks after all updates from the configuration's square."""
    masks = centred_square(images, *config.init_sides)
    for _ in range(config.iterations):
        masks = update(images, masks, config)
    return masks


@pytest.mark.parametrize("options", [{}, {"boundary_only": False}, {"smooth": False}], ids=str)
def test_an_update_is_the_literal_one_in_every_library(backend, rng, options):
    images, masks = scenes.images(rng, 2), np.stack([scenes.mask(rng), scenes.mask(rng)])
    config = IEMConfig(**options)
    result = backend.to_numpy(update(backend.asarray(images), backend.asarray(masks), config))
    assert result.dtype == bool
    for image, mask, after in zip(images, masks, result, strict=True):
        expected = oracle.update(oracle.colours(image), mask.astype(float), config)
        np.testing.assert_array_equal(after, expected == 1)


def test_all_updates_from_a_square_are_what_segment_finds_in_every_library(backend, rng):
    images = mixed_images(rng)
    found = segment(images, SHORT, engine="array").masks
    np.testing.assert_array_equal(backend.to_numpy(updated(backend.asarray(images), SHORT)), found)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_updates_of_floating_images_are_what_segment_finds(rng, dtype):
    images = (mixed_images(rng) / 255).astype(dtype)
    np.testing.assert_array_equal(updated(images, SHORT), segment(images, SHORT, engine="array").masks)


def test_an_update_leaves_its_arguments_alone(rng):
    images, masks = scenes.images(rng, 2) / 255, np.stack([scenes.mask(rng), scenes.mask(rng)])
    before = images.copy(), masks.copy()
    assert (update(images, masks) != masks).any()
    np.testing.assert_array_equal(images, before[0])
    np.testing.assert_array_equal(masks, before[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_jax_compiles_what_has_fixed_shapes(rng, dtype):
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    images, masks = scenes.images(rng, 2), np.stack([scenes.mask(rng), scenes.mask(rng)])
    images = jax.numpy.asarray(images if dtype == np.uint8 else (images / 255).astype(dtype))
    masks = jax.numpy.asarray(masks)
    start = jax.jit(centred_square, static_argnums=1)(images, 92)
    np.testing.assert_array_equal(start, [oracle.square(24, 20, 92)] * 2)
    compiled = [
        jax.jit(function, static_argnums=2)(images, masks, SHORT)
        for function in (update, inpainting_error, objective)
    ]
    eager = [function(images, masks, SHORT) for function in (update, inpainting_error, objective)]
    np.testing.assert_array_equal(compiled[0], eager[0])
    np.testing.assert_allclose(compiled[1], eager[1], rtol=1e-5)
    np.testing.assert_allclose(compiled[2][0], eager[2][0], rtol=0, atol=1e-5)
    gradient = eager[2][1]
    np.testing.assert_allclose(compiled[2][1], gradient, rtol=0, atol=1e-5 * abs(gradient).max())


def test_a_square_has_a_batch_axis_and_is_where_the_images_are(backend):
    for shape in [(24, 20), (24, 20, 3), (1, 24, 20, 3)]:
        images = backend.asarray(np.zeros(shape, dtype=np.uint8))
        square = backend.to_numpy(centred_square(images, 78))
        assert square.dtype == bool
        np.testing.assert_array_equal(square, [oracle.square(24, 20, 78)])


@pytest.mark.parametrize(("side", "error"), [(0, ValueError), (-3, ValueError), (7.5, TypeError)])
def test_a_square_has_a_whole_number_of_pixels(side, error):
    with pytest.raises(error, match=f"^side must be .*not {side}$"):
        centred_square(np.zeros((24, 20), dtype=np.uint8), side)


def test_masks_of_another_shape_cannot_be_updated():
    with pytest.raises(ValueError, match=r"^masks of shape \(1, 20, 24\) do not fit images of shape"):
        update(np.zeros((24, 20, 3)), np.zeros((20, 24), dtype=bool))


def test_an_update_takes_an_IEMConfig_only():
    with pytest.raises(TypeError, match="config must be an IEMConfig, not int"):
        update(np.zeros((24, 20, 3)), np.zeros((24, 20), dtype=bool), 3)
