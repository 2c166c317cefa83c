"""The only place that knows array libraries and devices: what an array is, where it lives, how it moves."""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from array_api_compat import (
    array_namespace,
    is_array_api_obj,
    is_cupy_array,
    is_dask_array,
    is_jax_array,
    is_numpy_array,
)
from array_api_compat import device as device_of

Array = Any


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


def resolve_device(name: str) -> tuple[str, str]:
    """Device for a `name` ("auto", "cpu", "gpu" or "gpu:N"), and in one line why.

    Returns
    -------
    device : str
        "cpu" or "gpu:N".
    reason : str

    Raises
    ------
    DeviceError
        If a GPU is asked for and cannot be had. "auto" takes the CPU then.
    ValueError
        If `name` is none of the above.
    """
    kind, _, index = name.partition(":")
    if name not in ("auto", "cpu", "gpu") and not (kind == "gpu" and index.isdecimal()):
        raise ValueError(f'device must be "auto", "cpu", "gpu" or "gpu:N", not {name!r}')
    if kind == "cpu":
        return "cpu", "as asked"
    try:
        count = _count_gpus()
        if int(index or 0) >= count:
            raise DeviceError(f"there is no {name}", f"this machine has {count} GPU(s), numbered from 0")
    except DeviceError as error:
        if kind == "auto":
            return "cpu", f"no GPU: {error.cause}"
        raise
    return f"gpu:{int(index or 0)}", "as asked" if kind == "gpu" else "a GPU is available"


def _count_gpus() -> int:
    if importlib.util.find_spec("cupy") is None:
        raise DeviceError("CuPy is not installed", "install it with: pip install 'iem-xp[gpu]'")
    try:
        import cupy

        count = int(cupy.cuda.runtime.getDeviceCount())
    except ImportError as error:
        remedy = "reinstall it with: pip install --force-reinstall 'iem-xp[gpu]'"
        raise DeviceError(f"CuPy cannot be imported ({error})", remedy) from error
    except RuntimeError as error:
        remedy = "check that `nvidia-smi` lists a GPU, and update its driver"
        raise DeviceError(f"CUDA reports: {error}", remedy) from error
    if not count:
        raise DeviceError("CUDA lists no GPU", "check that `nvidia-smi` lists one")
    return count


def usable_cpus() -> int:
    """CPUs that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def to_device(array: Array, device: str) -> Array:
    """Array on a device named as by `resolve_device`: a NumPy array on "cpu", a CuPy array on "gpu:N"."""
    device, _ = resolve_device(device)
    if device == "cpu":
        return to_host(array)
    import cupy

    with cupy.cuda.Device(int(device.partition(":")[2])):
        return cupy.asarray(array if is_cupy_array(array) else to_host(array))


@contextmanager
def exactly(array: Array) -> Iterator[None]:
    """Compute on the device of `array`, in full float32 precision, for the ``with`` block.

    CuPy puts results on its current device, wherever the arguments are. JAX shortens the factors of matrix
    products on recent GPUs, which would change masks.
    """
    if is_cupy_array(array):
        with array.device:
            yield
    elif is_jax_array(array):
        import jax

        with jax.default_matmul_precision("highest"):
            yield
    else:
        yield


class _FewThreads:
    """One BLAS thread while any thread is inside: the first in sets it, the last out restores it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limits: Any = None

    @contextmanager
    def __call__(self, array: Array) -> Iterator[None]:
        """Set up NumPy for many small operations, for the ``with`` block; nothing for other arrays.

        The products of an update are many and small: with more threads, BLAS takes twice the time waiting for
        them. And glibc is told to keep the memory of freed arrays for the next ones: it returns blocks above
        a threshold to the kernel, and getting them back, page by page, doubles the time too. The threshold
        rises to the largest block seen freed, up to 32 MiB; this one is never touched and so costs nothing.
        """
        if not is_numpy_array(array):
            yield
            return
        from threadpoolctl import threadpool_limits

        np.empty(2**25 - 2**16, dtype=np.uint8)
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._limits = threadpool_limits(1, user_api="blas")
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._limits.restore_original_limits()


few_threads = _FewThreads()


def like(array: Array, model: Array) -> Array:
    """Array of the library of `model`, on its device, with the values of `array`."""
    xp = array_namespace(model)
    if is_cupy_array(model):
        with model.device:
            return xp.asarray(array)
    return xp.asarray(to_host(array), device=device_of(model))
