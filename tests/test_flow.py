from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import pytest

from iem_xp.runs.flow import Flow
from iem_xp.runs.workers import Outcome, Workers


def grouped(words: Sequence[str], *, room: int = 100, size: int = 3, serial: bool = False) -> list[list[str]]:
    """The groups, by their initials, that words are worked on in by one worker."""
    groups: list[list[str]] = []
    most = 0

    def work(group: Sequence[str]) -> list[str]:
        return list(group)

    def then(group: Sequence[str], outcome: Outcome[list[str]]) -> None:
        assert outcome.result() == group
        groups.append(outcome.result())
        flow.leave(len(group))

    with Workers(1) as workers:
        flow = Flow(workers, room, work, then, serial=serial)
        for word in words:
            flow.enter()
            most = max(most, flow.held)
            workers.submit(lambda: None, lambda _, word=word: flow.gather(word[0], word, size))
        flow.finish()
    assert flow.held == 0
    assert most <= room
    return groups


def test_items_of_one_kind_are_worked_on_together() -> None:
    assert grouped(["a1", "b1", "a2", "b2", "b3", "a3"]) == [["b1", "b2", "b3"], ["a1", "a2", "a3"]]


def test_what_waits_for_others_is_worked_on_rather_than_nothing_the_largest_group_first() -> None:
    assert grouped(["c1", "b1", "a1", "b2"]) == [["b1", "b2"], ["c1"], ["a1"]]


@pytest.mark.parametrize("room", [1, 2, 3])
def test_no_more_items_are_held_than_there_is_room_for(room: int) -> None:
    words = ["a1", "a2", "b1", "a3", "c1", "a4", "b2"]
    groups = grouped(words, room=room)
    assert sorted(word for group in groups for word in group) == sorted(words)
    assert max(map(len, groups)) <= room


def test_a_full_group_is_worked_on_whatever_else_there_is_to_do() -> None:
    class Busy:
        """Workers with more to do than they are."""

        count, pending = 2, 3

        def turn(self) -> None:
            word = next(words)
            flow.gather(word[0], word, 2)

        def submit(self, work: Callable[[], Sequence[str]], then: object) -> None:
            started.append(work())
            flow.leave(2)

    words, started = iter(["a1", "b1", "a2"]), list[Sequence[str]]()
    flow: Flow[str, Sequence[str]] = Flow(cast(Workers, Busy()), 2, list, lambda group, outcome: None)
    for _ in range(3):
        flow.enter()
    assert started == [["a1", "a2"]]


def test_in_series_a_group_has_all_that_is_there() -> None:
    assert grouped(["a1", "a2", "a3", "a4", "a5"], size=9, serial=True) == [["a1"], ["a2", "a3", "a4", "a5"]]


def test_in_series_a_group_has_no_more_than_it_may_and_full_ones_go_first() -> None:
    words = ["a1", "b1", "a2", "b2", "a3", "a4", "a5", "a6"]
    expected = [["a1"], ["a2", "a3", "a4"], ["b1", "b2"], ["a5", "a6"]]
    assert grouped(words, size=3, serial=True) == expected


def test_in_series_the_next_group_starts_before_what_follows_the_last() -> None:
    waiting: list[int] = []

    def then(group: Sequence[str], outcome: Outcome[int]) -> None:
        waiting.append(sum(map(len, flow._groups.values())))
        flow.leave(len(group))

    with Workers(1) as workers:
        flow = Flow(workers, 100, len, then, serial=True)
        for word in ("a1", "a2", "a3"):
            flow.enter()
            workers.submit(lambda: None, lambda _, word=word: flow.gather(word[0], word, 9))
        flow.finish()
    assert waiting == [0, 0]
