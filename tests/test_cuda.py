import importlib.util
import sys
from importlib import metadata
from importlib.machinery import ModuleSpec

import pytest

from gpus import pretend_cupy, pretend_no_cupy
from iem_xp import DeviceError, cuda

LIBRARY_ERRORS = {
    "CuPy 13, NVRTC": (
        "CuPy failed to load libnvrtc.so.12: OSError: libnvrtc.so.12: cannot open shared object file",
        "libnvrtc.so.12",
    ),
    "CuPy 14, NVRTC": (
        'Failure finding "libnvrtc.so.13 or libnvrtc.so.12": No such file: libnvrtc.so.13 or libnvrtc.so.12',
        "libnvrtc.so.13",
    ),
    "CuPy 13, cuBLAS": (
        "libcublas.so.12: cannot open shared object file: No such file or directory",
        "libcublas.so.12",
    ),
    "NVRTC's own library": (
        "nvrtc: error: failed to open libnvrtc-builtins.so.12.9.",
        "libnvrtc-builtins.so.12.9.",
    ),
    "headers": (
        "nvrtc: warning: Architectures prior to '<compute/sm>_75' are deprecated\n"
        'default_program(1): catastrophic error: could not open source file "cuda_fp16.h"',
        "cuda_fp16.h",
    ),
    "Windows": (
        "Could not find module 'nvrtc64_120_0.dll' (or one of its dependencies)",
        "nvrtc64_120_0.dll",
    ),
}


def refusal(of):
    """The message of the DeviceError that `of` raises."""
    with pytest.raises(DeviceError) as info:
        of()
    return str(info.value)


def count():
    return cuda.count_gpus(cuda.load_cupy())


# What is installed


def test_without_cupy_and_driver_both_are_named(monkeypatch):
    pretend_no_cupy(monkeypatch)
    assert refusal(cuda.load_cupy) == (
        "CuPy is not installed, and there is no NVIDIA driver either; "
        "with an NVIDIA GPU, install its driver, then: pip install 'cupy-cuda12x[ctk]'"
    )


def test_without_cupy_but_with_a_driver_cupy_is_to_be_installed(monkeypatch):
    pretend_no_cupy(monkeypatch, driver="12.4")
    assert (
        refusal(cuda.load_cupy) == "CuPy is not installed; install it with: pip install 'cupy-cuda12x[ctk]'"
    )


def test_a_folder_that_cupy_left_behind_is_no_cupy(monkeypatch):
    pretend_no_cupy(monkeypatch)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None))
    assert "CuPy is not installed" in refusal(cuda.load_cupy)


def test_two_packages_with_cupy_are_an_error_that_says_how_to_get_one(monkeypatch):
    pretend_cupy(monkeypatch, packages=("cupy-cuda11x", "cupy-cuda12x"))
    assert refusal(cuda.load_cupy) == (
        "cupy-cuda11x and cupy-cuda12x are both installed and overwrite each other's files; "
        "remove them with: pip uninstall -y cupy-cuda11x cupy-cuda12x; then: pip install 'cupy-cuda12x[ctk]'"
    )


def test_what_is_left_when_one_of_two_packages_was_removed_is_to_be_installed_anew(monkeypatch):
    pretend_no_cupy(monkeypatch, driver="12.9", packages=("cupy-cuda12x",))
    assert refusal(cuda.load_cupy) == (
        "files of cupy-cuda12x are missing; "
        "reinstall it with: pip install --force-reinstall --no-deps cupy-cuda12x"
    )


def test_without_a_driver_cupy_is_not_imported(monkeypatch):
    pretend_cupy(monkeypatch, driver=None, packages=("cupy-cuda11x", "cupy-cuda12x"))
    monkeypatch.setattr(cuda, "import_cupy", lambda: pytest.fail("it was imported"))
    assert refusal(cuda.load_cupy).startswith("there is no NVIDIA driver; install that of your GPU")


def test_cupy_for_rocm_needs_no_nvidia_driver(monkeypatch):
    pretend_cupy(monkeypatch, driver=None, packages=("cupy-rocm-7-0",))
    assert count() == 1


def test_packages_with_cupy_are_found_by_their_names(monkeypatch):
    class Distribution:
        def __init__(self, name):
            self.name = name

    names = ["numpy", "cupy-cuda12x", "cupy-xarray", "cupy", "cupy-rocm-7-0", "cupy-cuda12x"]
    monkeypatch.setattr(metadata, "distributions", lambda: map(Distribution, names))
    assert cuda.cupy_packages.__wrapped__() == ["cupy", "cupy-cuda12x", "cupy-rocm-7-0"]


def test_a_cupy_that_cannot_be_imported_is_an_error_that_says_what_to_reinstall(monkeypatch):
    def fail():
        try:
            raise ImportError("libcudart.so.12: cannot open shared object file")
        except ImportError as error:
            raise ImportError("\n=====\nFailed to import CuPy.\n=====") from error

    pretend_cupy(monkeypatch)
    monkeypatch.setattr(cuda, "import_cupy", fail)
    assert refusal(cuda.load_cupy) == (
        "CuPy cannot be imported "
        "(ImportError: libcudart.so.12: cannot open shared object file); "
        "reinstall it with: pip install --force-reinstall --no-deps cupy-cuda12x"
    )


def test_another_module_of_the_same_name_is_an_error(monkeypatch):
    pretend_cupy(monkeypatch)
    monkeypatch.delattr(sys.modules["cupy"], "cuda")
    assert "CuPy cannot be imported (AttributeError: module 'cupy' has no attribute 'cuda')" in refusal(
        cuda.load_cupy
    )


# The driver and the GPUs


def test_gpus_are_counted(monkeypatch):
    pretend_cupy(monkeypatch, count=3)
    assert count() == 3


def test_an_old_driver_is_an_error_that_compares_the_versions(monkeypatch):
    text = "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
    pretend_cupy(monkeypatch, driver="11.4", listing=RuntimeError(text))
    assert refusal(count) == (
        "the NVIDIA driver is too old: it was made for CUDA 11.4, CuPy for CUDA 12.9; "
        "update the driver, or replace cupy-cuda12x by cupy-cuda11x"
    )


@pytest.mark.parametrize("listing", [RuntimeError("cudaErrorNoDevice: no CUDA-capable device"), None])
def test_a_machine_without_gpus_is_an_error(monkeypatch, listing):
    pretend_cupy(monkeypatch, count=0, listing=listing)
    assert refusal(count) == "CUDA lists no GPU; check that `nvidia-smi` lists one"


@pytest.mark.parametrize("visible", ["", "-1", "7"])
def test_hidden_gpus_are_an_error_that_says_by_what(monkeypatch, visible):
    pretend_cupy(monkeypatch, listing=RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert refusal(count).startswith(f"CUDA lists no GPU with CUDA_VISIBLE_DEVICES='{visible}'; unset it")


def test_any_other_error_of_cuda_is_passed_on(monkeypatch):
    pretend_cupy(monkeypatch, listing=RuntimeError("cudaErrorUnknown: unknown error"))
    assert refusal(count).startswith("RuntimeError: cudaErrorUnknown: unknown error; check that `nvidia-smi`")


def test_versions_are_those_of_driver_runtime_and_compiler(monkeypatch):
    pretend_cupy(monkeypatch, driver="12.4")
    assert cuda.versions() == {"driver": "12.4", "runtime": "12.9", "compiler": "12.8"}


def test_versions_of_what_is_missing_are_none(monkeypatch):
    def fail():
        raise RuntimeError("CuPy failed to load libnvrtc.so.12")

    pretend_no_cupy(monkeypatch)
    assert cuda.versions() == {"driver": None, "runtime": None, "compiler": None}
    pretend_cupy(monkeypatch)
    monkeypatch.setattr(sys.modules["cupy"].cuda.nvrtc, "getVersion", fail)
    assert cuda.versions() == {"driver": "12.9", "runtime": "12.9", "compiler": None}


# What errors mean


OLD = "it is too old for this version of CUDA"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("cudaErrorMemoryAllocation: out of memory", "its memory is taken"),
        ("Out of memory allocating 65,536 bytes (allocated so far: 0 bytes).", "its memory is taken"),
        ("CUBLAS_STATUS_ALLOC_FAILED", "its memory is taken"),
        ("cudaErrorDevicesUnavailable: device(s) busy", "another program has it to itself"),
        ("nvrtc: error: invalid value for --gpu-architecture (-arch)", OLD),
        ("cudaErrorNoKernelImageForDevice: no kernel image", OLD),
        ("cudaErrorUnsupportedPtxVersion: the PTX", "its driver is older than CUDA's compiler"),
        ("cudaErrorSystemDriverMismatch", "the NVIDIA driver was updated while the machine ran"),
        ("[Errno 13] Permission denied: '/.cupy'", "CuPy cannot keep its kernels in /.cupy"),
    ],
)
def test_an_error_is_explained(text, cause):
    found, remedy = cuda.explain(RuntimeError(text))
    assert found == cause
    assert remedy


@pytest.mark.parametrize(("text", "library"), LIBRARY_ERRORS.values(), ids=LIBRARY_ERRORS.keys())
def test_a_missing_library_is_named_with_the_package_that_has_it(monkeypatch, text, library):
    pretend_cupy(monkeypatch, packages=("cupy-cuda13x",))
    assert cuda.explain(RuntimeError(text)) == (
        f"CUDA's {library} is not found",
        "install CUDA's libraries with: pip install --upgrade 'cupy-cuda13x[ctk]'",
    )


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (KeyError(), "KeyError: "),
        (OSError("/usr/lib/libm.so.6: undefined symbol"), "OSError: /usr/lib/libm.so.6: undefined symbol"),
        (RuntimeError("a warning\nan error: this one\nmore"), "RuntimeError: an error: this one"),
    ],
)
def test_an_unknown_error_is_given_in_its_own_words(error, cause):
    assert cuda.explain(error) == (
        cause,
        "check that `nvidia-smi` shows no error, and that the driver is up to date",
    )


# CuPy itself


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (2, "cudaErrorMemoryAllocation: out of memory"),
        (35, "cudaErrorInsufficientDriver"),
        (46, "cudaErrorDevicesUnavailable"),
        (100, "cudaErrorNoDevice"),
        (209, "cudaErrorNoKernelImageForDevice"),
        (222, "cudaErrorUnsupportedPtxVersion"),
        (803, "cudaErrorSystemDriverMismatch"),
    ],
)
def test_cupy_calls_errors_by_the_names_looked_for(status, name):
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    assert str(cupy.cuda.runtime.CUDARuntimeError(status)).startswith(name)


def test_what_nvrtc_says_of_a_gpu_that_is_too_old_is_explained():
    compiler = pytest.importorskip("cupy.cuda.compiler", reason="CuPy is not installed")
    try:
        program = compiler._NVRTCProgram('extern "C" __global__ void nothing() {}')
    except RuntimeError as error:
        pytest.skip(f"NVRTC is not installed: {error}")
    with pytest.raises(compiler.CompileException) as info:
        program.compile(("-arch=compute_20",))
    assert cuda.explain(info.value)[0] == "it is too old for this version of CUDA"


def test_a_cublas_that_is_really_missing_is_named():
    pytest.importorskip("cupy", reason="CuPy is not installed")
    try:
        importlib.import_module("cupy_backends.cuda.libs.cublas")
        pytest.skip("cuBLAS is installed")
    except ImportError as error:
        cause, _ = cuda.explain(error)
    assert cause.startswith("CUDA's libcublas")
