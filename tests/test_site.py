"""What the documentation site is built with, docs/making; the whole is built by `make docs`."""

from __future__ import annotations

import re
from pathlib import Path

import checking
import pytest
import repository

ROOT = Path(__file__).parents[1]


def write(folder: Path, **pages: str) -> Path:
    for name, body in pages.items():
        (folder / f"{name}.html").write_text(f"<html><body>{body}</body></html>")
    return folder


def test_links_within_docs_stay_and_those_out_of_it_lead_to_the_sites_pages() -> None:
    text = "[a](runs.md#parts-of-a-run) [b](../SECURITY.md) [c](../iem_xp/cut.py) [d](https://x.org) [e](#a)"
    assert repository.rewrite_links(text, "docs/scale.md", "scale.md") == (
        "[a](runs.md#parts-of-a-run) [b](security.md) [c](source/iem_xp/cut.py.md) [d](https://x.org) [e](#a)"
    )


def test_links_of_a_page_from_outside_docs_are_taken_from_where_it_lies() -> None:
    text = "[a](../docs/runs.md#interruptions) [b](workers.py)"
    assert repository.rewrite_links(text, "benchmarks/README.md", "benchmarks.md") == (
        "[a](runs.md#interruptions) [b](source/benchmarks/workers.py.md)"
    )


def test_code_keeps_what_looks_like_a_link() -> None:
    text = "```sh\necho [a](../b.md)\n```\n[a](../README.md)"
    assert repository.rewrite_links(text, "docs/scale.md", "scale.md") == (
        "```sh\necho [a](../b.md)\n```\n[a](index.md)"
    )
    assert repository.links(text, "docs/scale.md") == ["README.md"]


def test_the_fence_of_a_source_file_is_longer_than_those_within() -> None:
    shown = repository.show_source("tests/snippets.py")
    assert max(re.findall("`+", (ROOT / "tests" / "snippets.py").read_text()), key=len) == "```"
    assert "\n````python\n" in shown
    assert shown.endswith("\n````\n")


def test_a_whole_site_has_no_faults(tmp_path: Path) -> None:
    site = write(
        tmp_path,
        index='<a href="other.html#there">1</a> <a href="#here">2</a> <p id="here"> <a href="https://x.org">3</a>',
        other='<h2 id="there"></h2><img src="data:,"><a href="/index.html">4</a><a href=".">5</a>',
    )
    assert checking.find_faults(site) == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="none.html">x</a>', "leads to none.html, which is not there"),
        ('<a href="#none">x</a>', "leads to #none, of which the page is there, but not the place"),
        ('<img src="none.png">', "leads to none.png, which is not there"),
        ('<script src="https://x.org/y.js"></script>', "loads https://x.org/y.js"),
        ('<link rel="stylesheet" href="//x.org/y.css">', "loads //x.org/y.css"),
    ],
)
def test_a_dead_link_and_what_is_loaded_from_elsewhere_are_faults(
    tmp_path: Path, body: str, fault: str
) -> None:
    assert checking.find_faults(write(tmp_path, page=body)) == [f"page.html: {fault}"]


def test_equations_become_mathml() -> None:
    for package in ("mkdocs", "latex2mathml"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    import hooks

    inline = '<span class="arithmatex">\\(a &lt; b\\)</span>'
    block = '<div class="arithmatex">\\[\n\\frac{a}{b}\n\\]</div>'
    shown = hooks.on_page_content(f"<p>{inline}</p>{block}", None, None, None)
    assert re.search(r'<p><span class="arithmatex"><math [^>]*display="inline">.*</span></p>', shown)
    assert re.search(r'<div class="arithmatex"><math [^>]*display="block">.*<mfrac>.*</div>', shown)
    assert "\\(" not in shown
    assert "\\[" not in shown


def test_every_command_has_a_page_with_its_help() -> None:
    from iem_xp_cli.main import COMMANDS

    text = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    assert sorted(re.findall(r"^<!-- help: (\S+) -->$", text, re.MULTILINE)) == sorted(COMMANDS)


def test_every_figure_that_a_page_shows_can_be_drawn_and_every_one_is_shown() -> None:
    for package in ("matplotlib", "cv2"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    import figures

    text = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    assert set(re.findall(r"^<!-- figure: ([\w-]+): .+ -->$", text, re.MULTILINE)) == set(figures.FIGURES)
