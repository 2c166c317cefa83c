"""Which engine computes, and when the fused one is worth its start."""

from __future__ import annotations

import signal
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
        self.compiled = True


@pytest.fixture
def kernel(monkeypatch):
    kernel = Kernel(compiled=True)
    monkeypatch.setattr(fused, "start", kernel.start)
    monkeypatch.setattr(fused, "is_compiled", lambda: kernel.compiled)
    monkeypatch.setattr(fused, "find_obstacle", lambda: kernel.obstacle)
    monkeypatch.setattr(fused, "find_folder", lambda: "somewhere")
    return kernel


def batch(rng, n=2):
    images = scenes.images(rng, n)
    return images, [solver.centred_square(images, 78)]


# What "auto" takes


def test_the_fused_engine_is_taken_once_there_was_work_for_as_long_as_it_loads(automatic, kernel):
    assert automatic.choose(0.9 * Automatic.LOADING) == "array"
    assert automatic.choose(0.2 * Automatic.LOADING) == "fused"
    assert automatic.choose(0) == "fused"
    assert kernel.starts == 1


def test_much_work_at_once_goes_to_the_fused_engine_at_once(automatic, kernel):
    assert automatic.choose(Automatic.LOADING) == "fused"


def test_it_is_compiled_once_there_was_work_for_as_long_as_that_takes(automatic, kernel):
    kernel.compiled = False
    told = []
    assert automatic.choose(0.9 * Automatic.COMPILING, None, told.append) == "array"
    assert (kernel.starts, told) == (0, [])
    assert automatic.choose(0.2 * Automatic.COMPILING, None, told.append) == "fused"
    assert kernel.starts == 1
    assert told == ["fused (compiling it first, about 10 s, once on this machine)"]


def test_where_it_cannot_be_kept_that_is_said(automatic, kernel, monkeypatch):
    kernel.compiled = False
    monkeypatch.setattr(fused, "find_folder", lambda: None)
    told = []
    automatic.start_fused(told.append)
    assert "each time, see NUMBA_CACHE_DIR" in told[0]


def test_what_was_compiled_before_is_loaded_without_a_word(automatic, kernel):
    assert automatic.choose(Automatic.COMPILING, None, pytest.fail) == "fused"


def test_without_numba_the_array_engine_is_taken_and_for_much_work_that_is_said(automatic, kernel):
    kernel.obstacle = "the fused engine needs Numba"
    assert automatic.choose(0.9 * Automatic.COMPILING, None, pytest.fail) == "array"
    told = []
    assert automatic.choose(2 * Automatic.COMPILING, None, told.append) == "array"
    assert told == ["array (the fused engine needs Numba)"]


def test_threads_start_the_fused_engine_once(automatic, kernel):
    together = threading.Barrier(8)
    found = []

    def choose():
        together.wait(60)
        found.append(automatic.choose(Automatic.COMPILING))

    threads = [threading.Thread(target=choose) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["fused"] * 8
    assert kernel.starts == 1


def test_work_is_counted_in_pixels_squares_and_updates(rng, automatic, kernel):
    images, starts = batch(rng)
    engines.solve(images, [*starts, *starts], CONFIG)
    assert automatic.work == engines.estimate_work(2 * images[..., 0].size, CONFIG) > 0
    assert kernel.starts == 0


def test_a_cut_counts_as_work_once_for_each_mask_that_is_cut():
    def work(**fields):
        return engines.estimate_work(10**6, IEMConfig(**{"iterations": 10, "init_sides": (44, 78), **fields}))

    after_choice, of_every_start = (
        work(cut=True, choose=choose) - work() for choose in ("information", "dataset")
    )
    assert 0 < 2 * after_choice == pytest.approx(of_every_start)
    assert work(cut=True, iterations=0) > work(iterations=0) == 0


@pytest.mark.parametrize("engine", ["array", "fused"])
def test_log_odds_of_any_precision_are_taken_in_float32(rng, engine):
    images, starts = batch(rng)
    config = IEMConfig(iterations=4, colour_weight=1e-3, cut=True)
    odds = rng.normal(size=images.shape[:3])
    found = [
        engines.solve(images, starts, config, engine, prior=odds.astype(dtype))
        for dtype in (np.float32, np.float64)
    ]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one.masks, other.masks)
        np.testing.assert_array_equal(one.inpainting_error, other.inpainting_error)


def test_a_little_work_does_not_import_numba():
    code = "import sys, numpy, iem_xp; iem_xp.segment(numpy.zeros((8, 8))); assert 'numba' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.fixture
def solved(monkeypatch):
    """Engines that did the work, in order."""
    taken = []
    for name, module in (("array", solver), ("fused", fused)):

        def solve(*args, name=name, solve=module.solve):
            taken.append(name)
            return solve(*args)

        monkeypatch.setattr(module, "solve", solve)
    return taken


def test_segment_takes_the_fused_engine_when_it_is_worth_it(rng, automatic, kernel, solved):
    images = scenes.images(rng, 2)
    segment(images, CONFIG)
    automatic.work = Automatic.LOADING
    segment(images, CONFIG)
    assert solved == ["array", "fused"]


def test_a_filter_of_small_weights_is_for_the_array_engine(rng, automatic, kernel, solved):
    automatic.work = Automatic.LOADING
    segment(scenes.images(rng, 2), IEMConfig(sigma=1.0, iterations=3))
    assert solved == ["array"]


@pytest.mark.parametrize(
    "backend", [b.parameter() for b in Backend if b not in (Backend.NUMPY, Backend.NUMPY_READONLY)]
)
def test_arrays_of_other_libraries_are_for_the_array_engine(rng, backend, automatic, kernel, solved):
    automatic.work = Automatic.LOADING
    backend.to_numpy(segment(backend.asarray(scenes.images(rng, 2)), CONFIG).masks)
    assert solved == ["array"]


# What is asked for


@pytest.mark.parametrize("engine", ["array", "fused"])
def test_an_engine_asked_for_is_taken(rng, engine, automatic, solved):
    segment(scenes.images(rng, 2), CONFIG, engine=engine)
    assert solved == [engine]
    assert automatic.work == 0


@pytest.mark.parametrize("backend", [Backend.ARRAY_API_STRICT.parameter(), Backend.JAX.parameter()])
def test_the_fused_engine_refuses_other_arrays_and_says_what_can(backend, rng):
    with pytest.raises(EngineError, match=r'cannot take arrays of \w+, only NumPy\'s; engine "array" can'):
        segment(backend.asarray(scenes.images(rng, 1)), engine="fused")


def test_the_fused_engine_refuses_filters_of_small_weights(rng):
    with pytest.raises(EngineError, match=r"weights below 1e-13, .* sigma 1"):
        segment(scenes.images(rng, 1), IEMConfig(sigma=1.0), engine="fused")


def test_the_fused_engine_without_numba_is_an_error_with_its_cause(rng, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(EngineError, match="needs Numba, which cannot be imported"):
        segment(scenes.images(rng, 1), engine="fused")


def test_where_numba_may_not_compile_the_fused_engine_says_so_and_is_not_taken(rng, monkeypatch, solved):
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    monkeypatch.setattr(Automatic, "LOADING", 0)
    segment(scenes.images(rng, 1), CONFIG)
    assert solved == ["array"]
    with pytest.raises(EngineError, match="which NUMBA_DISABLE_JIT forbids"):
        segment(scenes.images(rng, 1), engine="fused")


def test_an_unknown_engine_is_refused(rng):
    with pytest.raises(ValueError, match="engine must be one of auto, array, fused"):
        segment(scenes.images(rng, 1), engine="fast")


def test_ctrl_c_does_not_wait_for_the_compiler(automatic, kernel, monkeypatch):
    compiled = threading.Event()
    monkeypatch.setattr(fused, "start", lambda: compiled.wait(timeout=60))
    threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        automatic.start_fused(lambda line: None)
    assert not compiled.is_set()
    compiled.set()


def test_an_error_of_the_compiler_is_raised(automatic, kernel, monkeypatch):
    def fail():
        raise ArithmeticError("out of luck")

    monkeypatch.setattr(fused, "start", fail)
    with pytest.raises(ArithmeticError, match="out of luck"):
        automatic.start_fused(lambda line: None)
