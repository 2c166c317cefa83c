from __future__ import annotations

import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from iem_xp.images import ImageError
from iem_xp.labels import read_labels, resize_labels, to_labels, to_truth

SHAPE = np.array([[0, 0, 1], [0, 1, 1]], np.uint8)
"""Foreground as ones."""


def stored(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def palette(*colours: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(SHAPE).convert("P")
    image.putpalette([value for colour in colours for value in colour])
    return image


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(SHAPE > 0),
        Image.fromarray(SHAPE * 255),
        Image.fromarray(SHAPE),
        palette((0, 0, 0), (255, 255, 255)),
        palette((0, 0, 0), (1, 1, 1)),
        Image.fromarray(SHAPE * 255).convert("RGB"),
        Image.fromarray(SHAPE * 255).convert("RGBA"),
        Image.fromarray(SHAPE * 255).convert("LA"),
    ],
    ids=[
        "bilevel",
        "grey",
        "of 0 and 1",
        "palette",
        "palette of 0 and 1",
        "RGB",
        "RGBA",
        "LA",
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_mask_may_be_stored_in_any_way(image: Image.Image, kind: str) -> None:
    labels = read_labels(stored(image, kind))
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, SHAPE * 255)


def test_128_is_ignored() -> None:
    values = np.array([[0, 128, 255]], np.uint8)
    np.testing.assert_array_equal(read_labels(stored(Image.fromarray(values))), values)


@pytest.mark.parametrize("edge", [[63, 127, 128, 191], list(range(256))])
def test_a_soft_mask_is_cut_at_one_half(edge: list[int]) -> None:
    values = np.array([[0] * 500 + edge + [255] * 500], np.uint8)
    labels = read_labels(stored(Image.fromarray(values)))
    np.testing.assert_array_equal(labels, np.where(values >= 128, 255, 0))


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0, 1, 2], "0, 1, 2"),
        ([0, 1, 255], "0, 1, 255"),  # classes, and what is of none
        ([1, 2], "1, 2"),
        ([101, 201], "101, 201"),
        ([7], "7"),
        (range(100), "0, 1, 2, 3, 4, 5, 6, 7, ..."),
        (range(256), "0, 1, 2, 3, 4, 5, 6, 7, ..."),  # a photograph
        ([0] * 40 + [210], "0, 210"),
    ],
)
def test_what_a_value_means_is_not_guessed(values: Sequence[int], shown: str) -> None:
    with pytest.raises(ImageError, match=f"holds the values {re.escape(shown)}, of which"):
        read_labels(stored(Image.fromarray(np.array([values], np.uint8))))


@pytest.mark.parametrize(("value", "label"), [(0, 0), (1, 255), (128, 128), (255, 255)])
def test_a_mask_may_be_of_one_value(value: int, label: int) -> None:
    assert (read_labels(stored(Image.new("L", (3, 2), value))) == label).all()


def sixteen_bits() -> Image.Image:
    return Image.fromarray(SHAPE.astype(np.uint16) * 65535)


def frames() -> bytes:
    images = [Image.fromarray(SHAPE * value) for value in (255, 100)]
    return stored(images[0], "TIFF", save_all=True, append_images=images[1:])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (stored(sixteen_bits()), "no plain mask: uint16 values stretched .*; write masks as 8-bit grey PNG"),
        (
            stored(Image.fromarray(SHAPE.astype(np.float32)), "TIFF"),
            "no plain mask: float32 values",
        ),
        (frames(), "no plain mask: first of several frames"),
        (stored(Image.new("LA", (3, 2), (255, 0))), "no plain mask: alpha ignored"),
        (
            stored(palette((0, 0, 0), (128, 0, 0))),
            "a picture in colours, not a mask; write masks as",
        ),
        (stored(Image.new("RGB", (3, 2), (255, 255, 254))), "a picture in colours, not a mask"),
        (b"text", "not an image"),
        (b"", "the file is empty"),
    ],
)
def test_what_is_no_mask_is_refused_with_the_files_name(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_labels(data)
    file = tmp_path / "rose.png"
    file.write_bytes(data)
    with pytest.raises(ImageError, match=rf"rose\.png: .*{message}"):
        read_labels(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png: No such file"):
        read_labels(tmp_path / "gone.png")


def test_labels_and_truth_say_the_same() -> None:
    foreground, ignored = np.array([[True, False, True]]), np.array([[False, False, True]])
    labels = to_labels(foreground, ignored)
    np.testing.assert_array_equal(labels, [[255, 0, 128]])
    truth = to_truth(labels)
    np.testing.assert_array_equal(truth.foreground, [[True, False, False]])
    np.testing.assert_array_equal(truth.ignored, ignored)
    np.testing.assert_array_equal(to_labels(foreground), [[255, 0, 255]])


@pytest.mark.parametrize("shape", [(2, 3), (5, 1), (40, 60), (41, 59)])
def test_resized_labels_never_mix(shape: tuple[int, int]) -> None:
    labels: NDArray[np.uint8] = np.array([[0, 128, 255], [255, 0, 128]], np.uint8)
    resized = resize_labels(labels, *shape)
    assert resized.shape == shape
    assert set(np.unique(resized)) <= {0, 128, 255}
    whole = np.kron(labels, np.ones((20, 20), np.uint8))
    np.testing.assert_array_equal(resize_labels(labels, 40, 60), whole)
    np.testing.assert_array_equal(resize_labels(whole, 2, 3), labels)
