"""Tables of methods: as text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from iem_xp.evaluation.scores import BOX_FIGURES, MASK_FIGURES, by_polarity
from iem_xp.reproduction.published import Published
from iem_xp.reproduction.scoring import Row

_NAMES = ("accuracy", "IoU", "mIoU", "DICE")
_HEADINGS = dict(zip((*MASK_FIGURES, *BOX_FIGURES), (*_NAMES, *_NAMES, "box IoU", "localised"), strict=True))
_WITH_ERROR = ("either_iou", "fixed_iou", "box_iou")


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Attributes
    ----------
    method : str
    source : str
        "paper", or "here" for what was measured.
    n : int, optional
        Images of which the figures are means.
    means, standard_errors : dict
        By figure, in [0, 1]; of figures that are not known there is none.
    """

    method: str
    source: str
    n: int | None = None
    means: Mapping[str, float | None] = field(default_factory=dict)
    standard_errors: Mapping[str, float | None] = field(default_factory=dict)

    @classmethod
    def measured(cls, row: Row) -> Line:
        """Line of a row that was measured."""
        return cls(row.method, "here", row.means.n, row.means.mean, row.means.standard_error)

    @classmethod
    def published(cls, row: Published) -> Line:
        """Line of a row of the paper, whose figures are of either polarity."""
        method, *figures = row
        return cls(method, "paper", means=dict(zip(MASK_FIGURES, figures, strict=False)))

    def as_dict(self) -> dict[str, Any]:
        """The line as JSON values, figures by polarity."""
        return {
            "method": self.method,
            "source": self.source,
            "n": self.n,
            **by_polarity(self.means),
            "standard_error": by_polarity(self.standard_errors),
        }


@dataclass(frozen=True)
class Table:
    """Methods side by side.

    Attributes
    ----------
    title : str
    figures : sequence of str
        Columns, of `MASK_FIGURES` and `BOX_FIGURES`.
    lines : sequence of Line
    """

    title: str
    figures: Sequence[str]
    lines: Sequence[Line]

    def to_text(self) -> str:
        """Aligned columns, means in %."""
        polarities = ["", "", *self._polarities()]
        rows = [polarities, self._headings(), *map(self._cells, self.lines)]
        widths = [max(map(len, column)) for column in zip(*rows[1:], strict=True)]
        aligned = [
            "  ".join(
                cell.ljust(width) if i < 2 or row is polarities else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([self.title, *(line for line in aligned if line)])

    def to_markdown(self) -> str:
        """A table of pipes, means in %."""
        headings = [
            f"{polarity} {heading}".strip()
            for polarity, heading in zip(["", "", *self._repeated()], self._headings(), strict=True)
        ]
        rules = ["---", "---", *["---:"] * len(self.figures)]
        rows = [headings, rules, *map(self._cells, self.lines)]
        return "\n".join([f"**{self.title}**", "", *(f"| {' | '.join(row)} |" for row in rows)])

    def _headings(self) -> list[str]:
        return ["method", "from", *(_HEADINGS[figure] for figure in self.figures)]

    def _cells(self, line: Line) -> list[str]:
        return [line.method, line.source, *(_cell(line, figure) for figure in self.figures)]

    def _repeated(self) -> list[str]:
        """The polarity of each figure; none of a box."""
        return [figure.partition("_")[0] if figure in MASK_FIGURES else "" for figure in self.figures]

    def _polarities(self) -> list[str]:
        """The polarity of each figure, where it differs from that of the one before."""
        repeated = self._repeated()
        return [
            one if one != before else "" for one, before in zip(repeated, ["", *repeated[:-1]], strict=True)
        ]


def to_csv(tables: Sequence[Table]) -> str:
    """Tables of the same columns as one: means and standard errors in [0, 1], not rounded."""
    file = StringIO()
    writer = csv.writer(file, lineterminator="\n")
    figures = tables[0].figures
    errors = [f"{figure}_standard_error" for figure in figures]
    writer.writerow(["table", "method", "from", "n", *figures, *errors])
    for table in tables:
        for line in table.lines:
            values = [found.get(figure) for found in (line.means, line.standard_errors) for figure in figures]
            writer.writerow([table.title, line.method, line.source, line.n, *values])
    return file.getvalue()


def _cell(line: Line, figure: str) -> str:
    mean, error = line.means.get(figure), line.standard_errors.get(figure)
    if mean is None:
        return "-"
    spread = f" ±{100 * error:.1f}" if error is not None and figure in _WITH_ERROR else ""
    return f"{100 * mean:.1f}{spread}"
