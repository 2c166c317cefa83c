import numpy as np
import pytest

from iem_xp_pixels.features import pixel_features


@pytest.fixture
def image(rng):
    """A red square, a little left of the centre, on green; both with noise."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 1] = 150
    image[20:44, 16:40] = (180, 20, 20)
    return image + rng.integers(0, 30, image.shape, dtype=np.uint8)


def test_there_is_a_finite_value_of_order_one_for_every_pixel(image):
    features = pixel_features(image)
    assert features.dtype == np.float32
    assert features.shape[:2] == (64, 64)
    assert np.isfinite(features).all()
    assert np.abs(features).max() < 20


@pytest.mark.parametrize("side", [1, 2, 3, 7])
def test_images_of_few_pixels_have_features_too(image, side):
    features = pixel_features(image[:side, :side])
    assert features.shape == (side, side, pixel_features(image).shape[-1])
    assert np.isfinite(features).all()


def test_a_mirrored_image_has_mirrored_features(image):
    # But for the palette, which begins with other pixels: here both find red and green.
    image[..., 2] = 0
    image = image // 64 * 64
    np.testing.assert_allclose(
        pixel_features(image[:, ::-1]), pixel_features(image)[:, ::-1], rtol=0, atol=1e-4
    )


def test_features_say_what_is_special_about_a_subject_whatever_its_colour(image):
    """The same features tell the square from the ground when their colours are exchanged."""
    inside = np.zeros((64, 64), bool)
    inside[20:44, 16:40] = True
    exchanged = np.where(inside[..., np.newaxis], np.roll(image, 20, axis=0), np.roll(image, -24, axis=1))
    exchanged = image[..., [1, 0, 2]]
    apart = [
        [features[inside].mean(axis=0) - features[~inside].mean(axis=0)]
        for features in map(pixel_features, (image, exchanged))
    ]
    same_sign = np.sign(apart[0][0]) == np.sign(apart[1][0])
    clear = np.minimum(*np.abs(apart)[:, 0]) > 0.5
    assert (same_sign & clear).sum() >= 4  # rarity at the border, frequency in the centre, distance
