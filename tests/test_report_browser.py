"""The page of a report, in a browser without a window: what a person sees, clicks and types."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import browsers
from browsers import wait_until
from iem_xp.images import encode_mask, write_atomically
from iem_xp.report import making
from iem_xp.report.making import make_report
from iem_xp.report.page import render
from iem_xp.runs.store import Run
from reports import data_of, make_run, square

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=document.title='broken'>.png"
NESTED = "</script><script>document.title='broken'<"  # as folders
UNPRINTABLE = ["two\nlines.png", os.fsdecode(b"\xff\xfe.png"), f"quo\"te'&amp;{'long' * 40}.png"]
NAMES = [HOSTILE, f"{NESTED}/script>.png", *UNPRINTABLE, *(f"plain {i:02d}.png" for i in range(30))]
TRUTHS = {0: square(), 5: square(5), 6: square(7)}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browsers.launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 35 images, of which two failed besides, two are refined, three have a truth."""
    folder = tmp_path_factory.mktemp("report")
    failed = ["<b>failed</b>.png", "lost.png"]
    made = make_run(folder / "run", NAMES, failed=failed)
    make_run(made / "refined", NAMES[:2], photos=folder / "photos")
    known = {"format_version": 1, "trainer": "pixels", "config": {}, "size": 16, "fit": "whole"}
    history = [{"loss": 0.5}, {"loss": 0.25}]
    text = json.dumps({**known, "trained": True, "history": history})
    write_atomically(made / "models" / "pixels" / "iem-xp.json", text.encode())
    (folder / "photos" / NAMES[-1]).unlink()
    for number, mask in TRUTHS.items():
        write_atomically(folder / "truth" / f"{number}.png", encode_mask(mask))
    with Run.open(made, to_write=False) as opened:
        make_report(opened, made / "report", truth=folder / "truth", top=10, longest=40)
    return made


class Opened:
    """A page, and all that it complained of or asked for."""

    def __init__(self, context: Any, file: Path) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(browsers.PATIENCE)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        wait_until(self.page, "document.getElementById('count').textContent !== ''")

    def names(self) -> list[str]:
        return self.page.locator("#gallery .name").all_text_contents()

    def text(self, selector: str) -> str:
        return self.page.locator(selector).text_content()

    def focused(self) -> str:
        return self.page.evaluate("document.activeElement.textContent")


@pytest.fixture
def opened(chromium: Any, run: Path) -> Iterator[Opened]:
    """The page; at the end it must not have complained, nor asked for anything but itself."""
    context = chromium.new_context(viewport={"width": 1300, "height": 900}, color_scheme="light")
    opened = Opened(context, run / "report" / "index.html")
    yield opened
    context.close()
    assert opened.complaints == []
    others = {url for url in opened.requests if not url.startswith(("data:image/webp;base64,", "blob:"))}
    assert others == {(run / "report" / "index.html").as_uri()}


def test_the_page_shows_the_run(opened: Opened) -> None:
    page = opened.page
    assert page.title() == "run: iem-xp report"
    assert opened.text("#title") == "run"
    assert opened.names() == NAMES[:24]
    assert opened.text("#count").startswith("37 of 37 images, mean IoU ")
    assert opened.text("#page") == "1 of 2"
    summary = page.locator("#summary li").all_text_contents()
    assert summary[:2] == ["35 masks", "2 failed"]
    first = page.locator(".card").first
    assert first.locator("figcaption").all_text_contents() == [
        "image",
        "mask",
        "cut-out",
        "inpainting",
        "refined mask",
        "truth",
    ]
    assert "IoU 100.0 %" in first.locator(".figures").text_content()
    alts = first.locator("img").evaluate_all("images => images.map(image => image.alt)")
    assert alts.count(f"cut-out of {HOSTILE}") == 1
    wait_until(page, "document.querySelector('.card img').naturalWidth === 6 * 33")


def test_names_are_text_and_nothing_else(opened: Opened) -> None:
    page = opened.page
    assert page.locator("[onerror]").count() == 0
    assert page.locator("script").count() == 2
    assert opened.names()[0] == HOSTILE
    page.locator("#failures summary").click()
    assert "<b>failed</b>.png: not an image" in opened.text("#failures ul")
    page.locator("#gallery .name").nth(1).click()
    assert opened.text("#view-title") == f"{NESTED}/script>.png"
    assert page.title() == "run: iem-xp report"


def test_images_are_searched_by_name(opened: Opened) -> None:
    page = opened.page
    page.keyboard.press("/")
    page.keyboard.type("PLAIN 0")
    assert opened.names() == [f"plain {i:02d}.png" for i in range(10)]
    assert opened.text("#count").startswith("10 of 37 images")
    page.keyboard.type("nothing")
    assert opened.names() == []
    assert opened.text("#gallery") == "No image is like that."
    page.locator("#reset").click()
    wait_until(page, "document.querySelectorAll('.card').length === 24")


def test_images_are_sorted_and_what_has_no_value_comes_last(opened: Opened) -> None:
    page = opened.page
    page.locator("#sort").select_option("error")
    assert opened.text("#direction") == "↓ descending"
    assert opened.names()[0] == NAMES[-1]
    page.locator("#direction").click()
    assert opened.text("#direction") == "↑ ascending"
    assert opened.names()[0] == HOSTILE
    page.locator("#sort").select_option("iou")
    page.locator("#direction").click()  # the lowest first
    assert opened.names()[:3] == ["plain 00.png", "plain 01.png", HOSTILE]
    page.locator("#sort").select_option("name")
    assert opened.names()[0] == min([*NAMES, "<b>failed</b>.png", "lost.png"])


def test_images_are_filtered(opened: Opened) -> None:
    page = opened.page
    for status, count in {
        "done": 35,
        "failed": 2,
        "labels": 10,
        "rest": 25,
        "problem": 1,
        "notes": 1,
    }.items():
        page.locator("#status").select_option(status)
        assert opened.text("#count").startswith(f"{count} of 37 images"), status
    page.locator("#status").select_option("")
    page.locator(".more summary").first.click()
    page.locator("#side").select_option("78")
    assert opened.text("#count").startswith("17 of 37 images")
    page.get_by_label("least inpainting error").fill("0.8")
    assert opened.text("#count").startswith("2 of 37 images")
    page.get_by_label("least inpainting error").fill("")
    page.locator("#side").select_option("")
    page.get_by_label("most IoU", exact=True).fill("50")
    assert opened.names() == ["plain 00.png", "plain 01.png"]


def test_pages_are_turned(opened: Opened) -> None:
    page = opened.page
    assert page.locator("#previous").is_disabled()
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.locator("#next").click()
    assert opened.text("#page") == "2 of 2"
    assert len(opened.names()) == 13
    assert page.locator("#next").is_disabled()
    assert page.evaluate("document.activeElement.id") == "previous"  # the focus is not lost
    wait_until(page, "document.querySelector('#gallery').getBoundingClientRect().top >= 0")
    page.keyboard.press("Enter")
    assert opened.text("#page") == "1 of 2"
    assert page.evaluate("document.activeElement.id") == "next"
    page.locator("#size").select_option("96")
    assert (opened.text("#page"), len(opened.names())) == ("1 of 1", 37)


def test_pictures_are_chosen(opened: Opened) -> None:
    page = opened.page
    page.locator(".more summary").first.click()
    for name in ("image", "cut-out", "inpainting", "refined mask"):
        page.get_by_label(name, exact=True).uncheck()
    assert page.locator(".card").first.locator("figcaption").all_text_contents() == ["mask", "truth"]


def test_the_slider_fades_the_mask_over_the_image(opened: Opened) -> None:
    page = opened.page
    mask = page.locator(".card").first.locator(".veil").first
    opacity = "element => getComputedStyle(element).opacity"
    assert mask.evaluate(opacity) == "1"
    page.locator("#veil").focus()
    page.keyboard.press("ArrowLeft")
    assert mask.evaluate(opacity) == "0.99"
    page.keyboard.press("Home")
    assert mask.evaluate(opacity) == "0"
    page.locator("#veil").blur()
    page.keyboard.press("m")
    assert mask.evaluate(opacity) == "1"
    page.keyboard.press("m")
    assert mask.evaluate(opacity) == "0"
    assert page.locator("#view-veil").input_value() == "0"


def test_the_line_of_the_labels_moves(opened: Opened) -> None:
    page = opened.page
    plot = page.locator("#histogram .plot")
    assert "The best 10 are of information 0.9100 or more" in plot.get_attribute("aria-label")
    assert "35 masks from 0.660 to 1.000, median 0.830" in plot.get_attribute("aria-label")
    before = page.locator("#histogram .above").count()
    page.locator("#top").fill("20")
    assert "The best 20 are of information 0.8100 or more" in plot.get_attribute("aria-label")
    assert page.locator("#histogram .above").count() > before
    page.locator("#status").select_option("labels")
    assert opened.text("#count").startswith("20 of 37")
    page.locator("#top").fill("7")
    assert opened.text("#count").startswith("7 of 37")


def test_trainings_have_their_curves_and_the_configuration_is_told(opened: Opened) -> None:
    assert opened.text("#curves h3") == "models/pixels"
    label = opened.page.locator("#curves svg").get_attribute("aria-label")
    assert label == "loss: 2 epochs, from 0.5 to 0.25, least 0.25, most 0.5"
    assert opened.page.locator("#curves polyline").get_attribute("points") == "0,0 100,100"
    assert "init_sides[ 44, 78 ]" in opened.text("#facts")


# Keys, the larger view


def test_arrows_go_from_image_to_image_and_over_pages(opened: Opened) -> None:
    page = opened.page
    page.keyboard.press("ArrowRight")
    assert opened.focused() == HOSTILE
    for _ in range(24):
        page.keyboard.press("ArrowRight")
    assert opened.text("#page") == "2 of 2"
    assert opened.focused() == NAMES[24]
    page.keyboard.press("ArrowLeft")
    assert (opened.text("#page"), opened.focused()) == ("1 of 2", NAMES[23])
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_the_larger_view_opens_goes_on_and_gives_the_focus_back(opened: Opened) -> None:
    page = opened.page
    view = page.locator("#view")
    page.locator("#search").fill("plain")
    page.locator("#search").blur()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert view.is_visible()
    assert (opened.text("#view-title"), opened.text("#view-place")) == ("plain 00.png", "1 of 30")
    assert page.locator("#view-panels figure").count() == 6
    page.keyboard.press("ArrowRight")
    assert opened.text("#view-title") == "plain 01.png"
    page.locator("#view-next").click()
    assert opened.text("#view-title") == "plain 02.png"
    page.keyboard.press("Escape")
    assert not view.is_visible()
    wait_until(page, "document.activeElement.textContent === 'plain 02.png'")  # once the view is closed
    page.locator(".card .panels").first.click()
    assert opened.text("#view-title") == "plain 00.png"
    page.keyboard.press("/")
    assert not view.is_visible()
    assert page.evaluate("document.activeElement.id") == "search"


def test_what_is_missing_is_said_with_its_cause(opened: Opened) -> None:
    page = opened.page
    page.locator("#status").select_option("problem")
    assert page.locator(".card .absent").count() == 5
    assert f"{NAMES[-1]}: No such file or directory" in opened.text(".card .problem")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert "No such file or directory" in opened.text("#view-problem")


def test_help_tells_the_keys(opened: Opened) -> None:
    page = opened.page
    page.keyboard.press("ArrowRight")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    assert "search by name" in opened.text("#help")
    page.keyboard.press("g")  # nothing happens behind it
    page.locator("#help-close").click()
    assert not page.locator("#help").is_visible()
    assert opened.text("#marks-said").startswith("Marked: 0 good, 0 bad")


def test_letters_that_are_typed_are_no_commands(opened: Opened) -> None:
    page = opened.page
    page.keyboard.press("ArrowRight")
    page.locator("#search").focus()
    page.keyboard.type("bg?m/")
    assert page.locator("#search").input_value() == "bg?m/"
    page.locator("#search").blur()
    page.keyboard.press("Control+b")  # the browser's
    assert opened.text("#marks-said").startswith("Marked: 0 good, 0 bad")


# Marks and lists


def test_images_are_marked_and_the_marks_are_kept(opened: Opened, run: Path) -> None:
    page = opened.page
    page.keyboard.press("g")
    assert "the arrow keys choose one" in opened.text("#said")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("g")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("g")
    pressed = page.locator("#view-marks [aria-pressed=true]")
    assert pressed.all_text_contents() == ["✓ good"]
    page.keyboard.press("Escape")
    page.locator(".card .mark.bad").nth(5).click()
    assert opened.focused() == "✗ bad"  # on the new button
    assert opened.text("#marks-said").startswith("Marked: 2 good, 2 bad")
    assert page.evaluate("Object.keys(localStorage)") == [f"iem-xp report: marks: {run}"]
    kept = "document.getElementById('marks-said').textContent.startsWith('Marked: 2 good, 2 bad')"
    browsers.reload_until(page, kept)
    page.locator(".more summary").first.click()
    page.locator("#marked").select_option("good")
    assert opened.names()[0] == HOSTILE
    assert len(opened.names()) == 2
    page.keyboard.press("ArrowRight")
    page.keyboard.press("g")  # the second time takes it back
    assert opened.text("#marks-said").startswith("Marked: 1 good, 2 bad")


def save(opened: Opened, what: str) -> bytes:
    with opened.page.expect_download() as download:
        opened.page.locator(f"#save-{what}").click()
    assert download.value.suggested_filename == f"{what}.txt"
    return Path(download.value.path()).read_bytes()


def test_lists_are_saved_with_the_names_that_can_be_lines_and_loaded_again(
    opened: Opened, run: Path, tmp_path: Path
) -> None:
    page = opened.page
    photos = run.parent / "photos"
    page.locator("#lists summary").click()
    assert page.locator("#save-good").is_disabled()
    for i in (0, 2, 3, 4):
        page.locator(".card .mark.good").nth(i).click()
    page.locator(".card .mark.bad").nth(1).click()
    lines = save(opened, "good").decode().split("\n")
    assert lines[0] == "# iem-xp report: good"
    assert lines[1] == f"# of {run}"
    assert lines[2:] == [str(photos / HOSTILE), str(photos / NAMES[4]), ""]
    assert "good.txt: 2 images; 2 left out, whose names cannot be lines of a list: " in opened.text("#said")
    assert '"two\\nlines.png"' in opened.text("#said")
    assert save(opened, "bad").decode().split("\n")[2:] == [str(photos / NESTED / "script>.png"), ""]
    page.locator("#search").fill("plain 1")
    assert save(opened, "shown").decode().count("plain 1") == 10
    (tmp_path / "list.txt").write_text(
        f"\ufeff# iem-xp report: bad\r\n{photos / 'plain 03.png'}\r\n\n{photos / HOSTILE}\n/elsewhere.png\n"
    )
    page.locator("#load").set_input_files(tmp_path / "list.txt")
    wait_until(page, "document.getElementById('said').textContent.startsWith('list.txt')")
    assert opened.text("#said") == "list.txt: 2 images marked bad; no image of this page: 1 line"
    assert opened.text("#marks-said").startswith("Marked: 3 good, 3 bad")
    (tmp_path / "list.txt").write_text(f"{photos / 'plain 04.png'}\n")
    page.locator("#load-as").select_option("good")
    page.locator("#load").set_input_files(tmp_path / "list.txt")
    wait_until(page, "document.getElementById('marks-said').textContent.startsWith('Marked: 4 good')")
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#clear").click()
    assert opened.text("#marks-said").startswith("Marked: 0 good, 0 bad")


# How it looks


def lightness(opened: Opened, selector: str = "body") -> float:
    colour = opened.page.locator(selector).evaluate("element => getComputedStyle(element).backgroundColor")
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


def test_light_and_dark_are_the_system_s_until_one_is_chosen(opened: Opened) -> None:
    page = opened.page
    assert lightness(opened) > 200
    page.emulate_media(color_scheme="dark")
    assert lightness(opened) < 60
    wait_until(page, "document.getElementById('theme').textContent === 'Light'")
    page.locator("#theme").click()
    assert lightness(opened) > 200
    browsers.reload_until(page, "document.getElementById('theme').textContent === 'Dark'")
    assert lightness(opened) > 200


CONTRAST = """
() => {
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).slice(0, 3).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const backgroundOf = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.disabled || !element.checkVisibility()) continue;
    if (element.closest("script, option, .panel, .hidden, noscript")) continue;
    const [one, other] = [getComputedStyle(element).color, backgroundOf(element)].map(luminance).sort();
    const contrast = (other + 0.05) / (one + 0.05);
    if (contrast < 4.5) poor.push(`${element.tagName} ${element.className}: ${contrast}`);
  }
  return poor;
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_of_wcag_aa(opened: Opened, scheme: str) -> None:
    page = opened.page
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("g")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("b")
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate(CONTRAST) == []


def test_controls_have_names(opened: Opened) -> None:
    nameless = opened.page.evaluate(
        "() => [...document.querySelectorAll('button, input, select')].filter(element => !("
        "element.textContent.trim() || element.getAttribute('aria-label') || element.labels?.length"
        ")).map(element => element.outerHTML)"
    )
    assert nameless == []


@pytest.mark.parametrize("width", [320, 390])
def test_on_a_phone_nothing_is_wider_than_the_screen(opened: Opened, width: int) -> None:
    page = opened.page
    page.set_viewport_size({"width": width, "height": 800})
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    names = page.locator("#gallery .name")
    assert names.evaluate_all("names => names.every(name => name.scrollWidth <= name.clientWidth)")
    page.locator("#gallery .name").first.click()
    assert page.locator("#view").evaluate("view => view.scrollWidth <= view.clientWidth")


def test_without_storage_marks_last_as_long_as_the_page(chromium: Any, run: Path, tmp_path: Path) -> None:
    context = chromium.new_context()
    context.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('denied') }})"
    )
    opened = Opened(context, run / "report" / "index.html")
    opened.page.keyboard.press("ArrowRight")
    opened.page.keyboard.press("g")
    assert "This browser keeps nothing for this page" in opened.text("#said")
    assert opened.text("#marks-said").startswith("Marked: 1 good, 0 bad")
    (tmp_path / "bad.txt").write_text(f"{run.parent / 'photos' / 'plain 03.png'}\n")
    opened.page.locator("#lists summary").click()
    opened.page.locator("#load-as").select_option("bad")
    opened.page.locator("#load").set_input_files(tmp_path / "bad.txt")
    wait_until(opened.page, "document.getElementById('said').textContent.startsWith('bad.txt: 1 image ')")
    assert "This browser keeps nothing for this page" in opened.text("#said")
    assert opened.complaints == []
    context.close()


# Other runs


def test_strips_beside_the_page_are_shown(
    chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "EMBEDDED", 1)
    run = make_run(tmp_path / "run", ["a.png", "b.png"])
    with Run.open(run, to_write=False) as opened_run:
        make_report(opened_run, run / "report", longest=40)
    context = chromium.new_context()
    opened = Opened(context, run / "report" / "index.html")
    wait_until(opened.page, "document.querySelectorAll('.card img')[5].naturalWidth === 4 * 33")
    assert opened.complaints == []
    context.close()


def test_one_image_has_a_histogram_and_an_iou_of_nothing(chromium: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ["a.png"], failed=["x.png", "y.png"])
    write_atomically(tmp_path / "truth" / "0.png", encode_mask(~square()))
    with Run.open(run, to_write=False) as opened_run:
        make_report(opened_run, run / "report", truth=tmp_path / "truth", limit=1)
    context = chromium.new_context()
    opened = Opened(context, run / "report" / "index.html")
    assert opened.text("#histogram .scale") == "1.000"
    assert opened.page.locator("#histogram .above").count() == 1
    assert "IoU 0.0 %" in opened.text(".card .figures")
    assert "0.0 % mean IoU" in opened.page.locator("#summary li").all_text_contents()
    assert opened.text("#limited") == "1 of 2 failures are listed."
    assert opened.complaints == []
    context.close()


def test_a_page_of_very_many_images_opens(chromium: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ["a.png"])
    with Run.open(run, to_write=False) as opened_run:
        make_report(opened_run, run / "report", longest=16)
    data = data_of(run / "report" / "index.html")
    (row,) = data["rows"]
    count = 150_000  # more than a function can have arguments
    data["rows"] = {name: [value] * count for name, value in row.items()} | {
        "strip": [""] * count,
        "information": [i / count for i in range(count)],
    }
    (tmp_path / "many.html").write_text(render(data))
    context = chromium.new_context()
    opened = Opened(context, tmp_path / "many.html")
    assert opened.text("#count") == "150,000 of 150,000 images"
    opened.page.locator("#top").fill(str(count))
    opened.page.locator("#status").select_option("labels")  # but for the one of no information
    assert opened.text("#count") == "149,999 of 150,000 images"
    context.close()


@pytest.mark.parametrize("failed", [[], ["a.png"]])
def test_runs_without_masks_are_shown(chromium: Any, tmp_path: Path, failed: list[str]) -> None:
    run = make_run(tmp_path / "run", [], failed=failed)
    with Run.open(run, to_write=False) as opened_run:
        make_report(opened_run, run / "report")
    context = chromium.new_context()
    opened = Opened(context, run / "report" / "index.html")
    assert opened.text("#count") == f"{len(failed)} of {len(failed)} images"
    assert opened.names() == failed
    assert opened.complaints == []
    context.close()
