"""The tables of a reproduction: the paper's rows beside those measured here."""

from __future__ import annotations

from iem_xp.reproduction.published import ABLATIONS as PUBLISHED_ABLATIONS
from iem_xp.reproduction.published import RESULTS, Published
from iem_xp.reproduction.scoring import Row, Scoring
from iem_xp.reproduction.studies import ABLATIONS, FLOORS, GRABCUT, IEM
from iem_xp.reproduction.tables import Line, Table


def results_table(kind: str, title: str, scoring: Scoring) -> Table:
    """Tables 1 to 3: what the paper reports of this kind of data set, and what was measured here."""
    iem = scoring.choices[IEM.name]
    rows = [iem.for_data_set, *iem.for_each_side, iem.for_each_image, iem.by_truth]
    if GRABCUT.name in scoring.choices:
        rows += scoring.choices[GRABCUT.name].for_each_side
    rows += [scoring.choices[study.name].best_side for study in FLOORS if study.name in scoring.choices]
    lines = [Line.published(row) for row in RESULTS.get(kind, ())] + [Line.measured(row) for row in rows]
    return Table(f"{title}, {scoring.n} images", scoring.figures, lines)


def ablation_table(kind: str, title: str, scoring: Scoring) -> Table:
    """Table 4: the method with one thing left out at a time, beside the paper of this data set or both."""
    lines = []
    for study in (IEM, *ABLATIONS):
        for data_set, iou in PUBLISHED_ABLATIONS[study.name]._asdict().items():
            if kind == data_set or kind not in PUBLISHED_ABLATIONS[study.name]._fields:
                lines.append(Line.published(Published(f"{study.title}, {data_set}", iou=iou)))
        choices = scoring.choices[study.name]
        lines.append(Line.measured(Row(f"{study.title} ({choices.side})", choices.for_data_set.means)))
    return Table(f"{title}, ablation", scoring.figures, lines)
