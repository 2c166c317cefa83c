from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from iem_xp.baselines import BASELINES
from iem_xp.refinement import Refinement
from iem_xp.reproduction.studies import ABLATIONS, BEST, FLOORS, GRABCUT, IEM, REFINED
from iem_xp.runs.settings import PRESETS


def test_every_study_has_a_folder_of_its_own() -> None:
    names = [study.name for study in (IEM, REFINED, BEST, GRABCUT, *FLOORS, *ABLATIONS)]
    assert len(set(names)) == len(names) == 9


def test_the_network_s_masks_are_the_refinement_of_the_search_s() -> None:
    place = Refinement().places(Path(IEM.name))[-1]
    assert place.refined == Path(REFINED.name)
    assert REFINED.settings == IEM.settings
    assert REFINED.sides == (0,)


def test_the_best_preset_is_run_on_the_crops_of_the_paper() -> None:
    assert BEST.settings == replace(PRESETS["best"], fit=IEM.settings.fit)
    assert (BEST.sides, BEST.baseline) == ((0,), None)


def test_a_row_is_named_after_the_baseline_that_it_is_of() -> None:
    assert {study.baseline for study in (GRABCUT, *FLOORS)} == set(BASELINES)
    for study in (GRABCUT, *FLOORS):
        assert study.title.lower().split()[-1] == study.baseline
    assert {study.baseline for study in (IEM, *ABLATIONS)} == {None}
