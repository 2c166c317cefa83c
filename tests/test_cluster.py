from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import resources
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from folders import PAPER
from iem_xp.config import IEMConfig
from iem_xp.images import SUFFIXES, ImageError
from iem_xp.runs.cluster import Cluster, connect
from iem_xp.runs.finding import Found
from iem_xp.runs.inputs import find_images
from iem_xp.runs.naming import Source
from iem_xp.runs.pipeline import Segmenter
from iem_xp.runs.records import Candidate
from iem_xp.runs.remote import Work, WorkerError, packed, segment_part, unpacked
from iem_xp.runs.scheduling import LARGEST, SMALLEST, Part, Parts
from iem_xp.runs.settings import Settings
from iem_xp.runs.store import Run
from iem_xp_cli import segment as segment_command
from iem_xp_cli.main import cli

try:
    import dask
    import distributed
except ImportError:
    distributed = None

needs_distributed = pytest.mark.skipif(distributed is None, reason="distributed is not installed")

SAMPLES = resources.files("iem_xp_cli") / "samples"
NAMES = ("cameraman", "cat", "cell", "coffee", "flower", "tissue")
PROGRAM = Path(sys.executable).with_name("iem-xp")
QUICK = ("--iterations", "6", "--size", "32", "--device", "cpu")
SETTINGS = Settings(IEMConfig(iterations=6), size=32)
ROWS = (
    "path, status, error, width, height, mask, init_side, inpainting_error, updates, information,"
    " foreground_share, notes"
)
QUIET = {
    "threads_per_worker": 1,
    "dashboard_address": None,
    "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},  # else a port that another may have
    "silence_logs": 50,
}
IN_PROCESS = {"processes": False, "n_workers": 1, **QUIET}


def made_up(count: int) -> list[Source]:
    return [Source(Path(f"/{i}.jpg"), f"{i}.png") for i in range(count)]


@pytest.fixture
def photos(here: Path) -> Path:
    """A folder `photos` of 40 small photographs, and a file that is none, in the current folder."""
    Path("photos").mkdir()
    samples = [Image.open(SAMPLES / f"{name}.jpg").convert("RGB") for name in NAMES]
    for i in range(40):
        samples[i % len(samples)].resize((40 + i, 48)).save(f"photos/{i:02}.png")
    Path("photos/broken.png").write_bytes(b"no image")
    return here / "photos"


@pytest.fixture
def many(photos: Path) -> Path:
    """A folder `many` of four copies of `photos`, so that two workers have many parts before them."""
    for copy in range(4):
        shutil.copytree(photos, f"many/{copy}")
    return photos.parent / "many"


def segment(*arguments: str, status: int = 1) -> Result:
    """Run the command; of `photos` one image is broken, so that its status is 1."""
    result = CliRunner().invoke(cli, ["segment", *PAPER, *arguments])
    assert result.exit_code == status, result.output
    return result


def summary(*arguments: str, status: int = 1) -> dict[str, Any]:
    return json.loads(segment(*arguments, *QUICK, "--json", status=status).stdout)


def masks(folder: str) -> dict[str, bytes]:
    root = Path(folder, "masks")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.png")}


def rows(folder: str) -> list[tuple[Any, ...]]:
    with Run.open(Path(folder), to_write=False) as run:
        return run._database.execute(f"SELECT {ROWS} FROM images ORDER BY path").fetchall()


def has_rows(folder: str) -> bool:
    """Whether something is recorded; the file is not made, as the run that begins would refuse it."""
    file = Path(folder, "run.sqlite").absolute().as_uri()
    try:
        with closing(sqlite3.connect(f"{file}?mode=rw", timeout=30, uri=True)) as database:
            return database.execute("SELECT COUNT(*) FROM entries").fetchone()[0] > 0
    except sqlite3.Error:  # not made yet
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# ---- Parts


def test_parts_get_smaller_until_a_task_would_cost_as_much_as_its_work() -> None:
    images = made_up(20_000)
    parts = Parts(images, len(images))
    sizes = []
    while part := parts.take(slots=4):
        sizes.append(len(part.sources))
        parts.returned(part)
    assert sum(sizes) == len(images)
    assert sizes[0] == LARGEST
    assert sizes[:-1] == sorted(sizes[:-1], reverse=True)
    assert sizes[-2] == SMALLEST


def test_for_a_part_of_who_knows_how_many_images_only_a_few_are_waited_for() -> None:
    images = iter(made_up(LARGEST))
    part = Parts(images).take(slots=2)
    assert part is not None
    assert len(part.sources) == LARGEST - len(list(images)) == SMALLEST


def test_each_slot_has_a_part_in_work_and_one_that_waits() -> None:
    parts = Parts(made_up(1000), 1000)
    taken = list(iter(lambda: parts.take(slots=3), None))
    assert len(taken) == 6
    parts.returned(taken[0])
    assert parts.take(slots=3) is not None
    assert parts.take(slots=3) is None
    assert parts.take(slots=4) is not None  # a worker has come


def test_what_was_lost_comes_again_in_pieces_behind_which_nothing_waits() -> None:
    images = made_up(64)
    parts = Parts(images, 64)
    taken = list(iter(lambda: parts.take(slots=2), None))
    assert [len(part.sources) for part in taken] == [16, 16, 16, 16]
    assert parts.lost(taken[0])
    assert parts.take(slots=2) is None  # three are with two workers
    parts.returned(taken[1])
    parts.returned(taken[2])
    assert parts.take(slots=2) == Part(images[:2])
    assert parts.take(slots=2) is None


def test_an_image_is_given_up_only_if_it_was_alone() -> None:
    (image,) = made_up(1)
    parts = Parts([image])
    first = parts.take(slots=8)
    assert first == Part([image])
    assert parts.lost(first)
    second = parts.take(slots=8)
    assert second == Part([image], alone=True)
    assert parts.take(slots=8) is None
    assert not parts.lost(second)
    assert parts.take(slots=8) is None


@pytest.mark.parametrize("seed", range(20))
def test_however_workers_die_each_image_is_done_once_but_those_that_kill(seed: int) -> None:
    choice = random.Random(seed)
    images = made_up(choice.choice([1, 100, 5000]))
    deadly = set(choice.sample(images, min(len(images), choice.randrange(4))))
    parts = Parts(images, choice.choice([0, len(images), 10 * len(images)]))
    out: list[Part] = []
    done: list[Source] = []
    failed: list[Source] = []
    while True:
        slots = choice.randrange(1, 9)
        while part := parts.take(slots):
            out.append(part)
            assert not part.alone or len(out) == 1
        if not out:
            break
        part = out.pop(choice.randrange(len(out)))
        suspected = not part.alone and choice.random() < 0.2
        if suspected or deadly & set(part.sources):
            if not parts.lost(part):
                failed += part.sources
        else:
            parts.returned(part)
            done += part.sources
    assert set(failed) == deadly
    assert sorted(done + failed) == sorted(images)


# ---- Tasks


@pytest.mark.parametrize("shape", [(5, 7), (8, 16)])
def test_a_mask_is_the_same_after_its_way(rng: np.random.Generator, shape: tuple[int, int]) -> None:
    mask = rng.random(shape) < 0.5
    found = Found(made_up(1)[0], candidates=[Candidate(44, mask, np.float32(0.1), np.int64(3), 0.5)])
    sent = packed(found)
    (candidate,) = unpacked(sent).candidates
    assert candidate.mask.dtype == np.bool_
    np.testing.assert_array_equal(candidate.mask, mask)
    assert candidate[2:5] == (np.float32(0.1), 3, 0.5)
    assert len(sent.candidates[0].mask.bits) == -(-mask.size // 8)


@needs_distributed
def test_whatever_fails_in_a_worker_is_an_error_that_arrives(in_process: Any) -> None:
    with distributed.Client(in_process) as client:
        future = client.submit(segment_part, Work(SETTINGS), [None], 1)
        with pytest.raises(WorkerError, match=r": AttributeError: 'NoneType' object has no attribute 'path'"):
            future.result()


@needs_distributed
def test_a_worker_with_another_version_says_which_is_where() -> None:
    with pytest.raises(WorkerError, match=r"iem-xp .* is installed there, and 0\.0 here; install the same"):
        segment_part(Work(SETTINGS, version="0.0"), [], 1)


# ---- What cannot be had


@needs_distributed
@pytest.mark.parametrize("address", ["local:0", "local:x", "local", "local:-1"])
def test_a_number_of_processes_is_a_number(photos: Path, address: str) -> None:
    result = segment("photos", "--cluster", address, status=2)
    assert f"--cluster {address}: it is local:N with a number of processes" in result.stderr
    assert not Path("iem-run").exists()


@needs_distributed
def test_an_address_without_a_scheduler_is_an_error(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iem_xp.runs.cluster._ANSWER", 0.2)
    result = segment("photos", "--cluster", "tcp://127.0.0.1:1", status=2)
    assert "--cluster tcp://127.0.0.1:1: no scheduler answers; start one with" in result.stderr
    assert not Path("iem-run").exists()


def test_without_distributed_the_error_says_what_to_install(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = segment("photos", "--cluster", "local:2", status=2)
    assert "pip install 'iem-xp[cluster]'" in result.stderr
    assert not Path("iem-run").exists()


def test_standard_input_needs_no_cluster() -> None:
    assert "- reads one image" in segment("-", "--cluster", "local:2", status=2).stderr


def test_workers_are_told_which_gpu_by_cuda(photos: Path) -> None:
    result = segment("photos", "--cluster", "local:2", "--device", "gpu:1", status=2)
    assert "--device gpu:1: with --cluster it is cpu or gpu" in result.stderr


@pytest.fixture
def in_process() -> Iterator[Any]:
    """A scheduler and a worker of one thread in this process."""
    with distributed.LocalCluster(**IN_PROCESS) as cluster:
        yield cluster


@needs_distributed
def test_workers_without_a_gpu_are_an_error_before_anything_is_made(photos: Path, in_process: Any) -> None:
    result = segment("photos", "--cluster", in_process.scheduler_address, "--device", "gpu", status=2)
    assert 'no worker has a GPU; start them with: dask worker --resources "GPU=1"' in result.stderr
    assert not Path("iem-run").exists()


@needs_distributed
def test_a_scheduler_without_workers_is_an_error(
    photos: Path, in_process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iem_xp.runs.cluster._WAIT", 0.2)
    in_process.scale(0)
    wait_for(lambda: not in_process.scheduler.workers)
    result = segment("photos", "--cluster", in_process.scheduler_address, status=2)
    assert "no worker in 0.2 s; start some with: dask worker inproc://" in result.stderr


@needs_distributed
def test_when_all_workers_are_gone_it_is_said_and_others_go_on(
    photos: Path, in_process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_workers = Cluster.wait_for_workers
    say = segment_command._announce_cluster

    def wait_and_lose_them(cluster: Cluster) -> None:
        wait_for_workers(cluster)
        in_process.scale(0)
        wait_for(lambda: not in_process.scheduler.workers)

    def say_and_start_one(line: str) -> None:
        say(line)
        in_process.scale(1)

    monkeypatch.setattr("iem_xp.runs.cluster._SILENCE", 0.05)
    monkeypatch.setattr(Cluster, "wait_for_workers", wait_and_lose_them)
    monkeypatch.setattr(segment_command, "_announce_cluster", say_and_start_one)
    address = in_process.scheduler_address
    result = segment("photos", "--cluster", address, *QUICK)
    line = f"cluster: no worker is left; start some with: dask worker {address}\n"
    assert result.stderr.count(line) == result.stderr.count("no worker") == 1
    assert "40 done" in result.stdout


def test_it_is_said_once_each_time_that_all_workers_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iem_xp.runs.cluster._SILENCE", 0)
    seen = [0, 1, 0, 0, 0, 0, 2, 0, 0, 0]  # a single look without a worker may be between two of them
    done: SimpleQueue[str] = SimpleQueue()

    def threads_of_workers() -> dict[str, int]:
        count = seen.pop(0)
        if not seen:
            done.put("a result")
        return {str(worker): 1 for worker in range(count)}

    client = SimpleNamespace(nthreads=threads_of_workers, scheduler=SimpleNamespace(address="tcp://a:1"))
    lines: list[str] = []
    assert Cluster(client, Work(SETTINGS), lines.append)._wait(done) == "a result"
    assert lines == ["no worker is left; start some with: dask worker tcp://a:1"] * 2


@needs_distributed
def test_a_machine_without_the_images_is_an_error_and_fails_none(
    photos: Path, in_process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_nothing(path: Path) -> None:
        raise ImageError(f"{path}: No such file or directory")

    monkeypatch.setattr("iem_xp.runs.finding.read_stamped", find_nothing)  # the worker's
    monkeypatch.setattr("iem_xp.runs.remote.is_missing", lambda path: True)
    result = segment("photos", "--cluster", in_process.scheduler_address, *QUICK, status=2)
    assert f"the worker on {socket.gethostname()} has no {photos / '00.png'}, nor any other" in result.stderr
    assert "paths have to be the same on every machine: use a shared file system" in result.stderr
    assert rows("iem-run") == []


@needs_distributed
@pytest.mark.parametrize("there", [0, 1])
def test_images_that_are_missing_here_as_well_fail(photos: Path, in_process: Any, there: int) -> None:
    missing = [f"missing/{i}.png" for i in range(5)]
    Path("list.txt").write_text("\n".join(["photos/00.png"][:there] + missing))
    found = summary("list.txt", "--cluster", in_process.scheduler_address)
    assert (found["done"], found["failed"]) == (there, 5)


@needs_distributed
def test_a_scheduler_that_goes_away_leaves_a_run_that_goes_on(photos: Path) -> None:
    images = list(find_images([str(photos)], suffixes=SUFFIXES))
    with (
        Run.create(Path("run"), SETTINGS.as_dict()) as run,
        distributed.LocalCluster(**IN_PROCESS) as processes,
        connect(processes.scheduler_address, Work(SETTINGS)) as cluster,
    ):
        segmenter = Segmenter(run, SETTINGS)
        with pytest.raises(ConnectionError, match=r"the scheduler inproc://.* is gone"):
            cluster.segment(segmenter, images, lambda count: count and processes.close(), len(images))
    with Run.resume(Path("run"), SETTINGS.as_dict()) as run:
        assert 0 < run.counts().waiting < 40
        segmenter = Segmenter(run, SETTINGS)
        segmenter.segment(images)
        assert run.counts().waiting == 40


# ---- Runs


@needs_distributed
def test_a_cluster_makes_the_run_that_one_process_makes(photos: Path) -> None:
    plain = summary("photos", "-o", "plain", "--workers", "2")
    found = summary("photos", "-o", "cluster", "--cluster", "local:2")
    assert masks("cluster") == masks("plain")
    assert len(masks("plain")) == 40
    assert rows("cluster") == rows("plain")
    times = {"run", "seconds", "images_per_second", "stages"}
    assert {key: found[key] for key in found.keys() - times} == {
        key: plain[key] for key in plain.keys() - times
    }
    with Run.open(Path("cluster"), to_write=False) as run:
        assert run.get_meta("engines") == [plain["engine"]]
    again = summary("photos", "-o", "cluster", "--cluster", "local:1")
    assert (again["skipped"], again["done"], again["failed"]) == (40, 0, 1)


@needs_distributed
def test_so_it_does_where_each_image_has_its_own_square(photos: Path, in_process: Any) -> None:
    best = ("--preset", "best", "--limit", "6")
    summary("photos", *best, "-o", "plain", status=0)
    summary("photos", *best, "-o", "cluster", "--cluster", in_process.scheduler_address, status=0)
    assert len(masks("plain")) == 6
    assert masks("cluster") == masks("plain")
    assert rows("cluster") == rows("plain")


@needs_distributed
def test_runs_on_one_machine_are_not_in_each_other_s_way() -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with connect("local:1", Work(SETTINGS)), connect("local:1", Work(SETTINGS)):
            pass
    assert [str(warning.message) for warning in warned if "Port" in str(warning.message)] == []


@needs_distributed
def test_a_worker_that_is_killed_costs_nothing(many: Path) -> None:
    images = list(find_images([str(many)], suffixes=SUFFIXES))
    with Run.create(Path("run"), SETTINGS.as_dict()) as run, connect("local:2", Work(SETTINGS)) as cluster:
        address, pid = next(iter(cluster._client.run(os.getpid).items()))
        advanced: list[int] = []

        def advance(count: int) -> None:
            if not any(advanced) and count:
                assert cluster._client.processing()[address]
                os.kill(pid, signal.SIGKILL)
            advanced.append(count)

        os.kill(pid, signal.SIGSTOP)  # it is given work, and finishes none
        segmenter = Segmenter(run, SETTINGS)
        cluster.segment(segmenter, images, advance, len(images))
        segmenter.choose_square()
        segmenter.write_masks()
    assert sum(advanced) == len(images)
    summary("many", "-o", "plain")
    assert masks("run") == masks("plain")
    assert rows("run") == rows("plain")


DEADLY = """
import os
from iem_xp.images import read_stamped
from iem_xp.runs import finding

def read_or_die(path):
    if path.name == "13.png":
        os._exit(1)
    return read_stamped(path)

def dask_setup(worker):
    finding.read_stamped = read_or_die
"""
"""Run by each worker process before it begins."""


@needs_distributed
def test_an_image_that_kills_its_workers_fails_alone(photos: Path) -> None:
    Path("deadly.py").write_text(DEADLY)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=2, preload="deadly.py", **QUIET) as processes,
    ):
        found = summary("photos", "--cluster", processes.scheduler_address)
    assert (found["done"], found["failed"]) == (39, 2)
    failed = [(Path(row[0]).name, row[2]) for row in rows("iem-run") if row[1] == "failed"]
    assert failed[0] == (
        "13.png",
        f"{photos / '13.png'}: every worker process that read it came to its end",
    )
    assert failed[1][0] == "broken.png"
    assert set(masks("iem-run")) == {f"{i:02}.png" for i in range(40) if i != 13}


@needs_distributed
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="a terminal of Windows interrupts otherwise")
def test_ctrl_c_in_a_terminal_ends_all_processes_with_one_message(many: Path) -> None:
    arguments = ["segment", *PAPER, "many", "--cluster", "local:2", *QUICK]
    # Python alone would ignore Ctrl-C if the tests were started in the background.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from iem_xp_cli.main import cli; cli()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    wait_for(lambda: has_rows("iem-run"))
    os.killpg(process.pid, signal.SIGINT)
    output, message = process.communicate(timeout=60)  # until the last process has closed these
    assert process.returncode == 130, output + message
    assert output == b""
    assert re.fullmatch(
        rb"interrupted: \d+ of 164 images are segmented; the same command continues\n", message
    )
    continued = summary("many", "--cluster", "local:2")
    assert 0 < continued["continued"] < 160
    assert continued["done"] == len(masks("iem-run")) == 160
