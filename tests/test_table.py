from __future__ import annotations

from io import StringIO

from iem_xp.evaluation.comparing import Comparison
from iem_xp.evaluation.table import Table


def test_every_name_has_a_row_and_what_is_not_known_is_empty() -> None:
    file = StringIO()
    table = Table(file, ["fixed_iou", "box_iou"])
    table.add(Comparison("sub/a, b", {"box_iou": 1 / 3, "fixed_iou": 0.0}, 40, 30, ("resized", "odd")))
    table.add(Comparison("c", error='c.png: not "an image"'))
    table.add_missing({"d": None, "e": "e.jpg: no such file"})
    assert file.getvalue().split("\n") == [
        "name,width,height,fixed_iou,box_iou,note",
        '"sub/a, b",40,30,0.0,0.3333333333333333,resized; odd',
        'c,,,,,"failed: c.png: not ""an image"""',
        "d,,,,,missing",
        "e,,,,,missing: e.jpg: no such file",
        "",
    ]
