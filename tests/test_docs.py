"""The pages' code and commands run as they stand, in a folder that has what the pages speak of."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import downloads
from iem_xp_cli.main import cli
from snippets import PAGES, ROOT, Block, Command, blocks, commands, mentioned, simple_commands
from test_trainers import COMMAND

ELSEWHERE = {
    ("docs/datasets.md", "python"): "test_datasets_registry.py",
    ("docs/embedding.md", "python"): "test_embedding.py",
    ("docs/export-model.md", "python"): "test_keras_exporting.py",
    ("docs/export.md", "python"): "test_export.py",
    ("docs/labels.md", "python"): "toys.py",
}
"""Modules that run the blocks of a page, and look at what comes out."""

SHOWN = ("cat", "coffee", "flower")
"""The photographs in `images`."""

SQLITE3 = """
import sqlite3, sys
for row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2]):
    print(*row, sep="|")
"""

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
TARGETS = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_block_is_of_a_known_language_and_what_is_not_run_has_a_reason() -> None:
    for page in PAGES:
        for block in blocks(page):
            assert block.language in ("python", "sh", "console", "toml", "text", "json"), str(block)
            assert block.mark is None or block.reason, str(block)
            if block.language in ("text", "json"):
                assert block.mark is None, f"{block}: is never run, and needs no reason"
            if block.mark == "not compared":
                assert block.language == "console", str(block)


@pytest.mark.parametrize("file", PAGES)
def test_every_command_and_option_that_a_page_mentions_exists(file: str) -> None:
    for _, *words in mentioned(file):
        check_options(words)
    for block in blocks(file):
        if block.language in ("sh", "console"):
            for command in commands(block):
                for words in simple_commands(command.line):
                    check_words(words)


@pytest.mark.parametrize("file", [file for file in PAGES if blocks(file)])
def test_the_snippets_of_a_page_run(
    file: str, here: Path, shims: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", shims + os.pathsep + os.environ["PATH"])
    lay_out(here, [block for block in blocks(file) if is_run_here(block)])
    names: dict[str, object] = {}
    for block in blocks(file):
        if block.language == "toml":
            write_toml(block)
        elif block.language == "python":
            code = compile(block.text, str(block), "exec", dont_inherit=True)
            if is_run_here(block):
                exec(code, names)
        elif block.language in ("sh", "console") and is_run_here(block):
            run_commands(block, here)


def test_what_is_run_elsewhere_is_run_there() -> None:
    for (page, _), module in ELSEWHERE.items():
        assert page.removeprefix("docs/") in (ROOT / "tests" / module).read_text(encoding="utf-8")


def test_links_lead_to_files_and_headings_that_are_there() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]:
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", page.read_text(encoding="utf-8")):
            file = page.parent / target if target else page
            assert file.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(file), f"{page.name}: {target}#{anchor}"


def anchors(file: Path) -> set[str]:
    """What a link may have behind `#`: the headings of a page, as its host spells them."""
    text = re.sub(r"^```.*?^```$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# ---- Words of a command


def check_words(words: list[str]) -> None:
    """Check that a command of ours exists, with its options; that what pip installs, and make makes, does."""
    program, *arguments = words
    name = Path(program).name
    if name == "iem-xp":
        check_parses(arguments)
    elif name == "pip":
        for extras in re.findall(r"(?:\.|iem-xp)\[([\w,]+)\]", " ".join(arguments)):
            assert set(extras.split(",")) <= set(EXTRAS), words
    elif name == "make":
        for target in arguments:
            assert target in TARGETS or "=" in target, words


def find_command(words: list[str]) -> tuple[click.Context, list[str]]:
    """The context of a command, and the words behind its name."""
    context = click.Context(cli, info_name="iem-xp")
    if not words or words[0].startswith("-"):
        return context, words
    command = cli.get_command(context, words[0])
    assert command is not None, f"iem-xp has no command {words[0]!r}"
    return click.Context(command, info_name=words[0], parent=context), words[1:]


def check_options(words: list[str]) -> None:
    """Check that options exist, of a command of which some words may be left out."""
    context, rest = find_command(words)
    known = {
        option
        for parameter in context.command.get_params(context)
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in rest:
        option = word.partition("=")[0]
        if option.startswith("-") and option != "-":
            assert option in known, f"iem-xp {' '.join(words)}: no option {option}"


def check_parses(words: list[str]) -> None:
    """Check that a whole command parses, without running it."""
    context, rest = find_command(words)
    parser = context.command.make_parser(context)
    try:
        parser.parse_args(rest)
    except click.UsageError as error:
        raise AssertionError(f"iem-xp {' '.join(words)}: {error.format_message()}") from None


# ---- Running


@pytest.fixture(scope="module")
def shims(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with the command, as where the package is installed, and with sqlite3 if it is missing."""
    folder = tmp_path_factory.mktemp("bin")
    programs = {"iem-xp": COMMAND}
    if shutil.which("sqlite3") is None:
        programs["sqlite3"] = SQLITE3
    for name, code in programs.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)} "$@"\n')
        program.chmod(0o755)
    return str(folder)


def is_run_here(block: Block) -> bool:
    """Whether a block is neither marked nor run by another module."""
    return block.is_run and (block.page, block.language) not in ELSEWHERE


def lay_out(folder: Path, run: list[Block]) -> None:
    """Make what the pages speak of, of the sample photographs; a run, but where these blocks make it."""
    (folder / "cli").symlink_to(ROOT / "cli")
    images = folder / "images"
    images.mkdir()
    (folder / "truth").mkdir()
    for sample in (path for path in downloads.SAMPLES if path.stem in SHOWN):
        shutil.copyfile(sample, images / sample.name)
        with Image.open(sample) as image:
            rows, columns = np.ogrid[-1 : 1 : image.height * 1j, -1 : 1 : image.width * 1j]
        truth = np.where(rows**2 + columns**2 < 0.5, np.uint8(255), np.uint8(0))
        Image.fromarray(truth).save(folder / "truth" / f"{sample.stem}.png")
    shutil.copyfile(images / "flower.jpg", "photo.jpg")
    downloads.make_folder(folder / "flowers", 2)
    (folder / "good.txt").write_text(f"{images / 'flower.jpg'}\n{images / 'cat.jpg'}\n")
    (folder / "bad.txt").write_text(f"{images / 'cat.jpg'}\n")
    photograph = downloads.encoded(downloads.photograph(0))
    downloads.write(folder / "photos" / "new.jpg", photograph)
    downloads.write(folder / "last", b"")
    os.utime(folder / "last", (0, 0))
    (folder / "cars").mkdir()
    with tarfile.open(folder / "cars" / "00000.tar", "w") as archive:
        archive.add(folder / "photos" / "new.jpg", "000.jpg")
    downloads.make_lmdb(folder / "car_lmdb", {b"0": photograph})
    text = "\n".join(block.text for block in run)
    makes_it = re.search(r"^(\$ )?iem-xp segment (\./)?images *(#.*)?$", text, re.MULTILINE)
    if re.search(r"iem-run|iem-xp (refine|export|export-labels)", text) and not makes_it:
        invoke(["segment", "images"])


def write_toml(block: Block) -> None:
    """Parse a block, and write it to the file that the line before it names."""
    tomllib.loads(block.text)
    before = (ROOT / block.page).read_text(encoding="utf-8").splitlines()[: block.line - 1]
    named = re.search(r"`([\w.-]+\.toml)`:$", " ".join(before).rstrip())
    if named:
        Path(named[1]).write_text(block.text, encoding="utf-8")


def run_commands(block: Block, here: Path) -> None:
    """Run the commands of a block, and compare what they print with what the page shows."""
    status = 0
    for command in commands(block):
        if command.line == "echo $?":
            output, status = f"{status}\n", 0
        else:
            assert status == 0, f"{block}: exit status {status}, of which the page says nothing"
            status, output = run_command(command)
        where = f"{block}: {command.line}\n{output}"
        if command.output is None:
            assert status == 0, where
        elif block.mark != "not compared":
            assert comparable(output, here) == comparable("\n".join(command.output), here), where
    assert status == 0, where


def run_command(command: Command) -> tuple[int, str]:
    """Run a line, in this process where it is ours and needs no shell; return exit status and output."""
    words = shlex.split(command.line, comments=True)
    if words[0] in ("pip", "make"):  # checked by another test, for they would install and download
        return 0, ""
    source = target = None
    if "<" in words:
        at = words.index("<")
        source = words[at + 1]
        del words[at : at + 2]
    if ">" in words:
        at = words.index(">")
        target = words[at + 1]
        del words[at : at + 2]
    shell = re.search(r"[|;&$*?<>(]", " ".join(words)) and not re.search(r"'[^']*[*?][^']*'", command.line)
    if words[0] == "iem-xp" and not shell:
        result = CliRunner().invoke(
            cli, words[1:], input=source and Path(source).read_bytes(), prog_name="iem-xp"
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        if target:
            Path(target).write_bytes(result.stdout_bytes)
            return result.exit_code, result.stderr
        return result.exit_code, result.output
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command.line}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout


def invoke(arguments: list[str]) -> None:
    """Run a command that has to succeed."""
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output


def comparable(output: str, here: Path) -> list[str]:
    """Lines without what differs from one run, or machine, to the next: times, places, fractions, devices."""
    text = output.replace(str(here.resolve()), "/home/you").replace(str(here), "/home/you")
    text = re.sub(r"^device: .*", "device: ...", text, flags=re.MULTILINE)
    text = re.sub(r"\b\d+\.\d+(e-?\d+)?\b", "0.0", text)
    text = re.sub(r"\d+(?=%)|\d+(?= workers)|(?<=\"workers\": )\d+", "0", text)
    text = re.sub(r"\b(array|fused)(?= engine|\"|\.$)", "array", text, flags=re.MULTILINE)
    text = re.sub(r"[ \t]+", " ", text)
    return text.rstrip().splitlines()
