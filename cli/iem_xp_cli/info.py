"""`iem-xp info`: what is installed and what it can use."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from typing import Any

import click

from iem_xp import fused
from iem_xp.arrays import DeviceError, resolve_device

PACKAGES = (
    "numpy",
    "numba",
    "array-api-compat",
    "imageio",
    "pillow",
    "scipy",
    "opencv-python-headless",
    "lmdb",
    "matplotlib",
    "cupy-cuda12x",
    "jax",
    "torch",
    "keras",
    "tensorflow",
)


@click.command("info")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """Show versions, devices, engines and trainers, for instance for a bug report."""
    found = _collect()
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(f"iem-xp {found['version']}, Python {found['python']}")
    for name, version in found["packages"].items():
        click.echo(f"  {name:<22} {version or 'not installed'}")
    for device in found["devices"]:
        click.echo(f"device   {device['name']:<9} {'available' if device['available'] else device['reason']}")
    click.echo(f"engines  {', '.join(found['engines'])} ({_fused()})")
    click.echo(f"trainers {', '.join(found['trainers']) or 'none installed'}")


def _collect() -> dict[str, Any]:
    return {
        "version": metadata.version("iem-xp"),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": [{"name": "cpu", "available": True, "reason": platform.machine()}, _gpu()],
        "engines": ["array"] if fused.find_obstacle() else ["array", "fused"],
        "trainers": sorted(entry.name for entry in metadata.entry_points(group="iem_xp.trainers")),
    }


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


def _gpu() -> dict[str, Any]:
    try:
        device, reason = resolve_device("gpu")
    except DeviceError as error:
        return {"name": "gpu", "available": False, "reason": str(error)}
    return {"name": device, "available": True, "reason": reason}
