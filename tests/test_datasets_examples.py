import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from downloads import SAMPLES, cut, encoded, photograph
from iem_xp.boxes import Box
from iem_xp.datasets import Dataset, Example
from iem_xp.images import ImageError, read_image


def test_an_example_reads_its_file_each_time(tmp_path):
    file = tmp_path / "a.png"
    example = Example("a", file)
    for value in (7, 9):
        Image.fromarray(np.full((2, 3), value, np.uint8)).save(file)
        assert np.array_equal(example.image, np.full((2, 3, 3), value))


def test_an_example_reads_contents_as_a_file():
    example = Example("a", SAMPLES[0].read_bytes)
    assert np.array_equal(example.image, read_image(SAMPLES[0]).pixels)


def test_what_is_not_known_is_none():
    example = Example("a", SAMPLES[0])
    assert example.truth is None
    assert example.box is None


def test_the_truth_and_the_box_are_as_given():
    labels = np.array([[0, 128, 255]], np.uint8)
    example = Example("a", SAMPLES[0], lambda: labels, Box(1, 2, 3, 4))
    assert np.array_equal(example.truth, labels)
    assert example.box == (1, 2, 3, 4)


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"gone.jpg: No such file"):
        _ = Example("a", tmp_path / "gone.jpg").image
    with pytest.raises(ImageError, match="nest/a: the file is empty"):
        _ = Example("nest/a", lambda: b"").image
    file = tmp_path / "cut.jpg"
    file.write_bytes(SAMPLES[0].read_bytes())
    cut(file)
    with pytest.raises(ImageError, match=r"cut.jpg: cannot be decoded"):
        _ = Example("a", file).image


def test_an_image_with_a_file_stays_where_it_is(tmp_path):
    assert Example("a", SAMPLES[0]).unpack(tmp_path) == SAMPLES[0]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("format", "suffix"), [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp")])
def test_an_image_without_a_file_is_written_once_and_as_it_is(tmp_path, format, suffix):
    contents = encoded(photograph(1), format)
    example = Example("nest/a.b", lambda: contents)
    assert example.unpack(tmp_path) == tmp_path / f"nest/a.b{suffix}"
    assert example.unpack(tmp_path).read_bytes() == contents
    (tmp_path / f"nest/a.b{suffix}").write_bytes(b"kept")
    assert example.unpack(tmp_path).read_bytes() == b"kept"


def test_iterating_over_a_data_set_reads_nothing():
    def fail():
        raise AssertionError("was read")

    examples = [Example(name, fail, fail) for name in "abc"]
    dataset = Dataset("three", examples, ("a note",))
    assert len(dataset) == 3
    assert [example.name for example in dataset] == ["a", "b", "c"]
    assert [example.name for example in dataset] == ["a", "b", "c"]
    assert dataset.notes == ("a note",)


def test_examples_may_be_of_a_relative_path(monkeypatch):
    monkeypatch.chdir(SAMPLES[0].parent)
    assert Example("a", Path(SAMPLES[0].name)).image.shape[2] == 3
