import numpy as np
import pytest

from iem_xp_keras.augmentation import AUGMENTATIONS, flip


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.fixture
def mask(image):
    return (image[..., 0] > 127).astype(np.uint8)


def test_flips_mirror_image_and_mask_half_of_the_time(image, mask, rng):
    seen = [flip(image, mask, rng) for _ in range(100)]
    mirrored = [np.array_equal(x, image[:, ::-1]) and np.array_equal(y, mask[:, ::-1]) for x, y in seen]
    kept = [np.array_equal(x, image) and np.array_equal(y, mask) for x, y in seen]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert 30 < sum(mirrored) < 70


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_changes_the_image_but_neither_shape_nor_type(name, image, mask, rng):
    changed, moved = AUGMENTATIONS[name](image, mask, rng)
    assert (changed.shape, changed.dtype, moved.shape, moved.dtype) == (
        (32, 32, 3),
        np.uint8,
        (32, 32),
        np.uint8,
    )
    assert not np.array_equal(changed, image)


def test_a_scaled_mask_stays_on_its_pixels(image, mask, rng):
    for _ in range(5):
        scaled, moved = AUGMENTATIONS["scale"](image, mask, rng)
        assert np.array_equal(moved, scaled[..., 0] > 127)


def test_colours_leave_the_mask_as_it_is(image, mask, rng):
    assert AUGMENTATIONS["colour"](image, mask, rng)[1] is mask
