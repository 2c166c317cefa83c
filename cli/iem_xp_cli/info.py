"""`iem-xp info`: what is installed, what it can use, and whether that computes as it should."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING, Any

import click

from iem_xp import cuda, fused
from iem_xp.devices import list_devices
from iem_xp.trainers import list_trainers
from iem_xp_cli.helping import HelpfulCommand
from iem_xp_cli.options import warnings_shown

if TYPE_CHECKING:
    from iem_xp.selftest import Result

PACKAGES = (
    "numpy",
    "numba",
    "array-api-compat",
    "imageio",
    "pillow",
    "scipy",
    "scikit-learn",
    "opencv-python-headless",
    "lmdb",
    "pyarrow",
    "distributed",
    "matplotlib",
    "array-api-strict",
    "jax",
    "torch",
    "keras",
    "tensorflow",
)


@click.command(
    "info",
    cls=HelpfulCommand,
    examples={"iem-xp info --selftest": "Whether every backend that is here finds the same masks"},
)
@click.option(
    "--selftest",
    is_flag=True,
    help="Search a few small images by every backend that is here, and compare the masks with NumPy's.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(selftest: bool, as_json: bool) -> None:
    """Show versions, devices, engines and trainers, for instance for a bug report.

    Exit status: 1 if a backend fails the self-test, else 0.
    """
    found = _collect()
    if not as_json:
        click.echo("\n".join(_as_text(found)))
    if selftest:
        results = list(_test(show=not as_json))
        found["selftest"] = [asdict(result) for result in results]
    if as_json:
        click.echo(json.dumps(found))
    if selftest and any(result.status in ("differs", "failed") for result in results):
        sys.exit(1)


def _collect() -> dict[str, Any]:
    with warnings_shown(UserWarning):
        trainers = list_trainers()
    packages = (*PACKAGES, *(cuda.cupy_packages() or ["cupy-cuda12x"]))
    return {
        "version": metadata.version("iem-xp"),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
        "devices": [asdict(device) for device in list_devices()],
        "cuda": cuda.versions(),
        "engines": ["array"] if fused.find_obstacle() else ["array", "fused"],
        "trainers": [asdict(trainer) for trainer in trainers],
    }


def _as_text(found: dict[str, Any]) -> Iterator[str]:
    yield f"iem-xp {found['version']}, Python {found['python']}, {platform.platform()}"
    for name, version in found["packages"].items():
        yield f"  {name:<22} {version or 'not installed'}"
    for device in found["devices"]:
        yield f"device   {device['name']:<9} {'available: ' * device['available']}{device['reason']}"
    versions = (f"{version} {part}" for part, version in found["cuda"].items() if version)
    yield f"CUDA     {', '.join(versions) or 'no driver'}"
    yield f"engines  {', '.join(found['engines'])} ({_fused()})"
    shown = (trainer["name"] + " (not all here)" * bool(trainer["missing"]) for trainer in found["trainers"])
    yield f"trainers {', '.join(shown) or 'none installed'}"


def _fused() -> str:
    obstacle = fused.find_obstacle()
    if obstacle is not None:
        return obstacle
    folder = fused.find_folder() or "nowhere, no folder can be written: see NUMBA_CACHE_DIR"
    return f"{'compiled' if fused.is_compiled() else 'not compiled yet'}, kept in {folder}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _test(show: bool) -> Iterator[Result]:
    from iem_xp.selftest import run

    for result in run(lambda line: click.echo(f"engine: {line}", err=True)):
        if show:
            click.echo(f"selftest {result.backend:<16} {result.status:<8} {_outcome(result)}")
        yield result


def _outcome(result: Result) -> str:
    if result.problem is not None:
        return result.problem
    return (
        f"{result.identical_masks} of {result.masks} masks identical, "
        f"{result.different_pixels} pixels differ, "
        f"errors by {result.error_difference:.0e}; {result.seconds:.1f} s"
    )
