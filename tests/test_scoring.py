from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iem_xp import metrics
from iem_xp.boxes import Box
from iem_xp.datasets import Dataset, DatasetError, Example
from iem_xp.evaluation.scores import BOX_FIGURES, MASK_FIGURES
from iem_xp.images import ImageError
from iem_xp.labels import IGNORED, to_labels
from iem_xp.reproduction.report import explain, results_table
from iem_xp.reproduction.scoring import (
    FOR_DATA_SET,
    Choices,
    Found,
    Row,
    Scoring,
    fitted_truth,
    list_figures,
    score_runs,
)
from iem_xp.reproduction.studies import GRABCUT, IEM, Study, find_sources, source_of
from iem_xp.runs.records import Candidate, Entry
from iem_xp.runs.store import Run

WIDTH, HEIGHT = 160, 96


def flat(value: float) -> dict[str, float]:
    return dict.fromkeys(MASK_FIGURES, value)


def found(*pairs: tuple[float, float]) -> list[Found]:
    """What each square found, as pairs of inpainting error and score."""
    return [Found(side, error, flat(score)) for side, (error, score) in zip((44, 78, 92), pairs, strict=True)]


def weighed(*errors: float) -> list[Candidate]:
    return [
        Candidate(side, np.zeros((1, 1), bool), error, 0)
        for side, error in zip((44, 78, 92), errors, strict=True)
    ]


@pytest.fixture
def choices() -> Choices:
    choices = Choices(IEM, MASK_FIGURES)
    for pairs in (((0.9, 0.1), (0.5, 0.4), (0.6, 0.3)), ((0.2, 0.6), (0.7, 0.7), (0.5, 0.8))):
        choices.weigh(weighed(*(error for error, _ in pairs)))
        choices.add(found(*pairs))
    return choices


def for_data_set(choices: Choices) -> Row:
    """The row of the paper's protocol."""
    (row,) = (row for row in choices.for_each_side if row.choice == FOR_DATA_SET)
    return row


def test_the_protocol_takes_the_square_of_highest_mean_error(choices: Choices) -> None:
    row = for_data_set(choices)
    assert row.square == choices.side == 78  # 0.6, of 0.55, 0.6, 0.55
    assert row.means.mean["fixed_iou"] == pytest.approx(0.55)
    assert row.means.n == 2


def test_images_that_do_not_count_have_a_say_in_the_choice(choices: Choices) -> None:
    choices.weigh(weighed(0.9, 0.1, 0.1))
    assert choices.side == 44
    assert for_data_set(choices).means.n == 2


def test_each_image_may_take_the_square_of_its_highest_error(choices: Choices) -> None:
    assert choices.for_each_image.means.mean["either_dice"] == pytest.approx((0.1 + 0.7) / 2)


def test_the_bound_takes_the_square_that_the_truth_likes_best(choices: Choices) -> None:
    assert choices.by_truth.means.mean["either_iou"] == pytest.approx((0.4 + 0.8) / 2)


def test_by_truth_means_by_the_iou_of_either_polarity() -> None:
    choices = Choices(IEM, MASK_FIGURES)
    rows = [flat(0.5), flat(0.5) | {"either_iou": 0.6, "either_dice": 0.1, "fixed_iou": 0.1}, flat(0.5)]
    choices.add([Found(side, 0.5, row) for side, row in zip((44, 78, 92), rows, strict=True)])
    assert choices.by_truth.means.mean == choices.best_side.means.mean == rows[1]


def test_every_square_has_a_row_and_the_best_of_them_is_known(choices: Choices) -> None:
    means = [row.means.mean["either_iou"] for row in choices.for_each_side]
    assert means == pytest.approx([0.35, 0.55, 0.55])
    assert choices.best_side.means.mean["either_iou"] == pytest.approx(0.55)


# ---- Runs against a data set


def subject(number: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[20:70, 50 + number : 100 + number] = True
    return mask


def example(folder: Path, number: int, **fields: Any) -> Example:
    file = folder / f"{number}.png"
    noise = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    given: dict[str, Any] = {"read_truth": lambda: to_labels(subject(number)), **fields}
    return Example(f"{number}", file, **given)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset("three images", [example(tmp_path, number) for number in range(3)])


def candidate(side: int, number: int) -> Candidate:
    """A mask that depends on the square, and its error, which does on both."""
    mask = np.zeros((128, 128), bool)
    mask[20:90, side // 4 : 100] = True
    return Candidate(side, mask, inpainting_error=1 / (1 + abs(side - 78) + number), updates=9)


def make_run(folder: Path, study: Study, dataset: Dataset, *, without: str | None = None) -> Run:
    """A run as the study would make it, with an image that failed."""
    run = Run.create(folder / study.name, {})
    for number, one in enumerate(dataset):
        source = source_of(one, folder)
        if one.name == without:
            run.record_failed(source, "out of luck")
            continue
        sides = study.settings.config.init_sides
        run.record_candidates(Entry(source, WIDTH, HEIGHT, 0.1), [candidate(side, number) for side in sides])
    return run


def score(dataset: Dataset, folder: Path, without: str | None = None, **options: Any) -> Scoring:
    with make_run(folder, IEM, dataset) as iem, make_run(folder, GRABCUT, dataset, without=without) as other:
        return score_runs(dataset, {IEM: iem, GRABCUT: other}, folder, workers=2, **options)


def test_masks_are_scored_against_the_truth_cut_as_the_paper_does(dataset: Dataset, tmp_path: Path) -> None:
    scoring = score(dataset, tmp_path)
    assert (scoring.n, scoring.failed) == (3, {})
    row = for_data_set(scoring.choices["iem"])
    expected = [
        metrics.iou(candidate(78, number).mask[None], fitted_truth(one, HEIGHT, WIDTH).foreground[None])
        for number, one in enumerate(dataset)
    ]
    assert row.means.mean["fixed_iou"] == pytest.approx(np.mean(expected))


def test_the_truth_is_scaled_and_cropped_like_its_image(dataset: Dataset) -> None:
    truth = fitted_truth(dataset.examples[0], HEIGHT, WIDTH)
    assert truth.foreground.shape == (128, 128)
    rows, columns = (np.flatnonzero(truth.foreground.any(axis=axis)) for axis in (1, 0))
    scale, offset = 128 / HEIGHT, (int(128 * WIDTH / HEIGHT) - 128) / 2
    assert abs(rows[0] - 20 * scale) <= 1
    assert abs(rows[-1] + 1 - 70 * scale) <= 1
    assert abs(columns[0] - (50 * scale - offset)) <= 1
    assert abs(columns[-1] + 1 - (100 * scale - offset)) <= 1


def test_an_image_counts_in_every_study_or_in_none(dataset: Dataset, tmp_path: Path) -> None:
    scoring = score(dataset, tmp_path, without="1")
    assert scoring.n == 2
    assert scoring.failed == {"1": "out of luck"}
    assert {for_data_set(choices).means.n for choices in scoring.choices.values()} == {2}


def test_every_score_is_handed_over_in_the_order_of_the_data_set(dataset: Dataset, tmp_path: Path) -> None:
    seen = []
    score(dataset, tmp_path, watch=lambda name, study, found: seen.append((name, study.name, len(found))))
    expected = [(name, study, count) for name in "012" for study, count in (("iem", 3), ("grabcut", 4))]
    assert seen == expected


def test_the_choice_without_labels_does_not_depend_on_which_labels_are_broken(tmp_path: Path) -> None:
    whole = Dataset("", [example(tmp_path, number) for number in range(2)])
    broken = Dataset("", [example(tmp_path, 0, read_truth=unreadable), whole.examples[1]])
    errors = {44: (0.9, 0.1), 78: (0.4, 0.5), 92: (0.1, 0.1)}
    with Run.create(tmp_path / "iem", {}) as run:
        for number, one in enumerate(whole):
            found = [candidate(side, 0)._replace(inpainting_error=of[number]) for side, of in errors.items()]
            run.record_candidates(Entry(source_of(one, tmp_path), WIDTH, HEIGHT, 0.1), found)
        sides = [
            score_runs(dataset, {IEM: run}, tmp_path, workers=1).choices["iem"].side
            for dataset in (whole, broken)
        ]
    assert sides == [44, 44]


def unreadable() -> np.ndarray:
    raise ImageError("mask.png: the file is empty")


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"read_truth": unreadable}, "mask.png: the file is empty"),
        (
            {"read_truth": lambda: to_labels(subject(1).T)},
            "its true mask, 96 x 160, is not of its image, 160 x 96 when upright",
        ),
        ({"read_truth": lambda: np.full((HEIGHT, WIDTH), IGNORED, np.uint8)}, "ignores every pixel"),
        ({"read_truth": None}, "has no true mask"),
    ],
)
def test_a_truth_that_cannot_be_used_costs_its_image_alone(
    dataset: Dataset, tmp_path: Path, fields: dict[str, Any], cause: str
) -> None:
    examples = [dataset.examples[0], example(tmp_path, 1, **fields), dataset.examples[2]]
    scoring = score(Dataset("", examples), tmp_path)
    assert scoring.n == 2
    assert list(scoring.failed) == ["1"]
    assert cause in scoring.failed["1"]


def test_an_image_that_is_in_no_run_is_named(dataset: Dataset, tmp_path: Path) -> None:
    with make_run(tmp_path, IEM, Dataset("", dataset.examples[:2])) as run:
        scoring = score_runs(dataset, {IEM: run}, tmp_path, workers=1)
    assert scoring.failed == {"2": "has not been segmented"}


def test_boxes_alone_are_scored_at_the_size_of_the_masks(tmp_path: Path) -> None:
    boxes = Dataset("", [example(tmp_path, 0, read_truth=None, box=Box(50, 20, 50, 50))])
    assert list_figures(boxes) == BOX_FIGURES
    scoring = score(boxes, tmp_path)
    scale, offset = 128 / HEIGHT, round((int(128 * WIDTH / HEIGHT) - 128) / 2)
    left, top, right, bottom = 50 * scale - offset, 20 * scale, 100 * scale - offset, 70 * scale
    across, down = min(100, right) - max(19, left), min(90, bottom) - max(20, top)
    union = (right - left) * (bottom - top) + (100 - 19) * (90 - 20) - across * down
    found_iou = for_data_set(scoring.choices["iem"]).means.mean["box_iou"]
    assert found_iou == pytest.approx(across * down / union, abs=0.01)


def test_boxes_that_reach_out_of_their_images_are_counted(tmp_path: Path) -> None:
    boxes = [example(tmp_path, i, read_truth=None, box=Box(0, 0, 100 + 61 * i, 50)) for i in range(3)]
    scoring = score(Dataset("", boxes), tmp_path)
    assert (scoring.n, scoring.beyond) == (3, 1)  # one pixel too many is a matter of rounding
    tables = [results_table("folder", "", scoring)]
    assert "Boxes that reach out of their images, perhaps of others: 1." in explain("folder", tables, scoring)


def test_masks_and_boxes_are_scored_together_if_all_have_both(dataset: Dataset, tmp_path: Path) -> None:
    both = [example(tmp_path, number, box=Box(50, 20, 50, 50)) for number in range(3)]
    assert list_figures(Dataset("", both)) == (*MASK_FIGURES, *BOX_FIGURES)
    assert list_figures(Dataset("", [*both[:2], dataset.examples[2]])) == MASK_FIGURES


def test_an_image_without_a_box_costs_itself_alone_where_there_are_no_masks(tmp_path: Path) -> None:
    boxes = [Box(50, 20, 50, 50), None, Box(50, 20, 50, 50)]
    examples = [example(tmp_path, number, read_truth=None, box=box) for number, box in enumerate(boxes)]
    assert list_figures(Dataset("", examples)) == BOX_FIGURES
    scoring = score(Dataset("", examples), tmp_path)
    assert (scoring.n, scoring.failed) == (2, {"1": "has no box"})


def test_a_data_set_without_any_truth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holiday: has neither masks nor boxes"):
        list_figures(Dataset("holiday", [example(tmp_path, 0, read_truth=None)]))


def test_images_without_a_file_are_unpacked_and_those_that_are_not_there_left_out(tmp_path: Path) -> None:
    contents = example(tmp_path, 0).file
    assert isinstance(contents, Path)

    def gone() -> bytes:
        raise ImageError("no such key")

    packed = Dataset("", [Example("a/b", contents.read_bytes, box=Box(0, 0, 9, 9)), Example("c", gone)])
    (source,) = find_sources(packed, tmp_path / "images")
    assert source.mask == "a/b.png"
    assert source.path.read_bytes() == contents.read_bytes()
    with make_run(tmp_path, IEM, Dataset("", packed.examples[:1])) as run:
        scoring = score_runs(packed, {IEM: run}, tmp_path / "images", workers=1)
    assert scoring.failed["c"] == "no such key"
