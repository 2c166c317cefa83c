import importlib.util
import os
import subprocess
import sys
import types
from contextlib import contextmanager

import array_api_strict
import jax
import numpy as np
import pytest
import threadpoolctl

from iem_xp import DeviceError
from iem_xp.arrays import (
    exactly,
    few_threads,
    free_memory,
    is_out_of_memory,
    like,
    namespace,
    release_memory,
    resolve_device,
    to_device,
    to_host,
    usable_cpus,
)


@pytest.fixture
def pretend(monkeypatch):
    """Replace CuPy, whether it is installed or not, by one that sees `count` GPUs, or by an error."""

    def install(count=0, error=None):
        def get_device_count():
            if error is not None:
                raise error
            return count

        cupy = types.ModuleType("cupy")
        cupy.cuda = types.SimpleNamespace(runtime=types.SimpleNamespace(getDeviceCount=get_device_count))
        cupy.ndarray = type("ndarray", (), {})
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())

    return install


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


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


def test_like_keeps_the_values_type(backend):
    result = like(np.array([True, False]), backend.asarray(np.zeros(1, dtype=np.float32)))
    assert backend.to_numpy(result).dtype == bool


def test_cpu_is_always_there():
    assert resolve_device("cpu")[0] == "cpu"
    array = np.zeros(3)
    assert to_device(array, "cpu") is array


@pytest.mark.parametrize("name", ["nonsense", "cuda", "GPU", "gpu:", "gpu:x", "gpu:-1", "cpu:0", "auto:1"])
def test_an_unknown_device_is_an_error_that_lists_the_known(name):
    with pytest.raises(ValueError, match=f'"auto", "cpu", "gpu" or "gpu:N", not {name!r}'):
        resolve_device(name)


@pytest.mark.parametrize("name", ["gpu", "gpu:0", "gpu:3"])
def test_without_cupy_a_gpu_is_an_error_that_says_what_to_install(no_cupy, name):
    with pytest.raises(DeviceError, match=r"CuPy is not installed.*pip install 'iem-xp\[gpu\]'"):
        resolve_device(name)
    with pytest.raises(DeviceError):
        to_device(np.zeros(3), name)


def test_without_a_driver_a_gpu_is_an_error_that_says_what_to_look_at(pretend):
    pretend(error=RuntimeError("cudaErrorInsufficientDriver"))
    with pytest.raises(DeviceError, match=r"cudaErrorInsufficientDriver.*nvidia-smi"):
        resolve_device("gpu")


def test_a_broken_cupy_is_an_error_that_says_what_to_reinstall(pretend):
    pretend(error=ImportError("libnvrtc.so.12"))
    with pytest.raises(DeviceError, match=r"libnvrtc\.so\.12.*pip install --force-reinstall"):
        resolve_device("gpu")


def test_a_gpu_beyond_the_last_is_an_error_that_counts_them(pretend):
    pretend(count=2)
    assert resolve_device("gpu:1")[0] == "gpu:1"
    with pytest.raises(DeviceError, match=r"no gpu:2; this machine has 2 GPU"):
        resolve_device("gpu:2")


def test_gpu_means_the_first(pretend):
    pretend(count=2)
    assert resolve_device("gpu") == ("gpu:0", "as asked")


def test_auto_takes_a_gpu_if_there_is_one(pretend):
    pretend(count=1)
    assert resolve_device("auto")[0] == "gpu:0"
    pretend(count=0)
    device, reason = resolve_device("auto")
    assert device == "cpu"
    assert reason == "no GPU: CUDA lists no GPU"


def test_auto_says_why_it_took_the_cpu(no_cupy):
    device, reason = resolve_device("auto")
    assert device == "cpu"
    assert reason == "no GPU: CuPy is not installed"


def blas_threads():
    found = threadpoolctl.threadpool_info()
    return [library["num_threads"] for library in found if library["user_api"] == "blas"]


def test_blas_gets_its_threads_back_however_the_users_of_one_overlap():
    array = np.zeros(1)
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        first, second = few_threads(array), few_threads(array)
        first.__enter__()
        assert set(blas_threads()) == {1}
        second.__enter__()
        first.__exit__(None, None, None)
        assert set(blas_threads()) == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == before


def test_other_libraries_leave_blas_alone():
    before = blas_threads()
    with few_threads(array_api_strict.asarray([1.0])):
        assert blas_threads() == before


def test_the_device_of_a_cupy_array_is_the_current_one_while_it_is_worked_on(monkeypatch):
    entered = []

    @contextmanager
    def device():
        entered.append("in")
        yield
        entered.append("out")

    monkeypatch.setattr("iem_xp.arrays.is_cupy_array", lambda array: True)
    with exactly(types.SimpleNamespace(device=device())):
        assert entered == ["in"]
    assert entered == ["in", "out"]


def test_jax_does_not_shorten_the_factors_of_products():
    array = jax.numpy.ones((4, 4))
    with exactly(array):
        assert jax.config.jax_default_matmul_precision == "highest"
    assert jax.config.jax_default_matmul_precision is None


def test_a_masked_array_is_refused():
    with pytest.raises(TypeError, match="images must be no masked array"):
        namespace(images=np.ma.zeros((4, 4)))


# The CPUs


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="CPUs cannot be taken away here")
def test_only_cpus_that_may_be_used_count():
    assert usable_cpus() == len(os.sched_getaffinity(0))
    code = (
        "import os; from iem_xp.arrays import usable_cpus; "
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(usable_cpus())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"1\n"


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
