from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iem_xp.exports.formats import export_run
from iem_xp.exports.reading import Exported
from iem_xp.runs.store import Run
from made_run import CONFIGURATION, add


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Run.create(tmp_path / "run", CONFIGURATION) as made:
        yield made


def export(run: Run, **options: Any) -> Exported:
    return export_run(run, "npz", run.folder.parent / "masks.npz", overwrite=True, **options)


def load(run: Run) -> dict[str, Any]:
    with np.load(run.folder.parent / "masks.npz") as file:
        return dict(file)


def test_masks_have_their_names_and_rows_their_order(run: Run) -> None:
    masks = {name: add(run, f"{name}.png", i / 9) for i, name in enumerate(("a", "sub/b", "path", "mask"))}
    masks["wide"] = add(run, "wide.png", 0.9, np.ones((3, 50), bool))
    export(run)
    found = load(run)
    names = ["wide", "mask", "path", "sub/b", "a"]
    assert found.pop("mask").tolist() == [f"masks/{name}.png" for name in names]
    assert found.pop("path").tolist() == [str(run.folder.parent / "photos" / f"{name}.png") for name in names]
    assert found.pop("information").tolist() == [0.9, 3 / 9, 2 / 9, 1 / 9, 0]
    assert found.pop("inpainting_error").tolist() == [0.5] * 5
    assert found.pop("width").tolist() == [50, 17, 17, 17, 17]
    assert found.pop("height").tolist() == [3, 12, 12, 12, 12]
    assert found.pop("foreground_share").tolist() == [masks[name].mean() for name in names]
    assert found.keys() == {f"masks/{name}.png" for name in names}
    for name in names:
        assert found[f"masks/{name}.png"].dtype == bool
        np.testing.assert_array_equal(found[f"masks/{name}.png"], masks[name])


def test_the_same_masks_make_the_same_file_and_it_is_compressed(run: Run) -> None:
    add(run, "a.png", 0.5, np.ones((200, 300), bool))
    add(run, "b.png", 0.5)
    files = []
    for workers in (1, 2):
        export(run, workers=workers)
        files.append((run.folder.parent / "masks.npz").read_bytes())
    assert files[0] == files[1]
    assert len(files[0]) < 5000


def test_masks_of_crops_are_those_of_the_crops(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", {**CONFIGURATION, "fit": "crop"}) as run:
        add(run, "a.png", 0.5, np.eye(8, dtype=bool), size=(20, 30))
        export(run)
        np.testing.assert_array_equal(load(run)["masks/a.png"], np.eye(8))
        assert load(run)["width"] == [30]


@pytest.mark.skipif(os.name != "posix", reason="file names are text elsewhere")
def test_a_name_that_is_no_unicode_is_escaped(run: Run) -> None:
    mask = add(run, os.fsdecode(b"caf\xe9.png"), 0.5)
    export(run)
    found = load(run)
    assert found["path"][0].endswith("/caf\\udce9.png")
    np.testing.assert_array_equal(found[found["mask"][0]], mask)
