from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco
from scipy import ndimage

import scenes
from iem_xp.exports.polygons import TOLERANCE, Polygon, outlines


def draw(polygons: list[Polygon], shape: tuple[int, ...], cut: bool = True) -> NDArray[np.bool_]:
    """Draw as OpenCV does, with coordinates cut off or rounded to whole numbers."""
    canvas = np.zeros(shape, np.uint8)
    for polygon in polygons:
        vertices = (polygon if cut else np.round(polygon)).astype(np.int32)
        part = np.zeros(shape, np.uint8)
        cv2.fillPoly(part, [vertices], 1)
        canvas |= part
    return canvas > 0


def fill(polygons: list[Polygon], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Fill as pycocotools does."""
    encoded = coco.frPyObjects([polygon.ravel().tolist() for polygon in polygons], *shape)
    return coco.decode(coco.merge(encoded)).astype(bool)


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def blobs(seed: int, height: int = 120, width: int = 160) -> NDArray[np.bool_]:
    """A smooth mask with several parts and holes, as photographs have."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(height, width)), 7)
    return np.asarray(smooth > 0.2 * smooth.std())


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_what_is_drawn_is_nearly_the_mask(seed: int, cut: bool) -> None:
    mask = blobs(seed)
    polygons = outlines(mask, drawn=True)
    assert iou(draw(polygons, mask.shape, cut), mask) > 0.985
    assert len(polygons) == ndimage.label(mask, np.ones((3, 3)))[1] > 1


@pytest.mark.parametrize("seed", range(8))
def test_what_is_filled_is_nearly_the_mask(seed: int) -> None:
    mask = blobs(seed)
    assert iou(fill(outlines(mask, drawn=False), mask.shape), mask) > 0.99


def test_without_tolerance_little_more_than_bridges_over_small_holes_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("iem_xp.exports.polygons.TOLERANCE", 0.0)
    for seed in range(20):
        mask = blobs(seed)
        assert iou(draw(outlines(mask, drawn=True), mask.shape), mask) > 0.999
        assert iou(fill(outlines(mask, drawn=False), mask.shape), mask) > 0.999


def test_vertices_depart_by_no_more_than_the_tolerance() -> None:
    mask = blobs(3)
    edge = mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)))
    distance = ndimage.distance_transform_edt(~edge)
    for polygon in outlines(mask, drawn=True):
        columns, rows = np.floor(polygon).astype(int).T
        assert distance[rows, columns].max() == 0
    drawn = draw(outlines(mask, drawn=True), mask.shape)
    assert distance[drawn & ~mask].max(initial=0) <= 1 + TOLERANCE


def test_holes_stay_holes_and_parts_are_apart() -> None:
    mask = np.zeros((60, 80), bool)
    mask[5:55, 5:45] = True
    for top, left in ((10, 10), (30, 12), (20, 30)):
        mask[top : top + 8, left : left + 6] = False
    mask[20:30, 60:70] = True
    polygons = outlines(mask, drawn=True)
    assert len(polygons) == 2
    for polygon in polygons:
        assert polygon.dtype == np.float64
        assert polygon.shape[1] == 2
    missing = mask ^ draw(polygons, mask.shape)
    assert not (missing & ~mask).any()  # nothing is lost but pixels of bridges and of rounded corners
    assert missing.sum() <= 12
    assert not draw(polygons, mask.shape)[12:16, 12:14].any()


def test_the_largest_part_comes_first() -> None:
    mask = np.zeros((40, 40), bool)
    mask[1:3, 1:3] = mask[10:30, 5:25] = mask[35:39, 20:30] = True
    tops = [polygon[:, 1].min() for polygon in outlines(mask, drawn=True)]
    assert [int(top) for top in tops] == [10, 35, 1]


def test_an_island_in_a_hole_is_a_part_of_its_own() -> None:
    mask = np.ones((30, 30), bool)
    mask[5:25, 5:25] = False
    mask[10:20, 10:20] = True
    polygons = outlines(mask, drawn=True)
    assert len(polygons) == 2
    np.testing.assert_array_equal(draw(polygons, mask.shape), mask)


@pytest.mark.parametrize("drawn", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 9), (9, 1)])
def test_the_smallest_parts_have_polygons(shape: tuple[int, int], drawn: bool) -> None:
    mask = np.zeros((12, 12), bool)
    mask[2 : 2 + shape[0], 1 : 1 + shape[1]] = True
    (polygon,) = outlines(mask, drawn=drawn)
    assert len(polygon) >= 3
    rasterised = draw([polygon], mask.shape) if drawn else fill([polygon], mask.shape)
    np.testing.assert_array_equal(rasterised, mask)


@pytest.mark.parametrize("drawn", [True, False])
def test_full_empty_and_noisy_masks(drawn: bool, rng: np.random.Generator) -> None:
    assert outlines(np.zeros((5, 7), bool), drawn=drawn) == []
    (full,) = outlines(np.ones((5, 7), bool), drawn=drawn)
    assert (full >= 0).all()
    assert (full < [7, 5]).all()
    noise = scenes.mask(rng, 40, 50)
    for polygon in outlines(noise, drawn=drawn):
        assert len(polygon) >= 3
        assert (polygon >= 0).all()
        assert (polygon < [50, 40]).all()
