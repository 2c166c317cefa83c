from __future__ import annotations

import tracemalloc
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from iem_xp import edges as module
from iem_xp.config import IEMConfig
from iem_xp.edges import EPSILON, refine_edges, windows
from iem_xp.images import Mask, Pixels, fit_image, restore_mask
from iem_xp.segmentation import segment

INSIDE, OUTSIDE = (200, 60, 40), (40, 90, 160)


def disc(height: int, width: int) -> Mask:
    """A disc of a third of the shorter side, not quite in the middle."""
    rows, columns = np.ogrid[:height, :width]
    radius = min(height, width) / 3
    result: Mask = (rows - 0.52 * height) ** 2 + (columns - 0.47 * width) ** 2 < radius**2
    return result


def flower(height: int, width: int) -> Mask:
    """A flower of nine petals, whose outline a small mask rounds off."""
    rows, columns = np.ogrid[:height, :width]
    down, right = rows - 0.52 * height, columns - 0.47 * width
    radius = min(height, width) / 3 * (0.75 + 0.25 * np.cos(9 * np.arctan2(down, right)))
    result: Mask = np.hypot(down, right) < radius
    return result


def painted(mask: Mask, noise: float = 6.0) -> Pixels:
    """An image whose two sides have a colour each, with some noise."""
    image = np.where(mask[..., None], np.array(INSIDE), np.array(OUTSIDE))
    image = image + np.random.default_rng(0).normal(0, noise, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def reduced(mask: Mask, times: int) -> Mask:
    """Each pixel the majority of a square."""
    height, width = (side // times for side in mask.shape)
    return mask.reshape(height, times, width, times).mean((1, 3)) > 0.5


def iou(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / (one | other).sum())


def literal_windows(image: Pixels, p: NDArray[Any], reach: tuple[int, int]) -> list[NDArray[np.float64]]:
    """The guided filter's equations 5, 6 and 8 for a colour guide (section 3.5), pixel by pixel."""
    height, width = p.shape
    colours = image / 255.0

    def window(row: int, column: int) -> tuple[slice, slice]:
        rows = slice(max(0, row - reach[0]), row + reach[0] + 1)
        return rows, slice(max(0, column - reach[1]), column + reach[1] + 1)

    a, b = np.empty((height, width, 3)), np.empty((height, width))
    for row, column in product(range(height), range(width)):
        inside = window(row, column)
        seen, of = colours[inside].reshape(-1, 3), p[inside].ravel().astype(float)
        sigma = np.cov(seen.T, bias=True) + EPSILON * np.eye(3)
        a[row, column] = np.linalg.solve(sigma, (seen * of[:, None]).mean(0) - seen.mean(0) * of.mean())
        b[row, column] = of.mean() - a[row, column] @ seen.mean(0)
    planes = (*np.moveaxis(a, 2, 0), b)
    means = np.empty((4, height, width))
    for row, column in product(range(height), range(width)):
        means[:, row, column] = [plane[window(row, column)].mean() for plane in planes]
    return list(means)


@pytest.mark.parametrize("reach", [(1, 1), (2, 3), (40, 5)])
@pytest.mark.parametrize("colours", ["noise", "grey", "two"])
def test_windows_are_the_guided_filter_s(reach: tuple[int, int], colours: str) -> None:
    random = np.random.default_rng(1)
    mask = np.pad(disc(9, 16), 9)  # so that some is farther from the boundary than three small windows
    image = random.integers(0, 256, (*mask.shape, 3)).astype(np.uint8)
    if colours == "grey":
        image[:] = image[..., :1]
    if colours == "two":
        image = painted(mask, 0)
    p = np.where(mask, random.uniform(0.6, 1, mask.shape), 0).astype(np.float32)
    literal = literal_windows(image, p, reach)
    found = windows(image, p, reach)
    *a, b = (plane.astype(float) for plane in found)
    guess = b + sum(slope * image[..., c] / 255 for c, slope in enumerate(a))
    expected = literal[3] + sum(literal[c] * image[..., c] / 255 for c in range(3))
    np.testing.assert_allclose(guess, expected, atol=2e-3)
    assert np.abs(expected - p).max() > 0.05  # it is not just p


@pytest.mark.parametrize("edges", ["guided", "iem"])
def test_a_sharp_edge_is_found_again_at_eight_times_the_size(edges: Any) -> None:
    truth = flower(512, 640)
    working = reduced(truth, 8)
    image = painted(truth)
    config = IEMConfig.preset("best")
    assert iou(restore_mask(working, 512, 640), truth) < 0.97
    assert iou(refine_edges(image, working, edges, config), truth) > 0.997


def test_a_boundary_that_is_off_by_a_pixel_at_work_is_moved_to_the_edge() -> None:
    truth = flower(512, 640)
    working = np.roll(reduced(truth, 8), 1, axis=1)
    assert iou(refine_edges(painted(truth), working), truth) > 0.97
    assert iou(restore_mask(working, 512, 640), truth) < 0.93


@pytest.mark.parametrize(("iterations", "updates"), [(1, 1), (150, 3)])
def test_iem_takes_few_more_updates(iterations: int, updates: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(image: Pixels, config: IEMConfig, **options: Any) -> Any:
        assert config.iterations == updates
        found = segment(image, config, **options)
        counts.append(int(found.updates[0]))
        return found

    counts: list[int] = []
    monkeypatch.setattr(module, "segment", counted)
    refine_edges(painted(flower(160, 200)), disc(32, 40), "iem", IEMConfig(iterations=iterations))
    assert counts == [updates]


def test_none_does_not_look_at_the_image() -> None:
    mask = disc(32, 40)
    image = painted(disc(160, 200))
    np.testing.assert_array_equal(refine_edges(image, mask, "none"), restore_mask(mask, 160, 200))


def test_without_edges_a_straight_boundary_stays() -> None:
    mask = np.zeros((32, 40), bool)
    mask[:, 17:] = True
    image = np.full((160, 200, 3), 90, np.uint8)
    np.testing.assert_array_equal(refine_edges(image, mask), restore_mask(mask, 160, 200))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("edges", ["none", "guided", "iem"])
def test_a_mask_of_one_side_stays(edges: Any, full: bool) -> None:
    image = painted(disc(80, 100))
    refined = refine_edges(image, np.full((16, 20), full), edges)
    assert refined.shape == (80, 100)
    assert (refined == full).all()


def test_both_sides_are_alike() -> None:
    truth = disc(150, 200)
    image = painted(truth, 30)
    working = restore_mask(truth, 48, 64)
    one, other = refine_edges(image, working), refine_edges(image, ~working)
    assert (one == other).sum() <= 2  # but for what is one half, to a rounding


def test_pixels_far_from_the_boundary_stay() -> None:
    random = np.random.default_rng(2)
    image = random.integers(0, 256, (300, 400, 3)).astype(np.uint8)  # edges everywhere
    mask = np.zeros((30, 40), bool)
    mask[10:20, 15:25] = True
    before, after = restore_mask(mask, 300, 400), refine_edges(image, mask)
    rows, columns = np.nonzero(before != after)
    assert rows.size
    # Two windows of 5 pixels at work, and one for the interpolation of the mask.
    assert 10 * (10 - 6) <= rows.min() <= rows.max() < 10 * (20 + 6)
    assert 10 * (15 - 6) <= columns.min() <= columns.max() < 10 * (25 + 6)


def test_tiles_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = disc(300, 410)
    image, working = painted(truth, 40), restore_mask(truth, 60, 82)
    whole = refine_edges(image, working)
    monkeypatch.setattr(module, "_TILE", 9)
    assert (refine_edges(image, working) != whole).sum() <= 2  # but for what is one half, to a rounding


@pytest.mark.parametrize("edges", ["guided", "iem"])
def test_a_mask_of_its_image_s_own_size_is_refined_and_kept(edges: Any) -> None:
    truth = disc(64, 80)
    mask = np.roll(truth, 1, axis=0)
    before = mask.copy()
    refined = refine_edges(painted(truth), mask, edges, IEMConfig.preset("best"))
    np.testing.assert_array_equal(mask, before)
    assert iou(refined, truth) > iou(mask, truth)


def test_grey_images_have_edges_too() -> None:
    truth = disc(256, 320)
    grey = np.repeat(painted(truth)[..., :1], 3, axis=2)
    assert iou(refine_edges(grey, reduced(truth, 8)), truth) > 0.995


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    size=st.integers(1, 20),
    fit=st.sampled_from(["whole", "squash"]),
    edges=st.sampled_from(["guided", "iem"]),
    seed=st.integers(0, 99),
)
def test_any_size_will_do(height: int, width: int, size: int, fit: Any, edges: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
    mask = random.random(fit_image(image, size, fit).shape[:2]) < 0.5
    refined = refine_edges(image, mask, edges, IEMConfig(iterations=2), engine="array")
    assert refined.shape == (height, width)
    assert refined.dtype == bool


@pytest.mark.parametrize("shape", [(1, 100_000), (100_000, 1), (3, 40_000)])
def test_ribbons_take_no_more_than_they_are(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    mask = np.zeros(fit_image(image, 16).shape[:2], bool)
    mask[tuple(slice(0, max(1, side // 2)) for side in mask.shape)] = True
    for edges in ("guided", "iem"):
        assert refine_edges(image, mask, edges, IEMConfig(iterations=2), engine="array").shape == shape


def test_memory_is_little_more_than_the_mask_s() -> None:
    truth = disc(1200, 1600)
    image, working = painted(truth), restore_mask(truth, 96, 128)
    refine_edges(image, working)
    tracemalloc.start()
    refine_edges(image, working)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The mask, the grey it is cut from, and what does not grow with the image: 5 MB.
    assert peak < 3 * truth.size + 6e6, peak


def test_edges_that_are_not_known_are_an_error() -> None:
    with pytest.raises(ValueError, match="edges must be"):
        refine_edges(np.zeros((4, 4, 3), np.uint8), np.zeros((2, 2), bool), "sharp")  # type: ignore[arg-type]


def test_bicubic_is_what_the_coefficients_are_seen_with() -> None:
    image = painted(disc(100, 130))
    small = module._reduced(image, np.zeros((20, 26), bool), 2)
    resized = Image.fromarray(image).resize((52, 40), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(small, np.asarray(resized))
