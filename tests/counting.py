"""Arrays that count: what a computation asks of its array library, and what that would cost on a GPU.

A `Library` is an array-API namespace over NumPy that writes down every call:

- an operation is one launch of a kernel: it reads the distinct bytes of each operand once (of a broadcast
  one only its own values) and writes its result; an in-place one also reads what it changes;
- a view, which is what shares its operand's memory, costs nothing, nor does a scalar;
- `up` are bytes that come from the host; `down` those that the host waits for: values, and sizes that
  depend on values.

So it counts what the source asks for. What a library makes of it may be more launches, or fewer bytes.

It is an allocator, too, that fails on demand: with a `limit`, an array beyond it is a MemoryError.

    library = Library()
    images = library.asarray(photographs)
    calls = library.record(lambda: iem_xp.segment(images))
    print(table(calls, n * height * width))

``python tests/counting.py`` prints the table of one update.
"""

from __future__ import annotations

import operator
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import array_api_compat.numpy
import numpy as np

SIZED_BY_VALUES = {"nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values"}
BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")
BINARY += ("and", "or", "xor", "lshift", "rshift")
OTHER = ("lt", "le", "eq", "ne", "gt", "ge", "neg", "pos", "abs", "invert")
CONVERSIONS = {"bool": bool, "int": int, "float": float, "complex": complex, "index": operator.index}

UNFILLED = {"empty", "empty_like"}
"""What allocates memory and launches nothing."""

SIZE_BYTES = 8
"""Bytes of a size that the host waits for."""


class Operand(NamedTuple):
    """What a call saw of an array."""

    dtype: np.dtype
    shape: tuple[int, ...]


class Call(NamedTuple):
    """A call of the library, an operator or a conversion; arrays among its arguments are `Operand`s.

    `launches`: whether it is an operation on the device. `read`, `written`: bytes of the device's memory.
    `up`, `down`: bytes from the host and to it.
    """

    name: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    launches: bool = False
    read: int = 0
    written: int = 0
    up: int = 0
    down: int = 0


class Library:
    """An array-API namespace that writes down its `calls`.

    Parameters
    ----------
    limit : int, optional
        Bytes that may be alive at once. It may be changed at any time.

    Attributes
    ----------
    calls : list of Call
    peak : int
        Most bytes that were alive at once.
    """

    __name__ = "counting"
    device = "counting device"

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.calls: list[Call] = []
        self.peak = 0
        self._buffers: WeakValueDictionary[int, np.ndarray] = WeakValueDictionary()
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        value = getattr(array_api_compat.numpy, name)
        if isinstance(value, type) or not callable(value):
            return value  # a data type, a constant

        def function(*arguments: Any, **keywords: Any) -> Any:
            return self.run(name, value, arguments, keywords)

        return function

    def record(self, function: Callable[[], object]) -> list[Call]:
        """Calls that a function makes."""
        before = len(self.calls)
        function()
        return self.calls[before:]

    @property
    def alive(self) -> int:
        """Bytes of all arrays that somebody holds."""
        return sum(buffer.nbytes for buffer in self._buffers.values())

    def asarray(self, values: Any, /, *, dtype: Any = None, device: Any = None, copy: Any = None) -> Array:
        """Array of this library; bytes go up if `values` are the host's."""
        keywords = {"dtype": dtype, "device": device, "copy": copy}
        keywords = {name: value for name, value in keywords.items() if value is not None}
        if isinstance(values, Array):
            return self.run("asarray", array_api_compat.numpy.asarray, (values,), keywords)
        array = np.array(values, dtype)
        self._allocate(array)
        self.write("asarray", (values,), keywords, up=array.nbytes)
        return Array(self, array)

    def run(self, name: str, function: Callable[..., Any], arguments: Any, keywords: Any) -> Any:
        """Result of a function of NumPy, as arrays of this library; the call is written down."""
        assert keywords.get("device") in (None, self.device), f"{name} on another device"
        here = {key: value for key, value in keywords.items() if key != "device"}
        result = function(*values_in(arguments), **values_in(here))
        result = exchange(result, np.asarray, np.ndarray, np.generic)

        operands = [array.values for array in arrays_in((arguments, keywords))]
        results = arrays_in(result, np.ndarray)
        fresh = [array for array in results if not any(np.may_share_memory(array, old) for old in operands)]
        for array in fresh:
            self._allocate(array)
        costs = {}
        if fresh and name not in UNFILLED:
            written = sum(array.nbytes for array in fresh)
            costs = {"launches": True, "read": sum(map(distinct_bytes, operands)), "written": written}
        if name in SIZED_BY_VALUES:
            costs["down"] = SIZE_BYTES
        self.write(name, arguments, keywords, **costs)
        return exchange(result, lambda array: Array(self, array), np.ndarray)

    def write(self, name: str, arguments: Any, keywords: Any, **costs: Any) -> None:
        """Write a call down; to index with a mask is to wait for the number of its pixels."""
        if name in ("__getitem__", "__setitem__") and any(
            key.dtype == bool for key in arrays_in(arguments[1])
        ):
            costs["down"] = SIZE_BYTES
        seen = exchange((arguments, keywords), operand, Array, np.ndarray)
        self.calls.append(Call(name, *seen, **costs))

    def _allocate(self, array: np.ndarray) -> None:
        while isinstance(array.base, np.ndarray):
            array = array.base
        with self._lock:
            alive = self.alive + array.nbytes
            if self.limit is not None and alive > self.limit:
                raise MemoryError(f"{alive} bytes would be alive, {self.limit} are allowed")
            self._buffers[id(array)] = array
            self.peak = max(self.peak, alive)


class Array:
    """An array of a `Library`: `values` in NumPy, every operation on which is a call."""

    __array_ufunc__ = None  # NumPy leaves operators to this class
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, library: Library, values: np.ndarray) -> None:
        self.library = library
        self.values = values

    dtype = property(lambda self: self.values.dtype)
    shape = property(lambda self: self.values.shape)
    ndim = property(lambda self: self.values.ndim)
    size = property(lambda self: self.values.size)
    device = property(lambda self: self.library.device)
    T = property(lambda self: self.library.matrix_transpose(self))

    def __repr__(self) -> str:
        return f"Array({self.dtype}, {self.shape})"

    def __array_namespace__(self, api_version: str | None = None) -> Library:
        return self.library

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        asked = sys._getframe(1).f_code.co_name == "to_host"  # as the core does, instead of by accident
        self.library.write("to_host" if asked else "__array__", (self,), {}, down=self.values.nbytes)
        return np.array(self.values, dtype)

    def to_device(self, device: str) -> Array:
        assert device == self.device
        return self

    def __getitem__(self, key: Any) -> Array:
        def get(values: np.ndarray, key: Any) -> Any:
            key = key if isinstance(key, tuple) else (key,)
            # With an ellipsis, a single value is a view, too.
            return values[key if any(part is Ellipsis for part in key) else (*key, ...)]

        return self.library.run("__getitem__", get, (self, key), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        self.values[values_in(key)] = values_in(value)
        written = self.values[values_in(key)]
        self._changed("__setitem__", (key, value), written, (key, value))

    def _changed(self, name: str, others: tuple[Any, ...], written: np.ndarray, read: Any) -> None:
        bytes_read = sum(distinct_bytes(array.values) for array in arrays_in(read))
        costs = {"launches": True, "read": bytes_read, "written": written.nbytes}
        self.library.write(name, (self, *others), {}, **costs)


def _operator(name: str) -> Callable[..., Any]:
    def apply(*operands: Any) -> Any:
        return operands[0].library.run(name, getattr(operator, name), operands, {})

    return apply


def _reflected(name: str) -> Callable[[Array, Any], Any]:
    function = getattr(operator, name.replace("__r", "__", 1))

    def apply(self: Array, other: Any) -> Any:
        return self.library.run(name, lambda mine, other: function(other, mine), (self, other), {})

    return apply


def _in_place(name: str) -> Callable[[Array, Any], Array]:
    def apply(self: Array, other: Any) -> Array:
        getattr(operator, name)(self.values, values_in(other))
        self._changed(name, (other,), self.values, (self, other))
        return self

    return apply


def _conversion(name: str, convert: Callable[[Any], Any]) -> Callable[[Array], Any]:
    def apply(self: Array) -> Any:
        self.library.write(name, (self,), {}, down=self.values.nbytes)
        return convert(self.values)

    return apply


for _name in OTHER:
    setattr(Array, f"__{_name}__", _operator(f"__{_name}__"))
for _name in BINARY:
    setattr(Array, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(Array, f"__r{_name}__", _reflected(f"__r{_name}__"))
    setattr(Array, f"__i{_name}__", _in_place(f"__i{_name}__"))
for _name, _convert in CONVERSIONS.items():
    setattr(Array, f"__{_name}__", _conversion(f"__{_name}__", _convert))


def arrays_in(value: Any, *kinds: type) -> Iterator[Any]:
    """All arrays in a value that may be nested: each `Array`, or what is of the given kinds."""
    if isinstance(value, kinds or Array):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from arrays_in(part, *kinds)


def exchange(value: Any, convert: Callable[[Any], Any], *kinds: type) -> Any:
    """A value with the arrays in it, as for `arrays_in`, converted."""
    if isinstance(value, kinds or Array):
        return convert(value)
    if isinstance(value, dict):
        return {key: exchange(part, convert, *kinds) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        parts = (exchange(part, convert, *kinds) for part in value)
        return list(parts) if isinstance(value, list) else tuple(parts)
    return value


def values_in(value: Any) -> Any:
    """A value with its arrays in NumPy; an array of the host is a TypeError, as for a GPU's library."""
    if any(True for _ in arrays_in(value, np.ndarray)):
        raise TypeError("an array of the host among those of the device")
    return exchange(value, lambda array: array.values)


def operand(array: Any) -> Operand:
    """What is written down of an array."""
    return Operand(array.dtype, array.shape)


def distinct_bytes(values: np.ndarray) -> int:
    """Bytes of the values as they are stored, however often they are broadcast."""
    lengths = [n for n, stride in zip(values.shape, values.strides, strict=True) if stride]
    return int(np.prod(lengths)) * values.itemsize if values.size else 0


def launches(calls: Sequence[Call]) -> int:
    """Number of operations on the device."""
    return sum(call.launches for call in calls)


def plane_passes(calls: Sequence[Call], pixels: int) -> float:
    """Bytes read and written, in float32 planes of so many pixels: those of all images."""
    return sum(call.read + call.written for call in calls) / (4 * pixels)


def table(calls: Sequence[Call], pixels: int) -> str:
    """Launches and plane passes by name, the dearest first, and of all."""
    groups = {name: [call for call in calls if call.name == name] for name in {call.name for call in calls}}
    rows = {name: (launches(group), plane_passes(group, pixels)) for name, group in groups.items()}
    dearest = sorted((name for name in rows if rows[name][0]), key=lambda name: -rows[name][1])
    rows["all"] = launches(calls), plane_passes(calls, pixels)
    lines = [f"{name:<16}{rows[name][0]:>8}{rows[name][1]:>14.1f}" for name in [*dearest, "all"]]
    return "\n".join([f"{'':<16}{'launches':>8}{'plane passes':>14}", *lines])


def main() -> None:
    """Print the table of one update of 8 images of 128 x 128, RGB, with the paper's numbers."""
    from iem_xp import IEMConfig
    from iem_xp.layout import to_colours
    from iem_xp.solver import centred_square, update
    from iem_xp.terms import Scene

    shape = (8, 128, 128, 3)
    images = Library().asarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    scene, masks = Scene.of(to_colours(images), IEMConfig()), centred_square(images, 78)
    masks = update(scene, masks)  # from a mask as all others: the first is a broadcast one
    calls = images.library.record(lambda: update(scene, masks))
    print(table(calls, shape[0] * shape[1] * shape[2]))


if __name__ == "__main__":
    main()
