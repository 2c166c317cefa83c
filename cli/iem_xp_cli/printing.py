"""Names of files, and what has them in it, on a terminal."""

from __future__ import annotations

from collections.abc import Iterable

import click


def printable(text: str) -> str:
    """Return a message on one line, whatever is in a file's name."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def say(lines: Iterable[str]) -> None:
    """Print lines on standard error, each as one, whatever is in it."""
    for line in lines:
        click.echo(printable(line), err=True)
