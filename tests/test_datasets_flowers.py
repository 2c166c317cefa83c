import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from downloads import make_flowers17, make_flowers102, subject
from iem_xp.datasets import DatasetError
from iem_xp.datasets.flowers import flowers17, flowers102, read_segmim, read_trimap
from iem_xp.images import ImageError


def png(path, rows):
    Image.fromarray(np.array(rows, np.uint8)).save(path, "PNG")
    return path


def numbers(dataset):
    return [int(example.name.removeprefix("image_")) for example in dataset]


# Flowers 102


def test_a_segmim_is_background_exactly_where_red_is_0_or_green_is_0_or_blue_is_254(tmp_path):
    values = (0, 1, 253, 254, 255)
    colours = [[(r, g, b) for b in values] for r in values for g in values]
    labels = read_segmim(png(tmp_path / "a.jpg", colours))
    for row, line in zip(labels, colours, strict=True):
        for label, (r, g, b) in zip(row, line, strict=True):
            assert label == (0 if r == 0 or g == 0 or b == 254 else 255)
    assert labels.dtype == np.uint8


def test_the_papers_test_is_what_the_data_set_trains_on(tmp_path):
    splits = {"trnid": [[5, 3]], "valid": [[1]], "tstid": [[2, 4, 6]]}
    make_flowers102(tmp_path, 6)
    savemat(tmp_path / "setid.mat", {name: np.array(row) for name, row in splits.items()})
    assert numbers(flowers102(tmp_path)) == [3, 5]
    assert numbers(flowers102(tmp_path, "validation")) == [1]
    assert numbers(flowers102(tmp_path, "training")) == [2, 4, 6]
    assert numbers(flowers102(tmp_path, "all")) == [1, 2, 3, 4, 5, 6]


def test_flowers_have_images_and_truths(tmp_path):
    dataset = flowers102(make_flowers102(tmp_path))
    assert dataset.title == "Oxford 102 Flowers, test"
    assert dataset.notes == ()
    assert len(dataset) == 10
    for number, example in enumerate(dataset, 1):
        assert example.file == tmp_path / "jpg" / f"image_{number:05d}.jpg"
        assert np.array_equal(example.truth == 255, subject(number))
        assert example.image.shape == (*example.truth.shape, 3)
        assert example.box is None


def test_few_files_that_are_bad_fail_alone(tmp_path):
    examples = list(flowers102(make_flowers102(tmp_path, truncated=True, missing_mask=True)))
    with pytest.raises(ImageError, match=r"image_00001.jpg: cannot be decoded"):
        _ = examples[0].image
    with pytest.raises(ImageError, match=r"segmim_00010.jpg: No such file"):
        _ = examples[-1].truth
    for example in examples[1:-1]:
        assert example.image.shape == (*example.truth.shape, 3)


@pytest.mark.parametrize(
    ("part", "archive"),
    [("jpg", "102flowers.tgz"), ("segmim", "102segmentations.tgz"), ("setid.mat", "setid.mat")],
)
def test_a_part_of_flowers_102_that_is_missing_is_an_error_with_a_remedy(tmp_path, part, archive):
    root = make_flowers102(tmp_path / "flowers")
    (root / part).rename(tmp_path / "elsewhere")
    page = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
    with pytest.raises(DatasetError, match=f"{part} is not there; get {archive} from {page}"):
        flowers102(root)
    if archive != part:
        (root / archive).touch()
        with pytest.raises(DatasetError, match=f"{part} is not there; .*{archive} is there: unpack it"):
            flowers102(root)


def test_a_download_half_unpacked_is_an_error(tmp_path):
    make_flowers102(tmp_path)
    for number in (4, 7):
        (tmp_path / "segmim" / f"segmim_{number:05d}.jpg").unlink()
    (tmp_path / "102segmentations.tgz").touch()
    expected = "2 of 10 files are missing, the first is .*segmim_00004.jpg; .*102segmentations.tgz is there"
    with pytest.raises(DatasetError, match=expected):
        flowers102(tmp_path)
    assert len(flowers102(tmp_path, "validation")) == 5


def test_a_root_that_does_not_exist_is_named(tmp_path):
    for read in (flowers102, flowers17):
        with pytest.raises(DatasetError, match=f"^{tmp_path}/gone is not there; get "):
            read(tmp_path / "gone")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a MATLAB file of numbers; get it anew"),
        (b"<html>not found</html>" * 20, "not a MATLAB file of numbers"),
        ({"labels": [1, 2]}, "has no variable 'trnid'"),
        ({"trnid": []}, "lists no image"),
        ({"trnid": "words"}, "not a MATLAB file of numbers"),
    ],
)
def test_a_setid_that_cannot_be_used_is_named(tmp_path, content, message):
    file = make_flowers102(tmp_path) / "setid.mat"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        savemat(file, content)
    with pytest.raises(DatasetError, match=f"setid.mat: {message}"):
        flowers102(tmp_path)


def test_a_split_that_flowers_do_not_have_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="no split 'train'; there are test, validation, training, all"):
        flowers102(tmp_path, "train")


# Flowers 17


def test_a_trimap_has_a_flower_a_background_and_the_rest(tmp_path):
    colours = [
        [(128, 0, 0), (128, 128, 0), (0, 0, 0), (0, 128, 0), (128, 0, 1), (127, 0, 0), (255, 255, 255)]
    ]
    assert read_trimap(png(tmp_path / "a.png", colours)).tolist() == [[255, 0, 128, 128, 128, 128, 128]]


def test_a_trimap_is_read_by_colours_whatever_their_indices(tmp_path):
    image = Image.fromarray(np.array([[7, 9, 200]], np.uint8), "P")
    palette = np.zeros((256, 3), np.uint8)
    palette[9], palette[7] = (128, 0, 0), (128, 128, 0)
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "a.png")
    assert read_trimap(tmp_path / "a.png").tolist() == [[0, 255, 128]]


def test_a_trimap_of_other_colours_is_refused(tmp_path):
    file = png(tmp_path / "image_0001.png", [[(255, 0, 0), (0, 0, 0)]])
    with pytest.raises(ImageError, match=r"image_0001.png: not a trimap as expected: .*dark red.*olive"):
        read_trimap(file)


@pytest.mark.parametrize("imlist", [True, False])
def test_the_images_with_a_trimap_are_taken(tmp_path, imlist):
    dataset = flowers17(make_flowers17(tmp_path, imlist=imlist))
    assert numbers(dataset) == [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]
    for number, example in zip(numbers(dataset), dataset, strict=True):
        truth = example.truth
        assert (truth[:, 34:36] == 128).all()
        assert np.array_equal(np.delete(truth, [34, 35], 1) == 255, np.delete(subject(number), [34, 35], 1))
        assert example.image.shape == (*truth.shape, 3)


def test_few_trimaps_that_are_missing_fail_alone(tmp_path):
    examples = list(flowers17(make_flowers17(tmp_path, truncated=True, missing_mask=True)))
    with pytest.raises(ImageError, match=r"image_0002.jpg"):
        _ = examples[0].image
    with pytest.raises(ImageError, match=r"trimaps/image_0020.png: No such file"):
        _ = examples[-1].truth


@pytest.mark.parametrize(("part", "archive"), [("jpg", "17flowers.tgz"), ("trimaps", "trimaps.tgz")])
def test_a_part_of_flowers_17_that_is_missing_is_an_error_with_a_remedy(tmp_path, part, archive):
    root = make_flowers17(tmp_path / "flowers")
    (root / part).rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=f"{part} is not there; get {archive} from https://.*/flowers/17/"):
        flowers17(root)
    (root / archive).touch()
    with pytest.raises(DatasetError, match=f"{archive} is there: unpack it"):
        flowers17(root)


def test_an_empty_folder_of_trimaps_is_an_error(tmp_path):
    make_flowers17(tmp_path, 0, imlist=False)
    (tmp_path / "trimaps").mkdir()
    with pytest.raises(DatasetError, match=r"image_0001.png is not there; get trimaps.tgz"):
        flowers17(tmp_path)
