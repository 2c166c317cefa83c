"""Errors and remarks on a terminal: each on one line, whatever is in a file's name."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import click

_COLOURS = {"error": "red", "failed": "red", "missing": "red", "warning": "yellow"}
"""Colours of the words that a line may begin with."""


def printable(text: str) -> str:
    """Return a message on one line, whatever is in a file's name."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def say(lines: Iterable[str]) -> None:
    """Print lines on standard error, each as one, whatever is in it.

    On a terminal the kind of a line, such as "failed", is coloured, unless the environment has NO_COLOR.
    """
    for line in lines:
        kind, colon, text = printable(line).partition(": ")
        if colon and kind in _COLOURS and not os.environ.get("NO_COLOR"):
            kind = click.style(kind, fg=_COLOURS[kind], bold=True)
        click.echo(f"{kind}{colon}{text}", err=True)


def say_error(error: click.ClickException) -> None:
    """Print an error, and where help is if the command was used wrongly."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # help itself, and no error to speak of
        error.show()
        return
    # Click lists choices on lines that begin with a tab.
    lines = f"error: {error.format_message()}".replace("\n\t", "\n  ").split("\n")
    if isinstance(error, click.UsageError) and error.ctx is not None:
        lines.append(f"help: {error.ctx.command_path} --help")
    say(lines)


@contextmanager
def completing(otherwise: str, *wrong: type[Exception]) -> Iterator[None]:
    """Turn errors of what writes all or nothing into messages; those in `wrong` are of wrong usage.

    After an interruption, `otherwise` is said.
    """
    try:
        yield
    except wrong as error:
        raise click.UsageError(str(error)) from error
    except (OSError, sqlite3.Error) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(otherwise) from None
