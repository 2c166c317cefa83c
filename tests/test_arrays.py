import sys
import types
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import jax
import numpy as np
import pytest

from iem_xp import segment
from iem_xp.arrays import (
    exactly,
    free_memory,
    is_out_of_memory,
    like,
    namespace,
    release_memory,
    to_device,
    to_host,
)


def test_namespace_is_that_of_all_arrays(backend):
    array = backend.asarray(np.zeros(3))
    assert namespace(a=array, b=array) is namespace(a=array)


def test_arrays_of_two_libraries_are_an_error_that_names_them():
    strict = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    with pytest.raises(TypeError, match="one library, not images: numpy, init: array_api_strict"):
        namespace(images=np.zeros(3), init=strict.zeros(3))


@pytest.mark.parametrize("value", [None, [1, 2], "image.png", 3])
def test_what_is_no_array_is_an_error_that_names_it(value):
    with pytest.raises(TypeError, match=f"^init must be an array.*not {type(value).__name__}$"):
        namespace(images=np.zeros(3), init=value)


def test_to_host_and_back(backend, rng):
    values = rng.random((3, 4)).astype(np.float32)
    there = backend.asarray(values)
    here = to_host(there)
    assert type(here) is np.ndarray
    np.testing.assert_array_equal(here, values)
    np.testing.assert_array_equal(backend.to_numpy(like(values, there)), values)


def test_to_device_leaves_on_the_cpu_what_is_there():
    array = np.zeros(3)
    assert to_device(array, "cpu") is array


def test_like_keeps_the_values_type(backend):
    result = like(np.array([True, False]), backend.asarray(np.zeros(1, dtype=np.float32)))
    assert backend.to_numpy(result).dtype == bool


# Where, and how exactly


@contextmanager
def overlapping(array):
    """Two users of `exactly` in two threads, of which the first in has left."""
    first = exactly(array)
    with ThreadPoolExecutor(1) as other:
        other.submit(first.__enter__).result()
        with exactly(array):
            other.submit(first.__exit__, None, None, None).result()
            yield


@pytest.fixture
def on_gpu(monkeypatch):
    """An array that is taken for CuPy's, on a device that says when it is the current one."""

    @contextmanager
    def device():
        array.current = True
        yield
        array.current = False

    array = types.SimpleNamespace(device=device(), current=False)
    monkeypatch.setattr("iem_xp.arrays.is_cupy_array", lambda array: True)
    return array


@pytest.fixture
def linalg():
    """CuPy's own module of matrix products, which knows in which precision to compute them."""
    return pytest.importorskip("cupy._core._routines_linalg", reason="CuPy is not installed")


def test_the_device_of_a_cupy_array_is_the_current_one_while_it_is_worked_on(on_gpu, monkeypatch):
    monkeypatch.setattr("iem_xp.arrays._cupy_in_full", nullcontext())
    with exactly(on_gpu):
        assert on_gpu.current
    assert not on_gpu.current


def test_cupy_does_not_shorten_the_factors_of_products(on_gpu, linalg):
    before = linalg.get_compute_type(np.float32)
    linalg.set_compute_type(np.float32, linalg.COMPUTE_TYPE_FP16)
    try:
        with exactly(on_gpu):
            assert linalg.get_compute_type(np.float32) == linalg.COMPUTE_TYPE_FP32
        assert linalg.get_compute_type(np.float32) == linalg.COMPUTE_TYPE_FP16
    finally:
        linalg.set_compute_type(np.float32, before)


def test_jax_does_not_shorten_the_factors_of_products():
    array = jax.numpy.ones((4, 4))
    with jax.default_matmul_precision("bfloat16"):
        with exactly(array):
            assert jax.config.jax_default_matmul_precision == "highest"
        assert jax.config.jax_default_matmul_precision == "bfloat16"


def torch_precision(torch):
    """All that says how PyTorch computes float32 products, and None for what it refuses to tell."""
    found = []
    for read in (
        torch.get_float32_matmul_precision,
        lambda: torch.backends.cuda.matmul.allow_tf32,
        lambda: torch.backends.cuda.matmul.fp32_precision,
        lambda: torch.backends.mkldnn.matmul.fp32_precision,
    ):
        try:
            found.append(read())
        except (AttributeError, RuntimeError):
            found.append(None)
    return found


def set_one_kind(torch):
    torch.backends.cuda.matmul.fp32_precision = "tf32"


def set_all_kinds(torch):
    torch.backends.fp32_precision = "tf32"


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    yield torch
    torch.set_float32_matmul_precision("highest")
    if hasattr(torch.backends, "fp32_precision"):
        torch.backends.fp32_precision = "none"
        for kind in (torch.backends.cuda, torch.backends.mkldnn):
            kind.matmul.fp32_precision = "none"


@pytest.mark.parametrize(
    "choose",
    [
        lambda torch: torch.set_float32_matmul_precision("highest"),
        lambda torch: torch.set_float32_matmul_precision("high"),
        lambda torch: torch.set_float32_matmul_precision("medium"),
        set_one_kind,
        set_all_kinds,
    ],
    ids=["highest", "high", "medium", "one kind", "all kinds"],
)
def test_torch_does_not_shorten_the_factors_of_products(torch, choose):
    if choose in (set_one_kind, set_all_kinds) and not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("this PyTorch has one precision for all devices")
    choose(torch)
    before = torch_precision(torch)
    with overlapping(torch.ones(2)):
        assert torch_precision(torch)[:2] == ["highest", False]
        assert {*torch_precision(torch)[2:]} <= {"ieee", None}
    assert torch_precision(torch) == before


def test_torch_goes_on_inheriting_its_precision(torch):
    if not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("this PyTorch has one precision for all devices")
    set_all_kinds(torch)
    with exactly(torch.ones(2)):
        assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    torch.backends.fp32_precision = "ieee"
    assert torch.backends.cuda.matmul.fp32_precision == "ieee"


def test_masks_are_the_same_under_torch_s_autocast(torch, rng):
    images = torch.asarray(rng.integers(0, 256, (1, 40, 40, 3), dtype=np.uint8))
    expected = segment(images).masks
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert bool(torch.all(segment(images).masks == expected))


def test_a_masked_array_is_refused():
    with pytest.raises(TypeError, match="images must be no masked array"):
        namespace(images=np.ma.zeros((4, 4)))


# Memory


def error_of(allocate):
    with pytest.raises((MemoryError, RuntimeError)) as raised:
        allocate()
    return raised.value


def test_every_library_is_understood_when_it_runs_out_of_memory():
    assert is_out_of_memory(error_of(lambda: np.empty(2**56)))
    assert is_out_of_memory(error_of(lambda: jax.numpy.ones(2**50).block_until_ready()))
    assert is_out_of_memory(MemoryError())


def test_pytorch_is_understood_when_it_runs_out_of_memory():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    assert is_out_of_memory(error_of(lambda: torch.ones(2**60)))
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))


def test_cupy_is_understood_when_it_runs_out_of_memory():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    runtime = cupy.cuda.runtime
    assert is_out_of_memory(cupy.cuda.memory.OutOfMemoryError(100, 200, 250))
    assert is_out_of_memory(runtime.CUDARuntimeError(2))
    assert not is_out_of_memory(runtime.CUDARuntimeError(700))  # an illegal memory access


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"), True),
        (RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED"), False),
        (RuntimeError(), False),
        (ValueError("out of memory"), False),
        (OSError(12, "Cannot allocate memory"), False),
    ],
    ids=repr,
)
def test_no_other_error_passes_for_want_of_memory(error, expected):
    assert is_out_of_memory(error) is expected


def test_on_a_cpu_no_library_tells_what_is_free(backend):
    if backend.value != "cupy":
        assert free_memory(backend.asarray(np.zeros(3))) is None


class Pool:
    """A stand-in for CuPy's memory pool: it holds 300 bytes, of which 100 are used."""

    def __init__(self, limit=0):
        self.limit = limit
        self.held = 300
        self.devices = []

    def get_limit(self):
        return self.limit

    def total_bytes(self):
        return self.held

    def free_bytes(self):
        return self.held - 100

    def free_all_blocks(self):
        self.held = 100
        self.freed_on = self.devices[-1]


@pytest.fixture
def on_cupy(monkeypatch):
    """An array on a GPU that is not the current one, with 500 bytes free and a pool."""

    def install(pool):
        @contextmanager
        def second():
            pool.devices.append("second")
            yield
            pool.devices.pop()

        def memory_info():
            assert pool.devices == ["second"]
            return 500, 900

        cupy = types.ModuleType("cupy")
        cupy.cuda = types.SimpleNamespace(runtime=types.SimpleNamespace(memGetInfo=memory_info))
        cupy.get_default_memory_pool = lambda: pool
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setattr("iem_xp.arrays.is_cupy_array", lambda array: True)
        return types.SimpleNamespace(device=second())

    return install


@pytest.mark.parametrize(("limit", "free"), [(0, 700), (2000, 700), (400, 300), (300, 200)])
def test_with_cupy_what_its_pool_holds_unused_is_free_up_to_its_limit(on_cupy, limit, free):
    assert free_memory(on_cupy(Pool(limit))) == free


def test_memory_is_released_on_the_device_of_the_array(on_cupy):
    pool = Pool()
    release_memory(on_cupy(pool))
    assert (pool.held, pool.freed_on) == (100, "second")


def test_with_pytorch_what_it_holds_unused_is_free(monkeypatch):
    cuda = types.SimpleNamespace(
        mem_get_info={"cuda:1": (500, 900)}.get,
        memory_reserved={"cuda:1": 300}.get,
        memory_allocated={"cuda:1": 100}.get,
    )
    torch = types.ModuleType("torch")
    torch.cuda = cuda
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr("iem_xp.arrays.is_torch_array", lambda array: True)
    assert free_memory(types.SimpleNamespace(is_cuda=True, device="cuda:1")) == 700
    assert free_memory(types.SimpleNamespace(is_cuda=False)) is None


def test_with_jax_the_fullest_of_an_arrays_devices_counts(monkeypatch):
    def device(stats):
        return types.SimpleNamespace(memory_stats=lambda: stats)

    def on(*stats):
        return types.SimpleNamespace(devices=lambda: [device(each) for each in stats])

    monkeypatch.setattr("iem_xp.arrays.is_jax_array", lambda array: True)
    full, empty = {"bytes_limit": 900, "bytes_in_use": 700}, {"bytes_limit": 900, "bytes_in_use": 0}
    assert free_memory(on(empty)) == 900
    assert free_memory(on(full, empty)) == 200
    assert free_memory(on(full, None)) is None
    assert free_memory(on({"bytes_in_use": 10})) is None
