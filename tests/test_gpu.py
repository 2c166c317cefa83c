"""What only a GPU can show. Run where CuPy finds one; elsewhere, IEM_XP_REQUIRE=gpu makes these tests fail.

Besides, all tests of the core that take a `backend` run on it: ``pytest -m gpu`` selects both.
"""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from array_api_compat import device
from click.testing import CliRunner

import iem_xp_cli
import scenes
from iem_xp import DeviceError, IEMConfig, arrays, inpaint, inpainting_error, metrics, objective, segment
from iem_xp.images import fit_image
from iem_xp.layout import check_images
from iem_xp_cli.main import cli

SAMPLES = sorted((Path(iem_xp_cli.__file__).parent / "samples").glob("*.jpg"))
SHORT = IEMConfig(iterations=8, init_sides=(44, 92))

pytestmark = pytest.mark.gpu


@pytest.fixture
def cupy():
    return importlib.import_module("cupy")


@pytest.fixture
def second_gpu(cupy):
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("this machine has one GPU")
    return "gpu:1"


@pytest.fixture
def pool(cupy):
    """CuPy's memory pool, without a limit again afterwards."""
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    yield pool
    pool.set_limit(size=0)
    pool.free_all_blocks()


@pytest.fixture
def memory():
    return importlib.import_module("iem_xp.memory")


@pytest.fixture(scope="module")
def photographs():
    pixels = [fit_image(iio.imread(file), 128, "crop") for file in SAMPLES]
    return np.stack([array if array.ndim == 3 else np.stack([array] * 3, axis=-1) for array in pixels])


# The result


def test_the_masks_of_photographs_are_those_of_numpy(cupy, photographs):
    same = []
    for side in (44, 78, 92):
        config = IEMConfig(init_sides=side)
        expected = segment(photographs, config, engine="array")
        found = segment(cupy.asarray(photographs), config)
        same += (found.masks.get() == expected.masks).all(axis=(1, 2)).tolist()
        np.testing.assert_allclose(found.inpainting_error.get(), expected.inpainting_error, rtol=1e-2)
    assert len(same) == 18
    assert sum(same) >= 17  # a rounding may send one elsewhere


def test_the_formulas_are_those_of_numpy(cupy, photographs):
    images, masks = photographs / 255, photographs[..., 0] > 100
    ours = cupy.asarray(images), cupy.asarray(masks)
    np.testing.assert_allclose(inpaint(*ours).get(), inpaint(images, masks), rtol=1e-10)
    np.testing.assert_allclose(inpainting_error(*ours).get(), inpainting_error(images, masks), rtol=1e-10)
    for found, expected in zip(objective(*ours), objective(images, masks), strict=True):
        np.testing.assert_allclose(found.get(), expected, rtol=0, atol=1e-10 * abs(expected).max())
    np.testing.assert_array_equal(
        metrics.iou(ours[1], ~ours[1], polarity="either").get(), [1] * len(photographs)
    )


def test_one_image_and_many_have_the_same_masks(cupy, photographs):
    together = segment(cupy.asarray(photographs), IEMConfig(choose="image")).masks.get()
    alone = [segment(cupy.asarray(image), IEMConfig(choose="image")).masks.get()[0] for image in photographs]
    same = [bool((one == other).all()) for one, other in zip(together, alone, strict=True)]
    assert sum(same) >= len(photographs) - 1  # cuBLAS may add in another order


def test_a_second_search_gives_the_same_masks(cupy, photographs):
    images = cupy.asarray(photographs)
    np.testing.assert_array_equal(segment(images).masks.get(), segment(images).masks.get())


# Where it is, and what moves


def test_the_result_is_where_the_images_are(cupy, rng):
    images = cupy.asarray(scenes.images(rng, 2))
    for array in vars(segment(images, SHORT)).values():
        assert type(array) is cupy.ndarray
        assert device(array) == device(images)


def test_images_of_the_host_come_back_to_the_host(cupy, rng):
    images = scenes.images(rng, 2)
    result = segment(images, SHORT, device="gpu")
    assert type(result.masks) is np.ndarray
    np.testing.assert_array_equal(result.masks, segment(images, SHORT).masks)


def test_images_of_a_gpu_are_not_copied(cupy, rng):
    images = cupy.asarray(scenes.images(rng, 2))
    before = images.copy()
    assert check_images(images).data.ptr == images.data.ptr
    assert arrays.to_device(images, "gpu:0").data.ptr == images.data.ptr
    segment(images, SHORT, device="gpu:0")
    assert (images == before).all()


def test_of_a_search_on_a_gpu_only_flags_come_to_the_host(cupy, rng, monkeypatch):
    images = cupy.asarray(scenes.images(rng, 5))
    fetched = []

    def watch(array):
        fetched.append(array)
        return to_host(array)

    to_host = arrays.to_host
    for name, module in list(sys.modules.items()):
        if name.startswith("iem_xp.") and hasattr(module, "to_host"):
            monkeypatch.setattr(module, "to_host", watch)
    result = segment(images)
    metrics.iou(result.masks, result.masks)
    objective(images, result.masks)
    on_gpu = [array for array in fetched if isinstance(array, cupy.ndarray)]
    assert {(array.dtype, array.shape) for array in on_gpu} <= {(np.dtype(bool), (n,)) for n in range(6)}


def test_8_bit_images_travel_as_8_bits(cupy, photographs, monkeypatch):
    travelled = []
    asarray = cupy.asarray

    def watch(values, *arguments, **keywords):
        if isinstance(values, np.ndarray):
            travelled.append(values)
        return asarray(values, *arguments, **keywords)

    monkeypatch.setattr(cupy, "asarray", watch)
    segment(photographs, SHORT, device="gpu")
    assert sum(array.size for array in travelled if array.dtype == np.uint8) == photographs.size
    assert all(array.size < photographs[0].size for array in travelled if array.dtype != np.uint8)


def test_a_gpu_that_is_not_there_is_an_error(cupy, rng):
    count = cupy.cuda.runtime.getDeviceCount()
    with pytest.raises(DeviceError, match=f"no gpu:{count}"):
        segment(scenes.images(rng, 1), SHORT, device=f"gpu:{count}")


def test_the_second_gpu_works_alone(cupy, second_gpu, rng):
    images = scenes.images(rng, 2)
    expected = segment(images, SHORT)
    with cupy.cuda.Device(1):
        there = cupy.asarray(images)
    result = segment(there, SHORT)  # while the first is the current one
    assert all(array.device.id == 1 for array in vars(result).values())
    assert metrics.iou(result.masks, result.masks, polarity="either").device.id == 1
    np.testing.assert_array_equal(result.masks.get(), expected.masks)
    np.testing.assert_array_equal(segment(images, SHORT, device=second_gpu).masks, expected.masks)


def test_the_second_gpu_works_for_images_of_the_first(cupy, second_gpu, rng):
    images = cupy.asarray(scenes.images(rng, 2))
    result = segment(images, SHORT, device=second_gpu)
    assert all(array.device.id == 0 for array in vars(result).values())


# Precision and memory


PRODUCT = """
import cupy, numpy as np
from iem_xp import IEMConfig
from iem_xp.arrays import exactly
from iem_xp.gaussian import Gaussian
planes = np.random.default_rng(0).normal(size=(4, 128, 128)).astype(np.float32)
there = cupy.asarray(planes)
with exactly(there):
    K = Gaussian(there, IEMConfig())
    found = K(there).get()
exact = Gaussian(planes.astype(np.float64), IEMConfig())(planes.astype(np.float64))
print(abs(found - exact).max())
"""


@pytest.mark.parametrize("tf32", ["0", "1"])
def test_products_have_the_precision_of_float32_whatever_cupy_is_told(cupy, tf32):
    environment = {**os.environ, "CUPY_TF32": tf32}
    done = subprocess.run([sys.executable, "-c", PRODUCT], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-6  # with TF32, whose factors have 10 bits, it is 1e-4


def test_in_little_memory_the_masks_are_the_same(pool, memory, photographs):
    images = np.concatenate([photographs] * 4)
    config = IEMConfig(iterations=10)
    expected = segment(images, config, device="gpu")
    pool.free_all_blocks()
    pool.set_limit(size=20 * memory.bytes_per_image(images.shape))
    assert_nearly_same(segment(images, config, device="gpu"), expected)


def test_out_of_memory_halves_the_batch_and_says_so(pool, memory, photographs, monkeypatch):
    images = np.concatenate([photographs] * 4)
    config = IEMConfig(iterations=10)
    expected = segment(images, config, device="gpu")
    pool.free_all_blocks()
    pool.set_limit(size=8 * memory.bytes_per_image(images.shape))
    monkeypatch.setattr(memory, "free_memory", lambda array: None)  # so that it is found out the hard way
    with pytest.warns(RuntimeWarning, match="out of memory on") as said:
        found = segment(images, config, device="gpu")
    assert "with 24 images" in str(said[0].message)
    assert_nearly_same(found, expected)


def test_an_image_that_does_not_fit_alone_is_an_error(pool, photographs):
    pool.set_limit(size=2**18)
    with pytest.raises(MemoryError, match=r"128 x 128 pixels.* does not fit into the memory of"):
        segment(photographs[:1], SHORT, device="gpu")


def assert_nearly_same(found, expected):
    """Masks are the same, but for one that a rounding sends elsewhere."""
    same = (found.masks == expected.masks).all(axis=(1, 2))
    assert same.sum() >= len(same) - 1
    np.testing.assert_allclose(found.inpainting_error, expected.inpainting_error, rtol=1e-2)


# The command


def test_the_command_segments_a_folder(cupy, tmp_path):
    for name in ("cpu", "gpu"):
        options = ["--device", name, "--engine", "array", "--preset", "paper", "--json", "--choose", "image"]
        folder = str(SAMPLES[0].parent)
        done = CliRunner().invoke(cli, ["segment", folder, "-o", str(tmp_path / name), *options])
        assert done.exit_code == 0, done.output
        summary = json.loads(done.stdout)
        assert summary["done"] == len(SAMPLES)
        assert summary["device"] == {"cpu": "cpu", "gpu": "gpu:0"}[name]
    masks = [
        [iio.imread(file) for file in sorted((tmp_path / name).rglob("*.png"))] for name in ("cpu", "gpu")
    ]
    assert len(masks[0]) == len(masks[1]) == len(SAMPLES)
    same = [bool((one == other).all()) for one, other in zip(*masks, strict=True)]
    assert sum(same) >= len(SAMPLES) - 1


def test_auto_takes_the_gpu_and_says_so(cupy, tmp_path):
    done = CliRunner().invoke(cli, ["segment", str(SAMPLES[0]), "-o", str(tmp_path / "run"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["device"] == "gpu:0"
    assert "gpu:0" in done.stderr
