from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from PIL import Image

import scenes
from iem_xp.exports import tables
from iem_xp.exports.formats import export_run
from iem_xp.exports.reading import Exported, ExportError
from iem_xp.images import encode_mask, encode_png, fit_image, read_image
from iem_xp.runs.naming import Source
from iem_xp.runs.selection import Selection
from iem_xp.runs.store import Run
from made_run import CONFIGURATION, add

COLUMNS = (
    "path,status,error,mask,width,height,init_side,inpainting_error,information,updates,foreground_share,"
    "seconds,notes,file_size,file_modified,digest"
)
ODD = ['=cmd|"calc"!A1.png', "+1.png", "@SUM(1).png", "-2.png", 'a,"b"\nc.png', "é.png"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Run.create(tmp_path / "run", CONFIGURATION) as made:
        yield made


def export(run: Run, to: str, selection: Selection | None = None, **options: Any) -> Exported:
    return export_run(run, to, place(run, to), selection, overwrite=True, **options)


def place(run: Run, to: str) -> Path:
    return run.folder.parent / f"masks.{to}"


def rows(run: Run) -> list[dict[str, str]]:
    text = place(run, "csv").read_bytes().decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


# ---- CSV


def test_a_row_has_all_that_the_run_knows(run: Run) -> None:
    mask = add(run, "sub/a.png", 0.25)
    assert export(run, "csv") == Exported(count=1)
    photo = run.folder.parent / "photos/sub/a.png"
    (row,) = rows(run)
    assert ",".join(row) == COLUMNS
    assert row == {
        "path": str(photo),
        "status": "done",
        "error": "",
        "mask": "masks/sub/a.png",
        "width": "17",
        "height": "12",
        "init_side": "44",
        "inpainting_error": "0.5",
        "information": "0.25",
        "updates": "3",
        "foreground_share": str(float(mask.mean())),
        "seconds": "0.25",
        "notes": "alpha ignored",
        "file_size": str(photo.stat().st_size),
        "file_modified": str(photo.stat().st_mtime_ns),
        "digest": run.digest(photo).hex(),  # type: ignore[union-attr]
    }


def test_the_best_come_first_and_then_those_that_failed(run: Run) -> None:
    for name, information in (("b", 0.1), ("a", 0.4), ("c", 0.2)):
        add(run, f"{name}.png", information)
    for name in ("y", "x"):
        run.record_failed(Source(Path(f"/{name}.png"), ""), f"/{name}.png: the file is empty")
    assert export(run, "csv").count == 3
    assert [Path(row["path"]).stem for row in rows(run)] == ["a", "c", "b", "x", "y"]
    assert rows(run)[-1] == dict.fromkeys(COLUMNS.split(","), "") | {
        "path": "/y.png",
        "status": "failed",
        "error": "/y.png: the file is empty",
    }
    export(run, "csv", top=2)
    assert [Path(row["path"]).stem for row in rows(run)] == ["a", "c"]
    export(run, "csv", top=9)
    assert {row["status"] for row in rows(run)} == {"done"}
    export(run, "csv", Selection(omit=frozenset({"/y.png", str(run.folder.parent / "photos/a.png")})))
    assert [Path(row["path"]).stem for row in rows(run)] == ["c", "b", "x"]


def test_no_value_is_a_formula_whatever_files_are_called(run: Run) -> None:
    for name in ODD:
        add(run, name, 0.5)
    export(run, "csv")
    found = rows(run)
    assert sorted(Path(row["path"]).name for row in found) == sorted(ODD)
    for row in found:
        assert not any(value.startswith(("=", "+", "-", "@", "\t", "\r")) for value in row.values())


def test_pandas_and_polars_read_it_whatever_files_are_called(run: Run) -> None:
    names = [*ODD, os.fsdecode(b"caf\xe9.png")] if os.name == "posix" else ODD
    for name in names:
        add(run, name, 0.5)
    failed = os.fsdecode(b"/z\xe9.png") if os.name == "posix" else "/z.png"
    run.record_failed(Source(Path(failed), ""), f"{failed}: damaged")
    export(run, "csv")
    first = pd.read_csv(place(run, "csv"))
    other = pl.read_csv(place(run, "csv"), infer_schema_length=None)
    for table in (first, other):
        assert ",".join(table.columns) == COLUMNS
        found = {Path(path).name for path in table["path"]}
        assert found == {name.replace("\udce9", "\\udce9") for name in (*names, Path(failed).name)}
    assert first["width"].dropna().tolist() == [17] * len(names)
    assert other["width"].dtype == pl.Int64


def test_masks_are_not_read(run: Run) -> None:
    add(run, "a.png", 0.5)
    (run.masks / "a.png").unlink()
    assert export(run, "csv") == Exported(count=1)


# ---- Parquet


def test_masks_are_the_files_themselves(run: Run) -> None:
    masks = {f"{i}.png": add(run, f"{i}.png", i / 9) for i in range(5)}
    export(run, "parquet")
    found = pq.read_table(place(run, "parquet")).to_pylist()
    assert [Path(row["path"]).name for row in found] == ["4.png", "3.png", "2.png", "1.png", "0.png"]
    for row in found:
        name = Path(row["path"]).name
        assert row["mask"] == {"bytes": encode_mask(masks[name]), "path": f"masks/{name}"}
        assert (row["width"], row["height"], row["init_side"], row["updates"]) == (17, 12, 44, 3)
        assert (row["inpainting_error"], row["information"]) == (0.5, int(name[0]) / 9)
        assert (row["foreground_share"], row["notes"]) == (masks[name].mean(), "alpha ignored")


def test_pandas_and_polars_read_them(run: Run) -> None:
    mask = add(run, "a.png", 0.5)
    export(run, "parquet", with_images=True)
    first = pd.read_parquet(place(run, "parquet")).iloc[0]
    other = pl.read_parquet(place(run, "parquet")).row(0, named=True)
    for row in (first, other):
        np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(row["mask"]["bytes"]))) > 127, mask)
        assert row["image"]["bytes"] == (run.folder.parent / "photos/a.png").read_bytes()
        assert row["image"]["path"] == "a.png"


def test_datasets_makes_pictures_of_them(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    mask = add(run, "a.png", 0.5)
    export(run, "parquet", with_images=True)
    read = datasets.Dataset.from_parquet(
        str(place(run, "parquet")), cache_dir=str(run.folder.parent / "cache"), keep_in_memory=True
    )
    kinds = {name: type(feature).__name__ for name, feature in read.features.items()}
    assert [name for name, kind in kinds.items() if kind == "Image"] == ["image", "mask"]
    assert read.features["information"].dtype == "float64"
    np.testing.assert_array_equal(np.asarray(read[0]["mask"]), np.where(mask, 255, 0))
    assert read[0]["image"].size == (17, 12)


def test_it_is_an_archive_of_images(run: Run) -> None:
    add(run, "a.png", 0.5)
    export(run, "parquet", with_images=True)
    photo = read_image(run.folder.parent / "photos/a.png")
    np.testing.assert_array_equal(read_image(place(run, "parquet") / "000000").pixels, photo.pixels)


def test_images_of_crops_are_these_crops(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", {**CONFIGURATION, "fit": "crop"}) as run:
        mask = add(run, "a.png", 0.5, np.eye(8, dtype=bool), size=(20, 30))
        export(run, "parquet", with_images=True)
        (row,) = pq.read_table(place(run, "parquet")).to_pylist()
        photo = read_image(tmp_path / "photos/a.png").pixels
        found = np.asarray(Image.open(BytesIO(row["image"]["bytes"])))
        np.testing.assert_array_equal(found, fit_image(photo, 8, "crop"))
        np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(row["mask"]["bytes"]))) > 127, mask)
        assert (row["width"], row["height"]) == (30, 20)
        (tmp_path / "photos/a.png").write_bytes(encode_png(scenes.image(np.random.default_rng(5), 20, 30)))
        with pytest.raises(ExportError, match=r"a\.png: has changed since it was segmented"):
            export(run, "parquet", with_images=True)


def test_images_that_are_gone_or_changed_fail_by_name_and_only_if_they_are_wanted(run: Run) -> None:
    for i, name in enumerate(("gone.png", "changed.png", "good.png")):
        add(run, name, 1 - i / 10)
    photos = run.folder.parent / "photos"
    (photos / "gone.png").unlink()
    (photos / "changed.png").write_bytes(encode_png(scenes.image(np.random.default_rng(5), 12, 17)))
    exported = export(run, "parquet", with_images=True)
    assert [failure.error for failure in exported.failed] == [
        f"{photos}/gone.png: No such file or directory",
        f"{photos}/changed.png: has changed since it was segmented",
    ]
    assert exported.count == 1
    assert export(run, "parquet") == Exported(count=3)


@pytest.mark.parametrize(("limit", "value", "groups"), [("_ROWS", 2, [2, 2, 1]), ("_BYTES", 1, [1] * 5)])
def test_rows_are_written_in_groups(
    run: Run, limit: str, value: int, groups: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, limit, value)
    for i in range(5):
        add(run, f"{i}.png", i / 9)
    export(run, "parquet")
    facts = pq.ParquetFile(place(run, "parquet")).metadata
    assert [facts.row_group(i).num_rows for i in range(facts.num_row_groups)] == groups


@pytest.mark.skipif(os.name != "posix", reason="file names are text elsewhere")
def test_a_name_that_is_no_unicode_is_escaped(run: Run) -> None:
    add(run, os.fsdecode(b"caf\xe9.png"), 0.5)
    export(run, "parquet", with_images=True)
    (row,) = pq.read_table(place(run, "parquet")).to_pylist()
    assert Path(row["path"]).name == row["image"]["path"] == "caf\\udce9.png"
    assert row["mask"]["path"] == "masks/caf\\udce9.png"


def test_without_pyarrow_it_is_an_error_that_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    add(run, "a.png", 0.5)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match=r"pip install 'iem-xp\[parquet\]'"):
        export(run, "parquet")
    assert not place(run, "parquet").exists()
