"""The array libraries under test: how a NumPy array gets there and back, and why a library is left out."""

from __future__ import annotations

import importlib.util
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from typing import Any

import numpy as np
import pytest
from array_api_compat import array_namespace, device

Array = Any


class Backend(Enum):
    """An array library, in the state that is hardest on the code under test.

    `NUMPY_READONLY` catches writing into what a user passed; `ARRAY_API_STRICT` everything the standard does
    not promise, and, as it works on a device that is not the default, arrays created in the wrong place.
    """

    NUMPY = "numpy"
    NUMPY_READONLY = "numpy-readonly"
    ARRAY_API_STRICT = "array_api_strict"
    JAX = "jax"
    TORCH = "torch"
    CUPY = "cupy"

    def missing(self) -> str | None:
        """Why it cannot be tested here, or None."""
        library = {"numpy-readonly": "numpy"}.get(self.value, self.value)
        if importlib.util.find_spec(library) is None:
            return f"{library} is not installed"
        if self is Backend.CUPY:
            import cupy

            try:
                return None if cupy.cuda.is_available() else "CuPy finds no CUDA device"
            except cupy.cuda.runtime.CUDARuntimeError as error:  # of CuPy 13, without a driver
                return f"CuPy finds no CUDA device: {error}"
        return None

    def asarray(self, array: np.ndarray) -> Array:
        """`array` in this library."""
        if self is Backend.ARRAY_API_STRICT:
            import array_api_strict

            return array_api_strict.asarray(array, device=array_api_strict.Device("device1"))
        if self is Backend.JAX:
            import jax.numpy

            return jax.numpy.asarray(array)
        if self is Backend.TORCH:
            import torch

            return torch.asarray(np.array(array))
        if self is Backend.CUPY:
            import cupy

            return cupy.asarray(array)
        array = np.array(array)
        array.flags.writeable = self is not Backend.NUMPY_READONLY
        return array

    def to_numpy(self, array: Array) -> np.ndarray:
        """`array`, which must be of this library and where `asarray` puts arrays, in NumPy."""
        ours = self.asarray(np.zeros(1))
        assert array_namespace(array) is array_namespace(ours)
        assert device(array) == device(ours)
        if self is Backend.ARRAY_API_STRICT:
            import array_api_strict

            return np.asarray(array.to_device(array_api_strict.Device("CPU_DEVICE")))
        return array.get() if self is Backend.CUPY else np.asarray(array)

    def having(self, dtype: str) -> AbstractContextManager[object]:
        """A ``with`` block in which it has this data type: JAX has none of 64 bits, otherwise."""
        if self is not Backend.JAX or dtype not in ("float64", "int64", "uint64"):
            return nullcontext()
        import jax

        if hasattr(jax, "enable_x64"):
            return jax.enable_x64(True)
        from jax.experimental import enable_x64  # older JAX

        return enable_x64()

    def parameter(self) -> Any:
        """This backend as a parameter of a test."""
        if self is Backend.CUPY:
            return pytest.param(self, id=self.value, marks=pytest.mark.gpu)  # which the tests' set-up skips
        reason = self.missing()
        return pytest.param(
            self, id=self.value, marks=pytest.mark.skipif(reason is not None, reason=str(reason))
        )
