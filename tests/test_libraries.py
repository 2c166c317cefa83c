"""Whole searches, formulas and metrics in every array library: what NumPy gives, where the images are."""

from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

import scenes
from counting import Array
from iem_xp import (
    IEMConfig,
    centred_square,
    inpaint,
    inpainting_error,
    memory,
    metrics,
    objective,
    segment,
    update,
)

METRICS = [metrics.accuracy, metrics.iou, metrics.mean_iou, metrics.dice]


def assert_same(backend, result, expected):
    """A segmentation is that of NumPy, in arrays of the backend."""
    np.testing.assert_array_equal(backend.to_numpy(result.masks), expected.masks)
    np.testing.assert_array_equal(backend.to_numpy(result.init_side), expected.init_side)
    np.testing.assert_array_equal(backend.to_numpy(result.updates), expected.updates)
    errors = backend.to_numpy(result.inpainting_error)
    np.testing.assert_allclose(errors, expected.inpainting_error, rtol=1e-5)


def test_a_search_to_the_end_retires_the_same_images_at_the_same_updates(backend, rng):
    images = scenes.images(rng, 3)
    config = IEMConfig(init_sides=78)
    expected = segment(images, config, engine="array")
    assert len(set(expected.updates.tolist())) > 1
    assert expected.updates.max() < config.iterations
    assert_same(backend, segment(backend.asarray(images), config), expected)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("iterations", 0),
        ("kernel_size", 5),
        ("sigma", 1.0),
        ("repeats", 1),
        ("scale_factor", 2),
        ("regularization", 0.0),
        ("epsilon", 1e-2),
        ("boundary_only", False),
        ("smooth", False),
    ],
)
def test_every_switch(backend, rng, field, value):
    images = scenes.images(rng, 3)
    config = IEMConfig(**{"iterations": 5, "init_sides": 92, field: value})
    expected = segment(images, config, engine="array")
    assert_same(backend, segment(backend.asarray(images), config), expected)


def test_several_batches(backend, rng, monkeypatch):
    images = scenes.images(rng, 5)
    config = IEMConfig(iterations=6)
    expected = segment(images, config, engine="array")
    monkeypatch.setattr(memory, "useful_size", lambda shape, cached: 2)
    assert_same(backend, segment(backend.asarray(images), config), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floating_images(backend, rng, dtype):
    images = (scenes.images(rng, 3) / 255).astype(dtype)
    config = IEMConfig(iterations=8)
    assert_same(backend, segment(backend.asarray(images), config), segment(images, config, engine="array"))


def test_two_channels(backend, rng):
    images = scenes.images(rng, 2, channels=2)
    config = IEMConfig(iterations=6)
    assert_same(backend, segment(backend.asarray(images), config), segment(images, config, engine="array"))


def test_a_grey_image_alone(backend, rng):
    image = scenes.image(rng, channels=1)[:, :, 0]
    config = IEMConfig(iterations=6)
    assert_same(backend, segment(backend.asarray(image), config), segment(image, config, engine="array"))


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8])
def test_given_masks_and_a_device(backend, rng, device, dtype):
    images = scenes.images(rng, 2)
    masks = np.stack([scenes.mask(rng), scenes.mask(rng)]).astype(dtype)
    config = IEMConfig(iterations=6)
    result = segment(backend.asarray(images), config, init=backend.asarray(masks), device=device)
    assert_same(backend, result, segment(images, config, init=masks, engine="array"))


@pytest.mark.parametrize("value", [False, True])
def test_an_empty_or_full_mask_stays(backend, rng, value):
    images, masks = scenes.images(rng, 2), np.full((2, 24, 20), value)
    result = segment(backend.asarray(images), init=backend.asarray(masks))
    np.testing.assert_array_equal(backend.to_numpy(result.masks), masks)
    np.testing.assert_array_equal(backend.to_numpy(result.inpainting_error), [0, 0])


@pytest.mark.parametrize(
    "config",
    [IEMConfig(repeats=3, kernel_size=7, sigma=3.0), IEMConfig(regularization=0.0), IEMConfig(epsilon=1e-2)],
    ids=["three passes", "no diversity", "large epsilon"],
)
def test_the_formulas_in_float64_where_the_library_has_it(backend, rng, config):
    images, masks = scenes.images(rng, 2) / 255, np.stack([scenes.mask(rng), scenes.mask(rng)])
    ours = backend.asarray(images), backend.asarray(masks)
    rounding = {"float64": 1e-10, "float32": 1e-4}[backend.to_numpy(ours[0]).dtype.name]
    for formula in (inpaint, inpainting_error, lambda *given: objective(*given)[0]):
        result, expected = backend.to_numpy(formula(*ours, config)), formula(images, masks, config)
        assert result.dtype == backend.to_numpy(ours[0]).dtype
        np.testing.assert_allclose(result, expected, rtol=rounding)
    gradient = backend.to_numpy(objective(*ours, config)[1])
    expected = objective(images, masks, config)[1]
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=rounding * abs(expected).max())


@pytest.mark.parametrize("polarity", ["fixed", "either"])
@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
def test_the_metrics(backend, rng, metric, polarity):
    masks, truth, ignore = rng.random((3, 4, 24, 20)) < np.array([0.4, 0.6, 0.2])[:, None, None, None]
    masks[3], truth[3] = False, False
    ours = backend.asarray(masks), backend.asarray(truth)
    for given, expected in [
        ({}, metric(masks, truth, polarity=polarity)),
        ({"ignore": backend.asarray(ignore)}, metric(masks, truth, polarity=polarity, ignore=ignore)),
    ]:
        scores = backend.to_numpy(metric(*ours, polarity=polarity, **given))
        np.testing.assert_allclose(scores, expected, rtol=1e-6)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
def test_the_metrics_of_no_images(backend, metric):
    none = backend.asarray(np.zeros((0, 3, 4), dtype=bool))
    assert backend.to_numpy(metric(none, none)).shape == (0,)


def test_nothing_is_computed_but_on_the_device_of_the_arrays(rng, monkeypatch, stand_in):
    """CuPy computes on its current device, wherever arrays are: every launch has to be within `exactly`."""
    inside, launched, write = [], [], stand_in.write

    @contextmanager
    def on_device(array):
        inside.append(array)
        yield
        inside.pop()

    def watch(*call, **costs):
        if costs.get("launches"):
            launched.append(bool(inside) and isinstance(inside[-1], Array))
        write(*call, **costs)

    for module in ("segmentation", "solver", "formulas", "metrics"):
        monkeypatch.setattr(f"iem_xp.{module}.exactly", on_device)
    monkeypatch.setattr(stand_in, "write", watch)
    config, values = IEMConfig(iterations=2, init_sides=92), scenes.images(rng, 2)
    images = stand_in.asarray(values)
    masks = segment(images, config).masks
    formulas = (inpaint, inpainting_error, objective, update)
    calls = [partial(formula, images, masks, config) for formula in formulas]
    calls += [partial(metric, masks, masks, polarity="either") for metric in METRICS]
    calls += [partial(segment, given, config, device="gpu:1") for given in (values, images)]
    for call in [partial(segment, images, config), partial(centred_square, images, 78), *calls]:
        launched.clear()
        call()
        assert launched, call
        assert all(launched), call
