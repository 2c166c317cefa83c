"""Photographs have the same masks in every array library."""

from pathlib import Path

import numpy as np
import pytest

from backends import Backend
from iem_xp import IEMConfig, centred_square, metrics, objective, segment, update
from iem_xp.images import fit_image, read_image

SAMPLES = Path(__file__).parents[1] / "cli" / "iem_xp_cli" / "samples"


@pytest.fixture(scope="module")
def photographs():
    """The six samples as the paper has them, uint8 (6, 128, 128, 3)."""
    files = sorted(SAMPLES.glob("*.jpg"))
    assert len(files) == 6
    return np.stack([fit_image(read_image(file).pixels, 128, "crop") for file in files])


@pytest.fixture(scope="module")
def course(photographs):
    """NumPy's masks of the photographs before and after each of 60 updates."""
    course = [centred_square(photographs, 78)]
    for _ in range(60):
        course.append(update(photographs, course[-1]))
    return course


@pytest.mark.parametrize("step", [0, 5, 20, 59])
def test_photographs_are_updated_alike_in_every_library(backend, photographs, course, step):
    images, masks = backend.asarray(photographs), backend.asarray(course[step])
    _, exact = objective(photographs / 255, course[step])
    error = np.abs(backend.to_numpy(objective(images, masks)[1]) - exact)
    # Of most pixels: if a residual is 0 but for rounding, its sign is anybody's, and many a gradient has it.
    assert (np.median(error, axis=(1, 2)) < 1e-5 * np.max(np.abs(exact), axis=(1, 2))).all()
    # If a gradient is, the pixel may differ, and with it the 3 x 3 that it is smoothed with.
    assert np.sum(backend.to_numpy(update(images, masks)) != course[step + 1]) <= 9


def test_photographs_have_numpys_masks_in_every_library(backend, photographs, course):
    config = IEMConfig(init_sides=78, iterations=60)
    images = backend.asarray(photographs)
    if backend is Backend.JAX:
        masks = compiled_search(images, config)
    else:
        masks = segment(images, config, engine="array").masks
    overlap = metrics.iou(backend.to_numpy(masks), course[60])
    assert np.sum(overlap == 1) >= 5  # one rounding may send an ascent another way
    assert np.min(overlap) > 0.9


def compiled_search(images, config):
    """What `segment` finds from one square, by all updates: JAX has less to compile."""
    import jax

    def search(images, start):
        return jax.lax.fori_loop(0, config.iterations, lambda _, masks: update(images, masks), start)

    return jax.jit(search)(images, centred_square(images, *config.init_sides))
