"""One session of refining a run: its stages, with progress, interruption and summary."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from iem_xp.models import Facts, describe, open_model, settings_of, train_model
from iem_xp.prediction import Network
from iem_xp.pseudo_labels import export_labels, read_meta
from iem_xp.refinement import KEY, Refinement, Round, record
from iem_xp.runs.records import Output
from iem_xp.runs.settings import Settings
from iem_xp.runs.store import Run
from iem_xp.trainers import Progress
from iem_xp_cli.export_labels import remarks
from iem_xp_cli.printing import say
from iem_xp_cli.session import announce_engine, progress, segment_folder


def refine_run(
    run: Run, refinement: Refinement, workers: int, device: str, *, overwrite: bool = False
) -> dict[str, Any]:
    """Refine a run, or do what is left to do of it, with progress bars on a terminal.

    An interruption (Ctrl-C) leaves what can be continued; the KeyboardInterrupt then says so.

    Parameters
    ----------
    run : Run
        Open to write, with images that are done.
    refinement : Refinement
    workers : int
        Threads that read and write.
    device : str
        "cpu" or "gpu:N", where inpainting errors are computed and searches made.
    overwrite : bool
        Whether to replace a refinement that is there.

    Returns
    -------
    dict
        The summary that ``iem-xp refine --json`` prints.

    Raises
    ------
    RunError
        If a refinement by other choices is there.
    LabelError
        If no mask can be a label.
    ModelError, TrainerError
        If the network cannot be trained, or the trainer not be had.
    OSError
        If the run cannot be written to.
    """
    session = _Session(run, refinement, workers, device, overwrite)
    *before, last = refinement.begin(run, overwrite=overwrite)
    for place in before:
        session.refine(place)
    return session.refine(last)


class _Session:
    """What the stages of all rounds share."""

    def __init__(self, run: Run, refinement: Refinement, workers: int, device: str, overwrite: bool) -> None:
        self._run = run
        self._refinement = refinement
        self._workers, self._device, self._overwrite = workers, device, overwrite

    def refine(self, place: Round) -> dict[str, Any]:
        """Do what is left to do of a round, and return a summary."""
        if self._refinement.rounds > 1:
            say([f"round {place.number} of {self._refinement.rounds}"])
        with self._stage(place, "labels") as done:
            if not self._refinement.has_labels(place):
                self._export(place)
            done["labels"] = read_meta(place.labels)["count"]
        with self._stage(place, "training") as done:
            facts = self._train(place)
            done |= {name: facts[name] for name in ("epochs", "figures")} | {"network": facts["id"]}
        with self._stage(place, "prediction") as done:
            summary = self._predict(place)
        rounds = self._run.get_meta(KEY)["rounds"]
        made = {"run": str(place.refined), "model": str(place.model)} | rounds[place.number - 1]
        made |= {name: summary[name] for name in ("skipped", "failed", "fit")}
        return made | {"predicted": summary["done"], "rounds": rounds}

    @contextmanager
    def _stage(self, place: Round, stage: str) -> Iterator[dict[str, Any]]:
        """Record the time that a stage took, and what the block adds to the mapping that it is given."""
        done: dict[str, Any] = {}
        start = time.perf_counter()
        try:
            yield done
        except KeyboardInterrupt as error:
            where = f"round {place.number}, " if self._refinement.rounds > 1 else ""
            again = f"the same command{' without --overwrite' if self._overwrite else ''} continues"
            raise KeyboardInterrupt(f"{where}{stage}: {'; '.join([*error.args, again])}") from None
        finally:
            record(self._run, place, stage, time.perf_counter() - start, done)

    def _export(self, place: Round) -> None:
        top = self._refinement.top
        with Run.open(place.selected, to_write=False) as selected:
            counts = selected.counts()
            with progress("exporting labels", min(top, counts.done)) as advance:
                exported = export_labels(
                    selected,
                    place.labels,
                    top,
                    self._refinement.curation,
                    workers=self._workers,
                    overwrite=True,
                    advance=advance,
                )
        say(remarks(exported, top, counts.waiting))

    def _train(self, place: Round) -> Facts:
        labels = read_meta(place.labels)
        settings = Settings.of_configuration(self._run.get_meta("configuration"))
        settings = settings.updated({name: labels[name] for name in ("size", "fit")})
        facts = describe(self._refinement.trainer, settings, self._refinement.options)
        with _training() as report:
            return train_model(place.model, place.labels, facts, report)

    def _predict(self, place: Round) -> dict[str, Any]:
        model, facts = open_model(place.model)
        probabilities = self._refinement.probabilities
        outputs: list[Output] = ["probability"] if probabilities else []
        network = Network(
            model,
            facts,
            then_iem=self._refinement.then_iem,
            probabilities=probabilities,
            device=self._device,
            announce=announce_engine,
        )
        try:
            return segment_folder(
                (entry.source for entry in self._run.segmented()),
                place.refined,
                settings_of(facts),
                network,
                workers=self._workers,
                outputs=outputs,
                total=self._run.counts().done,
                store=self._run.get_meta("configuration")["store"],
                redo_changed=True,
                title="predicting",
            )
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(*(str(arg).partition(";")[0] for arg in error.args)) from None


@contextmanager
def _training() -> Iterator[Progress]:
    """Show the steps of a training, their rate, the time left and the figures, on a terminal."""
    done, of = 0, 0
    with tqdm(desc="training", unit="step", disable=None, smoothing=0.05) as bar:

        def report(step: int, steps: int, figures: Mapping[str, float]) -> None:
            nonlocal done, of
            if not of:
                bar.reset(steps)
                # What was done before an interruption took no time now, and says nothing of the rate.
                bar.initial = bar.n = bar.last_print_n = done = step
            bar.update(step - done)
            done, of = step, steps
            bar.set_postfix(figures, refresh=False)

        try:
            yield report
        except KeyboardInterrupt:
            raise KeyboardInterrupt(*([f"{done} of {of} steps are done"] if of else [])) from None
