from __future__ import annotations

from pathlib import Path

import pytest

from iem_xp.files import placing, replacing


def test_a_file_is_there_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    with replacing(path) as temporary, temporary.open("w") as file:
        file.write("half, ")
        assert not path.exists()
        file.write("whole")
    assert path.read_text() == "half, whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_is_not_finished_leaves_the_old_file_alone(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("new")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    with pytest.raises(FileNotFoundError) as caught, replacing(path) as temporary:
        temporary.read_bytes()
    assert caught.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as caught, replacing(path):
        (tmp_path / "other").read_bytes()
    assert caught.value.filename == str(tmp_path / "other")


def test_a_folder_takes_the_place_of_another_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a" / "model"
    path.mkdir(parents=True)
    (path / "old").touch()
    with placing(path) as new:
        new.mkdir()
        (new / "new").touch()
        new.with_name("draft").touch()
        assert (path / "old").exists()
    assert list(path.iterdir()) == [path / "new"]
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_is_not_finished_leaves_the_old_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").touch()

    def write() -> None:
        with placing(path) as new:
            new.mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert list(tmp_path.iterdir()) == [path]
    assert list(path.iterdir()) == [path / "old"]


def test_a_folder_that_was_never_made_leaves_the_old_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(FileNotFoundError), placing(path):
        pass
    assert list(tmp_path.iterdir()) == [path]
    assert list(path.iterdir()) == [path / "old"]


def test_a_folder_and_a_file_take_each_other_s_place(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_text("old")
    with placing(path) as new:
        new.mkdir()
    assert path.is_dir()
    with placing(path) as new:
        new.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
