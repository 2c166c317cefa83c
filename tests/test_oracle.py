"""The tests' own transcription of the method, held against itself: its gradient is that of its objective."""

import numpy as np
import pytest

import oracle
import scenes
from iem_xp import IEMConfig


@pytest.mark.parametrize(
    "config",
    [
        IEMConfig(),
        IEMConfig(repeats=3, kernel_size=7, sigma=3),
        IEMConfig(scale_factor=2, kernel_size=7, sigma=2.5),
        IEMConfig(regularization=0, epsilon=1e-3),
        IEMConfig(kernel_size=3, sigma=1, repeats=1),  # some pixels see only the other region's mean colour
    ],
)
def test_its_gradient_is_the_derivative_of_its_objective(rng, config):
    X, M = oracle.colours(scenes.image(rng, 15, 12)), scenes.mask(rng, 15, 12).astype(np.float64)
    pixels = list(np.ndindex(M.shape))
    gradient = oracle.gradient(X, M, config).ravel()
    np.testing.assert_allclose(oracle.complex_step(X, M, config, pixels), gradient, rtol=1e-10, atol=1e-12)


def test_its_derivatives_agree(rng):
    X, M = oracle.colours(scenes.image(rng, 15, 12)), scenes.mask(rng, 15, 12).astype(np.float64)
    pixels = list(np.ndindex(M.shape))
    exact = oracle.complex_step(X, M, IEMConfig(), pixels)
    np.testing.assert_allclose(
        oracle.central_difference(X, M, IEMConfig(), pixels), exact, rtol=1e-5, atol=1e-8
    )


@pytest.mark.parametrize("scale_factor", [1, 2, 3])
def test_its_filters_are_adjoint(rng, scale_factor):
    config = IEMConfig(scale_factor=scale_factor)
    x, y = rng.normal(size=(2, 17, 13))
    assert np.vdot(oracle.K(x, config), y) == pytest.approx(np.vdot(x, oracle.K_adjoint(y, config)))


@pytest.mark.parametrize("weight", [3e-4, 1.0])
def test_its_gradient_with_colour_marginals_is_the_derivative_of_its_objective(rng, weight):
    X, M = oracle.colours(scenes.image(rng, 15, 12)), scenes.mask(rng, 15, 12).astype(np.float64)
    codes, config = oracle.palette(X, 6), IEMConfig(colour_weight=weight)
    assert len(np.unique(codes)) > 2
    gradient = oracle.gradient(X, M, config, codes).ravel()
    pixels = list(np.ndindex(M.shape))
    by_step = oracle.complex_step(X, M, config, pixels, codes)
    np.testing.assert_allclose(by_step, gradient, rtol=1e-10, atol=1e-12)
