from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from iem_xp.exports.formats import FORMATS, export_run
from iem_xp.exports.reading import ExportError
from iem_xp.runs.selection import Selection
from iem_xp.runs.store import Run
from made_run import CONFIGURATION, add

MASKED = [name for name in FORMATS if name != "csv"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Run.create(tmp_path / "run", CONFIGURATION) as made:
        yield made


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "new" / "masks"


def left(place: Path) -> list[str]:
    return sorted(path.name for path in place.parent.iterdir()) if place.parent.exists() else []


@pytest.mark.parametrize("to", FORMATS)
def test_nothing_is_replaced_unless_it_may_be(run: Run, place: Path, to: str) -> None:
    add(run, "a.png", 0.5)
    export_run(run, to, place)
    with pytest.raises(ExportError, match="masks: exists; use another -o, or --overwrite"):
        export_run(run, to, place)
    add(run, "b.png", 0.5)
    assert export_run(run, to, place, overwrite=True).count == 2
    assert left(place) == ["masks"]


@pytest.mark.parametrize("to", FORMATS)
def test_what_is_of_another_kind_is_never_replaced(run: Run, place: Path, to: str) -> None:
    add(run, "a.png", 0.5)
    place.parent.mkdir()
    if to == "yolo":
        place.touch()
    else:
        place.mkdir()
    kind = "file" if to == "yolo" else "folder"
    with pytest.raises(ExportError, match=f"masks: is a {kind}; use another -o"):
        export_run(run, to, place, overwrite=True)


@pytest.mark.parametrize("to", FORMATS)
def test_an_interruption_leaves_what_was_there(run: Run, place: Path, to: str) -> None:
    for i in range(4):
        add(run, f"{i}.png", i / 9)
    export_run(run, to, place, top=1)

    def size() -> int:
        return sum(path.stat().st_size for path in [place, *place.rglob("*")] if path.is_file())

    before = size()
    met = []

    def interrupt(count: int) -> None:
        met.append(count)
        if len(met) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_run(run, to, place, overwrite=True, advance=interrupt)
    assert left(place) == ["masks"]
    assert size() == before


@pytest.mark.parametrize("to", MASKED)
def test_no_mask_is_an_error_and_no_file(run: Run, place: Path, to: str) -> None:
    with pytest.raises(ExportError, match=r"run: has no mask to export$"):
        export_run(run, to, place)
    add(run, "a.png", 0.5)
    with pytest.raises(ExportError, match="has no mask to export; not listed by --only"):
        export_run(run, to, place, Selection(frozenset()))
    (run.masks / "a.png").unlink()
    with pytest.raises(ExportError, match=r"has no mask to export; .*a\.png: No such file"):
        export_run(run, to, place)
    assert left(place) == []


@pytest.mark.parametrize("to", FORMATS)
def test_options_of_another_format_are_refused(run: Run, place: Path, to: str) -> None:
    add(run, "a.png", 0.5)
    with pytest.raises(TypeError, match="quality"):
        export_run(run, to, place, quality=9)
    assert left(place) == []


@pytest.mark.parametrize("category", ["", "a\n", "\x7f", "\udcff"])
@pytest.mark.parametrize("to", ["coco", "yolo"])
def test_a_category_that_is_no_name_is_refused(run: Run, place: Path, to: str, category: str) -> None:
    add(run, "a.png", 0.5)
    with pytest.raises(ExportError, match=r"^category '.*': must be a name in printable characters$"):
        export_run(run, to, place, category=category)
    assert left(place) == []


def test_an_unknown_format_lists_those_there_are(run: Run, place: Path) -> None:
    with pytest.raises(ExportError, match="'voc': no such format; known are coco, yolo, parquet, csv, npz"):
        export_run(run, "voc", place)


@pytest.mark.parametrize("to", FORMATS)
def test_the_best_are_taken(run: Run, place: Path, to: str) -> None:
    for i in range(5):
        add(run, f"{i}.png", i / 9, np.ones((4, 4), bool))
    assert export_run(run, to, place, top=2).count == 2
    texts = [path.read_text(errors="ignore") for path in [place] if path.is_file()]
    names = "".join([*texts, *(path.name for path in place.rglob("*"))])
    assert [f"{i}.png" in names for i in range(5)] == [False, False, False, True, True]
    with pytest.raises(ValueError, match="top"):
        export_run(run, to, place, top=0, overwrite=True)
