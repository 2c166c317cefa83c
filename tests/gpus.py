"""A stand-in for CuPy on a machine with GPUs: its runtime answers as told, and arrays are NumPy's."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import nullcontext
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from iem_xp import cuda


class Shortened(np.ndarray):
    """Arrays that multiply as a GPU does in TF32."""

    def __matmul__(self, other: np.ndarray) -> Any:
        return shorten(self) @ shorten(other)


def shorten(array: np.ndarray) -> np.ndarray:
    """NumPy array of the values of `array`, rounded to 10 bits after the point, as TF32 has."""
    bits = np.array(array, dtype=np.float32).view(np.uint32) + np.uint32(1 << 12)
    return (bits & np.uint32(0xFFFFE000)).view(np.float32)


def pretend_cupy(
    monkeypatch: pytest.MonkeyPatch,
    count: int = 1,
    *,
    driver: str | None = "12.9",
    packages: tuple[str, ...] = ("cupy-cuda12x",),
    listing: Exception | None = None,
    computing: Exception | None = None,
    array: type[np.ndarray] = np.ndarray,
) -> None:
    """Replace CuPy, whether it is installed or not.

    `listing` is raised where the GPUs are counted, `computing` where an array is put on one.
    """

    def get_device_count() -> int:
        if listing is not None:
            raise listing
        return count

    def asarray(values: np.ndarray) -> np.ndarray:
        if computing is not None:
            raise computing
        return values.view(array)

    runtime = SimpleNamespace(
        getDeviceCount=get_device_count,
        getDeviceProperties=lambda index: {"name": b"Imaginary 9000", "major": 6, "minor": 1},
        memGetInfo=lambda: (3 * 2**30, 8 * 2**30),
        runtimeGetVersion=lambda: 12090,
    )
    cupy = ModuleType("cupy")
    cupy.asarray = asarray
    cupy.ndarray = type("ndarray", (), {})
    cupy.generic = type("generic", (), {})
    cupy.cuda = SimpleNamespace(
        runtime=runtime,
        nvrtc=SimpleNamespace(getVersion=lambda: (12, 8)),
        Device=lambda index: nullcontext(),
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    _pretend_installed(monkeypatch, ModuleSpec("cupy", None, origin="cupy/__init__.py"), packages, driver)


def pretend_no_cupy(
    monkeypatch: pytest.MonkeyPatch, driver: str | None = None, packages: tuple[str, ...] = ()
) -> None:
    """Hide CuPy, if it is installed."""
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    _pretend_installed(monkeypatch, None, packages, driver)


def _pretend_installed(
    monkeypatch: pytest.MonkeyPatch,
    spec: ModuleSpec | None,
    packages: tuple[str, ...],
    driver: str | None,
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == "cupy" else find_spec(name))
    monkeypatch.setattr(cuda, "cupy_packages", lambda: list(packages))
    monkeypatch.setattr(cuda, "driver_version", lambda: driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
