"""The numbers of the paper's authors' own program, on 24 photographs."""

from pathlib import Path

import numpy as np
import pytest

from hostcuda import COMPILER, CudaLibrary
from iem_xp import IEMConfig, inpainting_error, objective, segment
from iem_xp.threads import few_threads

FILE = Path(__file__).resolve().parents[1].parent / "shared" / "reference" / "author_reference.npz"

pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(not FILE.exists(), reason="the authors' numbers are not beside the checkout"),
]

VARIANTS = {
    "scale2": IEMConfig(scale_factor=2, sigma=2.5, kernel_size=7),
    "lambda0": IEMConfig(regularization=0.0),
    "single21": IEMConfig(repeats=1, kernel_size=21),
    "reps3": IEMConfig(repeats=3, kernel_size=7, sigma=3.0),
    "no_boundary": IEMConfig(boundary_only=False),
    "no_smoothing": IEMConfig(smooth=False),
}


@pytest.fixture(scope="module")
def reference():
    with np.load(FILE, allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(params=["array", "fused"])
def engine(request):
    return request.param


def unpack(bits):
    return np.unpackbits(bits, axis=-1).astype(bool)


def square(n, side):
    masks = np.zeros((n, 128, 128), dtype=bool)
    start = (128 - side) // 2
    masks[:, start : start + side, start : start + side] = True
    return masks


def test_the_first_gradient_and_objective(reference):
    value, gradient = objective(reference["images"], square(24, 78))
    expected = reference["gradient_78_step1"]
    largest = abs(expected).max(axis=(1, 2), keepdims=True)
    assert (abs(gradient - expected) <= 1e-5 * largest).all()
    np.testing.assert_allclose(value, reference["objective_78_step1"], rtol=1e-5)


@pytest.mark.parametrize("side", [44, 78, 92])
def test_the_errors_before_the_first_update_and_at_every_mask_kept(reference, side):
    errors = reference[f"error_{side}"]
    start = inpainting_error(reference["images"], square(24, side))
    np.testing.assert_allclose(start, errors[:, 0], rtol=1e-5)
    masks = unpack(reference[f"masks_{side}"])
    for i, iteration in enumerate(reference["iterations"]):
        result = inpainting_error(reference["images"], masks[:, i])
        np.testing.assert_allclose(result, errors[:, iteration], rtol=1e-5)


@pytest.mark.parametrize("side", [44, 78, 92])
def test_the_masks_after_every_number_of_updates_kept(reference, side, engine):
    masks = unpack(reference[f"masks_{side}"])
    for i, iterations in enumerate(reference["iterations"]):
        result = segment(
            reference["images"], IEMConfig(iterations=int(iterations), init_sides=side), engine=engine
        )
        differing = (result.masks != masks[:, i]).sum(axis=(1, 2))
        assert (differing == 0).sum() >= 23, f"{iterations} updates"
        assert differing.max() <= 20, f"{iterations} updates"
        same = differing == 0
        error = reference[f"error_{side}"][:, iterations]
        np.testing.assert_allclose(result.inpainting_error[same], error[same], rtol=1e-5)
        np.testing.assert_allclose(result.inpainting_error, error, rtol=1e-2)


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")
@pytest.mark.parametrize("side", [44, 78, 92])
def test_the_last_masks_by_the_kernels_of_a_gpu(reference, side):
    images = CudaLibrary().asarray(reference["images"])
    with few_threads(reference["images"]):
        result = segment(images, IEMConfig(init_sides=side))
    differing = result.masks.values != unpack(reference[f"masks_{side}"])[:, -1]
    assert np.sum(~np.any(differing, axis=(1, 2))) >= 23
    np.testing.assert_allclose(result.inpainting_error.values, reference[f"error_{side}"][:, -1], rtol=1e-2)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_masks_of_a_variant(reference, variant, engine):
    config = VARIANTS[variant]
    images = reference["images"][reference["variant_index"]]
    masks, errors = unpack(reference[f"masks_{variant}"]), reference[f"error_{variant}"]
    assert masks.shape == (8, len(reference["iterations"]), 128, 128)
    result = segment(images, config, init=square(8, 78), engine=engine)
    same = (result.masks == masks[:, -1]).all(axis=(1, 2))
    assert same.sum() >= 7
    np.testing.assert_allclose(result.inpainting_error[same], errors[same, -1], rtol=1e-5)


def test_the_square_kept_is_the_one_that_the_authors_errors_name(reference, engine):
    sides = np.array([44, 78, 92])
    errors = np.stack([reference[f"error_{side}"][:, -1] for side in sides])
    result = segment(reference["images"], engine=engine)
    np.testing.assert_array_equal(result.init_side, np.full(24, sides[errors.mean(axis=1).argmax()]))
