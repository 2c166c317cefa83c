import os

import pytest

from downloads import make_flowers102
from iem_xp.datasets import DatasetError, open_dataset
from iem_xp.datasets.parts import Origin, check_share, check_split, missing_files

ORIGIN = Origin("birds.tgz", "https://birds.example")


def make(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_a_part_that_is_there_is_returned(tmp_path):
    assert ORIGIN.check(tmp_path) == tmp_path


def test_of_a_part_that_is_not_there_the_topmost_folder_is_named(tmp_path):
    expected = f"^{tmp_path}/a is not there; get birds.tgz from https://birds.example$"
    with pytest.raises(DatasetError, match=expected):
        ORIGIN.check(tmp_path / "a" / "b" / "c")


def test_an_archive_that_is_not_unpacked_is_found(tmp_path):
    root = tmp_path / "birds"
    make(root, ["birds.tgz"])
    for part in (root / "images", root / "set" / "images", root / "set" / "images" / "class"):
        with pytest.raises(DatasetError, match=f"; {root}/birds.tgz is there: unpack it$"):
            ORIGIN.check(part)
    assert ORIGIN.packed(root / "images") == root / "birds.tgz"


def test_a_relative_part_finds_its_archive_too(tmp_path, monkeypatch):
    make(tmp_path, ["birds.tgz"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=r"birds.tgz is there"):
        ORIGIN.check(type(tmp_path)("images"))


def test_a_folder_named_like_the_archive_is_not_packed(tmp_path):
    (tmp_path / "birds.tgz").mkdir()
    assert ORIGIN.packed(tmp_path / "images") is None


@pytest.mark.parametrize(("total", "few"), [(20, 2), (19, 1), (9, 0), (1, 0)])
def test_up_to_a_tenth_of_the_files_may_be_missing(tmp_path, total, few):
    files = [tmp_path / f"{i}.jpg" for i in range(total)]
    make(tmp_path, [file.name for file in files[few:]])
    ORIGIN.check_files(files)
    files[few].unlink()
    expected = f"^{few + 1} of {total} files are missing, the first is {files[0]}; get birds.tgz"
    with pytest.raises(DatasetError, match=expected):
        ORIGIN.check_files(files)


def test_missing_files_are_found_in_every_folder(tmp_path):
    make(tmp_path / "a", ["1"])
    make(tmp_path, ["b"])
    files = [tmp_path / name for name in ("a/2", "a/1", "b/1", "c/1")]
    assert missing_files(files) == [files[0], files[2], files[3]]


def test_each_folder_is_listed_once(tmp_path, monkeypatch):
    listed = []
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(folder) or [])
    missing_files([tmp_path / folder / str(i) for i in range(100) for folder in "ab"])
    assert sorted(listed) == [tmp_path / "a", tmp_path / "b"]


def test_a_folder_that_may_not_be_listed_is_an_error(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(DatasetError, match=f"{tmp_path}: Permission denied"):
        missing_files([tmp_path / "a"])


def test_a_share_is_counted_whatever_is_missing():
    check_share(["x"], 10, "keys", "look")
    with pytest.raises(DatasetError, match=r"^1,001 of 10,000 keys are missing, the first is x; look$"):
        check_share(["x"] * 1001, 10_000, "keys", "look")


def test_a_split_must_be_one_of_those_there_are():
    check_split("test", ("test", "all"))
    with pytest.raises(DatasetError, match="no split 'train'; there are test, all"):
        check_split("train", ("test", "all"))


@pytest.mark.parametrize("root", ["data", "data/flowers/jpg"])
def test_a_root_one_folder_too_high_or_too_low_is_told(tmp_path, root):
    make_flowers102(tmp_path / "data" / "flowers")
    found = tmp_path / "data" / "flowers" / "setid.mat"
    with pytest.raises(DatasetError, match=f"{found} is; give the folder that holds it as the root"):
        open_dataset("flowers", tmp_path / root)
