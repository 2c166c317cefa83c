from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iem_xp.exports.reading import (
    Exported,
    ExportError,
    Item,
    export_masks,
    name_of,
    refuse_crops,
)
from iem_xp.images import ImageError, encode_mask
from iem_xp.runs.naming import Source
from iem_xp.runs.selection import Selection
from iem_xp.runs.store import Run
from made_run import CONFIGURATION, add


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Run.create(tmp_path / "run", CONFIGURATION) as made:
        yield made


class Names:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    def make(self, item: Item) -> Item:
        if item.finished.entry.source.path.name == "refused.png":
            raise ImageError("refused.png: not for me")
        return item

    def add(self, made: Item) -> None:
        self.items.append(made)

    @property
    def names(self) -> list[str]:
        return [item.finished.entry.source.path.stem for item in self.items]


def export(run: Run, selection: Selection | None = None, **options: Any) -> tuple[Names, Exported]:
    writer = Names()
    return writer, export_masks(run, writer, selection or Selection(), **options)


@pytest.mark.parametrize("workers", [1, 3])
def test_masks_come_from_the_best_on_with_their_files(run: Run, workers: int) -> None:
    scores = {"c": 0.1, "a": 0.7, "b": 0.4, "d": 0.9}
    masks = {name: add(run, f"{name}.png", score) for name, score in scores.items()}
    advanced: list[int] = []
    writer, exported = export(run, workers=workers, advance=advanced.append)
    assert writer.names == ["d", "a", "b", "c"]
    assert exported == Exported(count=4)
    assert advanced == [1] * 4
    for item in writer.items:
        name = item.finished.entry.source.path.stem
        np.testing.assert_array_equal(item.mask, masks[name])
        assert item.mask.dtype == bool
        assert item.data == encode_mask(masks[name])
        assert item.finished.foreground_share == masks[name].mean()


def test_the_best_of_a_selection_are_taken_and_others_counted(run: Run) -> None:
    for i in range(6):
        add(run, f"{i}.png", 1 - i / 10)
    photos = run.folder.parent / "photos"
    selection = Selection(frozenset(str(photos / f"{i}.png") for i in (1, 3, 4, 5)), frozenset())
    writer, exported = export(run, selection, top=2)
    assert writer.names == ["1", "3"]
    assert exported.left_out["not listed by --only"] >= 2
    assert exported.count == 2


def test_the_next_best_takes_the_place_of_what_fails_which_is_named(run: Run) -> None:
    for i, name in enumerate(["gone", "damaged", "small", "refused", "good", "spare"]):
        add(run, f"{name}.png", 1 - i / 10)
    (run.masks / "gone.png").unlink()
    (run.masks / "damaged.png").write_bytes(b"no PNG")
    (run.masks / "small.png").write_bytes(encode_mask(np.ones((3, 4), bool)))
    writer, exported = export(run, top=1)
    assert writer.names == ["good"]
    causes = [failure.error.removeprefix(f"{run.masks}/") for failure in exported.failed]
    assert causes[0] == "gone.png: No such file or directory"
    assert causes[1].startswith("damaged.png: not an image")
    assert causes[2] == "small.png: has another size than when it was written"
    assert causes[3] == "refused.png: not for me"
    assert [failure.path.name for failure in exported.failed] == [
        f"{name}.png" for name in ("gone", "damaged", "small", "refused")
    ]


def test_masks_without_foreground_are_counted(run: Run) -> None:
    add(run, "a.png", 0.5, np.zeros((4, 5), bool))
    add(run, "b.png", 0.6)
    assert export(run)[1] == Exported(count=2, empty=1)


def test_few_images_are_held(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(40):
        add(run, f"{i}.png", i / 40)
    taken, ahead = [], []
    best = run.best

    def counting() -> Iterator[Any]:
        for finished in best():
            taken.append(finished)
            yield finished

    monkeypatch.setattr(run, "best", counting)
    export(run, workers=2, advance=lambda _: ahead.append(len(taken) - len(ahead)))
    assert len(ahead) == 40
    assert max(ahead) <= 8


def test_crops_are_refused_and_their_masks_have_the_size_of_crops(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", {**CONFIGURATION, "fit": "crop"}) as run:
        with pytest.raises(ExportError, match="--fit whole"):
            refuse_crops(run, "coco")
        crop = np.zeros((8, 8), bool)
        crop[2:5, 3:7] = True
        add(run, "a.png", 0.5, crop, size=(20, 30))
        writer, exported = export(run)
        assert exported.failed == []
        np.testing.assert_array_equal(writer.items[0].mask, crop)


def test_a_name_is_the_place_below_the_run_in_valid_unicode() -> None:
    assert name_of(Source(Path("/a.png"), "sub/a.png")) == "masks/sub/a.png"
    assert name_of(Source(Path("/a.png"), "sub/a.png", "00003.tar")) == "masks/00003.tar/sub/a.png"
    assert name_of(Source(Path("/a.png"), "caf\udce9.png")) == "masks/caf\\udce9.png"
