"""The trainer of docs/labels.md, as a package that pip installs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "labels.md"


def write_package(folder: Path) -> None:
    """Write the two files of the example, as they stand on the page."""
    text = PAGE.read_text(encoding="utf-8")
    for file, language in (("pyproject.toml", "toml"), ("colour_trainer.py", "python")):
        (content,) = re.findall(rf"`{re.escape(file)}`:\n\n```{language}\n(.*?)```", text, re.S)
        (folder / file).write_text(content)


def install(package: Path, target: Path) -> None:
    """Install a package with pip into a folder, from the network nothing."""
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(package)]
    subprocess.run(command, check=True, capture_output=True, text=True)


def run_with(target: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own that has what is installed in a folder."""
    paths = [str(target), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)
