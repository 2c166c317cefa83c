from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import scenes
from iem_xp import pseudo_labels as module
from iem_xp.curation import Curation
from iem_xp.images import encode_mask, encode_png, fit_image, read_stamped, write_atomically
from iem_xp.pseudo_labels import Exported, LabelError, export_labels, read_meta
from iem_xp.runs.naming import Source
from iem_xp.runs.records import Candidate, Entry
from iem_xp.runs.selection import Selection
from iem_xp.runs.store import Run

FILES = {"images.npy", "masks.npy", "labels.csv", "meta.json"}
SIZE = 8


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run without images yet; `add` gives it some."""
    with Run.create(tmp_path / "run", {"fit": "crop", "size": SIZE, "sigma": 5.0}) as made:
        yield made


def add(
    run: Run,
    name: str,
    error: float,
    mask: NDArray[np.bool_] | None = None,
    height: int = SIZE,
    width: int = SIZE,
    stamped: bool = True,
) -> NDArray[np.uint8]:
    """Give a run one more image, which comes back; without `mask`, one that depends on the name."""
    rng = np.random.default_rng(list(os.fsencode(name)))
    image = scenes.image(rng, height, width)
    source = Source(run.folder.parent / "photos" / name, f"{Path(name).stem}.png")
    write_atomically(source.path, encode_png(image))
    if mask is None:
        mask = scenes.mask(rng, height, width)
    write_atomically(run.masks / source.mask, encode_mask(mask))
    candidate = Candidate(side=44, mask=mask, inpainting_error=error, updates=3)
    stamp = read_stamped(source.path)[1] if stamped else None
    run.record_done(Entry(source, width, height, seconds=0.1, stamp=stamp), candidate, float(mask.mean()))
    return image


def export(run: Run, top: int = 100, curation: Curation | None = None, **options: Any) -> Exported:
    return export_labels(run, run.folder / "labels", top, curation, **options)


def load(run: Run, name: str) -> NDArray[np.uint8]:
    return np.load(run.folder / "labels" / f"{name}.npy", mmap_mode="r")


def rows(run: Run) -> list[dict[str, str]]:
    text = (run.folder / "labels" / "labels.csv").read_text(encoding="utf-8", errors="surrogateescape")
    return list(csv.DictReader(text.splitlines()))


def exported_names(run: Run) -> list[str]:
    return [Path(row["path"]).name for row in rows(run)]


def files(run: Run) -> set[str]:
    folder = run.folder / "labels"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


# ---- What is written


def test_the_best_are_written_first_and_ties_go_by_name(run: Run) -> None:
    for name, error in (("d.png", 0.5), ("a.png", 0.7), ("e.png", 0.1), ("c.png", 0.5), ("b.png", 0.9)):
        add(run, name, error)
    advanced: list[int] = []
    exported = export(run, top=4, advance=advanced.append)
    assert exported == Exported(count=4)
    assert sum(advanced) == 4
    assert exported_names(run) == ["b.png", "a.png", "c.png", "d.png"]
    assert files(run) == FILES


def test_arrays_and_rows_are_of_the_same_images(run: Run) -> None:
    images = {f"{i}.png": add(run, f"{i}.png", error=i / 7) for i in range(7)}
    export(run, top=5)
    assert load(run, "images").dtype == load(run, "masks").dtype == np.uint8
    assert (len(load(run, "images")), len(load(run, "masks"))) == (5, 5)
    for row, image, mask in zip(rows(run), load(run, "images"), load(run, "masks"), strict=True):
        number = int(Path(row["path"]).stem)
        np.testing.assert_array_equal(image, images[f"{number}.png"])
        assert row["mask"] == f"{number}.png"
        assert float(row["inpainting_error"]) == number / 7
        assert float(row["foreground_share"]) == mask.mean()
        assert row["init_side"] == "44"
        assert (run.masks / row["mask"]).read_bytes() == encode_mask(mask > 0)
        assert set(np.unique(mask)) <= {0, 1}


def test_a_crop_is_the_one_that_was_segmented(run: Run) -> None:
    mask = scenes.mask(np.random.default_rng(3), SIZE, SIZE)
    image = scenes.image(np.random.default_rng(4), 20, 33)
    path = run.folder.parent / "wide.png"
    write_atomically(path, encode_png(image))
    write_atomically(run.masks / "wide.png", encode_mask(mask))
    run.record_done(
        Entry(Source(path, "wide.png"), width=33, height=20, seconds=0.1), Candidate(44, mask, 0.5, 3), 0.5
    )
    export(run)
    np.testing.assert_array_equal(load(run, "images")[0], fit_image(image, SIZE, "crop"))
    np.testing.assert_array_equal(load(run, "masks")[0], mask)
    assert read_meta(run.folder / "labels")["fit"] == "crop"


@pytest.mark.parametrize("fit", ["whole", "squash"])
def test_a_mask_of_a_whole_image_is_averaged_over_areas(tmp_path: Path, fit: str) -> None:
    with Run.create(tmp_path / "run", {"fit": fit, "size": SIZE}) as run:
        mask = np.random.default_rng(0).random((SIZE * 3, SIZE * 5)) < np.linspace(0, 1, SIZE * 5)
        image = add(run, "a.png", 0.5, mask, *mask.shape)
        export(run)
        share = mask.reshape(SIZE, 3, SIZE, 5).mean(axis=(1, 3))
        assert ((share > 0.5) != mask[1::3, 2::5]).any()  # nearest neighbour would differ
        np.testing.assert_array_equal(load(run, "masks")[0], share > 0.5)
        np.testing.assert_array_equal(load(run, "images")[0], fit_image(image, SIZE, "squash"))
        assert read_meta(run.folder / "labels")["fit"] == "squash"


def test_the_facts_say_where_the_labels_come_from(run: Run) -> None:
    for name in ("a.png", "b.png"):
        add(run, name, 0.5)
    curation = Curation(max_share=0.99, fill_holes=True)
    export(run, 10, curation)
    facts = json.loads((run.folder / "labels" / "meta.json").read_text())
    assert facts.pop("versions").keys() >= {"iem-xp", "numpy"}
    assert facts == {
        "format_version": 1,
        "count": 2,
        "size": SIZE,
        "fit": "crop",
        "run": str(run.folder),
        "configuration": {"fit": "crop", "size": SIZE, "sigma": 5.0},
        "top": 10,
        "curation": {"min_share": 0, "max_share": 0.99, "largest_component": False, "fill_holes": True},
    }


def test_the_number_of_workers_changes_nothing(run: Run) -> None:
    for i in range(12):
        add(run, f"{i}.png", error=i % 4)
    written = []
    for workers in (1, 3):
        export(run, 9, workers=workers, overwrite=True)
        written.append({name: (run.folder / "labels" / name).read_bytes() for name in sorted(FILES)})
    assert written[0] == written[1]


def test_few_images_are_held(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(40):
        add(run, f"{i}.png", error=i)
    taken, ahead = [], []
    ranked = run.ranked

    def counting() -> Iterator[Any]:
        for image in ranked():
            taken.append(image)
            yield image

    monkeypatch.setattr(run, "ranked", counting)
    export(run, workers=2, advance=lambda _: ahead.append(len(taken) - len(ahead)))
    assert len(ahead) == 40
    assert max(ahead) <= 8


@pytest.mark.skipif(os.name != "posix", reason="file names are text elsewhere")
def test_a_file_name_that_is_no_unicode_is_written_as_its_bytes(run: Run) -> None:
    name = os.fsdecode(b'caf\xe9, "2".png')
    add(run, name, 0.5)
    export(run)
    assert exported_names(run) == [name]
    assert b"caf\xe9" in (run.folder / "labels" / "labels.csv").read_bytes()


# ---- What is left out


def test_of_the_images_that_are_listed_the_best_are_taken(run: Run) -> None:
    for i in range(6):
        add(run, f"{i}.png", error=-i)
    photos = run.folder.parent / "photos"
    only, omit = (frozenset(str(photos / f"{i}.png") for i in numbers) for numbers in ((5, 1, 2, 3), (2,)))
    exported = export(run, 2, Curation(selection=Selection(only, omit)))
    assert exported_names(run) == ["1.png", "3.png"]
    assert exported.left_out == {
        "not listed by --only": 1,
        "listed by --except": 1,
    }
    curation = read_meta(run.folder / "labels")["curation"]
    assert (curation["only"]["count"], curation["except"]["count"]) == (4, 1)


def test_the_next_best_takes_the_place_of_what_cannot_be_read(run: Run) -> None:
    for i in range(8):
        add(run, f"{i}.png", error=-i)
    photos = run.folder.parent / "photos"
    (photos / "0.png").unlink()
    write_atomically(photos / "1.png", encode_png(np.zeros((SIZE, SIZE, 3), np.uint8)))
    (run.masks / "3.png").write_bytes(b"no mask")
    write_atomically(run.masks / "4.png", encode_mask(np.zeros((SIZE + 1, SIZE), bool)))
    exported = export(run, top=3)
    assert exported_names(run) == ["2.png", "5.png", "6.png"]
    assert exported.count == 3
    causes = [failure.error for failure in exported.failed]
    for name, cause, given in zip(
        ("photos/0.png", "photos/1.png", "masks/3.png", "masks/4.png"),
        ("No such file", "has changed since", "not an image", "has another size"),
        causes,
        strict=True,
    ):
        assert f"{name}: {cause}" in given


@pytest.mark.parametrize(("width", "exported"), [(SIZE, ["a.png", "b.png"]), (SIZE + 1, ["b.png"])])
def test_of_an_image_without_digest_the_size_is_compared(run: Run, width: int, exported: list[str]) -> None:
    add(run, "a.png", 0.7, stamped=False)
    add(run, "b.png", 0.5)
    changed = encode_png(np.zeros((SIZE, width, 3), np.uint8))
    write_atomically(run.folder.parent / "photos" / "a.png", changed)
    export(run)
    assert exported_names(run) == exported


def test_images_that_failed_are_no_labels(run: Run) -> None:
    add(run, "a.png", 0.5)
    run.record_failed(Source(Path("/b.png"), "b.png"), "broken")
    assert export(run) == Exported(count=1)


def square(left: int, right: int) -> NDArray[np.bool_]:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[2:6, left:right] = True
    return mask


def test_bounds_on_the_share_leave_labels_out_and_say_how_many(run: Run) -> None:
    for i, right in enumerate((0, 1, 4, 8, 8)):
        add(run, f"{i}.png", -i, square(0, right))
    exported = export(run, 3, Curation(min_share=4 / 64, max_share=16 / 64))
    assert exported_names(run) == ["1.png", "2.png"]
    assert exported.left_out == {"foreground share below 0.0625": 1, "foreground share above 0.25": 2}


def test_clean_up_comes_before_the_bounds(run: Run) -> None:
    ring = square(1, 5)
    ring[3:5, 2:4] = False  # a hole of 4 in 16
    add(run, "ring.png", 2, ring | square(6, 8))
    cleaned = {
        (False, False): ring | square(6, 8),
        (True, False): ring,
        (False, True): square(1, 5) | square(6, 8),
        (True, True): square(1, 5),
    }
    for (largest, fill), expected in cleaned.items():
        share = float(expected.mean())
        curation = Curation(share, share, largest_component=largest, fill_holes=fill)
        assert export(run, 1, curation, overwrite=True).count == 1
        np.testing.assert_array_equal(load(run, "masks")[0], expected)
        assert float(rows(run)[0]["foreground_share"]) == share


def test_an_empty_mask_stays_empty(run: Run) -> None:
    add(run, "a.png", 0.5, square(0, 0))
    export(run, 1, Curation(largest_component=True, fill_holes=True))
    assert not load(run, "masks").any()


def test_no_label_at_all_is_an_error_with_the_causes(run: Run) -> None:
    with pytest.raises(LabelError, match=r"labels: .*no image of this run has a mask yet$"):
        export(run)
    add(run, "a.png", 0.5, square(0, 8))
    add(run, "gone.png", 0.4)
    (run.folder.parent / "photos" / "gone.png").unlink()
    with pytest.raises(LabelError, match=r"foreground share above 0\.1, .*gone\.png: No such file"):
        export(run, curation=Curation(max_share=0.1))
    assert files(run) == set()


@pytest.mark.parametrize("bounds", [(-0.1, 1), (0, 1.1), (0.6, 0.4), (float("nan"), 1)])
def test_bounds_that_are_none_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="min_share and max_share must be bounds within 0 and 1"):
        Curation(*bounds)


def test_no_labels_cannot_be_asked_for(run: Run) -> None:
    with pytest.raises(ValueError, match="top must be at least 1"):
        export(run, 0)


# ---- What is there already


def interrupt(_: int) -> None:
    raise KeyboardInterrupt


def test_an_interruption_leaves_nothing(run: Run) -> None:
    add(run, "a.png", 0.5)
    with pytest.raises(KeyboardInterrupt):
        export(run, advance=interrupt)
    assert files(run) == set()


def test_an_interruption_leaves_the_labels_that_were_there(run: Run) -> None:
    add(run, "a.png", 0.5)
    export(run)
    add(run, "b.png", 0.9)
    with pytest.raises(KeyboardInterrupt):
        export(run, overwrite=True, advance=interrupt)
    assert files(run) == FILES
    assert exported_names(run) == ["a.png"]
    assert read_meta(run.folder / "labels")["count"] == 1
    export(run, overwrite=True)
    assert exported_names(run) == ["b.png", "a.png"]
    assert read_meta(run.folder / "labels")["count"] == 2


def test_labels_half_replaced_are_not_complete(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    add(run, "a.png", 0.5)
    export(run)

    def fail(path: Path, data: bytes) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(module, "write_atomically", fail)
    with pytest.raises(OSError, match="disk full"):
        export(run, overwrite=True)
    with pytest.raises(LabelError, match=r"labels: has no meta\.json, so these are no labels or not all"):
        read_meta(run.folder / "labels")
    with pytest.raises(
        LabelError, match=r"holds images\.npy, of labels that are not complete; .*--overwrite"
    ):
        export(run)


def test_nothing_is_replaced_unless_that_is_said(run: Run) -> None:
    add(run, "a.png", 0.5)
    export(run)
    before = (run.folder / "labels" / "meta.json").stat().st_mtime_ns
    with pytest.raises(LabelError, match="labels: holds labels; use another -o, or --overwrite"):
        export(run)
    assert (run.folder / "labels" / "meta.json").stat().st_mtime_ns == before


def test_a_file_is_no_place_for_labels(run: Run) -> None:
    add(run, "a.png", 0.5)
    (run.folder / "labels").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(LabelError, match="labels: is a file, not a folder"):
            export(run, overwrite=overwrite)
    assert (run.folder / "labels").read_text() == "mine"


# ---- Reading the facts


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format_version": 2}, r"labels: has format 2, this iem-xp reads up to 1; upgrade"),
        (
            {"count": 3},
            r"images\.npy: is uint8 of \(2, 8, 8, 3\), not uint8 of \(3, 8, 8, 3\), as meta\.json",
        ),
        ({"size": None}, r"images\.npy: is uint8 of"),
        ({"format_version": None}, "labels: cannot be read as labels: .*TypeError"),
    ],
)
def test_facts_that_do_not_fit_the_arrays_are_an_error(
    run: Run, changed: dict[str, Any], message: str
) -> None:
    for name in ("a.png", "b.png"):
        add(run, name, 0.5)
    export(run)
    folder = run.folder / "labels"
    assert read_meta(folder)["count"] == 2
    file = folder / "meta.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))
    with pytest.raises(LabelError, match=message):
        read_meta(folder)


def test_a_folder_of_something_else_is_left_alone(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "notes.txt").touch()
    with pytest.raises(LabelError, match=r"something else, it holds notes\.txt; use another -o"):
        export_labels(run, folder, 2, overwrite=True)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_masks_of_another_type_are_an_error(run: Run) -> None:
    add(run, "a.png", 0.5)
    export(run)
    np.save(run.folder / "labels" / "masks.npy", load(run, "masks") > 0)
    with pytest.raises(LabelError, match=r"masks\.npy: is bool of \(1, 8, 8\), not uint8 of \(1, 8, 8\)"):
        read_meta(run.folder / "labels")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("meta.json", None, r"has no meta\.json, .*iem-xp export-labels$"),
        ("masks.npy", None, r"has no masks\.npy, .*iem-xp export-labels$"),
        ("meta.json", b"{", "cannot be read as labels: JSONDecodeError"),
        ("meta.json", b"{}", "cannot be read as labels: KeyError"),
        ("images.npy", b"no array", "cannot be read as labels: ValueError"),
    ],
)
def test_a_folder_that_is_not_complete_is_an_error(
    run: Run, name: str, content: bytes | None, message: str
) -> None:
    add(run, "a.png", 0.5)
    export(run)
    file = run.folder / "labels" / name
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LabelError, match=message):
        read_meta(run.folder / "labels")
