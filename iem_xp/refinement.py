"""What `refine` makes of a run, where it keeps it, and what must be the same for it to continue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from iem_xp.curation import Curation
from iem_xp.files import remove
from iem_xp.models import is_begun
from iem_xp.pseudo_labels import LabelError, read_meta
from iem_xp.runs.database import RunError
from iem_xp.runs.settings import differences
from iem_xp.runs.store import Run

KEY = "refinement"
"""Of what a run knows of its refinement, among its facts: the configuration, and a record of each round."""

STAGES = ("labels", "training", "prediction")


class Round(NamedTuple):
    """Where a round of selection, training and prediction lies.

    Attributes
    ----------
    number : int
        From 1.
    selected : Path
        Folder of the run that its labels are selected from.
    model, labels : Path
        Folders of its network and, in there, of its labels.
    refined : Path
        Folder of the run that its network makes.
    """

    number: int
    selected: Path
    model: Path
    labels: Path
    refined: Path


@dataclass(frozen=True)
class Refinement:
    """Choices of a refinement; only the same ones continue it.

    Attributes
    ----------
    top : int
        Labels to select: the best masks, as `Run.ranked` orders them.
    curation : Curation
        Which masks may be labels.
    trainer : str
    options : mapping
        Given to the trainer.
    then_iem : bool
        Whether to search on from the network's masks.
    rounds : int
        How often to select and train; from the second time on, among the masks of the round before.
    probabilities : bool
        Whether to write probabilities beside the masks.
    """

    top: int = 8000
    curation: Curation = field(default_factory=Curation)
    trainer: str = "keras"
    options: Mapping[str, Any] = field(default_factory=dict)
    then_iem: bool = False
    rounds: int = 1
    probabilities: bool = False

    def as_dict(self) -> dict[str, Any]:
        """All choices by name, as JSON values."""
        choices = {choice.name: getattr(self, choice.name) for choice in fields(self)}
        return {**choices, "curation": self.curation.as_dict()}

    def places(self, folder: Path) -> list[Round]:
        """Return the places of all rounds in the folder of a run; the last one lies at its top."""
        places: list[Round] = []
        for number in range(1, self.rounds + 1):
            base = folder if number == self.rounds else folder / "rounds" / str(number)
            selected = places[-1].refined if places else folder
            model = base / "models" / self.trainer
            places.append(Round(number, selected, model, model / "labels", base / "refined"))
        return places

    def begin(self, run: Run, *, overwrite: bool = False) -> list[Round]:
        """Begin or continue a refinement of a run; return the rounds that are left to do.

        Until a network is being trained, nothing is there that other choices could be mixed with.

        Parameters
        ----------
        run : Run
            Open to write.
        overwrite : bool
            Whether to remove the masks, the rounds and the trainer's network that are there.

        Raises
        ------
        RunError
            If a refinement by other choices is there.
        """
        there, places = run.get_meta(KEY), self.places(run.folder)
        if overwrite:
            # Networks go first: if this is cut short, new ones do not continue what is left of their masks.
            networks = places[-1].model, *run.folder.glob("rounds/*/models")
            for path in (*networks, run.folder / "rounds", run.folder / "refined"):
                remove(path)
            there = None
        elif there is not None and (lines := differences(there["configuration"], self.as_dict())):
            begun = run.folder.glob("models/*"), run.folder.glob("rounds/*/models/*")
            if any(is_begun(model) for models in begun for model in models):
                raise RunError(
                    f"{run.folder}: was refined with another configuration\n{lines}"
                    "use --overwrite to replace refined/, rounds/ and the network; masks/ stays"
                )
            there = None
        if there is None:
            run.set_meta(KEY, {"configuration": self.as_dict(), "rounds": [{} for _ in places]})
        # Once the labels of a round are there, what they were selected from is not needed any more.
        known = [place for place in places if place.number > 1 and self.has_labels(place)]
        return places[known[-1].number - 1 :] if known else places

    def has_labels(self, place: Round) -> bool:
        """Whether the labels of a round are there: complete, and selected from its run by these choices."""
        try:
            meta = read_meta(place.labels)
        except LabelError:
            return False
        if place.number > 1 and Path(meta["run"]).parts[-3:] != place.selected.parts[-3:]:
            return False  # of the run itself, for a network that was refused before rounds were asked for
        return not differences(
            {"top": meta["top"], "curation": meta["curation"]},
            {"top": self.top, "curation": self.curation.as_dict()},
        )


def record(run: Run, place: Round, stage: str, seconds: float, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Add to the record of a round in its run: the time that a stage took, and what came of it."""
    kept = run.get_meta(KEY)
    entry: dict[str, Any] = kept["rounds"][place.number - 1]
    spent = entry.setdefault("seconds", dict.fromkeys(STAGES, 0.0))
    spent[stage] = round(spent[stage] + seconds, 3)
    entry.update(facts)
    run.set_meta(KEY, kept)
    return entry
