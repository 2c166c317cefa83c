import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from downloads import box, encoded, make_folder, mask, photograph, subject, write
from iem_xp.datasets import DatasetError
from iem_xp.datasets.folder import folder
from iem_xp.images import ImageError

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def add_image(root, name, number=0):
    write(root / "images" / name, encoded(photograph(number)))


def test_a_folder_pairs_images_and_masks_by_path(tmp_path):
    dataset = folder(make_folder(tmp_path / "my garden"))
    assert dataset.title == "my garden"
    assert dataset.notes == ()
    assert [example.name for example in dataset] == [
        *(f"flower 0{i}" for i in (0, 1, 3, 4, 6, 7, 9)),
        *(f"garden 1/flower 0{i}" for i in (2, 5, 8)),
    ]
    for example in dataset:
        assert np.array_equal(example.truth == 255, subject(int(example.name[-2:])))
        assert example.image.shape == (*example.truth.shape, 3)
        assert example.box is None


def test_a_folder_may_have_boxes_instead_of_masks_or_both(tmp_path):
    for masks in (False, True):
        dataset = folder(make_folder(tmp_path / str(masks), masks=masks, boxes=True))
        assert dataset.notes == ()
        for example in dataset:
            assert example.box == box(int(example.name[-2:]))
            assert (example.truth is not None) == masks


def test_a_mask_tells_foreground_background_and_what_is_ignored(tmp_path):
    add_image(tmp_path, "a.jpg")
    write(tmp_path / "masks" / "a.png", encoded(Image.fromarray(np.array([[0, 128, 255]], np.uint8)), "PNG"))
    assert folder(tmp_path).examples[0].truth.tolist() == [[0, 128, 255]]


@pytest.mark.parametrize(
    ("format", "suffix"), [("PNG", "PNG"), ("BMP", "bmp"), ("TIFF", "tif"), ("GIF", "gif"), ("PPM", "pgm")]
)
def test_a_mask_may_be_of_any_lossless_format(tmp_path, format, suffix):
    add_image(tmp_path, "deep/er/a.b.jpg")
    image = Image.open(BytesIO(mask(3)))
    write(tmp_path / "masks" / f"deep/er/a.b.{suffix}", encoded(image, format))
    (example,) = folder(tmp_path)
    assert example.name == "deep/er/a.b"
    assert np.array_equal(example.truth == 255, subject(3))


def test_a_lossy_mask_is_read_as_a_soft_one(tmp_path):
    add_image(tmp_path, "rose.jpg")
    lossy = encoded(Image.open(BytesIO(mask(0))), "JPEG", quality=60)
    write(tmp_path / "masks" / "rose.jpg", lossy)
    (example,) = folder(tmp_path)
    assert (example.truth > 128).sum() == pytest.approx(subject(0).sum(), rel=0.03)


def test_other_files_among_the_images_are_noted(tmp_path):
    root = make_folder(tmp_path)
    write(root / "images" / "notes.txt", b"")
    assert folder(root).notes == ("left out of images: 1 x .txt",)


def test_images_of_one_stem_need_masks_that_keep_the_suffix(tmp_path):
    for number, suffix in enumerate((".jpg", ".tif")):
        add_image(tmp_path, f"rose{suffix}", number)
        write(tmp_path / "masks" / f"rose{suffix}.png", mask(number))
    dataset = folder(tmp_path)
    assert [example.name for example in dataset] == ["rose.jpg", "rose.tif"]
    for number, example in enumerate(dataset):
        assert np.array_equal(example.truth == 255, subject(number))
    (tmp_path / "masks" / "rose.tif.png").rename(tmp_path / "masks" / "rose.png")
    with pytest.raises(
        DatasetError,
        match=r"1 of 2 masks of images are missing, the first is rose.tif; .* but there are rose",
    ):
        folder(tmp_path)


def test_two_masks_of_one_image_are_an_error(tmp_path):
    root = make_folder(tmp_path)
    write(root / "masks" / "flower 01.bmp", mask(1))
    with pytest.raises(DatasetError, match=r"flower 01.bmp and .*flower 01.png: two masks of one image"):
        folder(root)


def test_few_images_without_a_mask_fail_alone(tmp_path):
    dataset = folder(make_folder(tmp_path, truncated=True, missing_mask=True))
    assert dataset.notes == ("1 images have neither mask nor box, the first is flower 09",)
    examples = list(dataset)
    with pytest.raises(ImageError, match=r"flower 00.jpg: cannot be decoded"):
        _ = examples[0].image
    (without,) = (example for example in examples if example.name == "flower 09")
    assert (without.truth, without.box) == (None, None)
    assert sum(example.truth is not None for example in examples) == 9


def test_many_images_without_a_mask_are_an_error(tmp_path):
    root = make_folder(tmp_path)
    for i in (2, 5):
        (root / "masks" / f"garden 1/flower 0{i}.png").unlink()
    expected = r"2 of 10 masks of images are missing, the first is garden 1/flower 02; a mask is named as"
    with pytest.raises(DatasetError, match=expected):
        folder(root)


def test_what_has_a_mask_or_a_box_alone_is_noted(tmp_path):
    root = make_folder(tmp_path, boxes=True)
    table = root / "bounding_boxes.csv"
    kept = [line for line in table.read_text().splitlines(keepends=True) if "flower 01" not in line]
    table.write_text("".join(kept))
    for i in (3, 4):
        (root / "masks" / f"flower 0{i}.png").unlink()
    dataset = folder(root)
    assert dataset.notes == (
        "2 images have a box but no mask, the first is flower 03",
        "1 images have a mask but no box, the first is flower 01",
    )
    _, first, third, *_ = dataset
    assert (first.box, third.truth) == (None, None)
    assert third.box == box(3)


def test_masks_and_boxes_of_no_image_are_noted(tmp_path):
    root = make_folder(tmp_path, boxes=True)
    (root / "images" / "flower 01.jpg").unlink()
    assert folder(root).notes == (
        "1 masks belong to no image, the first is flower 01",
        "1 boxes belong to no image, the first is flower 01.jpg",
    )


def test_a_folder_in_which_a_part_is_missing_is_an_error(tmp_path):
    with pytest.raises(
        DatasetError, match=f"^{tmp_path}/gone is not there; a folder holds images, and masks or"
    ):
        folder(tmp_path / "gone")
    root = make_folder(tmp_path / "set")
    (root / "masks").rename(root / "labels")
    with pytest.raises(
        DatasetError, match=f"^{root}: has neither masks nor bounding_boxes.csv; a folder holds"
    ):
        folder(root)
    (root / "images").rename(root / "jpg")
    with pytest.raises(DatasetError, match=f"^{root}/images is not there; a folder holds"):
        folder(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,x,y,width,height\na\xe9.jpg,1,2,3,4\n".encode("latin-1"), "not a CSV file in UTF-8"),
        (b"image,x,y,width\na.jpg,1,2,3\n", "has no column height"),
        (b"image,x,y,width,height\na.jpg,1,2,3\n", "line 2: not four numbers"),
        (b"image,x,y,width,height\n", "lists no box"),
    ],
)
def test_boxes_that_cannot_be_read_are_named(tmp_path, content, message):
    root = make_folder(tmp_path)
    write(root / "bounding_boxes.csv", content)
    with pytest.raises(DatasetError, match=rf"bounding_boxes\.csv.*{message}"):
        folder(root)


def test_names_need_not_be_utf_8(tmp_path):
    odd = os.fsdecode(b"\xff\xfe")
    add_image(tmp_path, f"{odd}.jpg")
    write(tmp_path / "masks" / f"{odd}.png", mask(0))
    (example,) = folder(tmp_path)
    assert example.name == odd
    assert example.truth.shape == (64, 80)


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    root = make_folder(tmp_path)
    scandir = os.scandir

    def guarded(path):
        if str(path).endswith("garden 1"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(DatasetError, match=r"garden 1: cannot be searched: Permission denied"):
        folder(root)


def test_a_relative_root_will_do(tmp_path, monkeypatch):
    make_folder(tmp_path / "set")
    monkeypatch.chdir(tmp_path / "set")
    dataset = folder(".")
    assert dataset.title == "set"
    assert dataset.examples[0].truth.shape == (64, 80)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="the development photographs are not beside the checkout")
@pytest.mark.parametrize(
    ("name", "masks", "boxes"),
    [
        ("flowers17", 446, 0),
        ("ecssd", 485, 0),
        ("butterflies", 413, 0),
        ("cars", 134, 0),
        ("cub", 0, 2500),
    ],
)
def test_the_development_photographs_are_all_readable(name, masks, boxes):
    dataset = folder(SHARED / name)
    assert dataset.notes == ()
    assert sum(example.box is not None for example in dataset) == boxes
    truths = 0
    for example in dataset:
        truth, image = example.truth, example.image
        if truth is not None:
            assert truth.shape == image.shape[:2]
            truths += 1
    assert truths == masks


def test_the_folder_of_the_images_is_not_the_root(tmp_path):
    make_folder(tmp_path)
    with pytest.raises(DatasetError, match="give the folder that holds images as the root"):
        folder(tmp_path / "images")
