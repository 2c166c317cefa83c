"""The only place that knows array libraries: what an array is, how it moves, how exactly it is computed."""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from array_api_compat import (
    array_namespace,
    is_array_api_obj,
    is_cupy_array,
    is_dask_array,
    is_jax_array,
    is_numpy_array,
    is_torch_array,
)
from array_api_compat import device as device_of

from iem_xp.threads import Shared

Array = Any

LIBRARIES = {"array-api-strict": "array_api_strict", "torch": "torch", "jax": "jax.numpy"}
"""Array libraries beside NumPy and CuPy, by their packages: the module that has ``asarray``."""


class DeviceError(RuntimeError):
    """A device that cannot be had, for a `cause`; the message says what mends it, too."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause}; {remedy}")
        self.cause = cause


def namespace(**arrays: Array) -> Any:
    """Array namespace that all of the named arrays share.

    Raises
    ------
    TypeError
        If one of them is no array, or they come from different libraries; the message names them.
    """
    for name, array in arrays.items():
        if isinstance(array, np.ma.MaskedArray):
            raise TypeError(f"{name} must be no masked array, since every pixel counts; fill it first")
        if is_dask_array(array):
            raise TypeError(
                f"{name} must be no Dask array, which would compute every step anew; "
                "give map_blocks a function that segments a block"
            )
        if not is_array_api_obj(array):
            raise TypeError(
                f"{name} must be an array (NumPy, CuPy, JAX, PyTorch, ...), not {type(array).__name__}"
            )
    try:
        return array_namespace(*arrays.values())
    except TypeError as error:
        kinds = ", ".join(f"{name}: {type(array).__module__}" for name, array in arrays.items())
        raise TypeError(f"all arrays must come from one library, not {kinds}") from error


def is_cached(array: Array) -> bool:
    """Whether work on `array` is fastest in small pieces that stay in a CPU's cache.

    On other devices a call costs more than the values it works on, so few large ones are better.
    """
    device = device_of(array)
    return "cpu" in (device, getattr(device, "platform", None), getattr(device, "type", None))


def compiled(function: Callable[..., Array], array: Array) -> Callable[..., Array] | None:
    """`function` compiled as one, where its library compiles each call for each shape anyway: JAX.

    Its first argument has to be hashable, the others are arrays.
    """
    if is_jax_array(array):
        import jax

        return jax.jit(function, static_argnums=0)
    return None


def to_host(array: Array) -> np.ndarray:
    """NumPy array with the values of `array`, from any library and device."""
    if is_cupy_array(array):
        return array.get()
    if not is_numpy_array(array) and hasattr(array, "detach"):
        array = array.detach().cpu()
    try:
        return np.asarray(array)
    except RuntimeError:  # it lives on a device that NumPy cannot look into
        return np.from_dlpack(array, device="cpu")


def to_device(array: Array, device: str) -> Array:
    """Array on a device as `iem_xp.devices` names it: a NumPy array on "cpu", a CuPy array on "gpu:N"."""
    if device == "cpu":
        return to_host(array)
    cupy = import_cupy()
    with cupy.cuda.Device(int(device.removeprefix("gpu:"))):
        return cupy.asarray(array if is_cupy_array(array) else to_host(array))


def has_cupy() -> bool:
    """Whether there is a CuPy to import."""
    spec = importlib.util.find_spec("cupy")
    return spec is not None and spec.origin is not None  # without origin, it is a folder left behind


def import_cupy() -> Any:
    """CuPy, imported now, and by no other module."""
    import cupy

    return cupy


@contextmanager
def exactly(array: Array) -> Iterator[None]:
    """Compute on the device of `array`, in full float32 precision, for the ``with`` block.

    CuPy puts results on its current device, wherever the arguments are. And matrix products may have their
    factors shortened (TF32, bfloat16), which would change masks: JAX does so on recent GPUs, CuPy and PyTorch
    where the user wants it. For these two it is a setting of the whole process, restored when the last thread
    leaves.
    """
    if is_cupy_array(array):
        with array.device, _cupy_in_full:
            yield
    elif is_jax_array(array):
        import jax

        with jax.default_matmul_precision("highest"):
            yield
    elif is_torch_array(array):
        import torch

        with torch.autocast(array.device.type, enabled=False), _torch_in_full:
            yield
    else:
        yield


@contextmanager
def _set_cupy_in_full() -> Iterator[None]:
    from cupy._core import _routines_linalg as linalg

    before = linalg.get_compute_type(np.float32)
    linalg.set_compute_type(np.float32, linalg.COMPUTE_TYPE_FP32)
    try:
        yield
    finally:
        linalg.set_compute_type(np.float32, before)


@contextmanager
def _set_torch_in_full() -> Iterator[None]:
    import torch

    # Since 2.9, kinds of devices have a precision of their own, or else inherit one; the common one cannot be
    # read where it contradicts those.
    backends: tuple[Any, ...] = (torch.backends.cuda, torch.backends.mkldnn)
    kinds = [backend.matmul for backend in backends if hasattr(backend, "matmul")]
    before = [(kind, kind.fp32_precision) for kind in kinds if hasattr(kind, "fp32_precision")]
    common = "highest"
    with suppress(RuntimeError):
        common = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(common)
        for kind, precision in before:
            kind.fp32_precision = "none"
            if kind.fp32_precision != precision:  # it was not inherited
                kind.fp32_precision = precision


_cupy_in_full, _torch_in_full = Shared(_set_cupy_in_full), Shared(_set_torch_in_full)


def like(array: Array, model: Array) -> Array:
    """Array of the library of `model`, on its device, with the values of `array`."""
    xp = array_namespace(model)
    if is_cupy_array(model):
        with model.device:
            return xp.asarray(array)
    return xp.asarray(to_host(array), device=device_of(model))


_OUT_OF_MEMORY = (
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "RESOURCE_EXHAUSTED",
    "can't allocate memory",
)
"""What errors of CUDA, cuBLAS, JAX and PyTorch say that are no MemoryError."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of any array library says that memory, the host's or a device's, did not suffice."""
    if isinstance(error, RuntimeError):
        return any(phrase in str(error) for phrase in _OUT_OF_MEMORY)
    return isinstance(error, MemoryError)


def free_memory(array: Array) -> int | None:
    """Bytes that more arrays may take on the device of `array`; None where its library does not tell.

    What the library's pool holds and does not use counts as free.
    """
    if is_cupy_array(array):
        cupy = import_cupy()
        with array.device:
            free, _ = cupy.cuda.runtime.memGetInfo()
            pool = cupy.get_default_memory_pool()
            if limit := pool.get_limit():
                free = min(free, limit - pool.total_bytes())
            return free + pool.free_bytes()
    if is_torch_array(array) and array.is_cuda:
        from torch import cuda

        free, _ = cuda.mem_get_info(array.device)
        return free + cuda.memory_reserved(array.device) - cuda.memory_allocated(array.device)
    if is_jax_array(array):
        known = [device.memory_stats() or {} for device in array.devices()]
        if all("bytes_limit" in stats for stats in known):
            return min(stats["bytes_limit"] - stats["bytes_in_use"] for stats in known)
    return None


def release_memory(array: Array) -> None:
    """Give back what nobody refers to any more, and, on its device, what CuPy's pool holds unused."""
    gc.collect()
    if is_cupy_array(array):
        cupy = import_cupy()
        with array.device:
            cupy.get_default_memory_pool().free_all_blocks()
