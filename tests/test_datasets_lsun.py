import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor

import lmdb
import numpy as np
import pytest

from downloads import car_key, cut, encoded, make_lmdb, make_lsun_car, mask, photograph, subject, write
from iem_xp.datasets import DatasetError
from iem_xp.datasets.lsun import lsun_car, name_of
from iem_xp.images import ImageError, read_image

SAMPLE = encoded(photograph(0))


def names(dataset):
    return [example.name for example in dataset]


def make_many(root, n):
    """An environment of n images that are all alike, the keys of which rise, with masks."""
    image, one_mask = encoded(photograph(0)), mask(0)
    make_lmdb(root / "car", {b"%08x" % i: image for i in range(n)})
    for i in range(n):
        write(root / "car" / "masks" / f"{i:08x}.png", one_mask)
    return root


@pytest.mark.parametrize("webp", [False, True])
def test_cars_have_images_and_the_masks_that_were_made(tmp_path, webp):
    dataset = lsun_car(make_lsun_car(tmp_path, webp=webp))
    assert dataset.title == "LSUN Car, test"
    assert dataset.notes == ()
    numbers = {car_key(i): i for i in range(1, 21)}
    for example in dataset:
        number = numbers[example.name]
        contents = encoded(photograph(number), "WEBP" if webp else "JPEG")
        assert np.array_equal(example.image, read_image(contents).pixels)
        assert np.array_equal(example.truth == 255, subject(number))
        assert example.unpack(tmp_path / "out").name == example.name + (".webp" if webp else ".jpg")
        assert example.unpack(tmp_path / "out").read_bytes() == contents


def test_the_root_may_be_the_environment_or_the_folder_above(tmp_path):
    root = make_lsun_car(tmp_path)
    assert names(lsun_car(root)) == names(lsun_car(root / "car"))


def test_all_images_come_in_the_order_of_their_keys(tmp_path):
    root = make_lsun_car(tmp_path)
    keys = [car_key(i) for i in range(1, 21)]
    assert keys != sorted(keys)
    assert names(lsun_car(root, "all")) == sorted(keys)


def test_all_is_the_first_10_000(tmp_path):
    make_lmdb(tmp_path / "car", {b"%08x" % i: b"" for i in range(10_010)})
    dataset = lsun_car(tmp_path, "all")
    assert names(dataset) == [f"{i:08x}" for i in range(10_000)]
    assert dataset.notes == ("0 of 10,000 images have a mask",)


def test_all_has_the_masks_that_are_there(tmp_path):
    root = make_lsun_car(tmp_path)
    first, *others = sorted(car_key(i) for i in range(1, 21))
    for name in others:
        (root / "car" / "masks" / f"{name}.png").unlink()
    dataset = lsun_car(root, "all")
    assert dataset.notes == ("1 of 20 images have a mask",)
    assert [example.name for example in dataset if example.truth is not None] == [first]


def test_a_list_of_keys_makes_the_test(tmp_path):
    root = make_lsun_car(tmp_path)
    write(root / "car" / "test.txt", f"\ufeff{car_key(5)} \r\n\r\n{car_key(2)}\r\n{car_key(5)}".encode())
    assert names(lsun_car(root)) == [car_key(5), car_key(2)]


def test_without_a_list_the_test_is_drawn_and_said_to_be(tmp_path):
    dataset = lsun_car(make_many(tmp_path, 1_100))
    drawn = names(dataset)
    assert len(drawn) == len(set(drawn)) == 1_040
    assert drawn == sorted(drawn)
    # Written down, so that no version draws another test.
    left_out = sorted(set(range(1_100)) - {int(name, 16) for name in drawn})
    assert left_out[:5] == [17, 29, 49, 62, 90]
    (note,) = dataset.notes
    assert note.startswith("the test is 1,040 of the first 1,100 images, drawn with seed 0: the paper's own")


def test_of_few_images_all_are_tested(tmp_path):
    dataset = lsun_car(make_lsun_car(tmp_path, test_file=False))
    assert names(dataset) == names(lsun_car(tmp_path, "all"))
    assert dataset.notes[0].startswith("the test is 20 of the first 20 images")


def test_a_test_without_masks_is_an_error_and_all_is_not(tmp_path):
    root = make_lsun_car(tmp_path, masks=False)
    with pytest.raises(
        DatasetError, match=r"10 of 10 masks are missing, .*masks/0.*\.png; they are not distributed"
    ):
        lsun_car(root)
    assert all(example.truth is None for example in lsun_car(root, "all"))


def test_few_that_are_bad_fail_alone(tmp_path):
    examples = list(lsun_car(make_lsun_car(tmp_path, truncated=True, missing_mask=True)))
    with pytest.raises(ImageError, match=f"^{examples[0].name}: cannot be decoded"):
        _ = examples[0].image
    with pytest.raises(ImageError, match=f"masks/{examples[-1].name}.png: No such file"):
        _ = examples[-1].truth
    for example in examples[1:-1]:
        assert example.image.shape == (*example.truth.shape, 3)


def test_few_keys_that_are_not_there_fail_alone_and_many_are_an_error(tmp_path):
    root = make_lsun_car(tmp_path)
    listed = root / "car" / "test.txt"
    write(root / "car" / "masks" / "gone.png", mask(0))
    listed.write_text("gone\n" + "".join(f"{car_key(i)}\n" for i in range(1, 10)))
    example = lsun_car(root).examples[0]
    with pytest.raises(ImageError, match=r"^gone: not in .*car/data\.mdb$"):
        _ = example.image
    with pytest.raises(ImageError, match=r"not in .*data\.mdb"):
        example.unpack(tmp_path)
    listed.write_text(f"gone\n{car_key(1)}\n")
    expected = r"1 of 2 images of .*test\.txt are missing, the first is gone; its lines must be keys of"
    with pytest.raises(DatasetError, match=expected):
        lsun_car(root)


def test_a_list_of_nothing_is_an_error(tmp_path):
    root = make_lsun_car(tmp_path)
    write(root / "car" / "test.txt", b"\n \r\n")
    with pytest.raises(DatasetError, match=r"test\.txt: lists no key"):
        lsun_car(root)


def test_an_archive_that_is_not_unpacked_is_found(tmp_path):
    page = "http://dl.yf.io/lsun/objects/car.zip"
    with pytest.raises(DatasetError, match=f"data.mdb is not there; get car.zip from {page}"):
        lsun_car(tmp_path)
    (tmp_path / "car.zip").touch()
    for folder in (tmp_path, tmp_path / "car"):
        folder.mkdir(exist_ok=True)
        with pytest.raises(
            DatasetError, match=f"data.mdb is not there; {tmp_path}/car.zip is there: unpack it"
        ):
            lsun_car(tmp_path)
    with pytest.raises(DatasetError, match=f"^{tmp_path.parent}/gone is not there; "):
        lsun_car(tmp_path.parent / "gone")


@pytest.mark.parametrize("size", [0, 100, 9_000, None])
def test_an_environment_half_unpacked_is_an_error_and_no_crash(tmp_path, size):
    file = make_lsun_car(tmp_path) / "car" / "data.mdb"
    if size is None:
        cut(file)
    else:
        file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(
        DatasetError, match=r"data.mdb: (cannot be read: .*|is truncated); unpack car.zip anew"
    ):
        lsun_car(tmp_path)


def test_an_environment_that_is_damaged_later_fails_alone(tmp_path):
    dataset = lsun_car(make_lsun_car(tmp_path))
    cut(tmp_path / "car" / "data.mdb")
    with pytest.raises(ImageError, match=r"data.mdb: is truncated"):
        _ = dataset.examples[0].image


def test_an_environment_without_images_is_an_error(tmp_path):
    make_lmdb(tmp_path / "car", {})
    with pytest.raises(DatasetError, match=r"data.mdb: holds no image"):
        lsun_car(tmp_path)


def test_opening_reads_no_image(tmp_path, monkeypatch):
    root = make_lsun_car(tmp_path)
    read = []
    monkeypatch.setattr("iem_xp.datasets.lsun._read", lambda base, key: read.append(key) or SAMPLE)
    examples = list(lsun_car(root))
    assert read == []
    assert examples[3].image.shape == (64, 80, 3)
    assert read == [examples[3].name.encode()]


def test_nothing_is_written_beside_the_environment(tmp_path):
    root = make_lsun_car(tmp_path)
    before = sorted((root / "car").iterdir())
    _ = [example.image for example in lsun_car(root)]
    assert sorted((root / "car").iterdir()) == before


def test_many_threads_read_two_data_sets_of_one_environment(tmp_path):
    root = make_lsun_car(tmp_path, 40)
    one, other = lsun_car(root), lsun_car(root, "all")
    expected = {example.name: example.image for example in other}
    with ThreadPoolExecutor(8) as threads:
        examples = [*one, *other] * 4
        for example, image in zip(examples, threads.map(lambda e: e.image, examples), strict=True):
            assert np.array_equal(image, expected[example.name])


def test_keys_become_names_of_files():
    assert name_of(b"00ff" * 10) == "00ff" * 10
    assert name_of(b"../a b/c.jpg") == "%2E.%2Fa%20b%2Fc.jpg"
    assert name_of(b"\xff\0") == "%FF%00"
    assert name_of(b".") == "%2E"
    assert name_of(b"a%2Fb") != name_of(b"a/b")
    assert name_of(b"x" * 200) == "x" * 200
    assert name_of(b"x" * 201) == hashlib.sha256(b"x" * 201).hexdigest()


def test_odd_keys_are_read_and_written_below_the_folder(tmp_path):
    keys = [b"../up", b"/abs", b"two words", b"\xff\xfe", b"x" * 500, b"a\0b"]
    make_lmdb(tmp_path / "car", {key: encoded(photograph(i)) for i, key in enumerate(keys)})
    for example in lsun_car(tmp_path, "all"):
        file = example.unpack(tmp_path / "out")
        assert file.parent == tmp_path / "out"
        assert np.array_equal(read_image(file).pixels, example.image)


def test_lmdb_that_is_not_installed_is_an_error_with_a_remedy(tmp_path, monkeypatch):
    root = make_lsun_car(tmp_path)
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(DatasetError, match=r"pip install 'iem-xp\[lmdb\]'"):
        lsun_car(root)


def test_an_environment_that_someone_else_holds_open_is_an_error(tmp_path):
    root = make_lsun_car(tmp_path)
    with (
        lmdb.open(str(root / "car"), readonly=True, lock=False),
        pytest.raises(DatasetError, match="already open in this process"),
    ):
        lsun_car(root)


def test_a_split_that_cars_do_not_have_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="no split 'training'; there are test, all"):
        lsun_car(tmp_path, "training")
