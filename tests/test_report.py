from __future__ import annotations

import pytest

from iem_xp.evaluation.scores import MASK_FIGURES
from iem_xp.reproduction.report import ablation_table, results_table
from iem_xp.reproduction.scoring import Choices, Found, Scoring
from iem_xp.reproduction.studies import ABLATIONS, FLOORS, IEM

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
    return scoring


def test_every_choice_has_its_line(scoring: Scoring) -> None:
    table = results_table("folder", "mine", scoring)
    assert table.title == "mine, 2 images"
    assert {line.method: line.means["either_iou"] for line in table.lines} == pytest.approx(
        {
            "IEM (78, chosen without labels)": 0.25,
            "IEM, 44": 0.15,
            "IEM, 78": 0.25,
            "IEM, 92": 0.35,
            "IEM (chosen per image)": 0.2,
            "IEM (best per image by ground truth)": 0.35,
            "centred square, 112 (best of 44, 78, 92, 112)": 0.45,
            "centred ellipse, 112 (best of 44, 78, 92, 112)": 0.45,
        }
    )


@pytest.mark.parametrize("kind", ["cub", "flowers", "lsun-car", "folder"])
def test_the_ablation_stands_beside_that_of_the_same_birds_or_flowers(scoring: Scoring, kind: str) -> None:
    lines = ablation_table(kind, "mine", scoring).lines
    here = [line for line in lines if line.source == "here"]
    assert [line.method for line in here][:2] == ["IEM (78)", "lambda = 0 (78)"]
    assert [line.means["either_iou"] for line in here] == pytest.approx([0.25] * 4)
    of = [line.method.rpartition(", ")[2] for line in lines if line.source == "paper"]
    assert of == ([kind] if kind in ("cub", "flowers") else ["cub", "flowers"]) * 4
