"""The same rules for data types, values and layouts in every array library."""

import numpy as np
import pytest
from array_api_compat import array_namespace

import scenes
from iem_xp import IEMConfig, centred_square, inpaint, inpainting_error, objective, segment, update

SHORT = IEMConfig(iterations=4, init_sides=92)


def typed(backend, values, dtype):
    """Array of this library and this data type, or a skipped test where the library has no such type."""
    array = backend.asarray(values)
    xp = array_namespace(array)
    if not hasattr(xp, dtype):
        pytest.skip(f"{backend.value} has no {dtype}")
    return xp.astype(array, getattr(xp, dtype))


def is_of(array, dtype):
    return array.dtype == getattr(array_namespace(array), dtype)


# Data types


@pytest.mark.parametrize("dtype", ["uint8", "float16", "bfloat16", "float32", "float64"])
def test_every_function_takes_these_images_and_gives_this_type(backend, rng, dtype):
    values = scenes.images(rng, 2)
    if dtype != "uint8":
        values = np.round(values / 255 * 64).astype(np.float32) / 64  # exact in 8 bits
    expected = segment(values, SHORT)
    with backend.having(dtype):
        images = typed(backend, values, dtype)
        result = segment(images, SHORT)
        np.testing.assert_array_equal(backend.to_numpy(result.masks), expected.masks)
        assert is_of(result.inpainting_error, "float32")
        assert is_of(update(images, result.masks), "bool")
        computed = "float64" if dtype == "float64" else "float32"
        assert is_of(inpaint(images, result.masks), computed)
        assert is_of(inpainting_error(images, result.masks), computed)
        assert all(is_of(array, computed) for array in objective(images, result.masks))


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "complex64"]
)
def test_no_function_takes_these_images(backend, dtype):
    with backend.having(dtype):
        images = typed(backend, np.zeros((1, 4, 5, 3), dtype=np.uint8), dtype)
    masks = backend.asarray(np.zeros((1, 4, 5), dtype=bool))
    for call in (
        lambda: segment(images),
        lambda: centred_square(images, 78),
        lambda: update(images, masks),
        lambda: inpainting_error(images, masks),
    ):
        with pytest.raises(TypeError, match=rf"uint8 in \[0, 255\] or floating in \[0, 1\], not .*{dtype};"):
            call()


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "uint16", "int32", "int64", "uint64"])
def test_masks_are_of_these_types_and_foreground_where_not_0(backend, rng, dtype):
    images, mask = backend.asarray(scenes.images(rng, 1)), scenes.mask(rng)[None]
    expected = backend.to_numpy(update(images, backend.asarray(mask)))
    with backend.having(dtype):
        masks = typed(backend, mask * np.uint8(100), dtype)
        np.testing.assert_array_equal(backend.to_numpy(update(images, masks)), expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64"])
def test_masks_are_of_no_other_type(backend, dtype):
    images = backend.asarray(np.zeros((1, 4, 5, 3), dtype=np.uint8))
    masks = typed(backend, np.zeros((1, 4, 5), dtype=np.uint8), dtype)
    with pytest.raises(TypeError, match=rf"masks must be bool, or integers.*not .*{dtype}$"):
        update(images, masks)


def test_numpys_arrays_of_a_type_from_elsewhere_are_an_error_that_names_it():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    images = np.zeros((4, 5), dtype=ml_dtypes.bfloat16)
    with pytest.raises(TypeError, match=r"images must be .*not bfloat16"):
        segment(images)
    with pytest.raises(TypeError, match=r"masks must be .*not bfloat16"):
        update(np.zeros((4, 5)), images)


def test_images_that_require_a_gradient_are_segmented_all_the_same(rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    values = (scenes.images(rng, 2) / 255).astype(np.float32)
    images = torch.asarray(values).requires_grad_()
    np.testing.assert_array_equal(segment(images, SHORT).masks, segment(values, SHORT).masks)


# How arrays lie in memory


def test_transposed_images_and_masks_are_as_good(backend, rng):
    images, mask = scenes.images(rng, 2), np.stack([scenes.mask(rng), scenes.mask(rng)])
    expected = update(images, mask)
    ours = backend.asarray(np.ascontiguousarray(np.moveaxis(images, -1, 1)))  # (N, C, H, W)
    turned = backend.asarray(np.ascontiguousarray(np.swapaxes(mask, 1, 2)))
    xp = array_namespace(ours)
    views = xp.permute_dims(ours, (0, 2, 3, 1)), xp.permute_dims(turned, (0, 2, 1))
    np.testing.assert_array_equal(backend.to_numpy(update(*views)), expected)
    result = segment(views[0], IEMConfig(iterations=1), init=views[1])
    np.testing.assert_array_equal(backend.to_numpy(result.masks), expected)


LAYOUTS = {
    "by columns": np.asfortranarray,
    "every second": lambda array: np.repeat(array, 2, axis=2)[:, :, ::2],
    "backwards": lambda array: np.ascontiguousarray(array[:, ::-1, ::-1])[:, ::-1, ::-1],
    "of the other byte order": lambda array: array.astype(array.dtype.newbyteorder("S")),
    "of another class": lambda array: array.view(type("Photographs", (np.ndarray,), {})),
}


@pytest.mark.parametrize("engine", ["array", "fused"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_numpy_arrays_are_taken_as_they_lie(rng, dtype, layout, engine):
    images, masks = scenes.images(rng, 2), np.stack([scenes.mask(rng), scenes.mask(rng)])
    images = images if dtype == np.uint8 else (images / 255).astype(dtype)
    integers = masks.astype(np.int32)
    laid = LAYOUTS[layout](images), LAYOUTS[layout](integers)
    result = segment(laid[0], SHORT, init=laid[1], engine=engine)
    expected = segment(images, SHORT, init=integers, engine=engine)
    for name, array in vars(result).items():
        assert type(array) is np.ndarray, name
        np.testing.assert_array_equal(array, getattr(expected, name), err_msg=name)
    value, gradient = objective(*laid)
    assert value.dtype == gradient.dtype == (np.float64 if dtype == np.float64 else np.float32)
    np.testing.assert_array_equal(gradient, objective(images, masks)[1])


def test_a_file_may_be_mapped(rng, tmp_path):
    images = scenes.images(rng, 2)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    result = segment(mapped, SHORT)
    assert type(result.masks) is np.ndarray
    np.testing.assert_array_equal(result.masks, segment(images, SHORT).masks)


# Values


@pytest.mark.parametrize("value", [-0.005, 1.0000002, 1.005])
def test_a_floating_image_may_leave_0_to_1_by_rounding(backend, rng, value):
    images = (scenes.images(rng, 1) / 255).astype(np.float32)
    images[0, 3, 3] = value
    np.testing.assert_array_equal(
        backend.to_numpy(segment(backend.asarray(images), SHORT).masks), segment(images, SHORT).masks
    )


def test_dask_arrays_are_an_error_that_says_what_to_do():
    dask = pytest.importorskip("dask.array", reason="Dask is not installed")
    with pytest.raises(TypeError, match=r"^images must be no Dask array.*map_blocks"):
        segment(dask.zeros((1, 4, 5, 3)))
