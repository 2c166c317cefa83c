"""Options `--only` and `--except`: lists of images, such as those that somebody marked by eye."""

from __future__ import annotations

from typing import Any

import click

from iem_xp.runs.inputs import SourceError
from iem_xp.runs.selection import Selection, find_unknown, read_selected
from iem_xp.runs.store import Run
from iem_xp_cli.options import Command
from iem_xp_cli.printing import say
from iem_xp_cli.session import name_some


def selection_options(command: Command) -> Command:
    """Options for a `Selection`; take their values with `take_selection`."""
    listed = "a list of images, one path per line as in run.sqlite; - for standard input."
    for flag, name, text in (
        ("--except", "omit", f"Leave out the images in FILE, {listed}"),
        ("--only", "only", f"Take only the images in FILE, {listed}"),
    ):
        command = click.option(flag, name, type=click.File("rb"), metavar="FILE", help=text)(command)
    return command


def take_selection(options: dict[str, Any]) -> Selection:
    """Take the values of `selection_options` out of a command's options."""
    files = {"--only": options.pop("only"), "--except": options.pop("omit")}
    if files["--only"] is not None and files["--only"] is files["--except"]:
        raise click.UsageError("--only and --except: only one of them can be standard input")
    try:
        only, omit = (
            None if file is None else read_selected(file.read(), flag) for flag, file in files.items()
        )
    except (SourceError, OSError) as error:
        raise click.UsageError(str(error)) from error
    if only is not None and not only:
        raise click.UsageError("--only: lists no path")
    return Selection(only, omit or frozenset())


def check_selection(run: Run, selection: Selection) -> None:
    """Say which listed images have no mask in a run; if that is all of a list, it is an error."""
    for flag, paths in (("--only", selection.only or frozenset()), ("--except", selection.omit)):
        unknown = list(find_unknown(run, paths))
        if not unknown:
            continue
        named = name_some(unknown)
        if len(unknown) == len(paths):
            raise click.UsageError(
                f"{flag}: none of the {len(paths)} path(s) has a mask in {run.folder}: {named}; "
                f"give them as column path of {run.folder / 'run.sqlite'} has them"
            )
        say([f"{flag}: {len(unknown)} of {len(paths)} path(s) have no mask in {run.folder}: {named}"])
