"""Archives for tests."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

MEMBERS = {"a.jpg": b"first", "sub/b.jpg": b"second" * 500, "sub/deep/c.txt": b""}


def make_tar(path: Path, members: Mapping[str, bytes] = MEMBERS, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def make_parquet(path: Path, images: list[bytes | None], rows_per_group: int = 2) -> Path:
    cells = [None if data is None else {"bytes": data, "path": "../../etc/passwd"} for data in images]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"label": list(range(len(images))), "image": pa.array(cells, kind)})
    pq.write_table(table, path, row_group_size=rows_per_group)
    return path
