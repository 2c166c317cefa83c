"""The examples of docs/embedding.md, each run as it stands."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import iem_xp

PAGE = (Path(__file__).parents[1] / "docs" / "embedding.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^## (\w+).*?```python\n(.*?)```", PAGE, re.S | re.M))
"""Code by the first word of its heading."""


def run(code):
    """What names stand for after the code has run."""
    names = {}
    exec(code, names)
    return names


def check_masks(masks, truth):
    """They are masks, and find what there is to find."""
    assert masks.dtype == bool
    assert iem_xp.metrics.iou(masks, np.broadcast_to(truth, masks.shape)).min() > 0.9


def test_every_example_of_the_page_is_here():
    assert [*EXAMPLES] == ["NumPy", "CuPy", "JAX", "TensorFlow", "Dask", "PyTorch"]
    assert PAGE.count("```python") == len(EXAMPLES)


def test_numpy_and_scikit_image():
    ski = pytest.importorskip("skimage", reason="scikit-image is not installed")
    names = run(EXAMPLES["NumPy"])
    photograph = names["photograph"]
    assert names["mask"].shape == photograph.shape
    bright = photograph > ski.filters.threshold_otsu(photograph)
    check_masks((ski.measure.label(names["mask"]) == names["cell"].label)[None], bright)


def test_cupys_example_with_numpy_in_its_place():
    names = run(EXAMPLES["CuPy"].replace("import cupy", "import numpy as cupy"))
    check_masks(names["result"].masks, names["disc"])
    np.testing.assert_array_less(0.9, names["iou"])


def test_cupy_has_every_name_of_its_example():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    used = set(re.findall(r"\bcupy\.(\w+)", EXAMPLES["CuPy"]))
    assert used >= {"mgrid", "random", "uint8"}
    assert all(hasattr(cupy, name) for name in used)


@pytest.mark.gpu
def test_cupy():
    names = run(EXAMPLES["CuPy"])
    for array in (*vars(names["result"]).values(), names["iou"]):
        assert isinstance(array, type(names["images"]))
        assert array.device == names["images"].device
    check_masks(names["result"].masks.get(), names["disc"].get())


def test_jax():
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    fast = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)  # as users have it
    try:
        names = run(EXAMPLES["JAX"])
    finally:
        jax.config.update("jax_disable_most_optimizations", fast)
    images, masks = names["images"], names["masks"]
    assert isinstance(masks, jax.Array)
    check_masks(np.asarray(masks), names["disc"])
    usual = iem_xp.segment(np.asarray(images), iem_xp.IEMConfig(init_sides=(78,)), engine="array")
    np.testing.assert_array_equal(masks, usual.masks)
    np.testing.assert_allclose(names["error"], usual.inpainting_error, rtol=1e-5)
    value, gradient = iem_xp.objective(images, masks)
    np.testing.assert_allclose(names["value"], value, rtol=0, atol=1e-5)
    np.testing.assert_allclose(names["gradient"], gradient, rtol=0, atol=1e-5 * abs(gradient).max())


def test_tensorflow(here):
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    # On its own, since its import takes seconds and warns.
    results = "\nimages = np.concatenate([images for images, _ in pipeline.as_numpy_iterator()])"
    results += "\nnp.savez('results', images=images, found=found, discs=discs)"
    results += "\nprint(pipeline.element_spec[1])"
    code = EXAMPLES["TensorFlow"] + results
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "TensorSpec(shape=(None, 64, 64), dtype=tf.bool, name=None)"
    results = np.load("results.npz")
    check_masks(results["found"], results["discs"][:, ::2, ::2])
    usual = iem_xp.segment(results["images"], iem_xp.IEMConfig(choose="image"))
    check_masks(results["found"], usual.masks)


def test_dask(here, monkeypatch):
    pytest.importorskip("dask.array", reason="Dask is not installed")
    sizes = []
    segment = iem_xp.segment

    def counting(images, *arguments, **options):
        sizes.append(len(images))
        return segment(images, *arguments, **options)

    monkeypatch.setattr(iem_xp, "segment", counting)
    names = run(EXAMPLES["Dask"])
    usual = segment(np.load("images.npy"))
    np.testing.assert_array_equal(np.load("masks.npy"), usual.masks)
    check_masks(np.load("masks.npy"), names["discs"])
    assert names["best"] == usual.init_side[0]
    assert sorted(filter(None, sizes)) == [4] * 4 + [10] * 8  # three squares, and the best of them again


def test_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    names = run(EXAMPLES["PyTorch"])
    assert names["masks"].dtype == torch.bool
    assert names["masks"].device.type == names["device"]
    check_masks(names["masks"].numpy(force=True), names["disc"].numpy())
