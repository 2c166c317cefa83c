"""What MkDocs calls while it builds the site: pages from outside docs/, figures, equations, help texts."""

import html
import re
import sys
from functools import cache
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))

import checking
import figures
import repository

_HELP = re.compile(r"^<!-- help: ([\w-]+) -->$", re.MULTILINE)
_FIGURE = re.compile(r"^<!-- figure: ([\w-]+): (.+) -->$", re.MULTILINE)
_EQUATION = re.compile(r'<(span|div) class="arithmatex">(?:\\\(|\\\[)(.*?)(?:\\\)|\\\])</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside docs/, the source files that are linked to, and the figures."""
    for page, file in repository.INCLUDED.items():
        files.append(_generated(config, page, (repository.ROOT / file).read_text(encoding="utf-8")))
    pages = [file for file in files.documentation_pages() if not file.src_uri.startswith("source/")]
    linked = {
        target
        for page in pages
        for target in repository.links(page.content_string, repository.file_of(page.src_uri))
    }
    for file in sorted(linked):
        page = repository.page_of(file)
        if page.startswith("source/") and (repository.ROOT / file).is_file():
            files.append(_generated(config, page, repository.show_source(file)))
    for name in sorted({name for page in pages for name, _ in _FIGURE.findall(page.content_string)}):
        files.append(_generated(config, f"made/{name}.png", _draw(name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to pages of the site; put in figures and help texts."""
    uri = page.file.src_uri
    if uri.startswith("source/"):
        return markdown
    markdown = repository.rewrite_links(markdown, repository.file_of(uri), uri)
    markdown = _FIGURE.sub(r"![\2](made/\1.png){ .figure }", markdown)
    return _HELP.sub(lambda match: _help(match[1]), markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make equations MathML, which browsers show without a script."""
    return _EQUATION.sub(_equation, content)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site with dead links, or with pages that load something from elsewhere."""
    faults = checking.find_faults(Path(config.site_dir).resolve())
    if faults:
        raise PluginError("\n".join(faults))


def _generated(config: MkDocsConfig, name: str, content: str | bytes) -> File:
    return File.generated(config, name, content=content)


@cache
def _draw(name: str) -> bytes:
    return figures.FIGURES[name]()


def _help(command: str) -> str:
    from click.testing import CliRunner

    from iem_xp_cli.main import cli

    shown = CliRunner().invoke(cli, [command, "--help"], prog_name="iem-xp", terminal_width=80)
    if shown.exit_code:
        raise ValueError(f"iem-xp {command} --help: {shown.output}")
    return f"``` text\n{shown.output.rstrip()}\n```"


def _equation(match: re.Match[str]) -> str:
    kind, latex = match.groups()
    display = "block" if kind == "div" else "inline"
    return f'<{kind} class="arithmatex">{convert(html.unescape(latex), display=display)}</{kind}>'
