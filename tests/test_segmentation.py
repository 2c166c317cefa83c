import numpy as np
import pytest
from array_api_compat import array_namespace, device

import oracle
import scenes
from gpus import pretend_cupy, pretend_no_cupy
from iem_xp import DeviceError, IEMConfig, memory, segment
from iem_xp.arrays import to_device
from iem_xp.choice import Ascent, per_image
from iem_xp.segmentation import choose

SHORT = IEMConfig(iterations=8, init_sides=(44, 92))


def check_contract(result, n, height, width):
    """What every result promises, whatever the input; takes NumPy arrays."""
    assert result.masks.shape == (n, height, width)
    assert result.inpainting_error.shape == result.init_side.shape == result.updates.shape == (n,)
    assert result.masks.dtype == bool
    assert result.inpainting_error.dtype == np.float32
    assert np.isfinite(result.inpainting_error).all()
    assert (result.inpainting_error >= 0).all()
    assert result.init_side.dtype.kind == result.updates.dtype.kind == "i"


# Libraries


@pytest.mark.parametrize("choice", ["dataset", "image"])
def test_every_library_gives_its_own_arrays_and_the_same_masks(backend, rng, choice):
    images = scenes.images(rng, 2)
    config = IEMConfig(iterations=6, init_sides=(44, 92), choose=choice)
    expected = segment(images, config)
    ours = backend.asarray(images)
    result = segment(ours, config)
    for name, array in vars(result).items():
        assert array_namespace(array) is array_namespace(ours), name
        assert device(array) == device(ours), name
        values = backend.to_numpy(array)
        assert values.dtype.kind == getattr(expected, name).dtype.kind, name
        if name == "inpainting_error":
            assert values.dtype == np.float32
            np.testing.assert_allclose(values, expected.inpainting_error, rtol=1e-5)
        else:
            np.testing.assert_array_equal(values, getattr(expected, name), err_msg=name)


def test_given_masks_work_in_every_library(backend, rng):
    images, masks = scenes.images(rng, 2), np.stack([scenes.mask(rng), scenes.mask(rng)])
    expected = segment(images, SHORT, init=masks)
    result = segment(backend.asarray(images), SHORT, init=backend.asarray(masks))
    np.testing.assert_array_equal(backend.to_numpy(result.masks), expected.masks)
    np.testing.assert_array_equal(backend.to_numpy(result.init_side), [0, 0])


def test_an_explicit_cpu_gives_back_arrays_of_the_images_library(backend, rng):
    images = backend.asarray(scenes.images(rng, 2))
    result = segment(images, SHORT, device="cpu")
    expected = segment(scenes.images(np.random.default_rng(20210621), 2), SHORT)
    np.testing.assert_array_equal(backend.to_numpy(result.masks), expected.masks)
    assert backend.to_numpy(result.inpainting_error).dtype == np.float32


def test_the_images_are_left_alone(rng):
    images, masks = scenes.images(rng, 2) / 255, scenes.mask(rng)[None].repeat(2, 0)
    before = images.copy(), masks.copy()
    segment(images, SHORT, init=masks)
    np.testing.assert_array_equal(images, before[0])
    np.testing.assert_array_equal(masks, before[1])


# The method, from the outside


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("iterations", 1),
        ("init_sides", 44),
        ("kernel_size", 5),
        ("sigma", 1.0),
        ("repeats", 1),
        ("scale_factor", 2),
        ("regularization", 0.01),
        ("epsilon", 1e-2),
        ("boundary_only", False),
        ("smooth", False),
    ],
)
def test_every_switch_obeys_the_oracle_and_changes_something(rng, field, value):
    images = scenes.images(rng, 4)
    default = {"iterations": 3, "init_sides": 92}
    config = IEMConfig(**{**default, field: value})
    result = segment(images, config)
    for image, mask in zip(images, result.masks, strict=True):
        start = oracle.square(24, 20, config.init_sides[0])
        np.testing.assert_array_equal(mask, oracle.ascend(oracle.colours(image), start, config))
    usual = segment(images, IEMConfig(**default))
    assert (result.masks != usual.masks).any()


def test_an_object_on_a_background_is_found():
    image = np.full((64, 64, 3), 40, dtype=np.uint8)
    image[20:44, 16:40] = 220
    result = segment(image)
    truth = (image == 220).all(-1)
    intersection, union = (result.masks[0] & truth).sum(), (result.masks[0] | truth).sum()
    assert intersection / union > 0.9


def test_no_iterations_keep_the_square(rng):
    result = segment(scenes.images(rng, 2), IEMConfig(iterations=0, init_sides=78))
    np.testing.assert_array_equal(result.masks, [oracle.square(24, 20, 78)] * 2)
    np.testing.assert_array_equal(result.updates, [0, 0])


def test_uint8_and_floating_agree(rng):
    images = scenes.images(rng, 4)
    expected = segment(images, SHORT)
    for dtype in (np.float32, np.float64):
        result = segment((images / 255).astype(dtype), SHORT)
        np.testing.assert_array_equal(result.masks, expected.masks)
        np.testing.assert_allclose(result.inpainting_error, expected.inpainting_error, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 7])
def test_any_number_of_channels(rng, channels):
    images = scenes.images(rng, 2, channels=channels)
    config = IEMConfig(iterations=8, init_sides=92)
    result = segment(images, config)
    check_contract(result, 2, 24, 20)
    for image, mask in zip(images, result.masks, strict=True):
        expected = oracle.ascend(oracle.colours(image), oracle.square(24, 20, 92), config)
        np.testing.assert_array_equal(mask, expected)


def test_a_single_image_needs_no_batch_axis_and_a_grey_one_no_channels(rng):
    images = scenes.images(rng, 1, channels=1)
    batch = segment(images, SHORT)
    for single in (images[0], images[0, :, :, 0]):
        result = segment(single, SHORT)
        check_contract(result, 1, 24, 20)
        np.testing.assert_array_equal(result.masks, batch.masks)


def test_grey_as_one_channel_or_three_equal_ones(rng):
    images = scenes.images(rng, 3, channels=1)
    config = IEMConfig(iterations=8, init_sides=92, regularization=0.0)  # the diversity sums over channels
    one, three = segment(images, config), segment(images.repeat(3, -1), config)
    np.testing.assert_array_equal(one.masks, three.masks)


# Odd input


@pytest.mark.parametrize("choice", ["dataset", "image"])
@pytest.mark.parametrize("given", [False, True])
def test_no_images_give_no_masks(backend, choice, given):
    images = backend.asarray(np.zeros((0, 24, 20, 3), dtype=np.uint8))
    init = backend.asarray(np.zeros((0, 24, 20), dtype=bool)) if given else None
    result = segment(images, IEMConfig(choose=choice), init=init)
    masks = backend.to_numpy(result.masks)
    assert masks.shape == (0, 24, 20)
    assert masks.dtype == bool
    for array in (result.inpainting_error, result.init_side, result.updates):
        assert backend.to_numpy(array).shape == (0,)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (1, 30), (30, 1), (2, 2), (5, 5), (7, 200)], ids=str)
def test_any_size(rng, size):
    images = rng.integers(0, 256, (3, *size, 3), dtype=np.uint8)
    result = segment(images, IEMConfig(iterations=20))
    check_contract(result, 3, *size)


def test_an_image_of_one_row_in_every_library(backend, rng):
    images = rng.integers(0, 256, (2, 1, 6, 1), dtype=np.uint8)
    expected = segment(images, SHORT)
    result = segment(backend.asarray(images), SHORT)
    np.testing.assert_array_equal(backend.to_numpy(result.masks), expected.masks)


@pytest.mark.parametrize("value", [0, 0.3, 0.5, 1])
def test_a_constant_image_keeps_its_mask(value):
    images = np.full((1, 48, 40, 3), value, dtype=np.float32)
    for side in (44, 92):
        result = segment(images, IEMConfig(init_sides=side))
        np.testing.assert_array_equal(result.masks[0], oracle.square(48, 40, side))
        np.testing.assert_array_equal(result.inpainting_error, [0])


def test_a_constant_image_keeps_its_mask_in_every_library(backend):
    images = np.full((1, 24, 20, 3), [10, 200, 77], dtype=np.uint8)
    config = IEMConfig(iterations=4, init_sides=92)
    result = segment(backend.asarray(images), config)
    np.testing.assert_array_equal(backend.to_numpy(result.masks), [oracle.square(24, 20, 92)])
    np.testing.assert_array_equal(backend.to_numpy(result.inpainting_error), [0])


def test_a_constant_channel_only_dilutes_the_error(rng):
    images = scenes.images(rng, 3)
    config = IEMConfig(iterations=10, init_sides=92, regularization=0.0)
    with_alpha = segment(np.concatenate([images, np.full_like(images[..., :1], 200)], axis=-1), config)
    without = segment(images, config)
    np.testing.assert_array_equal(with_alpha.masks, without.masks)
    np.testing.assert_allclose(with_alpha.inpainting_error, without.inpainting_error * 3 / 4, rtol=1e-5)


@pytest.mark.parametrize("value", [False, True])
def test_an_empty_or_full_mask_stays(rng, value):
    images = scenes.images(rng, 2)
    masks = np.full((2, 24, 20), value)
    result = segment(images, init=masks)
    np.testing.assert_array_equal(result.masks, masks)
    np.testing.assert_array_equal(result.inpainting_error, [0, 0])


# The choice among squares


def ascents(errors):
    """One ascent for each row of errors (sides, N); masks and updates tell which they are."""
    sides, n = np.shape(errors)
    return [
        Ascent(
            masks=np.full((n, 1, 1), False) | ((side >> np.arange(2)) % 2 == 1)[None, None, :],
            inpainting_error=np.array(errors[side], dtype=np.float32),
            updates=np.full(n, 10 + side),
            information=np.array(errors[side], dtype=np.float32)[::-1].copy(),
            start=np.full(n, side),
        )
        for side in range(sides)
    ]


@pytest.mark.parametrize(
    ("errors", "dataset", "image"),
    [
        ([[1, 1, 1], [2, 0, 2], [0, 3, 0]], [1, 1, 1], [1, 2, 1]),
        ([[0, 0, 3], [1, 1, 0], [0, 0, 0]], [0, 0, 0], [1, 1, 0]),
        ([[2, 2, 2], [2, 2, 2], [2, 2, 2]], [0, 0, 0], [0, 0, 0]),
        ([[1, 2, 0], [2, 1, 0], [0, 0, 3]], [0, 0, 0], [1, 0, 2]),
    ],
    ids=["a side for all", "one image decides", "equal", "equal means"],
)
def test_the_highest_error_wins_and_of_equals_the_first(backend, errors, dataset, image):
    sides = (44, 78, 92)
    ours = [Ascent(*map(backend.asarray, ascent)) for ascent in ascents(errors)]
    for choice, winners in [("dataset", dataset), ("image", image)]:
        result = choose(per_image(ours, IEMConfig(choose=choice)), sides)
        np.testing.assert_array_equal(backend.to_numpy(result.init_side), np.take(sides, winners))
        np.testing.assert_array_equal(backend.to_numpy(result.updates), np.add(winners, 10))
        expected = np.take(errors, winners, axis=0)[range(3), range(3)]
        np.testing.assert_array_equal(backend.to_numpy(result.inpainting_error), expected)
        masks = backend.to_numpy(result.masks)
        np.testing.assert_array_equal(masks[:, 0, :] @ [1, 2], winners)


def test_the_best_preset_finds_the_object(backend, rng, monkeypatch):
    monkeypatch.setattr("iem_xp.cut.STEPS", 30)
    rows, columns = np.mgrid[:24, :20]
    truth = ((rows - 11) / 7) ** 2 + ((columns - 11) / 5) ** 2 < 1
    paint = np.array([(60, 90, 120), (200, 120, 70)])[truth.astype(int)]
    images = np.clip(paint + rng.normal(0, 12, (2, 24, 20, 3)), 0, 255).astype(np.uint8)
    result = segment(backend.asarray(images), IEMConfig.preset("best"))
    masks = backend.to_numpy(result.masks)
    for mask in masks:
        assert np.sum(mask & truth) / np.sum(mask | truth) > 0.95
    check_contract(type(result)(**{name: backend.to_numpy(a) for name, a in vars(result).items()}), 2, 24, 20)


def test_the_choice_is_among_the_ascents_of_each_square(rng):
    images = scenes.images(rng, 5)
    alone = {side: segment(images, IEMConfig(iterations=10, init_sides=side)) for side in (44, 78, 92)}
    errors = np.stack([result.inpainting_error for result in alone.values()])
    for choice, best in [("dataset", np.full(5, errors.mean(1).argmax())), ("image", errors.argmax(0))]:
        result = segment(images, IEMConfig(iterations=10, choose=choice))
        np.testing.assert_array_equal(result.init_side, np.take(list(alone), best))
        for i, side in enumerate(result.init_side.tolist()):
            np.testing.assert_array_equal(result.masks[i], alone[side].masks[i])
            assert result.updates[i] == alone[side].updates[i]
            assert result.inpainting_error[i] == pytest.approx(alone[side].inpainting_error[i], rel=1e-6)


# Errors


def test_what_is_no_array_is_an_error():
    with pytest.raises(TypeError, match=r"images must be an array.*not str"):
        segment("image.png")


def test_16_bit_images_are_an_error():
    with pytest.raises(TypeError, match=r"uint8 in \[0, 255\] or floating in \[0, 1\], not uint16"):
        segment(np.zeros((4, 4, 3), dtype=np.uint16))


def test_floating_images_up_to_255_are_an_error():
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], not in \[0, 255\]"):
        segment(np.array([[0.0, 255.0]]))


def test_masks_of_another_shape_are_an_error_that_shows_both():
    with pytest.raises(ValueError, match=r"init of shape \(1, 20, 24\).*images of shape \(2, 24, 20, 3\)"):
        segment(np.zeros((2, 24, 20, 3)), init=np.zeros((20, 24), dtype=bool))


def test_masks_of_another_library_are_an_error_that_names_both():
    strict = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    with pytest.raises(TypeError, match=r"one library.*init: array_api_strict.*images: numpy"):
        segment(np.zeros((4, 5, 3)), init=strict.zeros((4, 5), dtype=strict.bool))


def test_an_unknown_engine_is_an_error_that_lists_the_known():
    with pytest.raises(ValueError, match=r"engine must be one of auto, array.*not 'warp'"):
        segment(np.zeros((4, 5, 3)), engine="warp")


def test_an_unknown_device_is_an_error_that_lists_the_known():
    with pytest.raises(ValueError, match='"auto", "cpu", "gpu" or "gpu:N", not \'nonsense\''):
        segment(np.zeros((4, 5, 3)), device="nonsense")


def test_images_are_computed_on_the_gpu_that_is_named(rng, monkeypatch):
    pretend_cupy(monkeypatch, count=2)
    devices = []
    monkeypatch.setattr(
        memory, "to_device", lambda array, device: devices.append(device) or to_device(array, device)
    )
    images = scenes.images(rng, 2)
    result = segment(images, SHORT, device="gpu:1")
    assert set(devices) == {"gpu:1"}
    np.testing.assert_array_equal(result.masks, segment(images, SHORT).masks)


def test_the_cpu_that_auto_takes_for_a_gpu_that_fails_is_a_warning(monkeypatch):
    pretend_cupy(monkeypatch, computing=MemoryError("Out of memory allocating 65,536 bytes"))
    with pytest.warns(RuntimeWarning, match="instead of a GPU: .* its memory is taken") as warned:
        segment(np.zeros((4, 5, 3)), device="auto")
    assert warned[0].filename == __file__


def test_a_gpu_that_is_not_there_is_an_error_and_never_the_cpu(monkeypatch):
    pretend_no_cupy(monkeypatch, driver="12.4")
    with pytest.raises(DeviceError, match="CuPy is not installed; install it with: pip install"):
        segment(np.zeros((4, 5, 3)), device="gpu")


def test_a_configuration_of_another_type_is_refused():
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    with pytest.raises(TypeError, match="config must be an IEMConfig, not dict"):
        segment(image, {"iterations": 3})
