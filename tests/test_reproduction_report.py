from __future__ import annotations

import numpy as np
import pytest

from iem_xp.baselines import SIDES
from iem_xp.evaluation.scores import BOX_FIGURES, MASK_FIGURES
from iem_xp.reproduction.report import ablation_table, explain, results_table
from iem_xp.reproduction.scoring import Choices, Found, Scoring
from iem_xp.reproduction.studies import ABLATIONS, FLOORS, GRABCUT, IEM, REFINED
from iem_xp.runs.records import Candidate

ERRORS = {0: (0.1, 0.9, 0.2), 1: (0.6, 0.5, 0.4)}
"""Of two images, by square: 78 has the highest mean, 44 the highest error of the second image."""


@pytest.fixture
def scoring() -> Scoring:
    """Scores that are a tenth of the square's number, or that and 0.3 for the second image."""
    studies = (IEM, *FLOORS, *ABLATIONS)
    scoring = Scoring(MASK_FIGURES, 2, {study.name: Choices(study, MASK_FIGURES) for study in studies})
    for study in studies:
        for image, errors in ERRORS.items():
            sides = study.settings.config.init_sides
            found = [
                Found(side, error, dict.fromkeys(MASK_FIGURES, 0.1 * number + 0.3 * image))
                for number, (side, error) in enumerate(zip(sides, (*errors, 0.0), strict=False))
            ]
            scoring.choices[study.name].add(found)
            scoring.choices[study.name].weigh(
                [Candidate(side, np.zeros((1, 1), bool), error, 0) for side, error, _ in found]
            )
    return scoring


def test_every_choice_has_its_line(scoring: Scoring) -> None:
    table = results_table("folder", "mine, 2 images", scoring)
    assert table.title == "mine, 2 images"
    assert {line.name: line.means["either_iou"] for line in table.lines} == pytest.approx(
        {
            "IEM, 44": 0.15,
            "IEM, 78 *": 0.25,
            "IEM, 92": 0.35,
            "IEM, chosen per image": 0.2,
            "IEM, chosen per image †": 0.35,
            "centred square, 112 †": 0.45,
            "centred ellipse, 112 †": 0.45,
        }
    )


def test_of_grabcut_no_square_is_marked_as_chosen(scoring: Scoring) -> None:
    scoring.choices[GRABCUT.name] = Choices(GRABCUT, MASK_FIGURES)
    lines = results_table("folder", "", scoring).lines
    assert [line.name for line in lines if line.method == "GrabCut"] == [f"GrabCut, {side}" for side in SIDES]


def test_the_network_s_row_stands_behind_the_search_s_without_square_or_mark(scoring: Scoring) -> None:
    scoring.choices[REFINED.name] = Choices(REFINED, MASK_FIGURES)
    scoring.choices[REFINED.name].add([Found(0, 0.5, dict.fromkeys(MASK_FIGURES, 0.6))])
    lines = results_table("folder", "", scoring).lines
    assert [line.name for line in lines][4:6] == ["IEM, chosen per image †", "IEM + SegNet"]
    assert lines[5].means == dict.fromkeys(MASK_FIGURES, 0.6)


@pytest.mark.parametrize("kind", ["cub", "flowers", "lsun-car", "folder"])
def test_the_ablation_stands_beside_that_of_the_same_birds_or_flowers(scoring: Scoring, kind: str) -> None:
    table = ablation_table(kind, "mine", scoring)
    assert table.papers == ([kind] if kind in ("cub", "flowers") else ["cub", "flowers"])
    assert [line.name for line in table.lines][:4] == ["IEM, 44", "IEM, 78 *", "IEM, 92", "lambda = 0, 44"]
    chosen = [line for line in table.lines if line.paper_iou]
    assert [line.square for line in chosen] == [78] * 4
    assert [list(line.paper_iou) for line in chosen] == [table.papers] * 4
    if kind in ("flowers", "folder"):
        assert [line.paper_iou["flowers"] for line in chosen] == [0.768, 0.680, 0.757, 0.766]


def test_the_paper_s_rows_stand_beside_masks_alone(scoring: Scoring) -> None:
    assert [line.method for line in results_table("flowers", "", scoring).lines][:2] == ["GrabCut", "ReDO"]
    boxes = Scoring(BOX_FIGURES, 0, {study.name: Choices(study, BOX_FIGURES) for study in (IEM, *FLOORS)})
    table = results_table("cub", "", boxes)
    assert {line.source for line in table.lines} == {"here"}
    explained = " ".join(explain("cub", [table], boxes))
    assert "localised" in explained
    assert "either" not in explained
    assert "The paper's own rows are of masks" in explained
    assert ablation_table("cub", "", boxes_of_all(BOX_FIGURES)).papers == []


def boxes_of_all(figures: tuple[str, ...]) -> Scoring:
    studies = (IEM, *ABLATIONS)
    return Scoring(figures, 0, {study.name: Choices(study, figures) for study in studies})


def test_what_is_shown_is_explained(scoring: Scoring) -> None:
    scoring.engines = {"iem": ["array", "fused"], "no-diversity": ["array"], "square": ["none"]}
    tables = [results_table("flowers", "", scoring)]
    explained = list(explain("flowers", tables, scoring))
    assert any("1,020 images" in line for line in explained)
    assert explained[-1] == "IEM: array, fused; lambda = 0: array."
    assert "localised" not in " ".join(explained)
