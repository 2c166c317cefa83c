"""Colours as they look, and the few that an image is reduced to."""

import numpy as np
import pytest
from skimage.color import rgb2lab

import oracle
import scenes
from iem_xp import IEMConfig, palette, segment, solver
from iem_xp.palette import find_palette, to_lab
from iem_xp.terms import observe

REFERENCES = {  # sRGB to L*, a*, b* under D65
    (0, 0, 0): (0, 0, 0),
    (255, 255, 255): (100, 0, 0),
    (119, 119, 119): (50.03, 0, 0),
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.73, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
}


def planes(images):
    """X (N, C, H, W) of images, in float64."""
    return np.stack([oracle.colours(image) for image in images])


def unscaled(lab):
    """L*, a* and b* of what `to_lab` gives."""
    return lab * 50 + np.array([50, 0, 0])[:, None, None]


# CIELAB


@pytest.mark.parametrize(("srgb", "lab"), REFERENCES.items(), ids=str)
def test_known_colours_have_their_coordinates(srgb, lab):
    X = planes(np.full((1, 1, 1, 3), srgb, dtype=np.uint8))
    np.testing.assert_allclose(unscaled(to_lab(X))[0, :, 0, 0], lab, atol=0.05)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_coordinates_are_those_of_the_standard_in_every_library(backend, rng, dtype):
    images = rng.integers(0, 256, (2, 16, 11, 3), dtype=np.uint8)
    images[0, 0] //= 16  # dark, where the root becomes linear
    X = planes(images)
    with backend.having(dtype):
        result = backend.to_numpy(to_lab(backend.asarray(X.astype(dtype))))
    assert result.dtype == dtype
    np.testing.assert_allclose(result, [oracle.lab(x) for x in X], atol=5e-6 if dtype == "float32" else 1e-13)
    np.testing.assert_allclose(unscaled(result), np.moveaxis(rgb2lab(images), -1, 1), atol=1e-3 * 50)


def test_greys_have_no_hue():
    X = planes(np.arange(256, dtype=np.uint8)[None, :, None, None].repeat(3, -1)).astype(np.float32)
    lab = to_lab(X)
    np.testing.assert_allclose(lab[:, 1:], 0, atol=3e-6)
    assert (np.diff(lab[0, 0, :, 0]) > 0).all()


def test_colours_just_outside_the_range_are_those_at_its_ends():
    X = np.array([-1.02, -1.0, 1.0, 1.02])[None, None, None].repeat(3, 1)
    lab = to_lab(X)
    np.testing.assert_array_equal(lab[..., 0], lab[..., 1])
    np.testing.assert_array_equal(lab[..., 2], lab[..., 3])


@pytest.mark.parametrize("engine", ["array", "fused"])
@pytest.mark.parametrize("channels", [2, 4])
def test_images_of_other_than_one_or_three_channels_are_refused(rng, channels, engine):
    wanted = rf'"lab" needs images of one channel or three, not {channels}; .*"rgb"'
    with pytest.raises(ValueError, match=wanted):
        segment(scenes.images(rng, 1, channels=channels), IEMConfig(colour_space="lab"), engine=engine)


@pytest.mark.parametrize("engine", ["array", "fused"])
def test_a_grey_image_is_one_of_three_equal_channels(rng, engine):
    greys, config = scenes.images(rng, 2, channels=1), IEMConfig.preset("best")
    one, three = (segment(images, config, engine=engine) for images in (greys, greys.repeat(3, axis=-1)))
    for ours, theirs in zip(vars(one).values(), vars(three).values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def constant(*size):
    """One image of one colour, which is no grey."""
    image = np.empty((1, *size, 3), dtype=np.uint8)
    image[:] = (201, 77, 12)
    return image


@pytest.mark.parametrize("size", [(17, 19), (1, 33), (31, 5)], ids=str)
def test_a_constant_image_has_no_colours_to_compare(backend, size):
    colours, none = observe(backend.asarray(constant(*size)), IEMConfig(colour_space="lab"))
    assert not backend.to_numpy(colours).any()
    assert none is None


@pytest.mark.parametrize("engine", ["array", "fused"])
def test_a_constant_image_keeps_its_mask(engine):
    images = constant(17, 19)
    config = IEMConfig(colour_space="lab", colour_weight=1e-3, iterations=3, init_sides=78, smooth=False)
    masks = segment(images, config, engine=engine).masks
    np.testing.assert_array_equal(masks, solver.centred_square(images, 78))


# The palette


def found_in(backend, X, config):
    return [backend.to_numpy(values) for values in find_palette(backend.asarray(X), config)]


@pytest.mark.parametrize("channels", [1, 2, 3, 7])
def test_codes_are_those_of_the_literal_k_means(rng, channels):
    X = planes(scenes.images(rng, 3, 30, 23, channels))
    X += rng.uniform(0, 1e-3, X.shape)  # no two colours are equal
    codes = find_palette(X, IEMConfig(colours=9)).codes
    for found, x in zip(codes, X, strict=True):
        np.testing.assert_array_equal(found.reshape(30, 23), oracle.palette(x, 9))


def test_every_pixel_has_the_colour_that_it_is_nearest_to(backend, rng, monkeypatch):
    compare, seen = palette._nearest, []

    def watch(centres, pixels):
        seen.append((backend.to_numpy(centres), backend.to_numpy(pixels)))
        return compare(centres, pixels)

    monkeypatch.setattr(palette, "_nearest", watch)
    codes, *_ = found_in(backend, planes(scenes.images(rng, 3)).astype(np.float32), IEMConfig())
    centres, pixels = seen[-1]
    pixels = pixels[:, :-1]  # the last coordinate is 1
    exact = ((centres[:, :, None].astype(float) - np.swapaxes(pixels, 1, 2)[:, None]) ** 2).sum(3)
    chosen = np.take_along_axis(exact, codes[:, None], axis=1)
    np.testing.assert_allclose(chosen[:, 0], exact.min(1), atol=1e-6)


@pytest.mark.parametrize(
    ("size", "colours"), [((1, 1), 32), ((1, 5), 32), ((5, 1), 3), ((3, 4), 256), ((24, 20), 1)], ids=str
)
def test_pixels_are_in_the_order_of_their_codes_whatever_the_size(backend, rng, size, colours):
    X = planes(scenes.images(rng, 2, *size)).astype(np.float32)
    codes, order, ends = found_in(backend, X, IEMConfig(colours=colours))
    pixels = size[0] * size[1]
    assert codes.shape == order.shape == (2, pixels)
    assert ends.shape == (2, colours)
    assert ((codes >= 0) & (codes < colours)).all()
    for code, places, end in zip(codes, order, ends, strict=True):
        np.testing.assert_array_equal(places, np.argsort(code, kind="stable"))
        np.testing.assert_array_equal(end, np.cumsum(np.bincount(code, minlength=colours)))


def test_of_colours_that_are_as_near_the_first_is_taken(backend):
    nearest = np.array([[[1, 0, 1, 0], [1, 1, 0, 0], [0, 1, 1, 1]]], dtype=bool).repeat(85, 1)
    first = backend.to_numpy(palette._first(backend.asarray(nearest)))
    np.testing.assert_array_equal(first, np.argmax(nearest, axis=1))
    last = np.zeros((2, 256, 3), dtype=bool)
    last[:, 255] = True
    assert (backend.to_numpy(palette._first(backend.asarray(last))) == 255).all()


def test_an_image_of_few_colours_has_no_others(backend):
    paints = np.array([(250, 20, 20), (20, 250, 20), (20, 20, 250), (250, 250, 250)], dtype=np.uint8)
    which = np.arange(16).reshape(4, 4).repeat(6, 0).repeat(6, 1) % 4
    codes, *_ = found_in(backend, planes(paints[which][None]).astype(np.float32), IEMConfig())
    codes_of = [np.unique(codes[0, which.ravel() == k]).tolist() for k in range(4)]
    assert [len(of) for of in codes_of] == [1] * 4
    assert len({code for (code,) in codes_of}) == 4


def test_a_constant_image_has_one_colour(backend):
    X = np.full((1, 3, 8, 9), 0.3, dtype=np.float32)
    codes, _, ends = found_in(backend, X, IEMConfig())
    assert not codes.any()
    np.testing.assert_array_equal(ends, np.full((1, 32), 72))


def test_a_palette_does_not_depend_on_the_other_images(rng):
    X = planes(scenes.images(rng, 4)).astype(np.float32)
    together = find_palette(X, IEMConfig())
    for i in range(4):
        for one, all_ in zip(find_palette(X[i : i + 1], IEMConfig()), together, strict=True):
            np.testing.assert_array_equal(one[0], all_[i])
    for some, all_ in zip(together.take(np.array([3, 1])), together, strict=True):
        np.testing.assert_array_equal(some, all_[[3, 1]])


def test_no_images_have_no_palettes(backend):
    shapes = [values.shape for values in found_in(backend, np.zeros((0, 3, 8, 9), np.float32), IEMConfig())]
    assert shapes == [(0, 72), (0, 72), (0, 32)]
