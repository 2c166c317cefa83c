"""Options that commands share: the settings of a run, and the device."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from iem_xp import fused
from iem_xp.arrays import DeviceError
from iem_xp.config import Choice, Space
from iem_xp.decoding import MAX_PIXELS, pixels_limited
from iem_xp.devices import resolve_device
from iem_xp.edges import Edges
from iem_xp.engines import EngineError, EngineOption, check_fused
from iem_xp.images import Fit
from iem_xp.runs.settings import PRESETS, Settings, SettingsError, read_settings
from iem_xp.runs.storing import PER_SHARD, StoreOption
from iem_xp.threads import usable_cpus
from iem_xp_cli.printing import say

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT = "best"
"""Preset that is taken unless another is named."""

_DEFAULTS = {name: settings.as_dict() for name, settings in PRESETS.items()}


def _sides(value: str) -> tuple[int, ...]:
    try:
        return tuple(int(side) for side in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers such as 44,78,92") from error


_TYPES: dict[str, Any] = {
    "init_sides": _sides,
    "choose": click.Choice(get_args(Choice)),
    "fit": click.Choice(get_args(Fit)),
    "edges": click.Choice(get_args(Edges)),
    "colour_space": click.Choice(get_args(Space)),
}
_HELP = {
    "size": "Shorter side of the images at work, in pixels.",
    "fit": "whole: all of the image, its aspect ratio kept. crop: the paper's central square, masked alone. "
    "squash: all of the image, made square.",
    "edges": "How masks come to the own size of their image. guided: along its edges. iem: after some more "
    "search too, slower. none: smoothly, without the image. Those of crops stay as they are.",
    "iterations": "Updates of each mask.",
    "init_sides": "Sides of the initial squares, in pixels at a shorter side of 128.",
    "choose": "Take the initial square of highest inpainting error for the whole data set, or each image; "
    "or, for each image, the one whose mask the colours explain best.",
    "kernel_size": "Taps of one pass of the Gaussian, odd.",
    "sigma": "Standard deviation of one pass, in pixels.",
    "repeats": "Passes of the Gaussian.",
    "scale_factor": "Run the Gaussian on images reduced by this factor.",
    "regularization": "Weight lambda of the diversity of colours within each side.",
    "epsilon": "Weight of a side's mean colour in every prediction.",
    "colour_space": "Where colours are compared: as they are, or in CIELAB.",
    "colour_weight": "Weight of the colours that each side has; 0 is the paper's objective.",
    "colours": "Size of the palette that these are counted by.",
    "cut": "Whether a mask ends with a cut along the image's edges near its boundary.",
    "boundary_only": "Whether only pixels at the mask's boundary may change.",
    "smooth": "Whether masks are smoothed after every update.",
}


def settings_options(command: Command) -> Command:
    """Options for every setting; collect their values with `collect_settings`."""
    for name, text in reversed(_HELP.items()):
        flag, default = name.replace("_", "-"), _DEFAULTS[DEFAULT][name]
        declared, kind = f"--{flag}", _TYPES.get(name, type(default))
        if isinstance(default, bool):
            declared = f"--{flag}/--no-{flag}"
        metavar = "N,N,..." if isinstance(default, tuple) else None
        shown = {preset: _as_shown(values[name]) for preset, values in _DEFAULTS.items()}
        if len(set(shown.values())) == 1:
            shown = {"default": shown[DEFAULT]}
        listed = ", ".join(f"{preset}: {value}" for preset, value in shown.items())
        option = click.option(
            declared, name, type=kind, default=None, metavar=metavar, help=f"{text}  [{listed}]"
        )
        command = option(command)
    for option in (
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            help="TOML file with any of the settings below, such as sigma = 2.5; it wins over the preset.",
        ),
        click.option(
            "--preset",
            type=click.Choice(list(PRESETS)),
            default=DEFAULT,
            show_default=True,
            help="Settings by name: best for masks to be used, paper for the protocol of the paper's tables. "
            "Options beside it win.",
        ),
    ):
        command = option(command)
    return command


def _as_shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def collect_settings(preset: str, config: Path | None, options: dict[str, Any]) -> Settings:
    """Settings of the preset, overridden by the file, overridden by the options that were given."""
    try:
        settings = PRESETS[preset]
        if config is not None:
            values = read_settings(config)
            try:
                settings = settings.updated(values)
            except SettingsError as error:
                raise SettingsError(f"{config}: {error}") from error
        return settings.updated({name: value for name, value in options.items() if value is not None})
    except SettingsError as error:
        raise click.UsageError(str(error)) from error


overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Delete the run that is there, with all its folders, and start anew."
)

redo_changed_option = click.option(
    "--redo-changed",
    is_flag=True,
    help="Segment anew what has changed since it was segmented; without this, such a run is refused.",
)

store_option = click.option(
    "--store",
    type=click.Choice(get_args(StoreOption)),
    help=f"files: a file for each mask. shards: tar archives of {PER_SHARD:,} masks.  [default: that of the "
    "run that is continued; else files, or shards if all images are in archives]",
)


def _limit_pixels(ctx: click.Context, param: click.Parameter, value: int) -> None:
    ctx.with_resource(pixels_limited(value))


max_pixels_option = click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=MAX_PIXELS,
    show_default=True,
    expose_value=False,
    callback=_limit_pixels,
    help="Refuse images of more: a small file may decode to more than the memory holds, 7 bytes for a pixel.",
)
"""Holds while the command runs, and hands it nothing: it is no setting of a run."""

then_iem_option = click.option(
    "--then-iem/--no-then-iem",
    default=None,
    help="Whether to search on from the network's masks (IEM).  [default: that of the trainer; keras: no, "
    "pixels: yes]",
)

device_option = click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|gpu|gpu:N", help="Where to compute."
)


@contextmanager
def warnings_shown(category: type[Warning]) -> Iterator[None]:
    """Say, on standard error, what the ``with`` block warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", category)
        yield
    say(f"warning: {message}" for message in dict.fromkeys(str(warning.message) for warning in caught))


def take_device(name: str) -> str:
    """Resolve a device and say, on standard error, which was taken and why."""
    try:
        with warnings_shown(RuntimeWarning):
            device, reason = resolve_device(name)
    except DeviceError as error:
        raise click.UsageError(f"--device {name}: {error}") from error
    except ValueError as error:
        raise click.UsageError(f"--device: {error}") from error
    click.echo(f"device: {device} ({reason})", err=True)
    return device


engine_option = click.option(
    "--engine",
    type=click.Choice(get_args(EngineOption)),
    default="auto",
    show_default=True,
    help="array: array-API code. fused: compiled, for CPUs. auto: the faster one for the work at hand.",
)


workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=usable_cpus,
    show_default="one for each CPU",
    help="Threads that do the work.",
)


def check_engine(name: EngineOption, device: str, settings: Settings) -> None:
    """Refuse an engine that cannot do the work, before it begins."""
    if name == "fused":
        on_gpu = None if device == "cpu" else f"the fused engine computes on the CPU, not on {device}"
        try:
            check_fused(on_gpu or fused.find_limit(settings.config))
        except EngineError as error:
            raise click.UsageError(f"--engine fused: {error}") from error
