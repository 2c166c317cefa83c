"""The help of every command: groups of options, examples that are right; completion; the style of errors."""

import re
import shlex
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from iem_xp_cli.helping import HelpfulCommand
from iem_xp_cli.main import COMMANDS, cli
from iem_xp_cli.printing import say

every_command = pytest.mark.parametrize("name", COMMANDS)


def command_of(name):
    with click.Context(cli) as context:
        return cli.get_command(context, name)


def help_of(name):
    return CliRunner().invoke(cli, [name, "--help"]).stdout


@every_command
def test_every_command_has_examples_at_the_end_of_its_help(name):
    command, shown = command_of(name), help_of(name)
    assert isinstance(command, HelpfulCommand)
    assert command.examples
    after = shown.partition("\nExamples:\n")[2]
    for line, what in command.examples.items():
        assert f"  # {what}\n  {line}\n" in after


@every_command
def test_the_arguments_of_its_examples_exist(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "truth").mkdir()
    command = command_of(name)
    for line in command.examples:
        called = re.search(r"iem-xp ([^<>|)]*)", line)[1]
        first, *arguments = shlex.split(called)
        assert first == name
        with command.make_context(name, arguments, parent=click.Context(cli)):
            pass  # or a UsageError


@every_command
def test_help_has_every_option_once(name):
    command = command_of(name)
    _, shown = re.split(r"^\w[\w ]*:$", help_of(name), maxsplit=1, flags=re.M)  # what follows the text
    for option in (param for param in command.params if isinstance(param, click.Option)):
        assert len(re.findall(rf"^  (-\w, )?{option.opts[-1]}\b(?!-)", shown, re.M)) == 1, option.name


@every_command
def test_where_options_are_many_each_is_in_a_group(name):
    command = command_of(name)
    context = click.Context(command)
    groups = command.group_options(context)
    options = [param for param in command.get_params(context) if isinstance(param, click.Option)]
    assert (list(groups) == ["Options"]) == (len(options) < 10)
    if len(options) >= 10:
        assert [option.name for option in groups["Other options"]] == ["_click_default_help"]


def test_the_groups_of_segment():
    shown = help_of("segment")
    titles = [
        "Input",
        "Output",
        "Computing",
        "Settings",
        "Numbers of the method",
        "Other options",
        "Examples",
    ]
    assert re.findall(r"^([A-Z][\w ]+):$", shown, re.M) == titles
    assert re.search(r"\nSettings:\n  --preset .*\nNumbers of the method:\n  --iterations", shown, re.S)


def test_a_command_s_own_groups_come_before_output():
    titles = re.findall(r"^([A-Z][\w ]+):$", help_of("refine"), re.M)
    assert titles[:3] == ["Masks to take", "Training", "Output"]


def test_the_list_of_commands_has_them_all_by_section():
    shown = CliRunner().invoke(cli, ["--help"]).stdout
    listed = re.findall(r"^  ([a-z][a-z-]+)  +[A-Z]", shown, re.M)
    assert listed == list(COMMANDS)
    assert "\nFind masks:\n  segment " in shown


def complete(words, index):
    """What Tab offers in Bash, by what it sends to the command: lines "type,value"."""
    environment = {"_IEM_XP_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(index)}
    return CliRunner().invoke(cli, [], env=environment, prog_name="iem-xp").stdout.split()


@pytest.mark.parametrize(
    ("words", "index", "offered"),
    [
        ("iem-xp se", 1, ["plain,segment"]),
        ("iem-xp segment --ov", 2, ["plain,--overwrite", "plain,--overlay"]),
        ("iem-xp segment --preset ", 3, ["plain,paper", "plain,best"]),
        ("iem-xp segment ph", 2, ["file,ph"]),
        ("iem-xp refine --trainer pi", 3, ["plain,pixels"]),
        ("iem-xp evaluate iem-run tr", 3, ["file,tr"]),
    ],
)
def test_tab_completes(words, index, offered):
    assert complete(words, index) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_reads_asks_this_command(shell):
    script = CliRunner().invoke(cli, ["completion", shell]).stdout
    assert f"_IEM_XP_COMPLETE={shell}_complete" in script
    assert re.search(r"\biem-xp\b", script)


def test_completion_of_commands_imports_none_of_them():
    code = (
        "import os, sys\n"
        "from iem_xp_cli.main import cli\n"
        "os.environ.update(_IEM_XP_COMPLETE='bash_complete', COMP_WORDS='iem-xp s', COMP_CWORD='1')\n"
        "try:\n    cli(prog_name='iem-xp')\n"
        "finally:\n    assert 'iem_xp_cli.segment' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "plain,segment\n"), done.stderr


def test_wrong_usage_is_one_line_and_where_help_is():
    result = CliRunner().invoke(cli, ["segment", "--colour"])
    assert result.exit_code == 2
    first, second = result.stderr.splitlines()
    assert first.startswith("error: No such option '--colour'")
    assert second == "help: iem-xp segment --help" or second.endswith(" segment --help")
    assert not result.stdout


def test_what_there_is_to_choose_is_listed_below_the_error():
    shown = CliRunner().invoke(cli, ["export", "-o", "new"]).stderr
    assert shown.startswith("error: Missing option '--to'. Choose from:\n  coco,\n  yolo,\n")


def test_without_arguments_the_help_is_shown_as_it_is():
    result = CliRunner().invoke(cli, [])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == CliRunner().invoke(cli, ["--help"]).stdout


def test_an_error_that_is_no_wrong_usage_does_not_speak_of_help(here):
    result = CliRunner().invoke(cli, ["segment", "-"], input=b"no image")
    assert result.exit_code == 1
    *_, last = result.stderr.splitlines()
    assert last.startswith("error: standard input: ")


def shown_on_a_terminal(monkeypatch, capsys, **environment):
    for name in ("NO_COLOR", *environment):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("click._compat.isatty", lambda stream: True)
    say(["failed: a.jpg: truncated", "warning: old", "device: cpu", "no kind"])
    return capsys.readouterr().err.splitlines()


def test_a_terminal_shows_the_kind_of_a_line_in_colour(monkeypatch, capsys):
    failed, warning, *others = shown_on_a_terminal(monkeypatch, capsys)
    assert failed == "\x1b[31m\x1b[1mfailed\x1b[0m: a.jpg: truncated"
    assert warning == "\x1b[33m\x1b[1mwarning\x1b[0m: old"
    assert others == ["device: cpu", "no kind"]


def test_no_color_is_respected(monkeypatch, capsys):
    shown = shown_on_a_terminal(monkeypatch, capsys, NO_COLOR="1")
    assert shown == ["failed: a.jpg: truncated", "warning: old", "device: cpu", "no kind"]


def test_elsewhere_there_is_no_colour(capsys):
    say(["failed: \x1b[31ma.jpg"])
    assert capsys.readouterr().err == "failed: \\x1b[31ma.jpg\n"
