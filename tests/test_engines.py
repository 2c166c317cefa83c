"""Which engine computes, and when the fused one is worth its start."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

import scenes
from backends import Backend
from iem_xp import IEMConfig, engines, fused, segment, solver
from iem_xp.engines import Automatic, EngineError

CONFIG = IEMConfig(iterations=3)


class Kernel:
    """Stands for the fused engine: whether it was compiled before, and how often it was started."""

    def __init__(self, compiled):
        self.compiled = compiled
        self.starts = 0
        self.obstacle = None

    def start(self):
        self.starts += 1


@pytest.fixture
def kernel(monkeypatch):
    kernel = Kernel(compiled=True)
    monkeypatch.setattr(fused, "start", kernel.start)
    monkeypatch.setattr(fused, "is_compiled", lambda: kernel.compiled)
    monkeypatch.setattr(fused, "find_obstacle", lambda: kernel.obstacle)
    return kernel


def batch(rng, n=2):
    images = scenes.images(rng, n)
    return images, [solver.centred_square(images, 78)]


# What "auto" takes


def test_a_little_work_is_done_without_the_fused_engine(rng, automatic, kernel):
    assert engines.solve(*batch(rng), CONFIG).engine == "array"
    assert kernel.starts == 0
    assert automatic.spent > 0


def test_a_little_work_does_not_import_numba():
    code = "import sys, numpy, iem_xp; iem_xp.segment(numpy.zeros((8, 8))); assert 'numba' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_fused_engine_is_loaded_once_the_array_engine_took_as_long(rng, automatic, kernel):
    automatic.spent = 0.99 * Automatic.LOADING
    assert not automatic.is_ready()
    automatic.spent = Automatic.LOADING
    assert engines.solve(*batch(rng), CONFIG).engine == "fused"
    assert engines.solve(*batch(rng), CONFIG).engine == "fused"
    assert kernel.starts == 1


def test_the_fused_engine_is_compiled_once_the_array_engine_took_as_long(automatic, kernel):
    kernel.compiled = False
    automatic.spent = 0.99 * Automatic.COMPILING
    assert not automatic.is_ready()
    automatic.spent = Automatic.COMPILING
    assert automatic.is_ready()
    assert kernel.starts == 1


def test_one_call_goes_from_one_engine_to_the_other(rng, automatic, kernel, monkeypatch):
    images, starts = batch(rng, 7)
    monkeypatch.setattr(engines, "batch_size", lambda images: 2)
    monkeypatch.setattr(Automatic, "is_ready", lambda self: next(answers))
    answers = iter([False, False, True])
    mixed = engines.solve(images, starts, CONFIG)
    assert mixed.engine == "fused"
    assert next(answers, None) is None
    np.testing.assert_array_equal(mixed.ascents[0].masks, solver.solve(images, starts, CONFIG)[0].masks)


def test_while_one_thread_starts_the_engine_others_go_on_without(automatic, kernel, monkeypatch):
    starting, go_on = threading.Event(), threading.Event()

    def start():
        starting.set()
        assert go_on.wait(60)

    monkeypatch.setattr(fused, "start", start)
    automatic.spent = Automatic.LOADING
    answers = []
    first = threading.Thread(target=lambda: answers.append(automatic.is_ready()))
    first.start()
    assert starting.wait(60)
    assert not automatic.is_ready()
    go_on.set()
    first.join()
    assert answers == [True]
    assert automatic.is_ready()


def test_without_numba_the_array_engine_does_all_the_work(rng, automatic, kernel):
    kernel.obstacle = "the fused engine needs Numba"
    automatic.spent = 10 * Automatic.COMPILING
    assert engines.solve(*batch(rng), CONFIG).engine == "array"
    kernel.obstacle = None
    assert not automatic.is_ready()


def test_a_filter_of_small_weights_is_for_the_array_engine(rng, automatic, kernel):
    automatic.spent = Automatic.LOADING
    assert engines.solve(*batch(rng), IEMConfig(sigma=1.0, iterations=3)).engine == "array"


@pytest.mark.parametrize(
    "backend", [b.parameter() for b in Backend if b not in (Backend.NUMPY, Backend.NUMPY_READONLY)]
)
def test_arrays_of_other_libraries_are_for_the_array_engine(rng, backend, automatic, kernel):
    automatic.spent = Automatic.LOADING
    images, starts = batch(rng)
    solution = engines.solve(backend.asarray(images), [backend.asarray(np.array(starts[0]))], CONFIG)
    assert solution.engine == "array"
    backend.to_numpy(solution.ascents[0].masks)


# What is asked for


@pytest.mark.parametrize("engine", ["array", "fused"])
def test_an_engine_asked_for_is_taken(rng, engine, automatic):
    images, starts = batch(rng)
    solution = engines.solve(images, starts, CONFIG, engine)
    assert solution.engine == engine
    assert automatic.spent == 0
    np.testing.assert_array_equal(
        segment(images, IEMConfig(iterations=3, init_sides=78), engine=engine).masks,
        solution.ascents[0].masks,
    )


@pytest.mark.parametrize("backend", [Backend.ARRAY_API_STRICT.parameter(), Backend.JAX.parameter()])
def test_the_fused_engine_refuses_other_arrays_and_says_what_can(backend, rng):
    with pytest.raises(EngineError, match=r'cannot take arrays of \w+, only NumPy\'s; engine "array" can'):
        segment(backend.asarray(scenes.images(rng, 1)), engine="fused")


def test_the_fused_engine_refuses_filters_of_small_weights(rng):
    with pytest.raises(EngineError, match=r"sigma 1, .* below 1e-06"):
        segment(scenes.images(rng, 1), IEMConfig(sigma=1.0), engine="fused")


def test_the_fused_engine_without_numba_is_an_error_with_its_cause(rng, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(EngineError, match="needs Numba, which cannot be imported"):
        segment(scenes.images(rng, 1), engine="fused")


def test_an_unknown_engine_is_refused(rng):
    with pytest.raises(ValueError, match="engine must be one of auto, array, fused"):
        segment(scenes.images(rng, 1), engine="fast")
