"""Scores of every image as a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import TextIO

from iem_xp.evaluation.comparing import Comparison


class Table:
    """Writes a row for each image: name, width, height, its figures, and what there is to say of it.

    Parameters
    ----------
    file : text file
        Opened with ``newline=""``.
    figures : sequence of str
        Figures of every score, such as `iem_xp.evaluation.scores.MASK_FIGURES`.
    """

    def __init__(self, file: TextIO, figures: Sequence[str]) -> None:
        columns = ["name", "width", "height", *figures, "note"]
        self._rows = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        self._rows.writeheader()

    def add(self, comparison: Comparison) -> None:
        """Write the row of a pair; its figures are empty if there is no score."""
        name, score, width, height, notes, error = comparison
        note = "; ".join(notes) if error is None else f"failed: {error}"
        self._rows.writerow({"name": name, "width": width, "height": height, **(score or {}), "note": note})

    def add_missing(self, missing: Mapping[str, str | None]) -> None:
        """Write the rows of ground truth that has no mask, with the cause if it is known."""
        for name, cause in missing.items():
            self._rows.writerow({"name": name, "note": f"missing: {cause}" if cause else "missing"})
