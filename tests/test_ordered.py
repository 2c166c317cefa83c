from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from iem_xp.ordered import in_order


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_their_items(workers: int) -> None:
    def late(number: int) -> int:
        time.sleep(0.01 * (number % 3 == 0))
        return number**2

    assert list(in_order(late, range(30), workers)) == [(i, i**2) for i in range(30)]


def test_few_items_are_held() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    results = in_order(lambda number: number, items(), workers=2)
    for _ in range(3):
        next(results)
    assert taken <= 3 + 2 * 4


def test_work_is_done_side_by_side() -> None:
    together = threading.Barrier(3)
    results = in_order(lambda _: together.wait(timeout=60), range(3), workers=3)
    assert {position for _, position in results} == {0, 1, 2}


def test_an_error_is_raised_and_no_thread_is_left() -> None:
    before = threading.active_count()
    results = in_order(lambda number: 1 // (2 - number), range(5), workers=2)
    assert [next(results), next(results)] == [(0, 0), (1, 1)]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert threading.active_count() == before
