from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from iem_xp import IEMConfig, baselines, inpainting_error
from iem_xp.images import fit_image, read_image
from iem_xp.solver import centred_square

SAMPLES = resources.files("iem_xp_cli") / "samples"


def start(side: int, height: int = 128, width: int = 128) -> np.ndarray:
    return centred_square(np.zeros((1, height, width, 3), np.uint8), side)[0].copy()


def flower() -> np.ndarray:
    return fit_image(read_image(Path(str(SAMPLES / "flower.jpg"))).pixels, 128, "crop")


def disc(colour: tuple[int, int, int], ground: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A disc of one colour on a ground of another, with a little noise, and its mask."""
    rows, columns = np.indices((96, 96)) - 47.5
    mask = rows**2 + columns**2 < 20**2
    noise = np.random.default_rng(1).integers(-6, 7, (96, 96, 3))
    return np.clip(np.where(mask[..., None], colour, ground) + noise, 0, 255).astype(np.uint8), mask


def test_grabcut_finds_a_disc_of_another_colour() -> None:
    image, mask = disc((200, 60, 40), (60, 90, 160))
    found = baselines.grabcut(image, start(78, 96, 96))
    assert found.dtype == bool
    assert (found != mask).mean() < 0.005


@pytest.mark.parametrize("side", baselines.SIDES)
def test_grabcut_finds_nothing_outside_of_its_box(side: int) -> None:
    box = start(side)
    assert not (baselines.grabcut(flower(), box) & ~box).any()


def test_a_mask_of_grabcut_depends_on_its_image_alone() -> None:
    box, other = start(92), np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    first = baselines.grabcut(flower(), box)
    baselines.grabcut(other, box)
    np.testing.assert_array_equal(baselines.grabcut(flower(), box), first)


def test_grabcut_has_five_rounds_unless_told_otherwise() -> None:
    box = start(92)
    found = baselines.grabcut(flower(), box)
    np.testing.assert_array_equal(found, baselines.grabcut(flower(), box, iterations=5))
    assert (found != baselines.grabcut(flower(), box, iterations=1)).any()


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 40), (64, 64)])
def test_a_box_that_leaves_nothing_to_learn_from_is_the_mask(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    everything = np.ones(shape, bool)
    assert baselines.grabcut(image, everything).all()


@pytest.mark.parametrize("value", [0, 90, 255])
def test_an_image_of_one_colour_is_no_trouble(value: int) -> None:
    image = np.full((64, 64, 3), value, np.uint8)
    for name in baselines.BASELINES:
        assert baselines.BASELINES[name](image, start(92, 64, 64)).shape == (64, 64)


def test_the_square_is_the_initial_mask() -> None:
    np.testing.assert_array_equal(baselines.square(flower(), start(78)), start(78))


@pytest.mark.parametrize(
    ("height", "width", "side"), [(128, 128, 92), (64, 96, 44), (33, 33, 78), (1, 1, 78)]
)
def test_the_ellipse_is_inscribed_in_the_square(height: int, width: int, side: int) -> None:
    box = start(side, height, width)
    found = baselines.ellipse(np.zeros((height, width, 3), np.uint8), box)
    assert not (found & ~box).any()
    np.testing.assert_array_equal(found.any(axis=0), box.any(axis=0))
    np.testing.assert_array_equal(found.any(axis=1), box.any(axis=1))
    part = found[np.ix_(box.any(axis=1), box.any(axis=0))]
    np.testing.assert_array_equal(part, part[::-1, ::-1])


def test_the_ellipse_of_a_large_square_has_the_area_of_a_disc() -> None:
    assert baselines.ellipse(flower(), start(112)).sum() == pytest.approx(np.pi * 56**2, rel=0.005)


def test_a_baseline_serves_as_the_method_of_a_run() -> None:
    config = IEMConfig(init_sides=baselines.SIDES)
    method = baselines.BaselineMethod("ellipse", config)
    images = np.stack([flower(), flower()[::-1]])
    method.prepare(images[0], 2)
    found = method.find(images)
    assert [ascent.masks.shape for ascent in found] == [(2, 128, 128)] * 4
    for ascent, side in zip(found, baselines.SIDES, strict=True):
        np.testing.assert_array_equal(ascent.masks[1], baselines.ellipse(images[1], start(side)))
        np.testing.assert_allclose(ascent.inpainting_error, inpainting_error(images, ascent.masks, config))


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(baselines.BaselineError, match=r"pip install 'iem-xp\[baselines\]'"):
        baselines.grabcut(flower(), start(78))
