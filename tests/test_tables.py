from __future__ import annotations

import csv
import re
from io import StringIO

import pytest

from iem_xp.evaluation.scores import BOX_FIGURES, MASK_FIGURES, Means
from iem_xp.reproduction.published import ABLATIONS, RESULTS, Published
from iem_xp.reproduction.scoring import BY_TRUTH, FOR_DATA_SET, FOR_IMAGE, Row
from iem_xp.reproduction.tables import Line, Table, to_csv

PRINTED = {
    "flowers": """\
GrabCut: 82.0 69.2 70.0 79.1
ReDO: 87.9 76.4 - -
IEM: 88.3 76.8 79.0 84.6
IEM + SegNet: 89.6 78.9 80.8 86.0""",
    "cub": """\
GrabCut: 72.3 36.0 52.3 48.7
ReDO: 84.5 42.6 - -
PerturbGAN: - - 38.0 -
IEM: 88.6 52.2 69.6 66.0
IEM + SegNet: 89.3 55.1 71.4 68.7""",
    "lsun-car": """\
GrabCut: 69.1 57.6 53.4 71.8
PerturbGAN: - - 54.0 -
IEM: 76.2 65.1 61.5 78.1
IEM + SegNet: 77.8 68.5 63.2 80.5""",
}
"""Tables 1 to 3 of the paper."""


def measured(figures: tuple[str, ...] = MASK_FIGURES, *, paper: bool = False) -> Line:
    means = Means(figures)
    for value in (0.5, 0.75):
        means.add(dict.fromkeys(figures, value))
    return Line.measured(Row("IEM", 78, FOR_DATA_SET, means), {"cub": 0.522} if paper else None)


def table(figures: tuple[str, ...] = MASK_FIGURES) -> Table:
    groups = [[Line.published(Published("ReDO", 0.879, 0.764))], [measured(figures)]]
    return Table("results", "flowers, 2 images", figures, groups)


def test_the_text_shows_per_cent_and_the_error_of_the_iou() -> None:
    title, polarities, headings, before, redo, between, iem = table().to_text().splitlines()
    assert before == between == ""
    assert title == "flowers, 2 images"
    assert polarities.split() == ["either", "fixed"]
    assert headings.split() == ["method", "from", *["accuracy", "IoU", "mIoU", "DICE"] * 2]
    assert redo.split() == ["ReDO", "paper", "87.9", "76.4", *["-"] * 6]
    assert iem.split() == ["IEM,", "78", "*", "here", *["62.5", "62.5", "±12.5", "62.5", "62.5"] * 2]
    assert polarities.index("either") == len(headings[: headings.index("accuracy")])


def test_markdown_names_the_polarity_of_every_column() -> None:
    _, _, headings, rule, *rows = table().to_markdown().splitlines()
    assert headings.startswith(
        "| method | from | either accuracy | either IoU | either mIoU | either DICE | fixed"
    )
    assert {line.count("|") for line in (headings, rule, *rows)} == {11}


def test_boxes_have_no_polarity() -> None:
    assert table(BOX_FIGURES).to_markdown().splitlines()[2] == "| method | from | box IoU | localised |"
    assert "either" not in table(BOX_FIGURES).to_text()


def test_csv_is_not_rounded_and_has_one_head() -> None:
    rows = list(csv.DictReader(StringIO(to_csv([table(), table()]))))
    assert len(rows) == 4
    assert rows[0]["either_iou"] == "0.764"
    assert rows[0]["fixed_iou"] == rows[0]["n"] == ""
    assert [rows[1][column] for column in ("table", "method", "square", "choice", "from", "n")] == [
        "results", "IEM", "78", "data set", "here", "2",
    ]  # fmt: skip
    assert float(rows[1]["fixed_dice_standard_error"]) == 0.125


@pytest.mark.parametrize(
    ("square", "choice", "name"),
    [
        (None, None, "ReDO"),
        (78, None, "ReDO, 78"),
        (78, FOR_DATA_SET, "ReDO, 78 *"),
        (None, FOR_IMAGE, "ReDO, chosen per image"),
        (None, BY_TRUTH, "ReDO, chosen per image †"),
        (112, BY_TRUTH, "ReDO, 112 †"),
    ],
)
def test_a_name_tells_what_was_chosen_and_how(square: int | None, choice: str | None, name: str) -> None:
    assert Line("ReDO", "here", square, choice).name == name


def test_what_the_paper_reports_of_the_same_has_columns_of_its_own() -> None:
    groups = [[measured(("fixed_iou",), paper=True)]]
    table = Table("ablation", "a|b", ("fixed_iou",), groups, ["cub", "flowers"])
    headings, _, line = table.to_text().splitlines()[-3:]
    assert re.split(" {2,}", headings) == [
        "method",
        "from",
        "paper's IoU, cub",
        "paper's IoU, flowers",
        "IoU",
    ]
    assert line.split() == ["IEM,", "78", "*", "here", "52.2", "-", "62.5", "±12.5"]
    assert table.to_markdown().startswith("**a\\|b**")
    (row,) = csv.DictReader(StringIO(to_csv([table])))
    assert (row["paper_iou_cub"], row["paper_iou_flowers"]) == ("0.522", "")
    assert table.lines[0].as_dict()["paper_iou"] == {"cub": 0.522}


def test_json_has_figures_by_polarity() -> None:
    line = measured((*MASK_FIGURES, *BOX_FIGURES)).as_dict()
    assert line["either"] == {"accuracy": 0.625, "iou": 0.625, "miou": 0.625, "dice": 0.625}
    assert line["fixed"] == line["either"]
    assert (line["box_iou"], line["n"], line["source"]) == (0.625, 2, "here")
    assert line["standard_error"]["either"]["iou"] == 0.125


@pytest.mark.parametrize(("kind", "expected"), PRINTED.items())
def test_the_paper_s_rows_are_as_printed_there_of_either_polarity(kind: str, expected: str) -> None:
    either = MASK_FIGURES[:4]
    assert all(figure.startswith("either") for figure in either)
    table = Table("", "", either, [[Line.published(row) for row in RESULTS[kind]]])
    _, _, _, _, *rows = table.to_text().splitlines()
    shown = [row.split() for row in rows]
    assert shown == [line.replace(":", " paper ").split() for line in expected.splitlines()]


def test_the_paper_s_ablation_is_as_printed_there() -> None:
    printed = {"iem": (52.2, 76.8), "no-diversity": (50.6, 68.0)}
    printed |= {"no-smoothing": (47.0, 75.7), "any-pixel": (42.8, 76.6)}
    assert {name: tuple(round(100 * iou, 1) for iou in row) for name, row in ABLATIONS.items()} == printed
    assert ABLATIONS["iem"]._fields == ("cub", "flowers")
