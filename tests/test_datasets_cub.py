import os

import numpy as np
import pytest
from PIL import Image

from downloads import bird, box, make_cub, subject, write
from iem_xp.datasets import DatasetError
from iem_xp.datasets.cub import cub, read_agreement
from iem_xp.images import ImageError

REDO = "train_val_test_split.txt"


def names(dataset):
    return [example.name for example in dataset]


def rewrite(file, change):
    file.write_bytes(change(file.read_bytes()))


def test_more_than_half_of_the_annotators_make_the_foreground(tmp_path):
    file = tmp_path / "a.png"
    Image.fromarray(np.array([[0, 51, 102, 127, 128, 153, 204, 255]], np.uint8)).save(file)
    assert read_agreement(file).tolist() == [[0, 0, 0, 0, 255, 255, 255, 255]]


def test_the_splits_of_redo_are_0_1_and_2(tmp_path):
    root = make_cub(tmp_path, 8)
    write(root / "CUB_200_2011" / REDO, b"1 0\n2 1\n3 2\n4 0\n5 2\n6 0\n7 0\n8 1\n")
    expected = {"training": [1, 4, 6, 7], "validation": [2, 8], "test": [3, 5], "all": range(1, 9)}
    for split, numbers in expected.items():
        assert names(cub(root, split)) == [bird(number) for number in numbers]
        assert cub(root, split).notes == ()


def test_the_official_split_stands_in_for_redos_and_says_so(tmp_path):
    root = make_cub(tmp_path, 6, redo_split=False)
    write(root / "CUB_200_2011" / "train_test_split.txt", b"1 0\n2 1\n3 1\n4 0\n5 1\n6 1\n")
    assert names(cub(root)) == [bird(1), bird(4)]
    assert names(cub(root, "training")) == [bird(number) for number in (2, 3, 5, 6)]
    (note,) = cub(root).notes
    assert note.startswith("the test split is the official one; for the paper's splits put datasplits/cub/")
    assert cub(root, "all").notes == ()
    with pytest.raises(DatasetError, match=r"no validation split; .*train_val_test_split.txt of https://"):
        cub(root, "validation")


def test_birds_have_images_truths_and_boxes(tmp_path):
    dataset = cub(make_cub(tmp_path))
    assert dataset.title == "CUB-200-2011, test"
    assert len(dataset) == 10
    for number, example in zip(range(1, 21, 2), dataset, strict=True):
        assert example.file == tmp_path / "CUB_200_2011" / "images" / f"{bird(number)}.jpg"
        assert np.array_equal(example.truth == 255, subject(number))
        assert example.image.shape == (*example.truth.shape, 3)
        assert example.box == box(number)


def test_a_box_is_x_y_width_height(tmp_path):
    root = make_cub(tmp_path, 1)
    write(root / "CUB_200_2011" / "bounding_boxes.txt", b"1 60.0 27.0 325.0 304.5\n")
    (example,) = cub(root)
    assert (example.box.x, example.box.y, example.box.width, example.box.height) == (60, 27, 325, 304.5)


def test_grey_photographs_are_read_as_colours(tmp_path):
    examples = {example.name: example for example in cub(make_cub(tmp_path, gray=True))}
    image = examples[bird(3)].image
    assert image.shape == (64, 80, 3)
    assert (image == image[..., :1]).all()
    assert not (examples[bird(1)].image == examples[bird(1)].image[..., :1]).all()


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("above", [True, False])
def test_the_root_and_the_masks_may_lie_on_either_level(tmp_path, inside, above, monkeypatch):
    root = make_cub(tmp_path)
    if inside:
        (root / "segmentations").rename(root / "CUB_200_2011" / "segmentations")
    dataset = cub(root if above else root / "CUB_200_2011")
    assert np.array_equal(dataset.examples[0].truth == 255, subject(1))
    monkeypatch.chdir(root / "CUB_200_2011")
    assert np.array_equal(cub(".").examples[0].truth == 255, subject(1))


def test_the_folder_may_have_another_name(tmp_path):
    root = make_cub(tmp_path)
    (root / "CUB_200_2011").rename(root / "birds")
    assert len(cub(root / "birds")) == 10


def test_without_masks_there_are_boxes_which_is_noted(tmp_path):
    dataset = cub(make_cub(tmp_path, masks=False))
    assert all(example.truth is None for example in dataset)
    assert [example.box for example in dataset] == [box(number) for number in range(1, 21, 2)]
    (note,) = dataset.notes
    assert note == (
        "there are no masks, only boxes; for masks get segmentations.tgz from "
        "https://data.caltech.edu/records/w9d68-gec53"
    )


@pytest.mark.parametrize("place", [".", "CUB_200_2011"])
def test_masks_that_are_still_packed_are_not_passed_over(tmp_path, place):
    make_cub(tmp_path, masks=False)
    (tmp_path / place / "segmentations.tgz").touch()
    with pytest.raises(
        DatasetError, match=r"segmentations is not there; .*segmentations.tgz is there: unpack it"
    ):
        cub(tmp_path)


def test_few_files_that_are_bad_fail_alone(tmp_path):
    examples = list(cub(make_cub(tmp_path, truncated=True, missing_mask=True)))
    with pytest.raises(ImageError, match=f"{bird(1)}.jpg: cannot be decoded"):
        _ = examples[0].image
    with pytest.raises(ImageError, match=f"{bird(19)}.png: No such file"):
        _ = examples[-1].truth
    for example in examples[1:-1]:
        assert example.image.shape == (*example.truth.shape, 3)


@pytest.mark.parametrize("part", ["images.txt", "bounding_boxes.txt", "train_test_split.txt", "images"])
def test_a_part_that_is_missing_is_an_error_with_a_remedy(tmp_path, part):
    base = make_cub(tmp_path, redo_split=False) / "CUB_200_2011"
    (base / part).rename(tmp_path / "elsewhere")
    remedy = "get CUB_200_2011.tgz from https://data.caltech.edu/records/65de6-vp158"
    with pytest.raises(DatasetError, match=f"^{base / part} is not there; {remedy}$"):
        cub(tmp_path)
    (tmp_path / "CUB_200_2011.tgz").touch()
    with pytest.raises(DatasetError, match=r"CUB_200_2011.tgz is there: unpack it"):
        cub(tmp_path)


def test_a_download_that_is_all_packed_is_an_error(tmp_path):
    (tmp_path / "CUB_200_2011.tgz").touch()
    with pytest.raises(DatasetError, match=f"images.txt is not there; {tmp_path}/CUB_200_2011.tgz is there"):
        cub(tmp_path)
    with pytest.raises(DatasetError, match=f"^{tmp_path}/gone is not there; "):
        cub(tmp_path / "gone")


@pytest.mark.parametrize(
    ("folder", "archive"),
    [("CUB_200_2011/images", "CUB_200_2011.tgz"), ("segmentations", "segmentations.tgz")],
)
def test_a_download_half_unpacked_is_an_error(tmp_path, folder, archive):
    make_cub(tmp_path)
    for file in (tmp_path / folder).rglob("*_00[01][15]_*"):
        file.unlink()
    (tmp_path / archive).touch()
    expected = (
        f"4 of 10 files are missing, the first is .*_0001_8.*; {tmp_path}/{archive} is there: unpack it"
    )
    with pytest.raises(DatasetError, match=expected):
        cub(tmp_path)


def test_the_tables_may_have_other_ends_of_lines_and_spaces(tmp_path):
    root = make_cub(tmp_path)
    before = cub(root)
    for file in (root / "CUB_200_2011").glob("*.txt"):
        rewrite(file, lambda text: b"\xef\xbb\xbf\r\n" + text.replace(b"\n", b"  \r\n").replace(b" ", b"\t "))
    assert names(cub(root)) == names(before)
    assert [example.box for example in cub(root)] == [example.box for example in before]


def test_names_may_hold_spaces_dots_and_what_is_not_utf_8(tmp_path):
    root = make_cub(tmp_path, 3)
    base, odd = root / "CUB_200_2011", os.fsdecode(b"001.Black_footed_Albatross/two words \xe9.b")
    for folder, suffix in ((base / "images", ".jpg"), (root / "segmentations", ".png")):
        (folder / f"{bird(3)}{suffix}").rename(folder / f"{odd}{suffix}")
    rewrite(base / "images.txt", lambda text: text.replace(bird(3).encode(), os.fsencode(odd)))
    example = cub(root).examples[1]
    assert example.name == odd
    assert example.image.shape == (*example.truth.shape, 3)


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("images.txt", b"", "images.txt: lists no image; unpack CUB_200_2011.tgz anew"),
        ("images.txt", "1 a.jpg\n".encode("utf-16"), "images.txt, line 1: not the number of one more image"),
        ("images.txt", b"1 a.jpg\n2\n", "images.txt, line 2: not the number of one more image"),
        ("images.txt", b"1 a.jpg\n1 b.jpg\n", "images.txt, line 2: not the number of one more image"),
        ("images.txt", b"1 ../a.jpg\n2 b.jpg\n", "images.txt: '../a.jpg' is not a path below images"),
        ("images.txt", b"1 /a.jpg\n2 b.jpg\n", "images.txt: '/a.jpg' is not a path below images"),
        ("images.txt", b"1 a.jpg\n", "bounding_boxes.txt: is not of the same images .*, as of image 2"),
        (
            "bounding_boxes.txt",
            b"1 1 2 3 4\n",
            "boxes.txt: is not of the same images as images.txt, as of image 2",
        ),
        ("bounding_boxes.txt", b"1 1 2 3 4\n2 1 2 3\n", "bounding_boxes.txt, image 2: not four numbers"),
        (
            "bounding_boxes.txt",
            b"1 1 2 3 4\n2 1 2 3 0\n",
            "bounding_boxes.txt, image 2: not a box of positive",
        ),
        (REDO, b"1 2\n", f"{REDO}: is not of the same images"),
        (REDO, b"1 0\n2 1\n", f"{REDO}: no image is of the test split, 2"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(tmp_path, table, content, message):
    root = make_cub(tmp_path, 2)
    write(root / "CUB_200_2011" / table, content)
    with pytest.raises(DatasetError, match=message):
        cub(root)


def test_a_split_that_cub_does_not_have_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="no split 'val'; there are test, validation, training, all"):
        cub(tmp_path, "val")
