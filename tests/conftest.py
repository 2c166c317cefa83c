from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

import browsers
from backends import Backend
from counting import Array, Library
from iem_xp import engines
from iem_xp.arrays import to_host

# Reproducible and unhurried: a library may compile at its first call.
settings.register_profile("iem-xp", deadline=None, derandomize=True, max_examples=20, database=None)
settings.load_profile("iem-xp")

# JAX compiles an operation for every shape that it meets, and a test meets most of them once.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")

REQUIRABLE: dict[str, Callable[[], str | None]] = {"gpu": Backend.CUPY.missing, "browser": browsers.missing}
"""Markers of tests that need more than Python, and what says why they cannot run here, if they cannot."""


def required() -> list[str]:
    """What must be here, of `REQUIRABLE`. Its tests are not skipped but fail without it."""
    return [name for name in os.environ.get("IEM_XP_REQUIRE", "").split(",") if name]


def pytest_configure() -> None:
    for name in required():
        if name not in REQUIRABLE:
            known = ", ".join(f'"{known}"' for known in REQUIRABLE)
            raise pytest.UsageError(
                f"IEM_XP_REQUIRE must be of {known}, separated by commas, or not set, not {name!r}"
            )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that is marked as needing what is not here, unless that is required."""
    for name, find_missing in REQUIRABLE.items():
        if item.get_closest_marker(name) is None or (missing := find_missing()) is None:
            continue
        if name in required():
            pytest.fail(f"IEM_XP_REQUIRE={name}, but {missing}", pytrace=False)
        pytest.skip(missing)


@pytest.fixture(autouse=True, scope="module")
def frozen() -> None:
    """Let no collection of garbage look again through what was imported and made before this module."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=[backend.parameter() for backend in Backend])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Every array library that can be tested here."""
    return request.param


@pytest.fixture(autouse=True)
def automatic(monkeypatch: pytest.MonkeyPatch) -> engines.Automatic:
    """The choice of an engine, with nothing behind it: no test depends on what others computed."""
    automatic = engines.Automatic()
    monkeypatch.setattr(engines, "automatic", automatic)
    return automatic


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Library:
    """What stands for every GPU that work is sent to: arrays that count, in memory that may be limited."""
    library = Library()

    def to_device(array: Any, device: str) -> Any:
        return array if device == "cpu" or isinstance(array, Array) else library.asarray(to_host(array))

    monkeypatch.setattr("iem_xp.segmentation.resolve_device", lambda name: (name, "as asked"))
    monkeypatch.setattr("iem_xp.memory.to_device", to_device)
    return library


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20210621)
