"""`iem-xp trainers`: the plugins that train networks."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

import click

from iem_xp.trainers import Listed, TrainerError, list_trainers, load_trainer
from iem_xp_cli.helping import HelpfulCommand
from iem_xp_cli.options import warnings_shown
from iem_xp_cli.printing import say


@click.command(
    "trainers",
    cls=HelpfulCommand,
    examples={"iem-xp trainers --check": "Whether each works here"},
)
@click.option(
    "--check", is_flag=True, help="Also import each, which takes its time, and warn of those that fail."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(check: bool, as_json: bool) -> None:
    """List the installed trainers of networks, and what they lack.

    A trainer comes with a package that has an entry point of the group iem_xp.trainers; keras is ours.

    Exit status: 0, or 1 if one cannot be imported, which only --check finds out.
    """
    with warnings_shown(UserWarning):
        trainers = list_trainers()
        errors = {trainer.name: _try(trainer) for trainer in trainers} if check else {}
    say(f"warning: {error}" for error in filter(None, errors.values()))
    if as_json:
        checked = ({"error": errors[trainer.name]} if check else {} for trainer in trainers)
        listed = [{**asdict(trainer), **more} for trainer, more in zip(trainers, checked, strict=True)]
        click.echo(json.dumps({"trainers": listed}))
    else:
        click.echo("\n".join(_as_text(trainers, errors)) or "no trainer is installed")
    if any(errors.values()):
        sys.exit(1)


def _try(trainer: Listed) -> str | None:
    """Why a trainer cannot be loaded, None if it can."""
    try:
        load_trainer(trainer.name)
    except TrainerError as error:
        return str(error)
    return None


def _as_text(trainers: Sequence[Listed], errors: dict[str, str | None]) -> list[str]:
    lines = []
    for trainer in trainers:
        state = "available"
        if trainer.missing:
            state = f"lacks {', '.join(trainer.missing)}: {trainer.install}"
        if trainer.name in errors:
            state = "cannot be imported" if errors[trainer.name] else "works"
        lines.append(f"{trainer.name:<12} {f'{trainer.distribution} {trainer.version}':<24} {state}")
    return lines
