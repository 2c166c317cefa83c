"""Files that hold images, and paths that lead into them."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import tarfile
import threading
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloads import make_lmdb
from iem_xp.archives.base import Archive, ArchiveError, safe_name
from iem_xp.archives.lmdb import name_of
from iem_xp.archives.opening import find_member, is_archive, open_archive
from iem_xp.contents import ContentsError, Stamp, find_changed, is_missing, read_contents
from packing import MEMBERS, make_parquet, make_tar


def all_of(archive: Archive) -> dict[str, bytes]:
    return {name: archive.read(name) for name in archive.names()}


@pytest.mark.parametrize("suffix", [".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_a_tar_archive_has_its_files(tmp_path: Path, suffix: str) -> None:
    mode = {".tar": "w", ".tgz": "w:gz"}.get(suffix, f"w:{suffix[5:]}")
    archive = open_archive(make_tar(tmp_path / f"A{suffix.upper()}", mode=mode))
    assert all_of(archive) == MEMBERS
    assert list(archive.names()) == list(MEMBERS)
    assert (len(archive), archive.damage, archive.has_suffixes) == (3, None, True)
    assert archive.read("a.jpg") == b"first", "it can be gone back to"


def test_of_two_files_of_one_name_the_last_counts(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {"x.jpg": b"old", "y.jpg": b"y"})
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo("./x.jpg")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"new"))
    assert all_of(open_archive(path)) == {"x.jpg": b"new", "y.jpg": b"y"}


def test_a_hard_link_is_the_file_and_nothing_else_is_followed_or_opened(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {"x.jpg": b"x"})
    with tarfile.open(path, "a") as tar:
        for name, (kind, target) in {
            "folder": (tarfile.DIRTYPE, ""),
            "same.jpg": (tarfile.LNKTYPE, "./x.jpg"),
            "stolen.jpg": (tarfile.LNKTYPE, "/etc/passwd"),
            "link.jpg": (tarfile.SYMTYPE, "/etc/passwd"),
            "pipe": (tarfile.FIFOTYPE, ""),
            "disk": (tarfile.BLKTYPE, ""),
        }.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            tar.addfile(member)
    archive = open_archive(path)
    assert list(archive.names()) == ["x.jpg", "same.jpg", "link.jpg"]
    assert archive.read("same.jpg") == b"x"
    with pytest.raises(ArchiveError, match="a symbolic link, which is not followed"):
        archive.read("link.jpg")


def test_a_tar_archive_that_was_cut_off_gives_what_is_left(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {f"{i}.jpg": bytes(2000) for i in range(3)})
    with tarfile.open(path) as tar:
        second = tar.getmember("1.jpg")
    os.truncate(path, second.offset_data + 700)
    archive = open_archive(path)
    assert list(archive.names()) == ["0.jpg", "1.jpg"]
    assert archive.damage is not None
    assert archive.read("0.jpg") == bytes(2000)
    with pytest.raises(ArchiveError, match="ends within this file"):
        archive.read("1.jpg")


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {f"{i}.jpg": bytes(100) for i in range(3)})
    data = bytearray(path.read_bytes())
    data[1024:1100] = b"?" * 76
    path.write_bytes(data)
    archive = open_archive(path)
    assert list(archive.names()) == ["0.jpg"]
    assert archive.damage == "is damaged at byte 1,024; the files before are read"


def pax_member(headers: dict[str, str], name: str = "b.jpg") -> bytes:
    member = tarfile.TarInfo(name)
    member.pax_headers = headers
    return member.tobuf(tarfile.PAX_FORMAT)


def long_names(count: int) -> bytes:
    member = tarfile.TarInfo("././@LongLink")
    member.type = tarfile.GNUTYPE_LONGNAME
    return member.tobuf(tarfile.GNU_FORMAT) * count


def sized(size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo("b.jpg")
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


IMPOSSIBLE = {
    "a map of holes that is none": pax_member({"GNU.sparse.map": "x,y"}),
    "a size that no file has": sized(1 << 70),
    "headers of headers of headers": long_names(1500) + sized(0),
    "a size that leads back": pax_member({"size": "-1536"}),
    "a size that leads back to itself": sized(-512),
    "a size that would be all the rest": pax_member({"size": "-1"}),
    "a negative header": sized(-512, tarfile.XHDTYPE),
    "a header larger than memory": sized(1 << 40, tarfile.GNUTYPE_LONGNAME),
}


@pytest.mark.parametrize("header", [pytest.param(header, id=name) for name, header in IMPOSSIBLE.items()])
def test_a_tar_archive_with_an_impossible_header_gives_the_files_before(
    tmp_path: Path, header: bytes
) -> None:
    path = make_tar(tmp_path / "a.tar", {"a.jpg": b"first"})
    good = path.read_bytes()[:1024]
    path.write_bytes(good + header + good.replace(b"a.jpg", b"c.jpg") + bytes(1024))
    archive = open_archive(path)
    assert archive.damage is not None
    assert archive.damage.endswith("; the files before are read")
    assert archive.read("a.jpg") == b"first"
    assert "c.jpg" not in archive.names()
    if "b.jpg" in archive.names():
        with pytest.raises(ArchiveError, match="more than an image"):
            archive.read("b.jpg")


@pytest.mark.parametrize("header", [pytest.param(header, id=name) for name, header in IMPOSSIBLE.items()])
def test_a_tar_archive_that_begins_with_an_impossible_header_is_damaged_or_none(
    tmp_path: Path, header: bytes
) -> None:
    (tmp_path / "a.tar").write_bytes(header + bytes(1024))
    with suppress(ArchiveError):
        assert open_archive(tmp_path / "a.tar").damage is not None


def test_an_archive_that_lacks_its_end_alone_is_whole(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar")
    with tarfile.open(path) as tar:
        end = max(m.offset_data + -(-m.size // 512) * 512 for m in tar)
    os.truncate(path, end)
    assert open_archive(path).damage is None


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_a_compressed_archive_that_was_cut_off_gives_what_is_left(tmp_path: Path, compress: object) -> None:
    path = make_tar(tmp_path / "a.tar", {f"{i}.jpg": os.urandom(5000) for i in range(4)})
    data = compress(path.read_bytes())  # type: ignore[operator]
    path.write_bytes(data[: len(data) * 3 // 5])
    archive = open_archive(path)
    assert archive.damage is not None
    assert len(archive) >= 1
    assert len(archive.read("0.jpg")) == 5000


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.parquet"])
@pytest.mark.parametrize("data", [b"", b"no archive at all" * 100, b"\x1f\x8b\x08\x00no gzip"])
def test_what_is_no_archive_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ArchiveError, match="cannot be read as"):
        open_archive(tmp_path / name)


def test_an_archive_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_archive(tmp_path / "a.tar")


def test_an_lmdb_has_its_keys(tmp_path: Path) -> None:
    values = {b"plain": b"1", b"a/../b": b"2", b"\xff\x00": b"3", b"..": b"4", b".x": b"5"}
    make_lmdb(tmp_path / "db", values)
    archive = open_archive(tmp_path / "db/data.mdb")
    assert len(archive) == 5
    assert all_of(archive) == {name_of(key): values[key] for key in sorted(values)}
    assert set(archive.names()) == {"plain", "a%2F..%2Fb", "%FF%00", "%2E.", "%2Ex"}
    with pytest.raises(ArchiveError, match="not in this database"):
        archive.read("other")


def test_the_keys_of_an_lmdb_are_read_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iem_xp.archives.lmdb._PAGE", 3)
    make_lmdb(tmp_path / "db", {f"{i:03d}".encode(): b"x" for i in range(10)})
    archive = open_archive(tmp_path / "db/data.mdb")
    read = [(name, archive.read(name)) for name in archive.names()]  # others may read in between
    assert read == [(f"{i:03d}", b"x") for i in range(10)]


def test_a_truncated_lmdb_is_refused(tmp_path: Path) -> None:
    make_lmdb(tmp_path / "db", {f"{i}".encode(): bytes(5000) for i in range(20)})
    os.truncate(tmp_path / "db/data.mdb", 12288)
    with pytest.raises(ArchiveError, match="is truncated"):
        open_archive(tmp_path / "db/data.mdb")


def test_a_parquet_file_has_its_rows_by_their_numbers(tmp_path: Path) -> None:
    archive = open_archive(make_parquet(tmp_path / "a.parquet", [b"one", b"two", b"three", None, b"five"]))
    assert list(archive.names()) == ["000000", "000001", "000002", "000003", "000004"]
    assert archive.read("000004") == b"five"
    assert archive.read("000000") == b"one"
    for name, cause in {"000003": "no bytes", "000005": "no row", "../x": "no row", "-1": "no row"}.items():
        with pytest.raises(ArchiveError, match=cause):
            archive.read(name)


def test_a_small_parquet_file_takes_little_memory_whatever_it_decodes_to(tmp_path: Path) -> None:
    path = make_parquet(tmp_path / "a.parquet", [bytes(4_000_000)] * 50, rows_per_group=50)
    assert path.stat().st_size < 1_000_000
    before = pa.total_allocated_bytes()
    archive = open_archive(path)
    assert all(len(archive.read(name)) == 4_000_000 for name in archive.names())
    assert pa.total_allocated_bytes() - before < 60_000_000


def test_of_parquet_files_only_the_one_read_last_keeps_rows(tmp_path: Path) -> None:
    rows: list[bytes | None] = [os.urandom(1_000_000) for _ in range(4)]
    archives = [
        open_archive(make_parquet(tmp_path / f"{i}.parquet", rows, rows_per_group=4)) for i in range(4)
    ]
    before = pa.total_allocated_bytes()
    for archive in archives:
        assert [archive.read(name) for name in archive.names()] == rows
    assert pa.total_allocated_bytes() - before < 8_000_000


@pytest.mark.parametrize("kept", [0, 2_500, 1 << 25])
def test_rows_of_a_parquet_file_are_read_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr("iem_xp.archives.parquet._KEPT", kept)
    rows: list[bytes | None] = [os.urandom(1_000) for _ in range(12)]
    archive = open_archive(make_parquet(tmp_path / "a.parquet", rows, rows_per_group=5))
    for number in (0, 1, 3, 2, 4, 0, 11, 10, 9, 5, 6, 4, 3):
        assert archive.read(f"{number:06d}") == rows[number]


def test_no_value_of_a_database_or_table_is_larger_than_an_image_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iem_xp.archives.base.LARGEST", 2_000)
    make_lmdb(tmp_path / "db", {b"000000": bytes(5_000), b"000001": bytes(1_000)})
    for path in (
        make_parquet(tmp_path / "a.parquet", [bytes(5_000), bytes(1_000)]),
        tmp_path / "db/data.mdb",
    ):
        archive = open_archive(path)
        assert archive.read("000001") == bytes(1_000)
        with pytest.raises(ArchiveError, match="more than an image"):
            archive.read("000000")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"jpg": [b"x"], "label": [1]}, b"x"),
        ({"thumbnail": [b"t"], "image": [b"x"]}, b"x"),
        ({"photo": [{"bytes": b"x", "path": None}], "mask": [{"bytes": b"m", "path": None}]}, b"x"),
    ],
)
def test_the_column_of_images_is_found(
    tmp_path: Path, columns: dict[str, list[object]], expected: bytes
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert open_archive(tmp_path / "a.parquet").read("000000") == expected


def test_a_parquet_file_whose_columns_have_names_of_no_characters_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"label": [1]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"label", b"\xff\xff\xff\xff\xff"))
    with pytest.raises(ArchiveError, match="cannot be read as Parquet"):
        open_archive(path)


def test_a_parquet_file_without_images_names_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"label": [1], "caption": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(ArchiveError, match="no column has the bytes of images; there are label, caption"):
        open_archive(tmp_path / "a.parquet")


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("/.\\:\0"), max_size=30))
def test_a_member_s_name_never_leads_out_of_the_archive(name: str) -> None:
    safe = safe_name(name)
    assert not {"", ".", ".."} & set(safe.split("/")) or safe == ""
    assert not {"\\", ":", "\0"} & set(safe)
    assert safe_name(safe) == safe


def test_most_names_stay_as_they_are_and_names_that_no_disk_takes_are_replaced() -> None:
    for name in ("a.jpg", "sub/é 🦜.png", "..a/b..jpg", ".hidden/x"):
        assert safe_name(name) == name
    assert safe_name("../../etc/x.jpg") == "%2E%2E/%2E%2E/etc/x.jpg"
    assert safe_name("/a//./b.jpg") == "a/b.jpg"
    for name in ("x" * 300 + "/a.jpg", "/".join("x" * 100 for _ in range(20)) + ".jpg"):
        assert len(safe_name(name)) == 64 + 4
        assert PurePosixPath(safe_name(name)).suffix == ".jpg"


def test_a_path_leads_into_an_archive(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar")
    assert find_member(path / "sub/b.jpg") == (path, "sub/b.jpg")
    assert read_contents(path / "sub/b.jpg").data == MEMBERS["sub/b.jpg"]
    assert find_member(tmp_path / "b.jpg") is None
    assert find_member("relative.jpg") is None
    assert is_archive(path)
    (tmp_path / "folder.tar").mkdir()
    (tmp_path / "folder.tar/a.jpg").write_bytes(b"loose")
    assert read_contents(tmp_path / "folder.tar/a.jpg").data == b"loose"
    with pytest.raises(ContentsError, match="No such file"):
        read_contents(tmp_path / "folder.tar/b.jpg")
    with pytest.raises(ContentsError, match="not in this archive"):
        read_contents(path / "gone.jpg")


def test_what_is_in_an_archive_is_missing_when_that_is(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar")
    images = (path / "a.jpg", path / "damaged or gone.jpg", path, tmp_path / "b.jpg")
    assert [is_missing(image) for image in images] == [False, False, False, True]
    path.unlink()
    assert all(map(is_missing, images))


def has_changed(path: Path, stamp: Stamp) -> bool:
    return list(find_changed([(str(path), stamp)])) == [str(path)]


def test_an_archive_that_changes_is_looked_through_anew(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {"a.jpg": b"old", "b.jpg": b"b"})
    a, b = (read_contents(path / name).stamp for name in ("a.jpg", "b.jpg"))
    assert not has_changed(path / "a.jpg", a)
    make_tar(path, {"b.jpg": b"b", "c.jpg": b"c" * 9000, "a.jpg": b"new"})
    assert has_changed(path / "a.jpg", a)
    assert not has_changed(path / "b.jpg", b), "it lies elsewhere, and is the same"
    path.unlink()
    assert not has_changed(path / "a.jpg", a), "what is gone has not changed"


def test_a_member_that_is_larger_than_any_image_is_not_read(tmp_path: Path) -> None:
    member = tarfile.TarInfo("bomb.jpg")
    member.size = 3 << 30
    with (tmp_path / "a.tar").open("wb") as file:
        file.write(member.tobuf())
        file.truncate((3 << 30) + 512)  # of which the disk holds nothing
    with pytest.raises(ContentsError, match="3,221,225,472 bytes, more than an image"):
        read_contents(tmp_path / "a.tar/bomb.jpg")


def test_threads_read_from_one_archive(tmp_path: Path) -> None:
    members = {f"{i}.jpg": bytes([i]) * 20_000 for i in range(60)}
    path = make_tar(tmp_path / "a.tar.gz", members, "w:gz")
    read: dict[str, bytes] = {}

    def work(names: list[str]) -> None:
        for name in names:
            read[name] = read_contents(path / name).data

    threads = [threading.Thread(target=work, args=(list(members)[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == members
