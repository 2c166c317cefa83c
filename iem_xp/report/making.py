"""A report of a run, as a folder: the page, and the strips beside it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from iem_xp.config import whole_number
from iem_xp.evaluation.matching import MatchError, Pair, match
from iem_xp.files import placing
from iem_xp.images import load_formats
from iem_xp.ordered import in_order
from iem_xp.report.page import MARK, render
from iem_xp.report.rows import choose, common_root, describe_done, describe_failed, describe_run
from iem_xp.report.strips import Artist, Beside, Strip, by_mask, find_refined
from iem_xp.runs.settings import Settings
from iem_xp.runs.store import Run
from iem_xp.threads import few_threads, usable_cpus

PAGE, STRIPS = "index.html", "strips"

EMBEDDED = 200
"""Images up to which the strips are in the page itself, which can then be sent as one file."""

LONGEST = 1024
"""Pixels that the side of a panel may have: of six in a row, a WebP can hold twice as many."""

_PER_FOLDER = 1000


class ReportError(ValueError):
    """A report cannot be made; the message names the folder and the remedy."""


@dataclass
class Made:
    """What `make_report` did.

    Attributes
    ----------
    count, failed : int
        Images with and without a mask that the report shows.
    total : int
        Images of the run that have a mask.
    problems : list of str
        Why pictures of some images are not there, one for each of these images.
    """

    count: int = 0
    failed: int = 0
    total: int = 0
    problems: list[str] = field(default_factory=list)


def make_report(
    run: Run,
    folder: Path,
    *,
    truth: Path | None = None,
    top: int | None = None,
    limit: int = 10_000,
    longest: int = 240,
    workers: int | None = None,
    advance: Callable[[int], object] = lambda count: None,
) -> Made:
    """Write a page that shows a run, to be opened by a browser from the disk.

    A report that is there is replaced when the new one is complete. But for a row of each image that is
    shown, and the strips of `EMBEDDED` images, memory does not depend on the number of images.

    Parameters
    ----------
    run : Run
    folder : Path
        Of the report.
    truth : Path, optional
        Folder of true masks, as `iem_xp.evaluation.matching.match` takes it.
    top : int, optional
        Labels that would be exported; the page can change it. By default a quarter of the masks.
    limit : int
        Images to show, >= 1, as `choose` takes them; of failures as many.
    longest : int
        Longest side of a panel, in pixels, 16 to `LONGEST`.
    workers : int, optional
        Threads that read and draw; by default one for each CPU.
    advance : callable
        Is given the number of images drawn since it was called last.

    Raises
    ------
    ReportError
        If the folder is of something else, or `truth` is none.
    MatchError, SourceError
        If the true masks cannot be read, or none belongs to the run.
    ValueError
        If a number is not as above.
    OSError
        If the folder cannot be written to. What was there is kept, as after an interruption.
    """
    whole_number("limit", limit, 1)
    if whole_number("longest", longest, 16) > LONGEST:
        raise ValueError(f"longest must be at most {LONGEST}, not {longest}")
    check_place(folder)
    if truth is not None and not truth.is_dir():
        raise ReportError(f"{truth}: is no folder; true masks are read from one")
    shown = choose(run, limit)
    failures = run.failures(limit)
    stamps = {one.finished.entry.source.path: one.finished.entry.stamp for one in shown}
    digests = {path: None if stamp is None else stamp.digest for path, stamp in stamps.items()}
    root = common_root([*digests, *(failure.path for failure in failures)])
    beside = _find_beside(run, digests, truth)
    facts = describe_run(run)
    made = Made(len(shown), len(failures), facts["counts"]["done"])
    artist = Artist(
        run.masks, Settings.of_configuration(run.get_meta("configuration") or {}), beside, longest
    )
    load_formats()
    with placing(folder) as new, few_threads(np.empty(0)):
        new.mkdir()
        rows: list[dict[str, Any]] = []
        with closing(in_order(artist.draw, shown, workers or usable_cpus())) as strips:
            for one, strip in strips:
                where = _place(new, len(rows), strip, embed=len(shown) <= EMBEDDED)
                rows.append(describe_done(one, root) | strip.row | {"strip": where})
                if "problem" in strip.row:
                    made.problems.append(strip.row["problem"])
                advance(1)
        rows += [describe_failed(failure, root) for failure in failures]
        data = {
            **facts,
            "version": metadata.version("iem-xp"),
            "root": root,
            "top": top or max(1, made.total // 4),
            "truth": None if truth is None else str(truth.absolute()),
            "panels": beside.panels,
            "rows": _by_column(rows),
        }
        (new / PAGE).write_text(render(data), encoding="utf-8", newline="\n")
    return made


def check_place(folder: Path) -> None:
    """Raise a `ReportError` unless a folder holds a report, or nothing, or is not there."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ReportError(f"{folder}: is a file, not a folder; use another -o")
    names = {path.name for path in folder.iterdir()}
    if others := sorted(names - {PAGE, STRIPS}):
        raise ReportError(f"{folder}: holds {others[0]}, which is no part of a report; use another -o")
    if names and not _is_report(folder / PAGE):
        raise ReportError(f"{folder}: holds files of that name, but no report of iem-xp; use another -o")


def _is_report(page: Path) -> bool:
    if not page.is_file():
        return False
    with page.open("rb") as file:
        return MARK.encode() in file.read(1024)


def _find_beside(run: Run, digests: dict[Path, bytes | None], truth: Path | None) -> Beside:
    refined, crop = find_refined(run.folder, digests)
    if truth is None:
        return Beside(refined, crop=crop)
    if not digests:
        return Beside(refined, {}, crop=crop)
    truths = by_mask(match(run.folder, truth))
    refined_truths: dict[str, Pair] = {}
    with suppress(MatchError):  # of the few that are refined yet, say, none has a truth
        refined_truths = by_mask(match(run.folder / "refined", truth)) if refined else {}
    return Beside(refined, truths, refined_truths, crop)


def _place(folder: Path, number: int, strip: Strip, *, embed: bool) -> str:
    """Keep a strip, and return where it is as the page has it."""
    if embed:
        return f"data:image/webp;base64,{base64.b64encode(strip.picture).decode()}"
    where = f"{STRIPS}/{number // _PER_FOLDER:03d}/{number:06d}.webp"
    (folder / where).parent.mkdir(parents=True, exist_ok=True)
    (folder / where).write_bytes(strip.picture)
    return where


def _by_column(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Values of each column in turn, None where a row has none: half the size of rows with their names."""
    return {name: [row.get(name) for row in rows] for name in _columns(rows)}


def _columns(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield from dict.fromkeys(name for row in rows for name in row)
