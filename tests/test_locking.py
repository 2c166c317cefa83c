"""One process at a time writes to a run."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from iem_xp.runs.database import RunError
from iem_xp.runs.store import Run


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """One that works on a run until it is killed."""
    code = (
        "import sys; from pathlib import Path; from iem_xp.runs.store import Run;"
        "run = Run.resume(Path(sys.argv[1]), {}); print('working', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        yield process
        process.kill()


def test_a_second_process_is_told_who_works_on_a_run(tmp_path: Path) -> None:
    with another_process(tmp_path / "run") as other:
        for use in (lambda folder: Run.resume(folder, {}), Run.open, Run.clear):
            with pytest.raises(RunError, match=f"another process works on this run .process {other.pid} on "):
                use(tmp_path / "run")


def test_a_run_that_is_worked_on_can_be_read(tmp_path: Path) -> None:
    with another_process(tmp_path / "run"), Run.open(tmp_path / "run", to_write=False) as run:
        assert run.counts().done == 0


def test_the_lock_of_a_dead_process_does_not_last(tmp_path: Path) -> None:
    with another_process(tmp_path / "run") as other:
        other.kill()
        other.wait()
        assert (tmp_path / "run" / "run.lock").exists()
        with Run.open(tmp_path / "run") as run:
            assert run.counts().done == 0


def test_a_run_that_could_not_be_opened_is_not_locked(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", {"sigma": 5}).close()
    with pytest.raises(RunError, match="another configuration"):
        Run.resume(tmp_path / "run", {"sigma": 4})
    Run.open(tmp_path / "run").close()
