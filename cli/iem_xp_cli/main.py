"""The `iem-xp` group of commands, each loaded only when it is used."""

from __future__ import annotations

import difflib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module, metadata
from typing import Any

import click
from click.shell_completion import CompletionItem

from iem_xp_cli.printing import say_error

INTERRUPTED = 130
"""Exit status after Ctrl-C, as of a process killed by SIGINT."""

TERMINATED = 143
"""Exit status after SIGTERM, which stops a command as Ctrl-C does."""

SECTIONS = {
    "Find masks": {
        "segment": "Find a mask for every image, without labels or training.",
        "refine": "Train a network on the best masks of a run, and mask all its images anew.",
        "predict": "Find masks with a network that refine trained.",
        "merge": "Merge runs of one configuration, as of the jobs of an array, into one.",
    },
    "Use them": {
        "export": "Write the masks of a run for other programs: COCO, YOLO, Parquet, CSV, NumPy.",
        "export-labels": "Write the best masks of a run, with their images, as labels to train on.",
        "export-model": "Write a trained network for programs without Keras: ONNX, SavedModel, LiteRT.",
    },
    "Judge them": {
        "report": "Make a page to judge a run by eye, and to choose its labels.",
        "evaluate": "Compare masks with true masks or boxes.",
        "reproduce": "Reproduce the paper's tables on a data set.",
    },
    "Get to know it": {
        "demo": "Segment a few sample photographs and show the result.",
        "trainers": "List the installed trainers of networks, and what they lack.",
        "info": "Show versions, devices, engines and trainers, for instance for a bug report.",
        "completion": "Print what makes a shell complete commands, options and files.",
    },
}
"""Subcommands and what they do, by section; `iem_xp_cli.<name>` defines each as `command`."""

COMMANDS = {name: text for section in SECTIONS.values() for name, text in section.items()}


class _LazyGroup(click.Group):
    """A group that imports a subcommand when it is invoked, so that ``--help`` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"iem_xp_cli.{cmd_name.replace('-', '_')}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise click.UsageError(f"{error.message}{hint}", ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        terminated = False

        def terminate(*_: object) -> None:
            nonlocal terminated
            terminated = True
            raise KeyboardInterrupt

        with _handled(signal.SIGTERM, terminate):
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt as error:
                cause = "terminated" if terminated else "interrupted"
                click.echo(": ".join([cause, *map(str, error.args)]), err=True)
                ctx.exit(TERMINATED if terminated else INTERRUPTED)

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> Any:
        if not extra.pop("standalone_mode", True):
            return super().main(args, prog_name, standalone_mode=False, **extra)
        try:
            status = super().main(args, prog_name, standalone_mode=False, **extra)
        except click.ClickException as error:
            say_error(error)
            sys.exit(error.exit_code)
        except click.Abort:
            sys.exit(INTERRUPTED)
        sys.exit(status)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # By the table, since Click would import every command.
        commands = [
            CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)
        ]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        longest = max(map(len, COMMANDS))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:{longest}}", text) for name, text in commands.items()])


@contextmanager
def _handled(number: int, handler: Callable[..., object]) -> Iterator[None]:
    """Handle a signal, where this is the thread that may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"iem-xp {metadata.version('iem-xp')}")
        ctx.exit()


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
def cli() -> None:
    """Unsupervised image segmentation by inpainting error maximization (IEM).

    Start with: iem-xp segment ./images

    Each command has its own help: iem-xp segment --help
    """
