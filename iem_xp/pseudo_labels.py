"""The best masks of a run, with their images, as a folder of labels to train on (section 3.3)."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray
from PIL import Image

from iem_xp.config import whole_number
from iem_xp.curation import Curation
from iem_xp.files import replacing
from iem_xp.images import (
    Fit,
    ImageError,
    Mask,
    Pixels,
    fit_image,
    load_formats,
    read_again,
    write_atomically,
)
from iem_xp.labels import Labels, read_labels
from iem_xp.ordered import in_order
from iem_xp.runs.records import Failure, Ranked
from iem_xp.runs.store import Run
from iem_xp.threads import usable_cpus

FORMAT_VERSION = 1
IMAGES, MASKS, TABLE, META = "images.npy", "masks.npy", "labels.csv", "meta.json"
COLUMNS = ("path", "mask", "inpainting_error", "foreground_share", "init_side", "information")


class LabelError(ValueError):
    """Labels that cannot be made or read; the message names the folder and the cause."""


@dataclass
class Exported:
    """What `export_labels` did.

    Attributes
    ----------
    count : int
        Labels written.
    left_out : Counter of str
        Images that the curation left out, by cause.
    failed : list of Failure
        Images or masks that could not be read any more.
    """

    count: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    failed: list[Failure] = field(default_factory=list)


class _Label(NamedTuple):
    image: Pixels
    mask: Mask
    share: float


def export_labels(
    run: Run,
    folder: Path,
    top: int,
    curation: Curation | None = None,
    *,
    workers: int | None = None,
    overwrite: bool = False,
    advance: Callable[[int], object] = lambda count: None,
) -> Exported:
    """Write the best masks, as `Run.ranked` orders them, with their images, to a folder to train on.

    Masks of no information are left out of a run that ranks by it: empty, full, or of images of one colour.
    The next best takes the place of what cannot be read any more or is left out. What is written depends on
    the run and the arguments alone, memory not on how much it is; `META` is written last, so that a folder
    that has it is complete.

    Parameters
    ----------
    run : Run
    folder : Path
    top : int
        Labels wanted, >= 1; if there are fewer, all are taken.
    curation : Curation, optional
    workers : int, optional
        Threads that read; by default one for each CPU.
    overwrite : bool
        Whether to replace labels that are there.
    advance : callable
        Is given the number of labels written since it was called last.

    Raises
    ------
    LabelError
        If there is no label at all, or if the folder has other files, or labels that are not to be replaced.
    ValueError
        If `top` is less than 1.
    OSError
        If the folder cannot be written to. What was there before is kept, as after an interruption.
    """
    whole_number("top", top, 1)
    curation = curation or Curation()
    _check_place(folder, overwrite)
    configuration = run.get_meta("configuration")
    size: int = configuration["size"]
    fit: Fit = "crop" if configuration["fit"] == "crop" else "squash"
    load_formats()
    informed = configuration.get("choose") == "information"
    read = partial(_read, run.masks, size, fit, curation, informed)
    with closing(in_order(read, run.ranked(), workers or usable_cpus())) as results:
        exported = _write(folder, size, top, results, advance)
    facts = {
        "format_version": FORMAT_VERSION,
        "count": exported.count,
        "size": size,
        "fit": fit,
        "run": str(run.folder.absolute()),
        "configuration": configuration,
        "top": top,
        "curation": curation.as_dict(),
        "versions": {name: metadata.version(name) for name in ("iem-xp", "numpy", "pillow", "scipy")},
    }
    write_atomically(folder / META, json.dumps(facts, indent=1).encode())
    return exported


def read_meta(folder: Path) -> dict[str, Any]:
    """Facts of a folder of labels, checked against its arrays.

    Raises
    ------
    LabelError
        If there are no labels, not all of them, or those of a newer version.
    """
    try:
        facts = json.loads((folder / META).read_bytes())
        version = facts["format_version"]
        if version > FORMAT_VERSION:
            raise LabelError(
                f"{folder}: has format {version}, this iem-xp reads up to {FORMAT_VERSION}; upgrade it "
                "with: pip install -U iem-xp"
            )
        shape = (facts["count"], facts["size"], facts["size"])
        for name, expected in ((IMAGES, (*shape, 3)), (MASKS, shape)):
            array = np.load(folder / name, mmap_mode="r")
            if array.shape != expected or array.dtype != np.uint8:
                raise LabelError(
                    f"{folder / name}: is {array.dtype} of {array.shape}, not uint8 of {expected}, as "
                    f"{META} says; export the labels again"
                )
    except FileNotFoundError as error:
        raise LabelError(
            f"{folder}: has no {Path(error.filename).name}, so these are no labels or not all; make them "
            "with: iem-xp export-labels"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, LabelError):
            raise
        raise LabelError(f"{folder}: cannot be read as labels: {error!r}; export them again") from error
    return dict(facts)


def _check_place(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise LabelError(f"{folder}: is a file, not a folder; use another -o")
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    there = [name for name in (META, IMAGES, MASKS, TABLE) if name in names]
    if others := sorted(name for name in names if name not in there and not name.endswith(".tmp")):
        raise LabelError(f"{folder}: is a folder of something else, it holds {others[0]}; use another -o")
    if there and not overwrite:
        state = "holds labels" if META in there else f"holds {there[0]}, of labels that are not complete"
        raise LabelError(f"{folder}: {state}; use another -o, or --overwrite to replace them")


def _read(
    masks: Path, size: int, fit: Fit, curation: Curation, informed: bool, ranked: Ranked
) -> _Label | Failure | str:
    """The label of an image, why it is left out, or why it cannot be read."""
    if objection := curation.selection.objection(ranked.source.path):
        return objection
    if informed and not ranked.information:
        return "colours explain nothing of the mask"
    try:
        image = read_again(ranked.source.path, ranked.height, ranked.width, ranked.digest)
        file = masks / ranked.source.shard / ranked.source.mask
        mask = read_labels(file)
        if mask.shape != ((size, size) if fit == "crop" else image.shape[:2]):
            raise ImageError(f"{file}: has another size than when it was written")
    except ImageError as error:
        return Failure(ranked.source.path, str(error))
    label = curation.clean(_reduce(mask, size))
    share = float(label.mean())
    return curation.objection(share) or _Label(fit_image(image, size, fit), label, share)


def _reduce(mask: Labels, size: int) -> Mask:
    """Average over areas and cut at one half; at its own size a mask stays as it is."""
    return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.BOX)) > 127


def _write(
    folder: Path,
    size: int,
    top: int,
    results: Iterable[tuple[Ranked, _Label | Failure | str]],
    advance: Callable[[int], object],
) -> Exported:
    """Write all but `META`; what was there is replaced when that is done."""
    exported = Exported()
    with (
        _growing(folder / IMAGES, (size, size, 3)) as add_image,
        _growing(folder / MASKS, (size, size)) as add_mask,
        replacing(folder / TABLE) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as table,
    ):
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(COLUMNS)
        for ranked, result in results:
            if isinstance(result, str):
                exported.left_out[result] += 1
                continue
            if isinstance(result, Failure):
                exported.failed.append(result)
                continue
            add_image(result.image)
            add_mask(result.mask)
            scores = ranked.inpainting_error, result.share, ranked.init_side, ranked.information
            rows.writerow([*ranked.source[:2], *scores])
            exported.count += 1
            advance(1)
            if exported.count == top:
                break
        if not exported.count:
            causes = [*exported.left_out, *(failure.error for failure in exported.failed[:1])]
            raise LabelError(
                f"{folder}: no image is left to be a label"
                + (f": {', '.join(causes)}" if causes else "; no image of this run has a mask yet")
            )
        (folder / META).unlink(missing_ok=True)
    return exported


@contextmanager
def _growing(path: Path, shape: tuple[int, ...]) -> Iterator[Callable[[NDArray[Any]], None]]:
    """Write a ``.npy`` file of uint8 items of this shape; the ``with`` block is given what appends one."""
    count = 0

    def write_header() -> None:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
        write_array_header_1_0(file, header)

    def append(item: NDArray[Any]) -> None:
        nonlocal count
        file.write(item.astype(np.uint8).tobytes())
        count += 1

    with replacing(path) as temporary, temporary.open("wb") as file:
        write_header()
        yield append
        file.seek(0)
        write_header()  # as long as the first one: NumPy leaves room for the first axis to grow
