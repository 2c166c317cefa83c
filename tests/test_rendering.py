from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import iem_xp
from iem_xp.config import IEMConfig
from iem_xp.rendering import ABSENT, TINT, contact_sheet, cutout, inpainted, overlay, resized, strip

IMAGE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
MASK = np.zeros((30, 40), bool)
MASK[8:20, 10:30] = True

GAP, HEADER = 8, 28


def uniform(height: int, width: int, *colour: int) -> NDArray[np.uint8]:
    return np.broadcast_to(np.array(colour, np.uint8), (height, width, len(colour)))


def test_the_alpha_of_a_cutout_is_the_mask_and_its_colours_are_the_image_s() -> None:
    picture = cutout(IMAGE, MASK)
    assert picture.shape == (30, 40, 4)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[..., 3], np.where(MASK, 255, 0))
    np.testing.assert_array_equal(picture[..., :3], IMAGE)


def test_an_overlay_leaves_the_background_as_it_is() -> None:
    picture = overlay(IMAGE, MASK)
    assert picture.shape == IMAGE.shape
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[~MASK], IMAGE[~MASK])


def test_an_overlay_tints_the_foreground_within_its_outline() -> None:
    picture = overlay(IMAGE, MASK)
    inside = picture[9:19, 11:29]
    np.testing.assert_array_equal(inside, (IMAGE[9:19, 11:29] * 0.5 + np.array(TINT) * 0.5).astype(np.uint8))
    outline = MASK.copy()
    outline[9:19, 11:29] = False
    assert (picture[outline] == TINT).all()


@pytest.mark.parametrize("side", [0, 1])
def test_the_border_of_a_picture_is_no_outline_whatever_is_at_the_opposite_one(side: int) -> None:
    mask = np.zeros((30, 40), bool)
    mask[10:20, :15] = True
    mask = mask[:, ::-1] if side else mask
    picture = overlay(uniform(30, 40, 0, 0, 0), mask)
    border = picture[11:19, -1 if side else 0]
    assert (border == np.array(TINT) // 2).all()


def test_the_outline_of_a_large_picture_is_wider() -> None:
    mask = np.zeros((800, 800), bool)
    mask[:, :400] = True
    picture = overlay(uniform(800, 800, 0, 0, 0), mask)
    assert (picture == TINT).all(axis=2).sum(axis=1).tolist() == [4] * 800


@pytest.mark.parametrize("value", [False, True])
def test_an_empty_or_full_mask_has_no_outline(value: bool) -> None:
    picture = overlay(IMAGE, np.full((30, 40), value))
    assert not (picture == TINT).all(axis=2).any()


def test_the_inpainting_is_that_of_the_method() -> None:
    config = IEMConfig(kernel_size=5, sigma=2.0)
    picture = inpainted(IMAGE, MASK, config)
    assert picture.dtype == np.uint8
    expected = iem_xp.inpaint(IMAGE, MASK, config)[0] * 255
    assert np.abs(picture - expected).max() <= 0.5 + 1e-3
    assert (picture != inpainted(IMAGE, MASK, IEMConfig())).any()


def test_a_contact_sheet_has_a_cell_for_every_picture() -> None:
    red, blue = uniform(60, 60, 255, 0, 0), uniform(60, 60, 0, 0, 255)
    sheet = contact_sheet(["a", "b"], [[red, blue], [blue, red], [red, red]], cell=60)
    assert sheet.shape == (HEADER + 3 * (60 + GAP) + GAP, 2 * (60 + GAP) + GAP, 3)
    assert sheet.dtype == np.uint8
    for row, column, colour in [(0, 0, red), (0, 1, blue), (1, 0, blue), (2, 1, red)]:
        top, left = HEADER + GAP + row * (60 + GAP), GAP + column * (60 + GAP)
        np.testing.assert_array_equal(sheet[top : top + 60, left : left + 60], colour)
    assert (sheet[-GAP:] == 255).all()
    assert (sheet[HEADER:, GAP + 60 : GAP + 60 + GAP] == 255).all()


def test_a_contact_sheet_titles_its_columns() -> None:
    black = uniform(60, 60, 0, 0, 0)
    sheet = contact_sheet(["one", ""], [[black, black]], cell=60)
    assert (sheet[:HEADER, : GAP + 60] < 255).any()
    assert (sheet[:HEADER, 2 * GAP + 60 :] == 255).all()


def test_pictures_keep_their_aspect_ratio_and_are_centred() -> None:
    wide, tall = uniform(20, 40, 0, 0, 0), uniform(80, 20, 0, 0, 0)
    sheet = contact_sheet(["", ""], [[wide, tall]], cell=40)
    rows, columns = np.nonzero((sheet[:, : GAP + 40] == 0).all(axis=2))
    assert (rows.min(), rows.max()) == (HEADER + GAP + 10, HEADER + GAP + 29)
    assert (columns.min(), columns.max()) == (GAP, GAP + 39)
    rows, columns = np.nonzero((sheet[:, 2 * GAP + 40 :] == 0).all(axis=2))
    assert (rows.min(), rows.max()) == (HEADER + GAP, HEADER + GAP + 39)
    assert (columns.min(), columns.max()) == (15, 24)


def test_a_row_is_as_high_as_its_highest_picture() -> None:
    wide = uniform(20, 40, 0, 0, 0)
    assert contact_sheet([""], [[wide], [wide]], cell=40).shape[0] == HEADER + 2 * (20 + GAP) + GAP


def test_a_contact_sheet_takes_masks() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[:, 20:] = 255
    sheet = contact_sheet([""], [[mask]], cell=40)
    np.testing.assert_array_equal(sheet[HEADER + GAP :, GAP:-GAP][:40], np.repeat(mask[..., None], 3, 2))


def test_transparency_shows_as_a_checkerboard() -> None:
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[:, 32:, 3] = 255
    sheet = contact_sheet([""], [[picture]], cell=64)[HEADER + GAP :, GAP:][:64, :64]
    assert (sheet[:, 32:] == 0).all()
    board = sheet[:, :32, 0]
    assert set(np.unique(board)) == {208, 240}
    assert board[0, 0] != board[0, 16] != board[16, 16] != board[16, 0]


def test_a_hairline_has_a_place_on_the_sheet() -> None:
    assert contact_sheet([""], [[uniform(1, 3000, 0, 0, 0)]], cell=40).shape[1] == 40 + 2 * GAP


def test_a_strip_has_its_panels_side_by_side_and_grey_for_what_is_not_there() -> None:
    red, white = uniform(30, 40, 255, 0, 0), uniform(6, 8, 255)[..., 0]
    picture = strip([red, None, white, cutout(IMAGE, MASK & False)], 15, 20)
    assert picture.shape == (15, 80, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[:, :20], uniform(15, 20, 255, 0, 0))
    np.testing.assert_array_equal(picture[:, 20:40], ABSENT)
    np.testing.assert_array_equal(picture[:, 40:60], 255)
    assert picture[:, 60:].min() >= 200  # nothing but the checkerboard


def test_a_picture_of_its_size_stays_and_another_is_resized() -> None:
    assert resized(IMAGE, 30, 40) is IMAGE
    assert resized(IMAGE, 3, 200).shape == (3, 200, 3)
    assert resized(IMAGE[..., 0], 1, 1).shape == (1, 1)
