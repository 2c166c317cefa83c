"""Tables of methods: as text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from iem_xp.evaluation.scores import HEADINGS, MASK_FIGURES, by_polarity
from iem_xp.reproduction.published import Published
from iem_xp.reproduction.scoring import BY_TRUTH, FOR_DATA_SET, Row

_WITH_ERROR = ("either_iou", "fixed_iou", "box_iou")
_TEXTS = 2
"""Columns of text, before those of numbers."""


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Attributes
    ----------
    method : str
    source : str
        "paper", or "here" for what was measured.
    square : int, optional
        Side of the initial square, if it is one for all images.
    choice : str, optional
        By what the square was chosen, if it was, as in `Row`.
    n : int, optional
        Images of which the figures are means.
    means, standard_errors : dict
        By figure, in [0, 1]; of figures that are not known there is none.
    paper_iou : dict
        What the paper reports beside, in [0, 1], by data set.
    """

    method: str
    source: str
    square: int | None = None
    choice: str | None = None
    n: int | None = None
    means: Mapping[str, float | None] = field(default_factory=dict)
    standard_errors: Mapping[str, float | None] = field(default_factory=dict)
    paper_iou: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def measured(cls, row: Row, paper_iou: Mapping[str, float] | None = None) -> Line:
        """Line of a row that was measured."""
        method, square, choice, means = row
        return cls(method, "here", square, choice, means.n, means.mean, means.standard_error, paper_iou or {})

    @classmethod
    def published(cls, row: Published) -> Line:
        """Line of a row of the paper, whose figures are of either polarity."""
        method, *figures = row
        either = dict(zip(MASK_FIGURES, figures, strict=False))
        return cls(method, "paper", means=dict.fromkeys(MASK_FIGURES) | either)

    @property
    def name(self) -> str:
        """The method with its square: * is chosen without labels for the data set, † by ground truth."""
        chosen = ", chosen per image" if self.choice else ""
        square = chosen if self.square is None else f", {self.square}"
        mark = {FOR_DATA_SET: " *", BY_TRUTH: " †"}.get(self.choice or "", "")
        return f"{self.method}{square}{mark}"

    def as_dict(self) -> dict[str, Any]:
        """The line as JSON values, figures by polarity."""
        return {
            "method": self.method,
            "square": self.square,
            "choice": self.choice,
            "source": self.source,
            "n": self.n,
            **by_polarity(self.means),
            "standard_error": by_polarity(self.standard_errors),
            **({"paper_iou": dict(self.paper_iou)} if self.paper_iou else {}),
        }


@dataclass(frozen=True)
class Table:
    """Methods side by side.

    Attributes
    ----------
    name : str
        What it is, in a word.
    title : str
        Of what data.
    figures : sequence of str
        Columns, of `MASK_FIGURES` and `BOX_FIGURES`.
    groups : sequence of sequences of Line
    papers : sequence of str
        Data sets of which the paper's IoU has a column.
    """

    name: str
    title: str
    figures: Sequence[str]
    groups: Sequence[Sequence[Line]]
    papers: Sequence[str] = ()

    @property
    def lines(self) -> list[Line]:
        """All lines."""
        return [line for group in self.groups for line in group]

    def to_text(self) -> str:
        """Aligned columns, means in %, an empty line between groups."""
        polarities = [""] * (_TEXTS + len(self.papers)) + self._polarities()
        groups = [[self._cells(line) for line in group] for group in self.groups if group]
        rows = [self._headings(), *(row for group in groups for row in group)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        above = "  ".join(cell.ljust(width) for cell, width in zip(polarities, widths, strict=True)).rstrip()
        head = [self.title, *([above] if above else []), _aligned(rows[0], widths)]
        return "\n".join(
            head + [line for group in groups for line in ["", *(_aligned(r, widths) for r in group)]]
        )

    def to_markdown(self) -> str:
        """A table of pipes, means in %."""
        polarities = [""] * (_TEXTS + len(self.papers)) + self._repeated()
        headings = [
            f"{above} {below}".strip() for above, below in zip(polarities, self._headings(), strict=True)
        ]
        rules = ["---"] * _TEXTS + ["---:"] * (len(headings) - _TEXTS)
        rows = [headings, rules, *map(self._cells, self.lines)]
        title = self.title.replace("|", "\\|")
        return "\n".join([f"**{title}**", "", *(f"| {' | '.join(row)} |" for row in rows)])

    def _headings(self) -> list[str]:
        papers = [f"paper's IoU, {paper}" for paper in self.papers]
        return ["method", "from", *papers, *(HEADINGS[figure] for figure in self.figures)]

    def _cells(self, line: Line) -> list[str]:
        papers = [_per_cent(line.paper_iou.get(paper)) for paper in self.papers]
        return [line.name, line.source, *papers, *(_cell(line, figure) for figure in self.figures)]

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
    """Tables of the same figures as one: means and standard errors in [0, 1], not rounded."""
    file = StringIO()
    writer = csv.writer(file, lineterminator="\n")
    figures = tables[0].figures
    papers = list(dict.fromkeys(paper for table in tables for paper in table.papers))
    errors = [f"{figure}_standard_error" for figure in figures]
    known = [f"paper_iou_{paper}" for paper in papers]
    writer.writerow(["table", "method", "square", "choice", "from", "n", *figures, *errors, *known])
    for table in tables:
        for line in table.lines:
            values = [found.get(figure) for found in (line.means, line.standard_errors) for figure in figures]
            values += [line.paper_iou.get(paper) for paper in papers]
            writer.writerow([table.name, line.method, line.square, line.choice, line.source, line.n, *values])
    return file.getvalue()


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = zip(row, widths, strict=True)
    return "  ".join(
        cell.ljust(width) if i < _TEXTS else cell.rjust(width) for i, (cell, width) in enumerate(cells)
    ).rstrip()


def _cell(line: Line, figure: str) -> str:
    error = line.standard_errors.get(figure)
    spread = f" ±{_per_cent(error)}" if error is not None and figure in _WITH_ERROR else ""
    return _per_cent(line.means.get(figure)) + spread


def _per_cent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
