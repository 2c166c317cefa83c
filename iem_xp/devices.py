"""The devices of this machine: their names, what they are, and whether they compute as they should."""

from __future__ import annotations

import os
import platform
import warnings
from dataclasses import dataclass

import numpy as np

from iem_xp.arrays import DeviceError, exactly, to_device, to_host
from iem_xp.cuda import NoGPUError, count_gpus, explain, load_cupy
from iem_xp.threads import usable_cpus


@dataclass(frozen=True)
class Device:
    """A device and what it is.

    Attributes
    ----------
    name : str
        "cpu" or "gpu:N"; "gpu" where there is none.
    available : bool
    reason : str
        What it is or, if it is not available, why, and what mends it.
    product : str, optional
        As its maker calls it.
    compute_capability : str, optional
        Such as "9.0".
    memory, free_memory : int, optional
        In bytes.
    """

    name: str
    available: bool
    reason: str
    product: str | None = None
    compute_capability: str | None = None
    memory: int | None = None
    free_memory: int | None = None


def resolve_device(name: str) -> tuple[str, str]:
    """Device for a `name` ("auto", "cpu", "gpu" or "gpu:N"), and in one line why.

    A GPU that this returns has just computed something, with all that the search needs of CUDA. "auto" takes
    the first GPU, or else the CPU: quietly where there is no GPU, or no CuPy; with a `RuntimeWarning` that
    has cause and remedy where there are both, and they fail.

    Returns
    -------
    device : str
        "cpu" or "gpu:N".
    reason : str

    Raises
    ------
    DeviceError
        If a GPU is asked for and cannot be had.
    ValueError
        If `name` is none of the above.
    """
    kind, _, index = str(name).partition(":")
    if name not in ("auto", "cpu", "gpu") and not (kind == "gpu" and index.isdecimal()):
        raise ValueError(f'device must be "auto", "cpu", "gpu" or "gpu:N", not {name!r}')
    if kind == "cpu":
        return "cpu", "as asked"
    try:
        gpu = _take_gpu(int(index or 0))
    except DeviceError as error:
        if kind == "gpu":
            raise
        if not isinstance(error, NoGPUError):
            warnings.warn(f"the CPU computes instead of a GPU: {error}", RuntimeWarning, stacklevel=3)
        return "cpu", f"no GPU: {error.cause}"
    return gpu.name, f"{gpu.product}, {'as asked' if kind == 'gpu' else 'the first GPU'}"


def list_devices() -> list[Device]:
    """The CPU and every GPU, tried as `resolve_device` does; where there is none, a "gpu" that says why."""
    devices = [Device("cpu", True, f"{platform.machine()}, {usable_cpus()} CPU(s)")]
    try:
        count = count_gpus(load_cupy())
    except DeviceError as error:
        return [*devices, Device("gpu", False, str(error))]
    for index in range(count):
        try:
            devices.append(_take_gpu(index))
        except DeviceError as error:
            devices.append(Device(f"gpu:{index}", False, str(error)))
    return devices


def _take_gpu(index: int) -> Device:
    """A GPU that has computed something, or a DeviceError."""
    cupy = load_cupy()
    count, runtime = count_gpus(cupy), cupy.cuda.runtime
    name = title = f"gpu:{index}"
    if index >= count:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        shown = "" if visible is None else f" with CUDA_VISIBLE_DEVICES={visible!r}"
        raise DeviceError(f"there is no {name}", f"CUDA lists {count} GPU(s){shown}, numbered from 0")
    try:
        properties = runtime.getDeviceProperties(index)
        product, capability = properties["name"].decode(), f"{properties['major']}.{properties['minor']}"
        title = f"{name} ({product}, compute capability {capability})"
        with cupy.cuda.Device(index):
            free, total = runtime.memGetInfo()
        exact = _multiplies_exactly(name)
    except Exception as error:
        cause, remedy = explain(error)
        raise DeviceError(f"{title} fails: {cause}", remedy) from error
    if not exact:
        raise DeviceError(
            f"{title} shortens the factors of float32 products, which changes masks",
            "unset NVIDIA_TF32_OVERRIDE",
        )
    reason = f"{product}, compute capability {capability}, {_gib(free)} of {_gib(total)} GiB free"
    return Device(name, True, reason, product, capability, int(total), int(free))


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f}"


def _multiplies_exactly(device: str) -> bool:
    """Compute as an update does, with a kernel that NVRTC compiles and both kinds of products of cuBLAS.

    The factors have a bit more than TF32 would keep, and the products are exact in float32, in whatever order
    they are added.
    """
    factor = np.eye(128, dtype=np.float32) * np.float32(1 + 2**-11)
    planes = to_device(np.stack([factor, factor]), device)
    with exactly(planes):
        single = to_host(planes[0, :, :] @ planes[1, :, :])
        batch = to_host(planes[0, :, :] @ (planes + planes))
    return bool(np.all(single == factor @ factor) and np.all(batch == factor @ (factor + factor)))
