"""What the regions' own colours say: counts, log ratios, likelihood, information, and the gradient's part."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle
import scenes
from iem_xp import IEMConfig, inpainting_error, marginals, objective, terms
from iem_xp.marginals import count, information, log_likelihood, log_ratio
from iem_xp.palette import Palette

CONFIGS = {
    "best": IEMConfig.preset("best"),
    "rgb": IEMConfig(colour_weight=1e-3, colours=8),
    "heavy": IEMConfig(colour_weight=10.0, colours=5, regularization=0.0),
    "scale 2": IEMConfig(scale_factor=2, kernel_size=7, sigma=2.5, colour_weight=0.1),
    "one colour": IEMConfig(colour_weight=1.0, colours=1),
}


def palette_of(codes, colours):
    """Palette of codes (N, P)."""
    codes = np.asarray(codes)
    ends = np.stack([np.sum(codes <= k, axis=1) for k in range(colours)], axis=1)
    return Palette(codes, np.argsort(codes, axis=1, kind="stable"), ends)


def explained(masks, codes, colours=None, dtype=np.float64):
    """Information of masks (N, H, W) with these codes (N, P)."""
    colours = int(np.max(codes)) + 1 if colours is None else colours
    return information(*count(masks, palette_of(codes, colours)), dtype)


# Counts, and what follows from them


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_are_the_formulas_in_every_library(backend, rng, dtype):
    codes = rng.choice([0, 1, 2, 5], (3, 24 * 20), p=[0.5, 0.3, 0.18, 0.02])
    masks = np.stack([scenes.mask(rng), scenes.mask(rng), np.zeros((24, 20), dtype=bool)])
    masks[1].flat[codes[1] == 5] = False  # a colour that one of the regions has none of
    with backend.having(dtype):
        ours = Palette(*map(backend.asarray, palette_of(codes, 8)))
        inside, whole = count(backend.asarray(masks), ours)
        kind = backend.asarray(np.zeros(1, dtype)).dtype
        values = [of(inside, whole, kind) for of in (log_ratio, log_likelihood, information)]
    inside, whole, ratio, likelihood, share = map(backend.to_numpy, (inside, whole, *values))
    assert inside.dtype == whole.dtype == np.int32
    assert ratio.dtype == likelihood.dtype == share.dtype == dtype
    rtol, atol = (1e-5, 2e-6) if dtype == "float32" else (1e-12, 1e-12)
    for i, (mask, code) in enumerate(zip(masks, codes, strict=True)):
        M, code = mask.astype(float), code.reshape(24, 20)
        np.testing.assert_array_equal(inside[i], np.bincount(code[mask], minlength=8))
        np.testing.assert_array_equal(whole[i], np.bincount(code.ravel(), minlength=8))
        with np.errstate(divide="ignore", invalid="ignore"):  # of colours that are nowhere
            expected = np.nan_to_num(oracle.log_ratio(M, code), nan=0.0)
        np.testing.assert_allclose(ratio[i, :6], expected, rtol=rtol, atol=atol)
        np.testing.assert_array_equal(ratio[i, 6:], 0)
        counts = np.unique(code, return_inverse=True)[1].reshape(24, 20)  # the same with no colour unused
        assert likelihood[i] == pytest.approx(oracle.log_likelihood(M, counts), rel=rtol)
        assert share[i] == pytest.approx(oracle.information(M, counts), abs=atol)


def test_a_colour_of_one_region_alone_says_so_and_a_shared_one_says_nothing():
    codes = np.array([[0] * 100 + [1] * 100 + [2] * 100 + [2] * 100])
    mask = np.array([[True] * 100 + [False] * 100 + [True] * 100 + [False] * 100])[:, None]
    ratio = log_ratio(*count(mask, palette_of(codes, 3)), np.float64)[0]
    assert ratio[0] == pytest.approx(np.log(102 / 2))
    assert ratio[1] == -ratio[0]
    assert ratio[2] == 0


def test_the_ratio_stays_finite_for_large_images_and_lone_pixels():
    codes = np.zeros((1, 512 * 512), dtype=int)
    codes[0, :1] = 1
    mask = np.zeros((1, 512, 512), dtype=bool)
    mask[0, 0, 0] = True
    for masks in (mask, ~mask, mask & False, mask | True):
        assert np.isfinite(log_ratio(*count(masks, palette_of(codes, 4)), np.float32)).all()


# The information


def test_colours_that_determine_the_mask_explain_all_of_it(rng):
    masks = np.stack([scenes.mask(rng), scenes.mask(rng)])
    codes = masks.reshape(2, -1) * 3 + rng.integers(0, 3, (2, 480))
    np.testing.assert_allclose(explained(masks, codes), 1, rtol=1e-12)


def test_one_colour_explains_nothing(rng):
    np.testing.assert_allclose(explained(scenes.mask(rng)[None], np.zeros((1, 480), int)), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("pixels", "counts"), [(0, False), (19, False), (20, True), (500, True), (980, True)]
)
@pytest.mark.parametrize("complement", [False, True])
def test_masks_below_2_percent_and_above_98_explain_nothing(pixels, counts, complement):
    mask = (np.arange(1000) < pixels)[None, None] ^ complement
    codes = mask.reshape(1, -1).astype(int)
    for dtype in (np.float32, np.float64):
        assert explained(mask, codes, 2, dtype)[0] == pytest.approx(float(counts), abs=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from([0.1, 0.5, 0.9]))
def test_what_colours_are_called_and_which_region_is_the_foreground_means_nothing(seed, colours, density):
    rng = np.random.default_rng(seed)
    codes, masks = rng.integers(0, colours, (2, 60)), rng.random((2, 6, 10)) < density
    masks[:, 0, :2], masks[:, -1, -2:] = True, False
    value = explained(masks, codes, colours)
    assert ((value >= 0) & (value <= 1)).all()
    np.testing.assert_allclose(explained(masks, rng.permutation(colours)[codes], colours), value, atol=1e-12)
    np.testing.assert_allclose(explained(~masks, codes, colours), value, atol=1e-12)


def test_rounding_takes_it_out_of_no_range(rng):
    codes, masks = rng.integers(0, 2, (200, 60)), rng.random((200, 6, 10)) < 0.5
    codes[100:] = masks[100:].reshape(100, -1)
    value = explained(masks, codes, 2, np.float32)
    assert ((value >= 0) & (value <= 1)).all()


# Their part of the objective and of its gradient


def float_images(rng, n, *size):
    return scenes.images(rng, n, *size) / 255 * 0.98 + rng.uniform(0, 0.02, (n, *size))


def codes_of(images, config):
    _, palette = terms.observe(images, config, np.float64)
    return palette.codes.reshape(images.shape[:3])


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_value_and_gradient_are_the_formulas_and_the_gradient_is_the_derivative(rng, config):
    images = float_images(rng, 2, 15, 12, 3)
    masks = np.stack([scenes.mask(rng, 15, 12) for _ in images])
    value, gradient = objective(images, masks, config)
    pixels = list(np.ndindex(15, 12))
    for i, (image, codes) in enumerate(zip(images, codes_of(images, config), strict=True)):
        codes = np.unique(codes, return_inverse=True)[1].reshape(codes.shape)
        X, M = oracle.colours(image), masks[i].astype(float)
        X = oracle.lab(X) if config.colour_space == "lab" else X
        assert value[i] == pytest.approx(oracle.objective(X, M, config, codes), rel=1e-10)
        expected = oracle.gradient(X, M, config, codes)
        np.testing.assert_allclose(gradient[i], expected, rtol=0, atol=1e-10 * abs(expected).max())
        by_step = oracle.complex_step(X, M, config, pixels, codes)
        np.testing.assert_allclose(gradient[i].ravel(), by_step, rtol=1e-8, atol=1e-11)
        by_difference = oracle.central_difference(X, M, config, pixels, codes)
        np.testing.assert_allclose(gradient[i].ravel(), by_difference, rtol=1e-5, atol=1e-6)


def test_float32_is_close_in_every_library(backend, rng):
    images, masks = scenes.images(rng, 2), np.stack([scenes.mask(rng), scenes.mask(rng)])
    config = CONFIGS["rgb"]
    exact = objective(images / 255, masks, config)
    found = objective(backend.asarray(images), backend.asarray(masks), config)
    for values, expected in zip(map(backend.to_numpy, found), exact, strict=True):
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=2e-5 * abs(expected).max())


@pytest.mark.parametrize("value", [False, True])
def test_an_empty_region_has_no_gradient(backend, rng, value):
    images = backend.asarray(scenes.images(rng, 2))
    masks = np.stack([np.full((24, 20), value), scenes.mask(rng)])  # its neighbour must not suffer
    total, gradient = map(backend.to_numpy, objective(images, backend.asarray(masks), CONFIGS["rgb"]))
    assert np.isfinite(total).all()
    assert not gradient[0].any()
    assert gradient[1].any()


def test_without_a_weight_colours_are_counted_but_change_neither_value_nor_gradient(rng):
    images, masks = float_images(rng, 2, 24, 20, 3), np.stack([scenes.mask(rng), scenes.mask(rng)])
    for one, other in zip(
        objective(images, masks, IEMConfig(choose="information", cut=True)),
        objective(images, masks),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(
        inpainting_error(images, masks, CONFIGS["rgb"]), inpainting_error(images, masks)
    )


def test_log_odds_from_elsewhere_join_what_colours_say(rng):
    images, masks = scenes.images(rng, 2), np.stack([scenes.mask(rng), scenes.mask(rng)])
    config, prior = CONFIGS["rgb"], rng.normal(size=(2, 24, 20)).astype(np.float32)
    alone, joined = (
        terms.evidence(terms.Scene.of_images(images, config, prior=known), masks) for known in (None, prior)
    )
    np.testing.assert_allclose(joined - alone, config.colour_weight * prior, atol=1e-8)
    assert joined.dtype == np.float32


def test_the_evidence_of_a_pixel_is_the_ratio_of_its_colour(rng):
    images, masks = scenes.images(rng, 1), scenes.mask(rng)[None]
    scene = terms.Scene.of_images(images, CONFIGS["rgb"])
    ratio = marginals.log_ratio(*count(masks, scene.palette), np.float32)[0]
    expected = np.float32(1e-3) * ratio[scene.palette.codes[0]].reshape(1, 24, 20)
    np.testing.assert_allclose(terms.evidence(scene, masks), expected, rtol=1e-6)
