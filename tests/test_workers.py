from __future__ import annotations

import threading
from typing import Any

import pytest

from iem_xp.runs.workers import Outcome, Workers


def test_outcomes_come_back_to_the_thread_that_asked() -> None:
    threads = set()
    results = []

    def take(outcome: Outcome[int]) -> None:
        threads.add(threading.get_ident())
        results.append(outcome.result())

    with Workers(3) as workers:
        for number in range(20):
            workers.submit(lambda number=number: number**2, take)
        assert workers.pending == 20
        workers.wait(below=6)
        assert (workers.pending, len(results)) == (5, 15)
        workers.wait(below=1)
    assert sorted(results) == [number**2 for number in range(20)]
    assert threads == {threading.get_ident()}


def test_so_many_tasks_run_at_a_time() -> None:
    together = threading.Barrier(3)
    with Workers(3) as workers:
        for _ in range(6):
            workers.submit(lambda: together.wait(timeout=60), Outcome.result)
        workers.wait(below=1)


@pytest.mark.parametrize(("running", "order"), [(False, ["locking", "free"]), (True, ["free", "locking"])])
def test_a_task_that_locks_goes_first_unless_one_runs(running: bool, order: list[str]) -> None:
    begun: list[str] = []
    holding, all_here, over = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        holding.set()
        assert over.wait(timeout=60)

    with Workers(2) as workers:
        # One worker is held up to the end; the other chooses once all is there to choose from.
        workers.submit(hold, Outcome.result, locking=running)
        assert holding.wait(timeout=60)
        workers.submit(lambda: all_here.wait(timeout=60), Outcome.result)
        workers.submit(lambda: begun.append("free"), Outcome.result)
        workers.submit(lambda: begun.append("locking"), Outcome.result, locking=True)
        workers.submit(over.set, Outcome.result)
        all_here.set()
        workers.wait(below=1)
    assert begun == order


def test_the_error_of_a_task_is_raised_where_its_result_is_wanted() -> None:
    outcomes: list[Outcome[Any]] = []
    with Workers(1) as workers:
        workers.submit(lambda: {}["key"], outcomes.append)
        workers.wait(below=1)
    assert outcomes[0].seconds > 0
    with pytest.raises(KeyError, match="key"):
        outcomes[0].result()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_what_runs_is_handed_over_and_what_waits_is_dropped(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    running, stopping = threading.Event(), threading.Event()

    def run() -> None:
        running.set()
        assert stopping.wait(timeout=60)
        done.append("ran")

    def take(outcome: Outcome[None]) -> None:
        outcome.result()
        workers.submit(lambda: done.append("ran late"), Outcome.result)
        done.append("was taken")

    workers = Workers(1)
    shut_down = workers._threads.shutdown

    def stop(*, cancel_futures: bool) -> None:
        shut_down(wait=False, cancel_futures=cancel_futures)
        stopping.set()
        shut_down()

    monkeypatch.setattr(workers._threads, "shutdown", stop)

    def session() -> None:
        with workers:
            workers.submit(run, take)
            workers.submit(lambda: done.append("ran second"), Outcome.result)
            assert running.wait(timeout=60)
            raise error("stop")

    with pytest.raises(error, match="stop"):
        session()
    assert done == ["ran", "was taken"]


def test_a_second_error_does_not_hide_the_first() -> None:
    def fail(outcome: Outcome[None]) -> None:
        raise ValueError("second")

    def session() -> None:
        with Workers(1) as workers:
            workers.submit(lambda: None, fail)
            workers.submit(done.set, fail)
            assert done.wait(timeout=60)
            raise ValueError("first")

    done = threading.Event()
    with pytest.raises(ValueError, match="first"):
        session()


def test_after_an_error_what_went_well_is_handed_over_and_only_that() -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    def take(outcome: Outcome[int]) -> None:
        taken.append(outcome.result())
        raise ValueError("while taking it")

    def session() -> None:
        with Workers(1) as workers:
            workers.submit(fail, Outcome.result)
            workers.submit(lambda: 1, take)
            workers.submit(lambda: 2, take)
            workers.submit(done.set, lambda outcome: None)
            assert done.wait(timeout=60)
            raise ValueError("first")

    done, taken = threading.Event(), list[int]()
    with pytest.raises(ValueError, match="first"):
        session()
    assert taken == [1, 2]
