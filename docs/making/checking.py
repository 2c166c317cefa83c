"""That the built site is whole: its links lead somewhere, and no page loads anything from elsewhere."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class _Page(HTMLParser):
    """Links of a page, what it loads, and the places that links may lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places = {"", "__top"}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.places |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif (name := _LOADED.get(tag)) and name in values:
            self.loaded.append(values[name])


def find_faults(site: Path) -> list[str]:
    """What is wrong with the pages of a folder, one line each."""
    pages = {file: _Page(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}
    return [
        f"{file.relative_to(site)}: {fault}"
        for file, page in pages.items()
        for fault in _faults(site, file, page, pages)
    ]


def _faults(site: Path, file: Path, page: _Page, pages: dict[Path, _Page]) -> list[str]:
    faults = []
    for link in page.links + page.loaded:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            if link in page.loaded and parts.scheme != "data":
                faults.append(f"loads {link}")
            continue
        path = unquote(parts.path)
        folder = site if path.startswith("/") else file.parent
        target = (folder / path.lstrip("/")).resolve() if path else file
        if target.is_dir():
            target /= "index.html"
        if not target.exists():
            faults.append(f"leads to {link}, which is not there")
        elif target in pages and unquote(parts.fragment) not in pages[target].places:
            faults.append(f"leads to {link}, of which the page is there, but not the place")
    return faults
