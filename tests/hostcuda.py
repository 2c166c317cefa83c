"""A counting library that also runs CUDA kernels, compiled for the host by its C compiler.

The same source that a GPU would get, launched by the same code: a library of `counting` with a `RawKernel`. A
launch is a few threads, one after the other, among whom the kernels share the work.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from counting import Array, Library

COMPILER = shutil.which("cc") or shutil.which("gcc")

HOST = """
#include <math.h>
#include <stdbool.h>
#define KERNEL static void
#define INLINE static inline
static struct { unsigned x, y; } gridDim = {2, 2}, blockDim = {2, 1}, blockIdx, threadIdx;
#line 1 "kernels.cu"
"""

LAUNCH = """
void launch_%s(%s)
{
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++)
    for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
    for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++)
        %s(%s);
}
"""

FLAGS = ["-O2", "-std=c11", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-fPIC", "-shared"]
"""Every rounding in its place, as by the options that a GPU's compiler gets."""

KINDS = {"int": (np.int32, ctypes.c_int), "float": (np.float32, ctypes.c_float)}
POINTERS = {"float *": np.float32, "bool *": np.bool}


def kernels_of(source: str) -> dict[str, list[tuple[str, str]]]:
    """Kernels by name, with the type and the name of each parameter."""
    found = re.findall(r"^KERNEL (\w+)\((.*?)\)", source, re.M | re.S)
    split = re.compile(r"\s*(.+?)(\w+)\s*$")
    return {name: [split.match(part).groups() for part in listed.split(",")] for name, listed in found}


@cache
def compiled(source: str) -> ctypes.CDLL:
    """The source's kernels, each in a function that launches it."""
    assert COMPILER is not None
    code = HOST + source
    for name, parameters in kernels_of(source).items():
        declared = ", ".join(kind + parameter for kind, parameter in parameters)
        code += LAUNCH % (name, declared, name, ", ".join(parameter for _, parameter in parameters))
    with tempfile.TemporaryDirectory() as folder:
        file, library = Path(folder, "kernels.c"), Path(folder, "kernels.so")
        file.write_text(code)
        subprocess.run([COMPILER, *FLAGS, file, "-o", library, "-lm"], check=True)
        return ctypes.CDLL(str(library))


class Kernel:
    """Kernel of a source, called as CuPy's `RawKernel` is."""

    def __init__(self, source: str, name: str) -> None:
        self._name = name
        self._function = getattr(compiled(source), f"launch_{name}")
        self._function.restype = None
        self._kinds = [kind.strip() for kind, _ in kernels_of(source)[name]]

    def __call__(self, grid: tuple[int, int], block: tuple[int], arguments: tuple[Any, ...]) -> None:
        assert 1 <= grid[0] < 2**31, "blocks along x"
        assert 1 <= grid[1] < 2**16, "blocks along y"
        assert 1 <= block[0] <= 1024, "threads of a block"
        passed, costs = [], {"read": 0, "written": 0}
        for argument, kind in zip(arguments, self._kinds, strict=True):
            if isinstance(argument, Array):
                values = argument.values
                assert values.dtype == POINTERS[kind.removeprefix("const ")], f"{self._name}: {kind}"
                assert values.flags.c_contiguous, f"{self._name}: an array with gaps"
                passed.append(ctypes.c_void_p(values.ctypes.data))
                costs["read" if kind.startswith("const ") else "written"] += values.nbytes
            else:
                assert type(argument) is KINDS[kind][0], f"{self._name}: {kind}"
                passed.append(KINDS[kind][1](argument))
        self._function(*passed)
        library = next(argument.library for argument in arguments if isinstance(argument, Array))
        library.write(self._name, arguments, {}, launches=True, **costs)


class CudaLibrary(Library):
    """A library whose kernels are computed by the host."""

    def RawKernel(self, source: str, name: str, options: tuple[str, ...] = ()) -> Kernel:
        assert "--fmad=false" in options, "sums of products would be rounded once, not twice as by the host"
        return Kernel(source, name)
