"""Fenced blocks of the pages, for the tests that run them.

A block that is not run has its reason right before it, in a comment that no reader sees::

    <!-- not run: needs a GPU -->

A ``console`` block shows commands, after ``$``, and what they print; ``<!-- not compared: why -->`` before it
says that it is run, but prints other things elsewhere.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for page in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
        ROOT / "benchmarks" / "README.md",
        *ROOT.glob("docs/*.md"),
    )
)

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>not run|not compared): (?P<reason>.+?) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line of its fence, its language, its text, and what is marked of it."""

    page: str
    line: int
    language: str
    text: str
    mark: str | None
    reason: str | None

    @property
    def is_run(self) -> bool:
        """Whether nothing says that it is not."""
        return self.mark != "not run"

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A line for the shell, and what a page shows of its output; None where it shows none."""

    line: str
    output: list[str] | None


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [
        Block(
            page,
            text.count("\n", 0, match.start("language")) + 1,
            match["language"],
            match["text"],
            match["mark"],
            match["reason"],
        )
        for match in _BLOCK.finditer(text)
    ]
    fences = len(re.findall(r"^ *```", text, re.MULTILINE))
    assert fences == 2 * len(found), f"{page}: a fence is indented, not closed or has more than a language"
    return found


def commands(block: Block) -> list[Command]:
    """The commands of an ``sh`` or ``console`` block."""
    text = block.text.replace("\\\n", " ")
    if block.language == "sh":
        lines = (line.strip() for line in text.splitlines())
        return [Command(line, None) for line in lines if line and not line.startswith("#")]
    first, *parts = re.split(r"^\$ ", text, flags=re.MULTILINE)
    assert not first, f"{block}: begins with no command"
    split = (part.rstrip("\n").split("\n") for part in parts)
    return [Command(line, output) for line, *output in split]


def simple_commands(line: str) -> list[list[str]]:
    """The words of each command of a line for the shell, also of those within a quoted word."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|;&<>()"):
            found.append([])
        else:
            found[-1].append(word)
    for words in list(found):
        while words and re.match(r"\w+=", words[0]):
            del words[0]
        for word in words[1:]:
            if "iem-xp " in word:
                found += simple_commands(word)
    return [words for words in found if words]


def mentioned(page: str) -> list[list[str]]:
    """The words of each `iem-xp ...` in the text of a page, in code spans and indented lines."""
    text = _BLOCK.sub("", (ROOT / page).read_text(encoding="utf-8"))
    spans = re.findall(r"`(iem-xp [^`]+)`", text) + re.findall(r"^ {4}(iem-xp .+)$", text, re.MULTILINE)
    return [words for span in spans for words in simple_commands(span) if words[0] == "iem-xp"]
