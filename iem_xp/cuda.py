"""What is there of CUDA: the driver, CuPy, the libraries; and what its errors mean."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from contextlib import suppress
from functools import cache
from typing import Any

from iem_xp.arrays import DeviceError, has_cupy, import_cupy


class NoGPUError(DeviceError):
    """There is no GPU, or nothing installed to use it with: to who takes what there is, no surprise."""


def load_cupy() -> Any:
    """CuPy, imported; not without a driver, since that takes its time.

    Raises
    ------
    DeviceError
        If it is not installed, installed twice, or broken, or there is no driver.
    """
    packages, driver = cupy_packages(), driver_version()
    if not packages and not has_cupy():
        if driver is None:
            raise NoGPUError(
                "CuPy is not installed, and there is no NVIDIA driver either",
                "with an NVIDIA GPU, install its driver, then: pip install 'cupy-cuda12x[ctk]'",
            )
        raise NoGPUError("CuPy is not installed", "install it with: pip install 'cupy-cuda12x[ctk]'")
    if driver is None and "rocm" not in _cupy_package():
        raise NoGPUError(
            "there is no NVIDIA driver",
            "install that of your GPU; a container needs to be started with it (docker run --gpus all)",
        )
    if len(packages) > 1:
        raise DeviceError(
            f"{' and '.join(packages)} are both installed and overwrite each other's files",
            f"remove them with: pip uninstall -y {' '.join(packages)}; then: pip install 'cupy-cuda12x[ctk]'",
        )
    reinstall = f"reinstall it with: pip install --force-reinstall --no-deps {_cupy_package()}"
    if not has_cupy():
        raise DeviceError(f"files of {_cupy_package()} are missing", reinstall)
    try:
        cupy = import_cupy()
        _ = cupy.cuda.runtime  # which another module of this name would not have
    except Exception as error:
        raise DeviceError(f"CuPy cannot be imported ({_summary(error)})", reinstall) from error
    return cupy


@cache
def cupy_packages() -> list[str]:
    """Names of the packages with CuPy that are installed, such as "cupy-cuda12x"."""
    from importlib import metadata  # slow to import, and seldom needed

    names = {distribution.name for distribution in metadata.distributions()}
    return sorted(name for name in names if re.fullmatch(r"cupy(-(cuda|rocm).+)?", name))


def _cupy_package() -> str:
    return next(iter(cupy_packages()), "cupy-cuda12x")


def driver_version() -> str | None:
    """CUDA version that the NVIDIA driver was made for, such as "12.4"; None where there is no driver."""
    version = ctypes.c_int()
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        status = driver.cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return _dotted(version.value) if status == 0 else None


def versions() -> dict[str, str | None]:
    """CUDA versions, such as "12.9": of the `driver`, of CuPy's `runtime`, and of NVRTC, its `compiler`."""
    found: dict[str, str | None] = {"driver": driver_version(), "runtime": None, "compiler": None}
    with suppress(DeviceError, RuntimeError):  # the cause is said where a GPU is asked for
        cuda = load_cupy().cuda
        found["runtime"] = _dotted(cuda.runtime.runtimeGetVersion())
        found["compiler"] = "{}.{}".format(*cuda.nvrtc.getVersion())
    return found


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def count_gpus(cupy: Any) -> int:
    """Count the GPUs that CUDA lists, at least 1.

    Raises
    ------
    DeviceError
        If there is none, or CUDA cannot list them.
    """
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:
        if "cudaErrorInsufficientDriver" in str(error):
            driver, runtime = str(driver_version()), _dotted(cupy.cuda.runtime.runtimeGetVersion())
            raise DeviceError(
                f"the NVIDIA driver is too old: it was made for CUDA {driver}, CuPy for CUDA {runtime}",
                f"update the driver, or replace {_cupy_package()} by cupy-cuda{driver.partition('.')[0]}x",
            ) from error
        if "cudaErrorNoDevice" not in str(error):
            raise DeviceError(*explain(error)) from error
        count = 0
    if not count:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is None:
            raise NoGPUError("CUDA lists no GPU", "check that `nvidia-smi` lists one")
        raise NoGPUError(
            f"CUDA lists no GPU with CUDA_VISIBLE_DEVICES={visible!r}",
            "unset it, or give it the number of a GPU that `nvidia-smi -L` lists",
        )
    return count


_CAUSES = (
    (
        "[Oo]ut of memory|ALLOC_FAILED",
        "its memory is taken",
        "end what else runs on it (`nvidia-smi` lists it), or name another GPU",
    ),
    (
        "cudaErrorDevicesUnavailable",
        "another program has it to itself",
        "wait for that program (`nvidia-smi` lists it), or name another GPU",
    ),
    (
        "gpu-architecture|cudaErrorNoKernelImageForDevice",
        "it is too old for this version of CUDA",
        "replace {package} by that of an older CUDA, for instance cupy-cuda12x",
    ),
    (
        "cudaErrorUnsupportedPtxVersion",
        "its driver is older than CUDA's compiler",
        "update the driver",
    ),
    (
        "cudaErrorSystemDriverMismatch",
        "the NVIDIA driver was updated while the machine ran",
        "restart the machine",
    ),
    (
        r'(lib(?:nv|cu)[\w-]+\.so[.\d]*|(?:nv|cu)[\w-]+\.dll|[\w/]+\.h(?="))',
        "CUDA's {found} is not found",
        "install CUDA's libraries with: pip install --upgrade '{package}[ctk]'",
    ),
    (
        r"Permission denied: '(.*cupy.*)'",
        "CuPy cannot keep its kernels in {found}",
        "name a folder that can be written as CUPY_CACHE_DIR",
    ),
)
"""What an error says, as a pattern; what causes it, of a GPU where it is "it"; and what mends it."""


def explain(error: BaseException) -> tuple[str, str]:
    """Cause and remedy of an error of CuPy or CUDA."""
    text = str(_origin(error))
    for pattern, cause, remedy in _CAUSES:
        if match := re.search(pattern, text):
            found = match[match.lastindex or 0]
            return cause.format(found=found), remedy.format(package=_cupy_package())
    return _summary(error), "check that `nvidia-smi` shows no error, and that the driver is up to date"


def _origin(error: BaseException) -> BaseException:
    return error if error.__cause__ is None else _origin(error.__cause__)


def _summary(error: BaseException) -> str:
    error = _origin(error)
    lines = str(error).strip().splitlines()
    chosen = next((line for line in lines if "error" in line), lines[0] if lines else "")
    return f"{type(error).__name__}: {chosen}"
