import numpy as np
import pytest

import oracle
from iem_xp import IEMConfig
from iem_xp.gaussian import Gaussian, axis_matrix, smallest_weight

CONFIGS = {
    "default": IEMConfig(),
    "three passes": IEMConfig(repeats=3, kernel_size=7, sigma=3.0),
    "one pass of 21": IEMConfig(repeats=1, kernel_size=21),
    "scale 2": IEMConfig(scale_factor=2, kernel_size=7, sigma=2.5),
    "scale 3": IEMConfig(scale_factor=3),
    "one tap": IEMConfig(kernel_size=1),
}
SIZES = [(24, 20), (33, 17), (32, 65), (5, 40), (1, 9), (7, 1), (1, 1), (130, 3)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_it_is_zero_padded_convolution_repeated(rng, config, size):
    planes = rng.normal(size=(2, 3, *size))
    np.testing.assert_allclose(Gaussian(planes, config)(planes), oracle.K(planes, config), atol=1e-14)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_adjoint_satisfies_its_definition(rng, config, size):
    x, y = rng.normal(size=(2, 2, *size))
    K = Gaussian(x, config)
    assert np.vdot(K(x), y) == pytest.approx(np.vdot(x, K.adjoint(y)), abs=1e-12)
    np.testing.assert_allclose(K.adjoint(y), oracle.K_adjoint(y, config), atol=1e-14)


@pytest.mark.parametrize("n", [1, 31, 32, 33, 64, 128, 129, 300])
def test_tiles_of_the_band_are_the_whole_matrix(rng, n):
    planes = rng.normal(size=(n, n + 1))
    rows, columns = axis_matrix(n, IEMConfig()), axis_matrix(n + 1, IEMConfig())
    K = Gaussian(planes, IEMConfig())
    np.testing.assert_allclose(K(planes), rows @ planes @ columns.T, atol=1e-14)
    np.testing.assert_allclose(K.adjoint(planes), rows.T @ planes @ columns, atol=1e-14)


@pytest.mark.parametrize("size", [(24, 20), (3, 140)], ids=str)  # the second needs two of the larger tiles
def test_every_library_filters_alike(backend, rng, size):
    planes = rng.normal(size=(2, 2, *size)).astype(np.float32)
    K = Gaussian(ours := backend.asarray(planes), CONFIGS["scale 2"])
    for result, expected in [(K(ours), oracle.K), (K.adjoint(ours), oracle.K_adjoint)]:
        result = backend.to_numpy(result)
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, expected(planes, CONFIGS["scale 2"]), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("config", [CONFIGS["default"], CONFIGS["three passes"]], ids=str)
def test_beyond_its_support_it_is_exactly_zero(config, dtype):
    reach = config.repeats * (config.kernel_size // 2)
    pixel = np.zeros((70, 70), dtype=dtype)
    pixel[40, 30] = 1
    rows, columns = np.mgrid[:70, :70]
    near = (abs(rows - 40) <= reach) & (abs(columns - 30) <= reach)
    np.testing.assert_array_equal(Gaussian(pixel, config)(pixel) > 0, near)
    np.testing.assert_array_equal(Gaussian(pixel, config)(pixel) != 0, near)


def test_far_from_the_border_it_keeps_a_constant():
    planes = np.ones((40, 40))
    filtered = Gaussian(planes, IEMConfig())(planes)
    np.testing.assert_allclose(filtered[10:-10, 10:-10], 1)
    assert filtered.min() == filtered[0, 0] < 0.3


def test_padding_between_passes_is_not_one_wide_pass():
    two = axis_matrix(40, IEMConfig())
    weights = two[20, 10:31]  # the taps of both passes together, far from the border
    wide = sum(weight * np.eye(40, k=k) for k, weight in zip(range(-10, 11), weights, strict=True))
    np.testing.assert_allclose(two[10:30], wide[10:30])
    assert abs(two - wide).max() > 0.01


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_smallest_weight_is_that_of_large_images_and_no_smaller_one_has_less(config):
    rows, columns = axis_matrix(90, config), axis_matrix(120, config)
    least = rows[rows > 0].min() * columns[columns > 0].min()
    assert smallest_weight(config) == pytest.approx(least, rel=1e-12)
    for n in (1, 2, 5, 11, 20):
        small = axis_matrix(n, config)
        assert small[small > 0].min() ** 2 >= smallest_weight(config) * (1 - 1e-12)


@pytest.mark.filterwarnings("error")
def test_of_taps_too_small_for_a_number_none_counts():
    assert smallest_weight(IEMConfig(sigma=1e-200)) == 1
