"""A run that is written, stopped, killed and cut off from power in any order holds what it says it holds."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from iem_xp.runs import storing
from iem_xp.runs.naming import Source
from iem_xp.runs.records import Candidate, Entry
from iem_xp.runs.store import Run
from iem_xp.runs.storing import StoreOption, open_store

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A file system on which to synchronise takes no time."""

CONFIGURATION = {"sigma": 5}
IMAGES = st.integers(0, 4)
SOME = st.lists(IMAGES, unique=True, min_size=1)
SIDES = (44, 78)


def path_of(image: int) -> Path:
    return Path(f"/images/{image}.jpg")


def contents(image: int, side: int) -> bytes:
    return f"{image} of {side} ".encode() * (200 * image + side)


class RunMachine(RuleBasedStateMachine):
    """A session admits images, finds and writes masks or fails; a plain model says what the run must hold."""

    @initialize(option=st.sampled_from(["files", "shards"]))
    def begin(self, option: StoreOption) -> None:
        self.root = Path(tempfile.mkdtemp(dir=MEMORY))
        self.option = option
        self.generation = self.lasting = 0
        self.patch = patch.object(storing, "PER_SHARD", 4)
        self.patch.start()
        self.done: dict[int, int] = {}  # the side whose mask is written
        self.failed: set[int] = set()
        self.kept: set[int] = set()  # those with candidates
        self.run = Run.create(self.root / "0", CONFIGURATION)
        self.open()

    def open(self) -> None:
        self.store = open_store(self.run, self.option, [])
        self.admitted: dict[int, Source] = {}
        self.pending: list[tuple[int, Entry, Candidate]] = []
        self.note_sizes()
        self.check()

    def note_sizes(self) -> None:
        self.synchronised = {path: path.stat().st_size for path in self.run.masks.glob("*.tar")}

    def note_log(self) -> None:
        """What is in the log now is synchronised."""
        log = self.run.folder / "run.sqlite-wal"
        self.lasting = log.stat().st_size if log.exists() else 0

    # A session

    @rule(images=SOME)
    def admit(self, images: list[int]) -> None:
        # Two names for five images: as of folders that were given at different times.
        found = self.run.admit([Source(path_of(image), f"{image % 2}.png") for image in images])
        working = self.admitted.keys() | {image for image, _, _ in self.pending}
        new = [image for image in images if image not in working | self.done.keys() | self.kept]
        assert [source.path for source in found] == [path_of(image) for image in new]
        self.admitted |= zip(new, found, strict=True)

    @rule(images=SOME, side=st.sampled_from(SIDES))
    def write(self, images: list[int], side: int) -> None:
        if self.kept & set(images):  # of which this square is chosen now
            self.commit()
            self.run.candidates.withdraw(side)
            self.note_log()
            self.done = {image: of for image, of in self.done.items() if of == side or image not in self.kept}
        for image in images:
            if image in self.kept:
                entry, candidates = self.run.candidates.of(path_of(image))  # type: ignore[misc]
                candidate = next(candidate for candidate in candidates if candidate.side == side)
            elif image in self.admitted:
                entry = Entry(self.admitted.pop(image), 9, 9, 0.5)
                candidate = Candidate(side, np.eye(3, dtype=bool), 0.5, 7)
            else:
                continue
            source = self.store.put(entry.source, {"masks": contents(image, side)})
            self.pending.append((image, entry._replace(source=source), candidate))

    @rule()
    def commit(self) -> None:
        self.store.sync()
        self.note_sizes()
        with self.run.transaction():
            for image, entry, candidate in self.pending:
                self.run.record_done(entry, candidate, 0.5)
                self.done[image] = candidate.side
                self.failed.discard(image)
        self.pending = []
        self.check()

    @rule(image=IMAGES)
    def keep(self, image: int) -> None:
        if image in self.admitted:
            candidates = [Candidate(side, np.eye(3, dtype=bool), 0.5, 7) for side in SIDES]
            self.run.record_candidates(Entry(self.admitted.pop(image), 9, 9, 0.5), candidates)
            self.kept.add(image)
            self.failed.discard(image)

    @rule(image=IMAGES)
    def fail(self, image: int) -> None:
        if image in self.admitted:
            self.run.record_failed(self.admitted.pop(image), "broken")
            self.failed.add(image)

    # Its end, and the next one

    @rule(changed=st.one_of(st.just([]), SOME), side=st.sampled_from(SIDES))
    def stop(self, changed: list[int], side: int) -> None:
        """The next session is told that images have changed, and does them anew."""
        self.commit()
        self.store.close()
        self.run.close()
        self.run = Run.resume(self.run.folder, CONFIGURATION)
        self.run.forget(map(path_of, changed))
        self.note_log()
        for image in changed:
            self.done.pop(image, None)
            self.failed.discard(image)
            self.kept.discard(image)
        self.open()
        if changed:
            self.admit(changed)
            self.write(changed, side)

    @rule(lost=st.floats(0, 1))
    def kill(self, lost: float) -> None:
        self.crash(lost)
        self.open()

    @precondition(lambda self: (self.run.folder / "run.sqlite-wal").exists())
    @rule(lost=st.floats(0, 1), left=st.floats(0, 1))
    def cut_off_power(self, lost: float, left: float) -> None:
        """The last transactions are lost too: their images are done again."""
        self.crash(lost, left)
        rows = self.query("SELECT path, status, init_side FROM images")
        self.done = {int(Path(path).stem): side for path, status, side in rows if status == "done"}
        self.failed = {int(Path(path).stem) for path, status, _ in rows if status == "failed"}
        self.kept = {int(Path(path).stem) for (path,) in self.query("SELECT path FROM entries")}
        self.open()

    def crash(self, lost: float, left: float = 1) -> None:
        """Go on from a copy of the files; of the last archive, with some of what was not synchronised."""
        self.generation += 1
        folder = self.root / str(self.generation)
        shutil.copytree(self.run.folder, folder)
        if left < 1:
            log = folder / "run.sqlite-wal"
            lasting = min(self.lasting, log.stat().st_size)
            os.truncate(log, lasting + int((log.stat().st_size - lasting) * left))
            (folder / "run.sqlite-shm").unlink(missing_ok=True)
        for archive in sorted((folder / "masks").glob("*.tar"))[-1:]:
            safe = self.synchronised.get(self.run.masks / archive.name, 0)
            os.truncate(archive, safe + int((archive.stat().st_size - safe) * lost))
        self.store.close()
        self.run.close()
        self.run = Run.resume(folder, CONFIGURATION)
        self.note_log()

    # What holds

    def query(self, statement: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.run.folder / "run.sqlite")) as database:
            return database.execute(statement).fetchall()

    def check(self) -> None:
        counts = self.run.counts()
        assert counts.done == len(self.done)
        assert counts.failed == len(self.failed)
        assert counts.waiting == len(self.kept - self.done.keys())
        assert not self.failed & (self.done.keys() | self.kept)
        owners = self.query(
            "SELECT mask, path FROM images WHERE mask NOT NULL UNION SELECT mask, path FROM entries"
        )
        assert len({mask for mask, _ in owners}) == len(owners)
        assert {int(Path(path).stem) for _, path in owners} == self.done.keys() | self.kept
        archives = {path.name: read(path) for path in self.run.masks.glob("*.tar")}
        for entry in self.run.segmented():
            image = int(entry.source.path.stem)
            if self.option == "files":
                found = (self.run.masks / entry.source.mask).read_bytes()
            else:
                found = archives[entry.source.shard][entry.source.mask]
            assert found == contents(image, self.done[image])

    def teardown(self) -> None:
        self.store.close()
        self.run.close()
        self.patch.stop()
        shutil.rmtree(self.root)


def read(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    if path.stat().st_size:
        with tarfile.open(path) as archive:
            for member in archive:
                assert member.name not in found
                content = archive.extractfile(member)
                assert content is not None
                found[member.name] = content.read()
    return found


TestRun = RunMachine.TestCase
TestRun.settings = settings(max_examples=250, stateful_step_count=20)
