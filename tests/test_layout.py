import re

import numpy as np
import pytest

import scenes
from iem_xp.layout import check_images, check_masks, to_colours, to_images


@pytest.mark.parametrize(
    ("shape", "batched"),
    [((2, 4, 5, 3), (2, 4, 5, 3)), ((4, 5, 3), (1, 4, 5, 3)), ((4, 5), (1, 4, 5, 1)), ((0, 4, 5, 3),) * 2],
    ids=str,
)
def test_images_gain_the_axes_they_lack(backend, shape, batched):
    images = check_images(backend.asarray(np.zeros(shape, dtype=np.uint8)))
    assert backend.to_numpy(images).shape == batched


@pytest.mark.parametrize("shape", [(), (4,), (1, 2, 4, 5, 3)], ids=str)
def test_another_number_of_axes_is_an_error_that_shows_the_shape(shape):
    with pytest.raises(ValueError, match=r"\(N, H, W, C\).*" + re.escape(str(shape))):
        check_images(np.zeros(shape))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (2, 4, 5, 0), (0, 0, 0, 0)], ids=str)
def test_an_image_without_pixels_is_an_error(shape):
    with pytest.raises(ValueError, match="at least one pixel and one channel"):
        check_images(np.zeros(shape))


@pytest.mark.parametrize(
    "dtype", [np.uint16, np.int64, np.int8, np.bool_, np.complex64], ids=lambda d: d.__name__
)
def test_another_data_type_is_an_error_that_names_it(dtype):
    with pytest.raises(TypeError, match=f"uint8.*floating.*not {np.dtype(dtype).name}"):
        check_images(np.zeros((4, 5), dtype=dtype))


@pytest.mark.parametrize("value", [-0.1, 1.5, 255.0, np.nan, np.inf, -np.inf])
def test_floating_images_outside_0_and_1_are_an_error(backend, value):
    images = np.full((4, 5), 0.5, dtype=np.float32)
    images[2, 3] = value
    with pytest.raises(ValueError, match=r"\[0, 1\], not in \[.*uint8"):
        check_images(backend.asarray(images))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_floating_type_is_allowed(dtype):
    images = np.array([[0, 1]], dtype=dtype)
    assert check_images(images).dtype == dtype


def test_a_bare_list_is_no_image():
    with pytest.raises(TypeError, match=r"images must be an array.*not list"):
        check_images([[0, 1]])


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64])
def test_masks_are_bool_or_integers(backend, rng, dtype):
    mask = scenes.mask(rng, 4, 5)
    values = mask if dtype == np.bool_ else (mask * 7).astype(dtype)
    images = backend.asarray(np.zeros((1, 4, 5, 3), dtype=np.uint8))
    result = backend.to_numpy(check_masks(backend.asarray(values), images))
    assert result.dtype == bool
    np.testing.assert_array_equal(result, mask[None, ...])


def test_floating_masks_are_an_error():
    images = np.zeros((1, 4, 5, 3))
    with pytest.raises(TypeError, match=r"^init must be bool, or integers.*not float64"):
        check_masks(np.zeros((4, 5)), images, "init")


@pytest.mark.parametrize("shape", [(5, 4), (2, 4, 5), (1, 4, 5, 1), (5,)], ids=str)
def test_masks_of_another_shape_are_an_error_that_shows_both(shape):
    images = np.zeros((1, 4, 5, 3))
    with pytest.raises(ValueError, match=r"^masks of shape \(.*\) do not fit images of shape \(1, 4, 5, 3\)"):
        check_masks(np.zeros(shape, dtype=bool), images)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_colours_are_channels_first_from_minus_1_to_1(backend, dtype):
    images = np.zeros((1, 2, 3, 2), dtype=dtype)
    images[0, 1, 2, 1] = 255 if dtype == np.uint8 else 1
    result = to_colours(backend.asarray(images))
    colours = backend.to_numpy(result)
    expected = np.full((1, 2, 2, 3), -1, dtype=np.float32)
    expected[0, 1, 1, 2] = 1
    np.testing.assert_array_equal(colours, expected)
    assert colours.dtype == np.float32
    np.testing.assert_allclose(backend.to_numpy(to_images(result)) * images.max(), images)


def test_uint8_is_scaled_as_divided_by_255():
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(
        to_colours(images), to_colours((images / np.float32(255)).astype(np.float32))
    )


@pytest.mark.parametrize("shape", [(3, 128, 128), (100, 32, 32), (2, 3, 64, 64)])
def test_channels_that_can_hardly_be_channels_are_warned_of(shape):
    with pytest.warns(UserWarning, match=rf"{shape[-1]} channels; N grey images are images\[\.\.\., None\]"):
        check_images(np.zeros(shape, dtype=np.uint8))
