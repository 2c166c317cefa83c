"""The page of a report of many images, in a browser without a window.

``python benchmarks/report.py [N]``: an artificial run of N images, 300 or more, by default 10,000, of the
sample photographs; how long its report takes, how soon the page is there, and how long it is busy at a time
while it is sorted, searched, filtered, turned and scrolled. Needs Chromium and Playwright.

``python benchmarks/report.py --figure FILE``: the picture in docs/report.md, of the sample photographs.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from common import SAMPLES, files_of, versions, without_fixed_kernels
from PIL import Image

from iem_xp.config import IEMConfig
from iem_xp.images import encode_mask, encode_png, read_image, read_stamped, write_atomically
from iem_xp.report.making import make_report
from iem_xp.runs.naming import Source
from iem_xp.runs.records import Candidate, Entry
from iem_xp.runs.settings import Settings
from iem_xp.runs.store import Run

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from browsers import PATIENCE, launched, wait_until

IMAGES = 10_000
OPENINGS = 5
PROGRAM = str(Path(sys.executable).with_name("iem-xp"))

WATCH = """
window.busy = [];
new PerformanceObserver((list) => busy.push(...list.getEntries().map((entry) => entry.duration)))
  .observe({ type: "longtask", buffered: true });
"""
"""Writes down every task of more than 50 ms."""


def make_run(folder: Path, count: int) -> Path:
    """A run of so many images: links to the samples, reduced, with random figures."""
    rng = np.random.default_rng(0)
    known = []
    for file in files_of(SAMPLES):
        picture = Image.fromarray(read_image(file).pixels)
        picture.thumbnail((256, 256))
        path = folder / "samples" / f"{file.stem}.png"
        write_atomically(path, encode_png(np.asarray(picture)))
        mask = np.zeros((picture.height, picture.width), np.bool_)
        mask[picture.height // 4 : -picture.height // 4, picture.width // 4 : -picture.width // 4] = True
        write_atomically(folder / "masks" / f"{file.stem}.png", encode_mask(mask))
        known.append((path, folder / "masks" / f"{file.stem}.png", mask, read_stamped(path)[1]))
    settings = Settings(replace(IEMConfig.preset("best"), init_sides=(44, 78)))
    (folder / "photos").mkdir()
    with Run.create(folder / "run", settings.as_dict()) as run, run.transaction():
        for i in range(count):
            photo, made, mask, stamp = known[i % len(known)]
            source = Source(folder / "photos" / f"image-{rng.integers(10**9):09d}-{i:06d}.png", f"{i}.png")
            source.path.hardlink_to(photo)
            (run.masks / source.mask).hardlink_to(made)
            error, information, share = rng.random(3)
            entry = Entry(source, *mask.shape[::-1], 0.1, None, stamp)
            side = int(rng.choice([44, 78]))
            run.record_done(entry, Candidate(side, mask, error, 30, information), share)
    return folder / "run"


@contextmanager
def opened(browser: Any, page_file: Path) -> Iterator[tuple[Any, float]]:
    """The page, when its first images are there, and the seconds until then."""
    context = browser.new_context(viewport={"width": 1360, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.add_init_script(WATCH)
    begin = time.perf_counter()
    page.goto(page_file.as_uri(), wait_until="commit")
    wait_until(page, "document.querySelector('.card img')?.naturalWidth > 0")
    yield page, time.perf_counter() - begin
    context.close()


def busiest(page: Any, act: Callable[[], object]) -> tuple[int, float]:
    """Number of tasks of more than 50 ms while something is done, and the milliseconds of the longest."""
    page.evaluate("() => { busy.length = 0; }")
    act()
    page.wait_for_timeout(500)
    tasks = page.evaluate("() => busy")
    return len(tasks), max(tasks, default=0)


def measure(page_file: Path) -> Iterator[str]:
    """Lines of the table."""
    with launched() as browser:
        times, first = [], []
        for _ in range(OPENINGS):
            with opened(browser, page_file) as (page, seconds):
                times.append(seconds)
                page.wait_for_timeout(300)
                first.append(max(page.evaluate("() => busy"), default=0))
        middle = statistics.median(times)
        yield f"| opens, s: median of {OPENINGS} (longest) | {middle:.2f} ({max(times):.2f}) |"
        yield f"| longest task while it opens, ms | {statistics.median(first):.0f} ({max(first):.0f}) |"
        with opened(browser, page_file) as (page, _):
            page.wait_for_timeout(500)
            keys = page.keyboard

            def each(selector: str, values: list[str]) -> None:
                for value in values:
                    page.locator(selector).select_option(value)
                    page.wait_for_timeout(100)

            def repeat(act: Callable[[], object], times: int = 10) -> None:
                for _ in range(times):
                    act()
                    page.wait_for_timeout(50)

            acts: dict[str, Callable[[], object]] = {
                "sorting by every figure": lambda: each("#sort", ["error", "share", "side", "name", "rank"]),
                "typing a search": lambda: (page.locator("#search").focus(), keys.type("image-12", delay=60)),
                "clearing it": lambda: repeat(lambda: keys.press("Backspace"), 8),
                "filtering": lambda: each("#status", ["labels", "rest", "done", ""]),
                "turning pages": lambda: repeat(lambda: page.locator("#next").click()),
                "scrolling": lambda: repeat(lambda: page.mouse.wheel(0, 900), 20),
                "96 on a page": lambda: each("#size", ["96", "24"]),
                "fading the mask": lambda: repeat(
                    lambda: (page.locator("#veil").focus(), keys.press("ArrowLeft")), 20
                ),
                "moving the line": lambda: [
                    page.locator("#top").fill(str(top)) for top in (10, 500, 3000, 9000)
                ],
                "marking": lambda: repeat(lambda: (keys.press("Escape"), mark(page))),
            }
            for name, act in acts.items():
                count, longest = busiest(page, act)
                yield f"| {name} | {f'{count}, {longest:.0f}' if count else 'none'} |"


def mark(page: Any) -> None:
    page.locator("#gallery .name").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("g")


def draw_figure(file: Path) -> None:
    """Segment the samples and take a picture of their report's gallery."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "samples")
        subprocess.run([PROGRAM, "segment", str(SAMPLES), "-o", str(run)], check=True)
        subprocess.run([PROGRAM, "report", str(run), "--top", "3"], check=True)
        with launched() as browser:
            context = browser.new_context(viewport={"width": 1180, "height": 1240}, color_scheme="light")
            page = context.new_page()
            page.goto((run / "report" / "index.html").as_uri())
            page.wait_for_selector(".card")
            page.evaluate("document.getElementById('where').textContent = ''")  # a temporary folder
            for key in ("ArrowRight", "g", "ArrowRight", "g", "ArrowLeft"):
                page.keyboard.press(key)
            page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
            page.evaluate("document.getElementById('said').hidePopover()")
            page.wait_for_timeout(500)
            shot = Image.open(BytesIO(page.screenshot())).convert("RGB")
        shot.save(file, quality=88)
    print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    print(versions("iem-xp", "numpy", "pillow", "playwright"))
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder), count)
        begin = time.perf_counter()
        with Run.open(run, to_write=False) as opened_run:
            make_report(opened_run, run / "report", limit=count)
        seconds = time.perf_counter() - begin
        strips = [file.stat().st_size for file in run.glob("report/strips/*/*")]
        page_file = run / "report" / "index.html"
        print(f"| {count:,} images | |\n|---|---|")
        print(f"| the report takes, s | {seconds:.0f} |")
        print(f"| the page, MB | {page_file.stat().st_size / 1e6:.1f} |")
        print(f"| a strip, kB | {statistics.fmean(strips or [0]) / 1000:.0f} |")
        for line in measure(page_file):
            print(line, flush=True)


if __name__ == "__main__":
    without_fixed_kernels()
    if sys.argv[1:2] == ["--figure"]:
        draw_figure(Path(sys.argv[2]))
    else:
        main()
