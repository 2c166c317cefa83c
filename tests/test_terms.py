import numpy as np
import pytest

import oracle
import scenes
from backends import Backend
from iem_xp import IEMConfig, inpaint, inpainting_error, objective

CONFIGS = {
    "default": IEMConfig(),
    "three passes": IEMConfig(repeats=3, kernel_size=7, sigma=3.0),
    "scale 2": IEMConfig(scale_factor=2, kernel_size=7, sigma=2.5),
    "narrow": IEMConfig(kernel_size=3, sigma=1.0, repeats=1),
    "no diversity": IEMConfig(regularization=0.0),
    "large epsilon": IEMConfig(epsilon=1e-2, regularization=0.1),
}
SIZES = [(24, 20, 3), (9, 31, 1), (6, 5, 7), (1, 12, 3), (12, 1, 2), (2, 1, 1)]


def float_images(rng, n, *size):
    """float64 images, for a result in float64.

    Their colours are continuous: among 8-bit colours some equal the mean of a small region, up to rounding,
    and then nobody can say which sign that residual of 0 has.
    """
    images = scenes.images(rng, n, *size) / 255
    return images * 0.98 + rng.uniform(0, 0.02, images.shape)


def corner_masks(height=24, width=20):
    """Masks whose foreground is out of the default filter's reach of most of the image, and the reverse."""
    masks = np.zeros((2, height, width), dtype=bool)
    masks[0, 1:4, 1:5] = True
    masks[1] = ~masks[0, ::-1, ::-1]
    return masks


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_value_error_and_gradient_are_the_formulas(rng, config, size):
    images = float_images(rng, 2, *size)
    masks = np.stack([scenes.mask(rng, *size[:2]) for _ in images])
    value, gradient = objective(images, masks, config)
    error = inpainting_error(images, masks, config)
    assert value.dtype == gradient.dtype == error.dtype == np.float64
    for i, (image, mask) in enumerate(zip(images, masks.astype(float), strict=True)):
        X = oracle.colours(image)
        assert error[i] == pytest.approx(oracle.inpainting_error(X, mask, config), rel=1e-10)
        assert value[i] == pytest.approx(oracle.objective(X, mask, config), rel=1e-10)
        expected = oracle.gradient(X, mask, config)
        np.testing.assert_allclose(gradient[i], expected, rtol=0, atol=1e-10 * abs(expected).max())


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_gradient_is_the_derivative_of_the_objective(rng, config):
    image, mask = float_images(rng, 1, 15, 12)[0], scenes.mask(rng, 15, 12)
    _, gradient = objective(image, mask, config)
    X, M, pixels = oracle.colours(image), mask.astype(float), list(np.ndindex(mask.shape))
    np.testing.assert_allclose(
        gradient.ravel(), oracle.complex_step(X, M, config, pixels), rtol=1e-9, atol=1e-11
    )
    if config is not CONFIGS["narrow"]:  # where a prediction rests on epsilon alone, no step is small enough
        by_difference = oracle.central_difference(X, M, config, pixels)
        np.testing.assert_allclose(gradient.ravel(), by_difference, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("which", [0, 1])
def test_beyond_the_filters_reach_the_gradient_flows_through_the_mean(rng, which):
    image, mask = float_images(rng, 1, 24, 20)[0], corner_masks()[which]
    _, gradient = objective(image, mask)
    X, M = oracle.colours(image), mask.astype(float)
    pixels = [tuple(rng.integers((24, 20))) for _ in range(60)]
    expected = oracle.complex_step(X, M, IEMConfig(), pixels)
    np.testing.assert_allclose(gradient[0][tuple(np.transpose(pixels))], expected, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("far", [False, True])
def test_the_gradient_is_that_of_automatic_differentiation(rng, far):
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    jnp, config = jax.numpy, IEMConfig()
    images = float_images(rng, 2)
    masks = corner_masks() if far else np.stack([scenes.mask(rng), scenes.mask(rng)])

    def K(planes):
        taps = jnp.asarray(oracle.kernel(config))
        planes = jnp.reshape(planes, (-1, 1, *planes.shape[-2:]))
        for _ in range(config.repeats):
            for shape in [(1, 1, 1, -1), (1, 1, -1, 1)]:
                planes = jax.lax.conv_general_dilated(planes, taps.reshape(shape), (1, 1), "SAME")
        return planes[:, 0]

    def psi(X, R):
        numerator = K(X * R) + config.epsilon * jnp.sum(X * R, (1, 2), keepdims=True)
        return numerator / (K(R) + config.epsilon * jnp.sum(R))

    def L(M, X):
        total = 0
        for R in (M, 1 - M):
            total += jnp.sum(R * jnp.mean(jnp.abs(X - psi(X, 1 - R)), 0)) / jnp.sum(R)
            mean = jnp.sum(X * R, (1, 2), keepdims=True) / jnp.sum(R)
            total -= config.regularization * jnp.sum(R * (X - mean) ** 2)
        return total

    value, gradient = objective(images, masks, config)
    with Backend.JAX.having("float64"):
        differentiate = jax.jit(jax.value_and_grad(L))
        for i in range(2):
            M, X = jnp.asarray(masks[i].astype(float)), jnp.asarray(oracle.colours(images[i]))
            by_jax = differentiate(M, X)
            assert by_jax[1].dtype == np.float64
            assert value[i] == pytest.approx(float(by_jax[0]), rel=1e-10)
            np.testing.assert_allclose(gradient[i], by_jax[1], atol=1e-9 * abs(gradient[i]).max())


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("config", [CONFIGS["default"], CONFIGS["scale 2"]], ids=["default", "scale 2"])
def test_float32_is_close_in_every_library(backend, rng, config, dtype):
    if dtype == np.uint8:
        images, masks = scenes.images(rng, 2), np.stack([scenes.mask(rng), scenes.mask(rng)])
    else:
        images, masks = float_images(rng, 2).astype(dtype), corner_masks()
    ours = backend.asarray(images), backend.asarray(masks)
    value, gradient = map(backend.to_numpy, objective(*ours, config))
    error = backend.to_numpy(inpainting_error(*ours, config))
    assert value.dtype == gradient.dtype == error.dtype == np.float32
    for i in range(2):
        X, M = oracle.colours(images[i]), masks[i].astype(float)
        expected = oracle.gradient(X, M, config)
        np.testing.assert_allclose(gradient[i], expected, rtol=0, atol=1e-5 * abs(expected).max())
        assert error[i] == pytest.approx(oracle.inpainting_error(X, M, config), rel=1e-5)
        assert value[i] == pytest.approx(oracle.objective(X, M, config), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("value", [False, True])
def test_an_empty_region_has_no_error_and_no_gradient(backend, rng, value):
    images = scenes.images(rng, 2)
    masks = np.stack([np.full((24, 20), value), scenes.mask(rng)])  # its neighbour must not suffer
    ours = backend.asarray(images), backend.asarray(masks)
    error = backend.to_numpy(inpainting_error(*ours))
    total, gradient = map(backend.to_numpy, objective(*ours))
    assert error[0] == 0 < error[1]
    assert not gradient[0].any()
    assert np.isfinite(gradient[1]).all()
    assert gradient[1].any()
    X = oracle.colours(images[0])
    deviation = ((X - X.mean((1, 2), keepdims=True)) ** 2).sum()
    assert total[0] == pytest.approx(-1e-3 * deviation, rel=1e-5)


@pytest.mark.parametrize("config", [CONFIGS["default"], CONFIGS["narrow"]], ids=["default", "narrow"])
def test_inpaint_predicts_every_pixel_from_the_other_region(backend, rng, config):
    images = scenes.images(rng, 2)
    masks = np.stack([scenes.mask(rng), corner_masks()[0]])
    result = backend.to_numpy(inpaint(backend.asarray(images), backend.asarray(masks), config))
    assert result.dtype == np.float32
    for image, M, predicted in zip(images, masks.astype(float), result, strict=True):
        X = oracle.colours(image)
        expected = np.where(M, oracle.psi(X, 1 - M, config), oracle.psi(X, M, config))
        np.testing.assert_allclose(predicted * 2 - 1, np.moveaxis(expected, 0, -1), atol=2e-5)


def test_far_from_the_other_region_the_prediction_is_its_mean_colour(rng):
    image, mask = float_images(rng, 1)[0], corner_masks()[0]
    predicted = inpaint(image, mask)[0]
    np.testing.assert_allclose(predicted[-1, -1], image[mask].mean(0), rtol=1e-9)


def test_an_empty_region_predicts_mid_grey(rng):
    image = scenes.image(rng)
    np.testing.assert_array_equal(
        inpaint(image, np.zeros((24, 20), dtype=bool)), np.full((1, 24, 20, 3), 0.5)
    )


def test_a_constant_image_has_no_error(rng):
    image, mask = np.full((24, 20, 3), 0.25), scenes.mask(rng)
    assert inpainting_error(image, mask) == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(inpaint(image, mask), np.full((1, 24, 20, 3), 0.25))
