"""Commands whose help has options in groups, and examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

_GROUPED_FROM = 10
"""Options from which on they are shown in groups."""

_REST = "Other options"

_GROUPS: dict[str, tuple[str, ...]] = {
    "Input": ("files_from", "null", "root", "split", "limit", "share"),
    "Masks to take": ("top", "only", "omit", "min_share", "max_share", "largest_component", "fill_holes"),
    "Output": (
        "output",
        "overwrite",
        "redo_changed",
        "store",
        "cutout",
        "overlay",
        "inpainted",
        "probabilities",
        "figures",
        "panel",
        "opens",
        "as_format",
        "as_json",
    ),
    "Computing": ("workers", "batch_size", "device", "engine", "cluster", "max_pixels"),
    "Settings": ("preset", "config", "size", "fit", "edges", "then_iem"),
    "Numbers of the method": (
        "iterations",
        "init_sides",
        "choose",
        "kernel_size",
        "sigma",
        "repeats",
        "scale_factor",
        "regularization",
        "epsilon",
        "colour_space",
        "colour_weight",
        "colours",
        "cut",
        "boundary_only",
        "smooth",
    ),
}
"""Names of options by their group, in the order of both; a command's own groups come before Output."""


class HelpfulCommand(click.Command):
    """A command whose help has its options in groups, where they are many, and ends with examples.

    Parameters
    ----------
    examples : mapping of str to str
        What a command line does, by the command line.
    groups : mapping of str to sequence of str, optional
        Names of options by a group of this command's own.
    """

    def __init__(
        self,
        *args: Any,
        examples: Mapping[str, str],
        groups: Mapping[str, Sequence[str]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = dict(examples)
        own = groups or {}
        self._group = {name: title for title, names in (_GROUPS | dict(own)).items() for name in names}
        self._titles = [*_GROUPS, _REST]
        output = self._titles.index("Output")
        self._titles[output:output] = own

    def group_options(self, ctx: click.Context) -> dict[str, list[click.Option]]:
        """Options by the title of their group, in the order in which help shows them."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        if len(options) < _GROUPED_FROM:
            return {"Options": options}
        grouped: dict[str, list[click.Option]] = {title: [] for title in self._titles}
        for option in options:
            grouped[self._group.get(option.name or "", _REST)].append(option)
        return {title: members for title, members in grouped.items() if members}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, a section for each group."""
        for title, options in self.group_options(ctx).items():
            records = [option.get_help_record(ctx) for option in options]
            with formatter.section(title):
                formatter.write_dl([record for record in records if record is not None])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, each as it can be typed."""
        with formatter.section("Examples"):
            for line, what in self.examples.items():
                formatter.write(f"{'':{formatter.current_indent}}# {what}\n")
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")
