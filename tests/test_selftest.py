import sys
from types import ModuleType

import array_api_strict
import numpy as np
import pytest

from gpus import pretend_cupy, pretend_no_cupy, shorten
from iem_xp import fused, selftest


@pytest.fixture(autouse=True)
def few_backends(monkeypatch):
    """What is always there and quick: NumPy, its fused engine and array-api-strict."""
    pretend_no_cupy(monkeypatch)
    monkeypatch.setattr(selftest, "LIBRARIES", {"array-api-strict": "array_api_strict"})


def add_library(monkeypatch, asarray):
    """Let there be a library named "another" with a function `asarray`."""
    module = ModuleType("another")
    module.__spec__ = sys.__spec__
    module.asarray = asarray
    monkeypatch.setitem(sys.modules, "another", module)
    monkeypatch.setattr(selftest, "LIBRARIES", {"another": "another"})


def results():
    return {result.backend: result for result in selftest.run(lambda line: None)}


def test_every_backend_is_compared_with_numpy():
    found = results()
    assert list(found) == ["numpy", "fused", "cupy gpu", "array-api-strict"]
    for name in ("numpy", "fused", "array-api-strict"):
        result = found[name]
        assert (result.status, result.problem) == ("agrees", None)
        assert (result.masks, result.identical_masks, result.different_pixels) == (12, 12, 0)
        assert result.error_difference <= 1e-6
        assert result.seconds > 0
    assert found["numpy"].error_difference == 0


def test_the_masks_to_compare_are_no_trivial_ones():
    found = selftest._search(selftest._pairs(), np.asarray)
    share = found.masks.mean(axis=(1, 2))
    assert np.all((share > 0.05) & (share < 0.95))
    assert np.all(found.errors > 0.01)
    images = found.masks.reshape(3, 4, *found.masks.shape[1:])
    assert len(np.unique(images[0], axis=0)) == 4


def test_a_gpu_is_compared_too(monkeypatch):
    pretend_cupy(monkeypatch, count=2)
    found = results()
    assert found["cupy gpu:0"].status == found["cupy gpu:1"].status == "agrees"


def test_what_is_not_installed_is_missing(monkeypatch):
    monkeypatch.setattr(fused, "find_obstacle", lambda: "the fused engine needs Numba")
    monkeypatch.setattr(selftest, "LIBRARIES", {"a-library": "no_such_library.numpy"})
    found = results()
    assert {name: result.problem for name, result in found.items() if result.status == "missing"} == {
        "fused": "the fused engine needs Numba",
        "cupy gpu": "CuPy is not installed, and there is no NVIDIA driver either; "
        "with an NVIDIA GPU, install its driver, then: pip install 'cupy-cuda12x[ctk]'",
        "a-library": "a-library is not installed",
    }


def test_a_gpu_that_cannot_be_used_has_failed(monkeypatch):
    pretend_cupy(monkeypatch, computing=ImportError("libcublas.so.12: cannot open shared object file"))
    result = results()["cupy gpu:0"]
    assert result.status == "failed"
    assert "CUDA's libcublas.so.12 is not found" in result.problem


def test_after_a_backend_that_fails_the_others_still_run(monkeypatch):
    def fail(array):
        raise ValueError("out of order")

    add_library(monkeypatch, fail)
    selftest.LIBRARIES["array-api-strict"] = "array_api_strict"
    found = results()
    assert (found["another"].status, found["another"].problem) == ("failed", "ValueError: out of order")
    assert found["array-api-strict"].status == "agrees"


def test_products_in_tf32_are_more_than_rounding(monkeypatch):
    strict = type(array_api_strict.ones(1))
    product = strict.__matmul__

    def short_product(*factors):
        return product(*(array_api_strict.asarray(shorten(np.asarray(factor))) for factor in factors))

    monkeypatch.setattr(strict, "__matmul__", short_product)
    result = results()["array-api-strict"]
    assert result.status == "differs"
    assert result.error_difference > 1e-5


@pytest.mark.parametrize(("flipped", "status"), [(0, "agrees"), (1, "agrees"), (2, "differs")])
def test_one_mask_that_rounding_moved_is_no_failure(flipped, status):
    expected = selftest._Found(np.zeros((3, 4, 5), dtype=bool), np.ones(3))
    masks = expected.masks.copy()
    masks[:flipped, 1:3, 2] = True
    errors = expected.errors + np.where(np.arange(3) < flipped, 0.5, 1e-7)
    result = selftest._compare("a", selftest._Found(masks, errors), expected)
    assert (result.status, result.identical_masks, result.different_pixels) == (
        status,
        3 - flipped,
        2 * flipped,
    )
    assert result.error_difference == pytest.approx(1e-7)
