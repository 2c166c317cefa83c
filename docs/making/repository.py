"""Pages of the site that lie outside docs/, and links to them.

Pages are read on the host of the repository, too. So a link is the relative path of a file of the repository,
and becomes here that of the page which the site has of it: of a Markdown file its text, of a source file
its code.
"""

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",  # which begins as the README does
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Files of the repository, by their names on the site."""

INCLUDED = {page: file for file, page in PAGES.items() if file != "README.md"}

_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
_CODE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
_LANGUAGES = {".py": "python", ".cu": "cuda", ".toml": "toml", ".md": "markdown"}


def file_of(page: str) -> str:
    """The file of the repository that a page of the site shows."""
    return INCLUDED.get(page, f"docs/{page}")


def page_of(file: str) -> str:
    """The page of the site that shows a file of the repository."""
    if file in PAGES:
        return PAGES[file]
    if file.startswith("docs/"):
        return file.removeprefix("docs/")
    return f"source/{file}.md"


def links(text: str, file: str) -> list[str]:
    """Files of the repository that the text of one of them links to, in its order."""
    return [
        posixpath.normpath(posixpath.join(posixpath.dirname(file), target))
        for target, _ in _LINK.findall(_CODE.sub("", text))
    ]


def rewrite_links(text: str, file: str, page: str) -> str:
    """Make the links of a file of the repository those of its page on the site."""

    def rewrite(match: re.Match[str]) -> str:
        (target,) = links(f"]({match[1]})", file)
        path = posixpath.relpath(page_of(target), posixpath.dirname(page) or ".")
        return path + (match[2] or "")

    parts, end = [], 0
    for code in _CODE.finditer(text):
        parts += [_LINK.sub(rewrite, text[end : code.start()]), code[0]]
        end = code.end()
    return "".join(parts) + _LINK.sub(rewrite, text[end:])


def show_source(file: str) -> str:
    """A page of the code of a file."""
    code = (ROOT / file).read_text(encoding="utf-8")
    fence = "`" * (1 + max(map(len, re.findall("`+", code)), default=2))
    fence = max(fence, "```", key=len)
    language = _LANGUAGES.get(Path(file).suffix, "text")
    head = "---\nsearch:\n  exclude: true\nhide: [navigation]\n---\n"
    return f"{head}# {file}\n\n{fence}{language}\n{code}{fence}\n"
