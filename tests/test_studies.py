from __future__ import annotations

from iem_xp.baselines import BASELINES
from iem_xp.reproduction.studies import ABLATIONS, FLOORS, GRABCUT, IEM


def test_every_study_has_a_folder_of_its_own() -> None:
    names = [study.name for study in (IEM, GRABCUT, *FLOORS, *ABLATIONS)]
    assert len(set(names)) == len(names) == 7


def test_a_row_is_named_after_the_baseline_that_it_is_of() -> None:
    assert {study.baseline for study in (GRABCUT, *FLOORS)} == set(BASELINES)
    for study in (GRABCUT, *FLOORS):
        assert study.title.lower().split()[-1] == study.baseline
    assert {study.baseline for study in (IEM, *ABLATIONS)} == {None}
