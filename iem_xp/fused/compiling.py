"""How functions of this engine are compiled: by Numba, without the GIL, for arrays that do not overlap.

In compiled code every index of a pixel is a ``uint64``. Numba lets a signed one count from the end of an
array, and the test for that keeps loops from being vectorised; and of ``uint64`` and ``int64`` it makes
``float64``. So the whole numbers that take part in indices are the constants below.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core.caching import FunctionCache
from numba.core.compiler import Compiler
from numba.cpython.unsafe import numbers

Index = Any
"""In compiled code: uint64."""
Number = Any
"""In compiled code: float32 or float64."""

trailing_zeros: Callable[[Index], Index] = numbers.trailing_zeros
"""Position of the lowest bit that is set."""

ZERO, ONE, TWO = np.uint64(0), np.uint64(1), np.uint64(2)

Function = TypeVar("Function", bound=Callable[..., Any])


class _Disjoint(Compiler):
    """A compiler that tells LLVM that no two arrays which a function is given overlap where one is written.

    Not knowing it, LLVM tests for overlaps before every loop, and leaves those of many arrays as they are.
    """

    def define_pipelines(self) -> Any:
        self.state.flags.noalias = True
        return super().define_pipelines()


_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "pipeline_class": _Disjoint,
    # Sums in any order and fused multiply-adds; but infinities are what they are, and x - x is 0.
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
}


def compiled(function: Function) -> Function:
    """Compile a function that only compiled ones call, at its first call."""
    return numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)(function)


def inlined(function: Function) -> Function:
    """Compile a function into each that calls it: a call with many arrays takes longer than its work."""
    return numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True, **_OPTIONS)(function)


_COMPILED_IN = "cut", "marginals"
"""Modules of the core whose numbers become part of the compiled code."""


class _Cache(FunctionCache):
    """Numba's cache; but it notices changes in all the sources that matter, not in one file alone.

    And what it cannot read or write is compiled anew, where Numba raises an error.
    """

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), _fingerprint())

    def holds(self, codegen: Any) -> bool:
        """Whether something is kept that this process would load."""
        try:
            kept = self._cache_file._load_index()
            return any(
                key == self._index_key(key[0], codegen) and Path(self._cache_file._data_path(name)).exists()
                for key, name in kept.items()
            )
        except Exception:  # a file was cut short
            return False

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a file was cut short
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):  # the disk is full
            super().save_overload(sig, data)


@cache
def _fingerprint() -> str:
    here = Path(__file__).parent
    constants = (here.parent / f"{name}.py" for name in _COMPILED_IN)
    digest = blake2b(digest_size=8)
    for source in sorted([*here.glob("*.py"), *constants]):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def compiled_once(function: Function) -> Function:
    """Compile a function that Python calls, and all it calls, once for every machine and version.

    Numba keeps the result beside the source, or else in the user's cache folder. Where neither can be
    written, every process compiles anew.
    """
    dispatcher = numba.njit(**_OPTIONS)(function)
    with suppress(RuntimeError):  # no folder can be written
        dispatcher._cache = _Cache(function)
    return dispatcher


def is_kept(function: Callable[..., Any]) -> bool:
    """Whether a function of `compiled_once` was compiled before, by whatever process."""
    if cache_folder(function) is None:
        return False
    return function._cache.holds(function.targetctx.codegen())  # type: ignore[attr-defined]


def cache_folder(function: Callable[..., Any]) -> str | None:
    """Where Numba keeps a function of `compiled_once`; None if it cannot."""
    return function.stats.cache_path  # type: ignore[attr-defined]


def aligned(shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    """Array of zeros that begins at a cache line: vectors that straddle two are loaded at half the speed."""
    line, size = 64, int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(size + line, dtype=np.uint8)
    begin = -memory.ctypes.data % line
    return memory[begin : begin + size].view(dtype).reshape(shape)
