import numpy as np
import pytest

from gpus import Shortened, pretend_cupy, pretend_no_cupy
from iem_xp import DeviceError
from iem_xp.devices import list_devices, resolve_device

OLD_DRIVER = RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")


def test_cpu_is_always_there():
    assert resolve_device("cpu") == ("cpu", "as asked")


@pytest.mark.parametrize("name", ["nonsense", 3, "cuda", "GPU", "gpu:", "gpu:x", "gpu:-1", "cpu:0", "auto:1"])
def test_an_unknown_device_is_an_error_that_lists_the_known(name):
    with pytest.raises(ValueError, match=f'"auto", "cpu", "gpu" or "gpu:N", not {name!r}'):
        resolve_device(name)


def test_gpu_means_the_first(monkeypatch):
    pretend_cupy(monkeypatch, count=2)
    assert resolve_device("gpu") == ("gpu:0", "Imaginary 9000, as asked")
    assert resolve_device("gpu:1") == ("gpu:1", "Imaginary 9000, as asked")


@pytest.mark.parametrize("name", ["gpu", "gpu:0", "gpu:3"])
def test_without_cupy_a_gpu_is_an_error_that_says_what_to_install(monkeypatch, name):
    pretend_no_cupy(monkeypatch, driver="12.4")
    with pytest.raises(
        DeviceError, match=r"CuPy is not installed; install it with: pip install 'cupy-cuda12x\[ctk\]'"
    ):
        resolve_device(name)


def test_a_gpu_beyond_the_last_is_an_error_that_counts_them(monkeypatch):
    pretend_cupy(monkeypatch, count=2)
    with pytest.raises(DeviceError, match=r"^there is no gpu:7; CUDA lists 2 GPU\(s\), numbered from 0$"):
        resolve_device("gpu:7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    with pytest.raises(DeviceError, match=r"CUDA lists 2 GPU\(s\) with CUDA_VISIBLE_DEVICES='0,3', numbered"):
        resolve_device("gpu:2")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            MemoryError("Out of memory allocating 131,072 bytes"),
            "its memory is taken; end what else runs on it",
        ),
        (
            ImportError("libcublas.so.12: cannot open shared object file"),
            "CUDA's libcublas.so.12 is not found; "
            "install CUDA's libraries with: pip install --upgrade 'cupy-cuda12x[ctk]'",
        ),
        (
            ValueError("nvrtc: error: invalid value for --gpu-architecture (-arch)"),
            "it is too old for this version of CUDA; replace cupy-cuda12x by that of an older CUDA",
        ),
    ],
)
def test_a_gpu_whose_first_computation_fails_is_an_error_that_names_it_and_the_cause(
    monkeypatch, error, message
):
    pretend_cupy(monkeypatch, computing=error)
    with pytest.raises(DeviceError) as info:
        resolve_device("gpu")
    assert str(info.value).startswith(f"gpu:0 (Imaginary 9000, compute capability 6.1) fails: {message}")
    assert info.value.__cause__ is error


def test_a_gpu_that_shortens_the_factors_of_products_is_an_error(monkeypatch):
    pretend_cupy(monkeypatch, array=Shortened)
    with pytest.raises(DeviceError, match=r"shortens the factors .* unset NVIDIA_TF32_OVERRIDE"):
        resolve_device("gpu")


# What "auto" takes


def test_auto_takes_the_first_gpu(monkeypatch):
    pretend_cupy(monkeypatch, count=2)
    assert resolve_device("auto") == ("gpu:0", "Imaginary 9000, the first GPU")


def test_auto_says_in_a_line_why_it_took_the_cpu(monkeypatch):
    pretend_no_cupy(monkeypatch, driver="12.4")
    assert resolve_device("auto") == ("cpu", "no GPU: CuPy is not installed")
    pretend_cupy(monkeypatch, driver=None)
    assert resolve_device("auto") == ("cpu", "no GPU: there is no NVIDIA driver")
    pretend_cupy(monkeypatch, count=0)
    assert resolve_device("auto") == ("cpu", "no GPU: CUDA lists no GPU")


@pytest.mark.parametrize(
    "broken",
    [
        {"computing": ImportError("libcublas.so.12: cannot open shared object file")},
        {"array": Shortened},
        {"packages": ("cupy-cuda11x", "cupy-cuda12x")},
        {"driver": "11.4", "listing": OLD_DRIVER},
    ],
)
def test_auto_warns_where_the_cpu_stands_in_for_a_gpu_that_fails(monkeypatch, broken):
    pretend_cupy(monkeypatch, **broken)
    with pytest.raises(DeviceError) as info:
        resolve_device("gpu")
    with pytest.warns(RuntimeWarning) as warned:
        device, reason = resolve_device("auto")
    assert [str(each.message) for each in warned] == [f"the CPU computes instead of a GPU: {info.value}"]
    assert (device, reason) == ("cpu", f"no GPU: {info.value.cause}")


# The list


def test_every_gpu_is_listed_with_what_it_is(monkeypatch):
    pretend_cupy(monkeypatch, count=2)
    cpu, *gpus = list_devices()
    assert (cpu.name, cpu.available) == ("cpu", True)
    assert [gpu.name for gpu in gpus] == ["gpu:0", "gpu:1"]
    for gpu in gpus:
        assert gpu.available
        assert gpu.reason == "Imaginary 9000, compute capability 6.1, 3.0 of 8.0 GiB free"
        assert (gpu.product, gpu.compute_capability) == ("Imaginary 9000", "6.1")
        assert (gpu.memory, gpu.free_memory) == (8 * 2**30, 3 * 2**30)


def test_a_gpu_that_fails_is_listed_with_the_cause(monkeypatch):
    pretend_cupy(monkeypatch, count=2, computing=RuntimeError("cudaErrorDevicesUnavailable: busy"))
    _, *gpus = list_devices()
    assert [gpu.name for gpu in gpus] == ["gpu:0", "gpu:1"]
    for gpu in gpus:
        assert not gpu.available
        assert "another program has it to itself; wait for that program" in gpu.reason


def test_where_there_is_no_gpu_the_list_says_why(monkeypatch):
    pretend_no_cupy(monkeypatch)
    _, gpu = list_devices()
    assert (gpu.name, gpu.available) == ("gpu", False)
    assert gpu.reason.startswith("CuPy is not installed")


@pytest.mark.gpu
def test_a_real_gpu_computes_exactly():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not cupy.cuda.is_available():
        pytest.skip("CuPy finds no CUDA device")
    device, reason = resolve_device("gpu")
    assert (device, reason.endswith(", as asked")) == ("gpu:0", True)
    assert np.all([gpu.free_memory <= gpu.memory for gpu in list_devices()[1:] if gpu.available])
