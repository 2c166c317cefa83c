"""The HTML of a report: one file with its style, its script and its data."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

MARK = '<meta name="generator" content="iem-xp report">'
"""By what a page of a report is known."""

SCRIPTS = ("data.js", "charts.js", "gallery.js", "script.js")
"""The parts of the script, in the order in which they build on each other; one module in the page."""


def render(data: Mapping[str, Any]) -> str:
    """Make the page of JSON values; whatever these are, they stay data."""
    style, script = _asset("style.css"), "\n".join(map(_asset, SCRIPTS))
    page = _asset("page.html")
    for name, text in {
        "MARK": MARK,
        "POLICY": _policy(style, script),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": _as_json(data),
    }.items():
        page = page.replace(f"%{name}%", text, 1)
    return page


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy: nothing runs but what is ours, and nothing is fetched but pictures."""
    return (
        "default-src 'none'; img-src 'self' file: data:; "
        f"style-src '{_digest(style)}'; script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _as_json(data: Mapping[str, Any]) -> str:
    """JSON that can stand in an element of HTML: in ASCII, without what HTML could take for its own."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _asset(name: str) -> str:
    return resources.files("iem_xp.report").joinpath("assets", name).read_text(encoding="utf-8")
