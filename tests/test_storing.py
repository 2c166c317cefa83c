"""Where the masks of a run go: files, or tar archives that lose nothing that is committed."""

import os
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from iem_xp.runs import storing
from iem_xp.runs.naming import Source
from iem_xp.runs.storing import Files, Shards


def source(name: str) -> Source:
    return Source(Path("/images") / name, name)


def archive(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        found = {}
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            assert member.name not in found
            found[member.name] = file.read()
        return found


def shards(folder: Path, *known: str) -> Shards:
    return Shards(folder, ["masks"], lambda shard, mask: f"{shard}/{mask}" in known)


def test_files_are_below_their_folders_and_nothing_else_is_left(tmp_path: Path) -> None:
    store = Files(tmp_path, tmp_path / "partial")
    assert store.put(source("a/b.png"), {"masks": b"mask", "cutouts": b"cutout"}) == source("a/b.png")
    assert (tmp_path / "masks/a/b.png").read_bytes() == b"mask"
    assert (tmp_path / "cutouts/a/b.png").read_bytes() == b"cutout"
    assert not any((tmp_path / "partial").iterdir())


@pytest.mark.parametrize("name", ["a/b.png", "ü" * 100 + ".png", os.fsdecode(b"caf\xe9.png")])
def test_an_archive_holds_what_was_put_in_it(tmp_path: Path, name: str) -> None:
    store = shards(tmp_path)
    assert store.put(source(name), {"masks": b"mask" * 1000}).shard == "00000.tar"
    assert store.put(source("c.png"), {"masks": b""}).shard == "00000.tar"
    store.close()
    assert archive(tmp_path / "masks/00000.tar") == {name: b"mask" * 1000, "c.png": b""}


def test_what_is_synchronised_can_be_read_before_the_archive_is_complete(tmp_path: Path) -> None:
    store = shards(tmp_path)
    store.put(source("a.png"), {"masks": b"mask"})
    store.sync()
    assert archive(tmp_path / "masks/00000.tar") == {"a.png": b"mask"}
    store.close()


def test_a_full_archive_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "PER_SHARD", 2)
    store = shards(tmp_path)
    assert [store.put(source(name), {"masks": b""}).shard for name in "abc"] == [
        "00000.tar",
        "00000.tar",
        "00001.tar",
    ]
    store.close()


def test_the_pictures_of_an_image_are_in_archives_of_the_same_number(tmp_path: Path) -> None:
    store = Shards(tmp_path, ["masks", "cutouts"], lambda shard, mask: False)
    assert store.put(source("a.png"), {"cutouts": b"cutout", "masks": b"mask"}).shard == "00000.tar"
    store.close()
    assert archive(tmp_path / "masks/00000.tar") == {"a.png": b"mask"}
    assert archive(tmp_path / "cutouts/00000.tar") == {"a.png": b"cutout"}


@pytest.mark.parametrize("cut", [0, 1, 100, 511, 512, 600, 1023, 1024, 1500])
def test_the_next_session_cuts_off_what_was_not_committed_and_goes_on(tmp_path: Path, cut: int) -> None:
    first = shards(tmp_path)
    for name in ("a.png", "b.png", "c.png"):
        first.put(source(name), {"masks": name.encode() * 30})
    first.close()
    file = tmp_path / "masks/00000.tar"
    # Killed while it wrote the third, of which the disk has more or less.
    os.truncate(file, 2048 + cut)
    again = shards(tmp_path, "00000.tar/a.png", "00000.tar/b.png")
    assert again.put(source("d.png"), {"masks": b"d"}).shard == "00000.tar"
    again.close()
    assert archive(file) == {"a.png": b"a.png" * 30, "b.png": b"b.png" * 30, "d.png": b"d"}


def test_what_is_committed_stays_behind_what_is_not_any_more(tmp_path: Path) -> None:
    first = shards(tmp_path)
    for name in ("a.png", "b.png"):
        first.put(source(name), {"masks": b"mask"})
    first.close()
    again = shards(tmp_path, "00000.tar/b.png")
    assert again.put(source("a.png"), {"masks": b"new"}).shard == "00001.tar"  # no archive has a name twice
    again.close()
    assert archive(tmp_path / "masks/00000.tar")["b.png"] == b"mask"


def test_a_mask_that_is_written_anew_goes_to_another_archive(tmp_path: Path) -> None:
    first = shards(tmp_path)
    first.put(source("a.png"), {"masks": b"old"})
    first.close()
    again = shards(tmp_path, "00000.tar/a.png")
    assert again.put(source("a.png"), {"masks": b"new"}).shard == "00001.tar"
    again.close()
    assert archive(tmp_path / "masks/00001.tar") == {"a.png": b"new"}


def test_nothing_follows_half_a_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = shards(tmp_path)
    store.put(source("a.png"), {"masks": b"mask"})
    store.sync()

    def full(tar: tarfile.TarFile, member: tarfile.TarInfo, file: BytesIO) -> None:
        tar.fileobj.write(member.tobuf() + b"ha")  # type: ignore[union-attr]
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "addfile", full)
        with pytest.raises(OSError, match="No space left"):
            store.put(source("b.png"), {"masks": b"half"})
    with pytest.raises(OSError, match="could not be written to"):
        store.put(source("c.png"), {"masks": b"mask"})
    store.close()
    again = shards(tmp_path, "00000.tar/a.png")
    again.put(source("c.png"), {"masks": b"mask"})
    again.close()
    assert archive(tmp_path / "masks/00000.tar") == {"a.png": b"mask", "c.png": b"mask"}
