"""The browser of the system, without a window, for tests of pages."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 60_000
"""Milliseconds that a page is waited for, on a busy machine."""


def find_chromium() -> str | None:
    """The browser that IEM_XP_CHROMIUM names, or the first of `NAMES`."""
    if named := os.environ.get("IEM_XP_CHROMIUM"):
        return named if Path(named).is_file() else None
    return next(filter(None, map(shutil.which, NAMES)), None)


def missing() -> str | None:
    """Why no page can be opened here, None if one can."""
    if find_spec("playwright") is None:
        return "playwright is not installed; pip install playwright"
    if find_chromium() is None:
        named = os.environ.get("IEM_XP_CHROMIUM")
        where = f"at IEM_XP_CHROMIUM={named}" if named else f"of the names {', '.join(NAMES)}"
        return f"there is no Chromium {where}; install the package chromium"
    return None


def wait_until(page: Any, expression: str) -> None:
    """Wait until JavaScript is true of a page; Playwright's way needs `eval`, which a policy may forbid."""
    end = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(expression):
        if time.monotonic() > end:
            raise TimeoutError(f"never true: {expression}")
        page.wait_for_timeout(20)


def reload_until(page: Any, expression: str) -> None:
    """Load a page again until JavaScript is true of it: what it keeps may come a moment later."""
    end = time.monotonic() + PATIENCE / 1000
    while True:
        page.reload()
        page.wait_for_selector(".card")
        if page.evaluate(expression):
            return
        if time.monotonic() > end:
            raise TimeoutError(f"never true after loading again: {expression}")


@contextmanager
def launched() -> Iterator[Any]:
    """A browser, as Playwright has it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=[*ARGUMENTS], timeout=PATIENCE
        )
        try:
            yield browser
        finally:
            browser.close()
