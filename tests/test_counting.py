"""The arrays that count: what is a call, what a view, what a transfer, and what is alive."""

import numpy as np
import pytest
from array_api_compat import array_namespace, device, is_array_api_obj

import iem_xp
from counting import Array, Library, Operand, launches, plane_passes, table
from iem_xp.arrays import is_cached, like, to_host


@pytest.fixture
def library():
    return Library()


@pytest.fixture
def x(library):
    return library.asarray(np.arange(24, dtype=np.float32).reshape(4, 6))


def costs(call):
    return call.launches, call.read, call.written


def test_it_is_an_array_of_its_library(library, x):
    assert is_array_api_obj(x)
    assert array_namespace(x, x) is library
    assert device(x) == library.device
    assert not is_cached(x)


@pytest.mark.parametrize(
    "view",
    [
        lambda x, xp: x[1:, ::2],
        lambda x, xp: x[0, 0],
        lambda x, xp: x[..., None],
        lambda x, xp: x.T,
        lambda x, xp: xp.reshape(x, (-1,)),
        lambda x, xp: xp.permute_dims(x, (1, 0)),
        lambda x, xp: xp.matrix_transpose(x),
        lambda x, xp: xp.broadcast_to(x, (5, 4, 6)),
        lambda x, xp: xp.expand_dims(x, axis=1),
        lambda x, xp: xp.squeeze(x[:1, :], axis=0),
        lambda x, xp: xp.flip(x),
        lambda x, xp: xp.asarray(x),
        lambda x, xp: xp.astype(x, xp.float32, copy=False),
    ],
)
def test_a_view_costs_nothing(library, x, view):
    calls = library.record(lambda: view(x, library))
    assert calls
    assert {costs(call) for call in calls} == {(False, 0, 0)}


def test_an_operation_reads_its_operands_and_writes_its_result(library, x):
    assert [costs(call) for call in library.record(lambda: x + x)] == [(True, 192, 96)]
    assert [costs(call) for call in library.record(lambda: x > 1)] == [(True, 96, 24)]
    assert [costs(call) for call in library.record(lambda: 1 - x)] == [(True, 96, 96)]
    assert [costs(call) for call in library.record(lambda: -x)] == [(True, 96, 96)]
    assert [costs(call) for call in library.record(lambda: library.sum(x, axis=1))] == [(True, 96, 16)]
    assert [costs(call) for call in library.record(lambda: library.concat([x, x]))] == [(True, 192, 192)]
    assert [costs(call) for call in library.record(lambda: x @ x.T)][1:] == [(True, 192, 64)]


def test_a_reshape_that_has_to_copy_is_an_operation(library, x):
    assert [call.launches for call in library.record(lambda: library.reshape(x.T, (-1,)))] == [False, True]


def test_a_broadcast_operand_is_read_once(library, x):
    row = library.broadcast_to(x[:1, :], (4, 6))
    assert [costs(call) for call in library.record(lambda: x * row)] == [(True, 96 + 24, 96)]


def test_an_operation_in_place_reads_what_it_changes(library, x):
    def add():
        nonlocal x
        x += 1

    assert [costs(call) for call in library.record(add)] == [(True, 96, 96)]
    np.testing.assert_array_equal(x.values[0], [1, 2, 3, 4, 5, 6])


def test_writing_into_a_part_writes_the_part(library, x):
    def put():
        x[0, :3] = x[1, :3]

    assert costs(library.record(put)[-1]) == (True, 12, 12)
    np.testing.assert_array_equal(x.values[0], [6, 7, 8, 3, 4, 5])


def test_what_the_host_sends_goes_up(library):
    (call,) = library.record(lambda: library.asarray(np.zeros(8, np.uint8), device=library.device))
    assert (call.up, call.down, *costs(call)) == (8, 0, False, 0, 0)
    assert call.arguments == (Operand(np.dtype(np.uint8), (8,)),)


@pytest.mark.parametrize(
    ("wait", "bytes_down"),
    [
        (lambda x, xp: bool(x[0, 0]), 4),
        (lambda x, xp: int(x[0, 0]), 4),
        (lambda x, xp: float(x[0, 0]), 4),
        (lambda x, xp: range(4)[xp.astype(x[0, 0], xp.int64)], 8),
        (lambda x, xp: np.asarray(x), 96),
        (lambda x, xp: to_host(x), 96),
        (lambda x, xp: xp.nonzero(x), 8),
        (lambda x, xp: x[xp.astype(x, xp.bool)], 8),
        (lambda x, xp: xp.sum(x), 0),
        (lambda x, xp: xp.take(x, xp.argmax(x, axis=1)), 0),
    ],
)
def test_what_the_host_waits_for_comes_down(library, x, wait, bytes_down):
    assert sum(call.down for call in library.record(lambda: wait(x, library))) == bytes_down


def test_it_shows_whether_a_copy_to_the_host_was_asked_for(library, x):
    assert [call.name for call in library.record(lambda: to_host(x))] == ["to_host"]
    assert [call.name for call in library.record(lambda: np.asarray(x))] == ["__array__"]


def test_an_array_of_the_host_does_not_mix(library, x):
    host = np.ones((4, 6), np.float32)
    with pytest.raises(TypeError, match="an array of the host"):
        library.where(x > 0, x, host)
    for mix in (lambda: x + host, lambda: host + x, lambda: host @ x.T, lambda: x.__iadd__(host)):
        with pytest.raises(TypeError):
            mix()


def test_values_come_back_as_they_are(library, x):
    assert isinstance(like(np.ones(3), x), Array)
    np.testing.assert_array_equal(to_host(like(np.ones(3), x)), np.ones(3))


def test_a_call_is_written_down_as_it_was_made(library, x):
    (call,) = library.record(lambda: library.sum(x, axis=(0, 1), dtype=library.float64))
    assert call.name == "sum"
    assert call.arguments == (Operand(np.dtype(np.float32), (4, 6)),)
    assert call.keywords == {"axis": (0, 1), "dtype": np.float64}


def test_what_nobody_holds_is_not_alive(library):
    x = library.zeros((1000,), dtype=library.float64)
    y = x[:10]
    assert library.alive == 8000
    del x
    assert library.alive == 8000
    y = y + 1
    assert (library.alive, library.peak) == (80, 8080)


def test_beyond_the_limit_an_allocation_fails_and_leaves_nothing():
    library = Library(limit=1000)
    x = library.zeros((100,), dtype=library.float32)
    with pytest.raises(MemoryError, match="1200 bytes would be alive, 1000 are allowed"):
        library.concat([x, x])
    assert library.alive == 400
    x += 1
    library.limit = None
    assert library.concat([x, x]).shape == (200,)


def test_a_search_on_them_finds_the_masks_of_numpy(library, rng):
    images = rng.integers(0, 256, (2, 24, 20, 3), dtype=np.uint8)
    ours = iem_xp.segment(library.asarray(images), engine="array")
    theirs = iem_xp.segment(images, engine="array")
    np.testing.assert_array_equal(ours.masks.values, theirs.masks)


def test_the_table_adds_up(library, x):
    calls = library.record(lambda: library.sum(x + x.T[:, :1].T, axis=1))
    assert launches(calls) == 2
    assert plane_passes(calls, 24) == pytest.approx((96 + 24 + 96 + 96 + 16) / 96)
    assert table(calls, 24).splitlines()[-1].split() == ["all", "2", "3.4"]
