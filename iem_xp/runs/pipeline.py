"""From images to a run: read, segment in batches, write each mask and then its row."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from iem_xp import rendering
from iem_xp.arrays import exactly, to_device, to_host
from iem_xp.images import (
    ImageError,
    Mask,
    Pixels,
    encode_mask,
    encode_png,
    read_image,
    write_atomically,
)
from iem_xp.runs.naming import Source
from iem_xp.runs.records import FOLDERS, Candidate, Entry, Output
from iem_xp.runs.settings import Settings
from iem_xp.runs.store import Run
from iem_xp.segmentation import choose
from iem_xp.solver import Ascent, centred_square, solve

Advance = Callable[[int], object]
BATCH_SIZE = 16
"""Images held at a time: what an interruption may cost."""

_ADMITTED = 1000


def _ignore(n: int) -> None:
    """Report no progress."""


@dataclass
class Tally:
    """What a session did.

    Images are counted as `segmented`, `done` (has its mask now), `failed`, `skipped` (had its mask before)
    and `rewritten` (has that of another initial square now). `notes` counts what the user should know of
    some; `stages` has the seconds in "read", "compute" and "write".
    """

    segmented: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    rewritten: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    stages: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "compute": 0.0, "write": 0.0})

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time of the ``with`` block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stages[stage] += time.perf_counter() - start


class Segmenter:
    """Segments images into a run.

    Parameters
    ----------
    run : Run
    settings : Settings
    device : str
        "cpu" or "gpu:N".
    batch_size : int
        Images held at a time, at their working size; those of one size are segmented together.
    outputs : collection of {"cutout", "overlay", "inpainted"}
        Pictures to write beside the masks.
    """

    def __init__(
        self,
        run: Run,
        settings: Settings,
        *,
        device: str = "cpu",
        batch_size: int = BATCH_SIZE,
        outputs: Iterable[Output] = (),
    ) -> None:
        self.run = run
        self.settings = settings
        self.tally = Tally()
        self._device = device
        self._batch_size = batch_size
        self._outputs = tuple(outputs)
        self._sides = settings.config.init_sides

    def segment(self, sources: Iterable[Source], advance: Advance = _ignore) -> None:
        """Segment every image that the run does not have yet.

        If one initial square is to be chosen for all, the masks of every square are kept in the run, packed,
        for `choose_square`. `advance` is called with the number of images just segmented, failed or skipped.
        """
        for batch in self._batches(self._open(self._admitted(sources, advance), advance)):
            with self.tally.timed("compute"):
                start = time.perf_counter()
                ascents = self._solve(np.stack([working for _, working in batch]))
                seconds = (time.perf_counter() - start) / len(batch)
            entries = [entry._replace(seconds=entry.seconds + seconds) for entry, _ in batch]
            self.tally.segmented += len(batch)
            with self.tally.timed("write"):
                if len(self._sides) > 1 and self.settings.config.choose == "dataset":
                    self._keep(entries, ascents)
                else:
                    self._write(entries, ascents)
            advance(len(batch))

    def choose_square(self) -> int:
        """Choose the square for the whole data set, if that is to be done, and count the masks to write."""
        side = self.run.candidates.choose_side(self._sides)
        return 0 if side is None else self.run.candidates.count_unwritten(side)

    def write_masks(self, advance: Advance = _ignore) -> None:
        """Write the masks of the square just chosen, also over those of a square chosen before.

        `advance` is called with the number of masks just written.
        """
        side = self.run.get_meta("init_side")
        if side is None:
            return
        with self.tally.timed("write"):
            for entry, candidate in self.run.candidates.unwritten(side):
                self._finish(entry, candidate)
                advance(1)

    def _admitted(self, sources: Iterable[Source], advance: Advance) -> Iterator[Source]:
        sources = iter(sources)
        while found := list(islice(sources, _ADMITTED)):
            # Those that wait for the choice of their square count when they are done.
            self.tally.skipped += sum(map(self.run.is_done, found))
            admitted = self.run.admit(found)
            advance(len(found) - len(admitted))
            yield from admitted

    def _open(self, sources: Iterable[Source], advance: Advance) -> Iterator[tuple[Entry, Pixels]]:
        for source in sources:
            start = time.perf_counter()
            try:
                with self.tally.timed("read"):
                    photograph = read_image(source.path)
                    working = self.settings.at_work(photograph.pixels)
            except ImageError as error:
                self._fail(source, error)
                advance(1)
                continue
            self.tally.notes.update(photograph.notes)
            height, width = photograph.pixels.shape[:2]
            notes = "; ".join(photograph.notes) or None
            yield Entry(source, width, height, time.perf_counter() - start, notes), working

    def _batches(self, images: Iterable[tuple[Entry, Pixels]]) -> Iterator[list[tuple[Entry, Pixels]]]:
        """Images of one working size together; the largest group goes when as many as allowed are held."""
        groups: dict[tuple[int, ...], list[tuple[Entry, Pixels]]] = defaultdict(list)
        held = 0
        for entry, working in images:
            groups[working.shape].append((entry, working))
            held += 1
            if held == self._batch_size:
                batch = groups.pop(max(groups, key=lambda shape: len(groups[shape])))
                held -= len(batch)
                yield batch
        yield from groups.values()

    def _solve(self, images: Pixels) -> list[Ascent]:
        on_device = to_device(images, self._device)
        with exactly(on_device):
            starts = [centred_square(on_device, side) for side in self._sides]
            ascents = solve(on_device, starts, self.settings.config)
            return [Ascent(*map(to_host, ascent)) for ascent in ascents]

    def _keep(self, entries: list[Entry], ascents: list[Ascent]) -> None:
        with self.run.transaction():
            for i, entry in enumerate(entries):
                candidates = [
                    Candidate(side, *(array[i] for array in ascent))
                    for side, ascent in zip(self._sides, ascents, strict=True)
                ]
                self.run.record_candidates(entry, candidates)

    def _write(self, entries: list[Entry], ascents: list[Ascent]) -> None:
        chosen = choose(ascents, self._sides, self.settings.config)
        found = (chosen.init_side, chosen.masks, chosen.inpainting_error, chosen.updates)
        for entry, *candidate in zip(entries, *found, strict=True):
            self._finish(entry, Candidate(*candidate))

    def _finish(self, entry: Entry, candidate: Candidate) -> None:
        source = entry.source
        mask = self.settings.at_own_size(candidate.mask, entry.height, entry.width)
        share = float(np.mean(mask))
        if share in (0, 1):
            entry = self._noted(entry, "mask is empty" if share == 0 else "mask is full")
        try:
            if self._outputs:
                self._write_outputs(source, candidate.mask, mask)
        except ImageError as error:  # gone or changed since it was segmented
            self._fail(source, error)
            return
        write_atomically(self.run.masks / source.mask, encode_mask(mask))
        if self.run.is_done(source):
            self.tally.rewritten += 1
        else:
            self.tally.done += 1
        self.run.record_done(entry, candidate, share)

    def _write_outputs(self, source: Source, working_mask: Mask, mask: Mask) -> None:
        pixels = read_image(source.path).pixels
        working = self.settings.at_work(pixels)
        picture = working if self.settings.fit == "crop" else pixels
        if picture.shape[:2] != mask.shape:
            raise ImageError(f"{source.path}: has another size than when it was segmented")
        for output in self._outputs:
            if output == "cutout":
                made = rendering.cutout(picture, mask)
            elif output == "overlay":
                made = rendering.overlay(picture, mask)
            else:
                made = rendering.inpainted(working, working_mask, self.settings.config)
            write_atomically(self.run.folder / FOLDERS[output] / source.mask, encode_png(made))

    def _noted(self, entry: Entry, note: str) -> Entry:
        self.tally.notes[note] += 1
        return entry._replace(notes=f"{entry.notes}; {note}" if entry.notes else note)

    def _fail(self, source: Source, error: ImageError) -> None:
        self.run.record_failed(source, str(error))
        self.tally.failed += 1
