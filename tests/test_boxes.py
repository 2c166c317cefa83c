from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from iem_xp.boxes import Box, BoxError, box_iou, box_of, fit_box, read_boxes
from iem_xp.images import Fit, fit_truth

EMPTY = Box(0, 0, 0, 0)


def drawn(*rows: str) -> NDArray[np.bool_]:
    return np.array([[character == "#" for character in row] for row in rows])


@pytest.mark.parametrize(
    ("mask", "box"),
    [
        (drawn("...", "..."), EMPTY),
        (drawn("###", "###"), Box(0, 0, 3, 2)),
        (drawn("....", "..#.", "...."), Box(2, 1, 1, 1)),
        (drawn("....", ".##.", "..#.", "...."), Box(1, 1, 2, 2)),
        (drawn("#...", "..##", "...#"), Box(2, 1, 2, 2)),  # the speck is no part of it
        (drawn("##..", "##..", "..#."), Box(0, 0, 2, 2)),  # nor is what touches it by a corner
        (drawn("#.#", "#.#", "###"), Box(0, 0, 3, 3)),
        (drawn("#.##"), Box(2, 0, 2, 1)),
    ],
)
def test_the_box_of_a_mask_is_that_of_its_largest_part(mask: NDArray[np.bool_], box: Box) -> None:
    assert box_of(mask) == box


@pytest.mark.parametrize(
    ("one", "other", "iou"),
    [
        (Box(0, 0, 4, 4), Box(0, 0, 4, 4), 1),
        (Box(0, 0, 4, 4), Box(2, 0, 4, 4), 8 / 24),
        (Box(0, 0, 4, 4), Box(1, 1, 2, 2), 4 / 16),
        (Box(0, 0, 4, 4), Box(3, 3, 4, 4), 1 / 31),
        (Box(0, 0, 4, 4), Box(4, 0, 4, 4), 0),  # side by side
        (Box(0, 0, 4, 4), Box(9, 9, 1, 1), 0),
        (Box(0.5, 0, 1, 1), Box(0, 0, 1, 1), 0.5 / 1.5),
        (EMPTY, Box(0, 0, 4, 4), 0),
        (EMPTY, EMPTY, 0),
    ],
)
def test_the_iou_of_two_boxes(one: Box, other: Box, iou: float) -> None:
    assert box_iou(one, other) == box_iou(other, one) == iou


@given(
    height=st.integers(20, 300),
    width=st.integers(20, 300),
    edges=st.tuples(*[st.floats(0, 1)] * 4),
    size=st.integers(8, 64),
)
def test_a_box_of_a_crop_is_where_its_pixels_are(
    height: int, width: int, edges: tuple[float, ...], size: int
) -> None:
    left, right = sorted(round(edge * width) for edge in edges[:2])
    top, bottom = sorted(round(edge * height) for edge in edges[2:])
    raster = np.zeros((height, width), np.uint8)
    raster[top:bottom, left:right] = 255
    pixels = box_of(fit_truth(raster, size, "crop") > 0)
    box = fit_box(Box(left, top, right - left, bottom - top), height, width, size, "crop")
    if pixels == EMPTY:
        assert min(box.width, box.height) <= 1
    else:
        edges_of_both = zip(
            (box.x, box.y, box.x + box.width, box.y + box.height),
            (pixels.x, pixels.y, pixels.x + pixels.width, pixels.y + pixels.height),
            strict=True,
        )
        assert all(abs(one - other) <= 1 for one, other in edges_of_both)


@pytest.mark.parametrize("fit", ["whole", "squash"])
def test_a_box_of_a_whole_image_stays(fit: Fit) -> None:
    box = Box(1.5, 2, 30, 4)
    assert fit_box(box, 40, 60, 16, fit) == box


def test_a_crop_cuts_a_box_off() -> None:
    assert fit_box(Box(0, 0, 200, 100), 100, 200, 50, "crop") == Box(0, 0, 50, 50)
    assert fit_box(Box(0, 20, 60, 20), 100, 200, 50, "crop") == Box(0, 10, 5, 10)
    outside = fit_box(Box(0, 0, 40, 40), 100, 200, 50, "crop")
    assert (outside.width, box_iou(outside, Box(0, 0, 50, 50))) == (0, 0)


def listed(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    file = folder / "boxes.csv"
    file.write_text(text, encoding=encoding)
    return file


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_boxes_are_read_by_the_names_of_their_columns(tmp_path: Path, encoding: str) -> None:
    text = 'height,image,x,y,width,label\n40,a.jpg,1.5,-2,30,bird\n4,"sub/é, 2.jpg",0,0,3,\n'
    assert read_boxes(listed(tmp_path, text, encoding)) == {
        "a.jpg": Box(1.5, -2, 30, 40),
        "sub/é, 2.jpg": Box(0, 0, 3, 4),
    }


HEADER = "image,x,y,width,height\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"boxes\.csv: has no column image, x, y, width, height; its first line must be image,x,y,"),
        ("image,x,y,w,h\na,1,2,3,4\n", "has no column width, height; its first line must be"),
        (HEADER, "lists no box"),
        (HEADER + "a,1,2,3,4\na,1,2,3,4\n", "line 3: a second box of a"),
        (HEADER + "a,1,2,3,4\nb,1,2,three,4\n", "line 3: not four numbers: .*three"),
        (HEADER + "a,1,2,3\n", "line 2: not four numbers"),
        (HEADER + "a,1,2,0,4\n", "line 2: not a box of positive size: 1.0,2.0,0.0,4.0"),
        (HEADER + "a,1,2,3,-4\n", "line 2: not a box of positive size"),
        (HEADER + "a,nan,2,3,4\n", "line 2: not a box of positive size"),
        (HEADER + "a,1,inf,3,4\n", "line 2: not a box of positive size"),
        (HEADER + ",1,2,3,4\n", "line 2: names no image"),
        (HEADER + "a,1,2,3,4,5\n", "line 2: has more values than there are columns"),
    ],
)
def test_what_is_no_list_of_boxes_is_refused_with_file_and_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(BoxError, match=message) as caught:
        read_boxes(listed(tmp_path, text))
    assert "boxes.csv" in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BoxError, match=r"boxes\.csv: No such file"):
        read_boxes(tmp_path / "boxes.csv")
    with pytest.raises(BoxError, match="Is a directory"):
        read_boxes(tmp_path)
    (tmp_path / "boxes.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(BoxError, match=r"boxes\.csv: not a CSV file in UTF-8"):
        read_boxes(tmp_path / "boxes.csv")
