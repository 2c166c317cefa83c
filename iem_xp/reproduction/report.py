"""The tables of a reproduction: the paper's rows beside those measured here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from iem_xp.boxes import LOCALISED
from iem_xp.evaluation.scores import BOX_FIGURES, MASK_FIGURES
from iem_xp.reproduction.published import ABLATIONS as PUBLISHED_ABLATIONS
from iem_xp.reproduction.published import IMAGES, RESULTS, Ablation
from iem_xp.reproduction.scoring import FOR_DATA_SET, Scoring
from iem_xp.reproduction.studies import ABLATIONS, BEST, FLOORS, GRABCUT, IEM, REFINED
from iem_xp.reproduction.tables import Line, Table


def results_table(kind: str, title: str, scoring: Scoring) -> Table:
    """Tables 1 to 3: what the paper reports of this kind of data set, and what was measured here."""
    iem = scoring.choices[IEM.name]
    groups = [[*iem.for_each_side, iem.for_each_image, iem.by_truth]]
    for study in (REFINED, BEST):
        if study.name in scoring.choices:
            (row,) = scoring.choices[study.name].for_each_side
            groups.append([row._replace(square=None, choice=None)])
    if GRABCUT.name in scoring.choices:
        grabcut = scoring.choices[GRABCUT.name].for_each_side
        groups.append([row._replace(choice=None) for row in grabcut])  # The paper chooses none of these.
    groups.append(
        [scoring.choices[study.name].best_side for study in FLOORS if study.name in scoring.choices]
    )
    lines = [[Line.measured(row) for row in group] for group in groups]
    # The paper's are of masks, which boxes alone cannot be beside.
    paper = RESULTS.get(kind, ()) if MASK_FIGURES[0] in scoring.figures else ()
    return Table("results", title, scoring.figures, [list(map(Line.published, paper)), *lines])


def ablation_table(kind: str, title: str, scoring: Scoring) -> Table:
    """Table 4: the method with one thing left out at a time, beside the paper of this data set or both."""
    papers = [kind] if kind in Ablation._fields else list(Ablation._fields)
    if MASK_FIGURES[0] not in scoring.figures:
        papers = []
    groups = []
    for study in (IEM, *ABLATIONS):
        published = PUBLISHED_ABLATIONS[study.name]._asdict()
        iou = {paper: published[paper] for paper in papers}
        rows = scoring.choices[study.name].for_each_side
        groups.append([Line.measured(row, iou if row.choice == FOR_DATA_SET else None) for row in rows])
    return Table("ablation", f"{title}: ablation", scoring.figures, groups, papers)


def explain(kind: str, tables: Sequence[Table], scoring: Scoring) -> Iterator[str]:
    """Explain the figures and marks of tables, a line each."""
    figures = tables[0].figures
    yield "Means over images in %, ± standard error."
    if MASK_FIGURES[0] in figures:
        yield "either: the better of each mask and its complement, as in the paper; fixed: the mask as it is."
    if BOX_FIGURES[0] in figures:
        yield f"box IoU: of the box around a mask's largest part; localised: the share above {LOCALISED}."
    yield "After a comma the initial square. * chosen for the data set without labels: the paper's protocol."
    iou = "IoU of either polarity" if MASK_FIGURES[0] in figures else "box IoU"
    yield f"† chosen by ground truth, for the highest {iou}: a bound of that, not a result."
    if any(line.source == "paper" for line in tables[0].lines):
        yield f"The paper's own rows are of its test of {IMAGES[kind]:,} images."
    elif kind in RESULTS:
        yield "The paper's own rows are of masks, of which there are none here."
    if BOX_FIGURES[0] in figures and scoring.beyond:
        yield f"Boxes that reach out of their images, perhaps of others: {scoring.beyond}."
    studies = (IEM, REFINED, BEST, *ABLATIONS, GRABCUT)
    computed = {study.title: scoring.engines.get(study.name) for study in studies}
    if any(computed.values()):
        yield "; ".join(f"{title}: {', '.join(names)}" for title, names in computed.items() if names) + "."
