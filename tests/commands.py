"""The command, in this process."""

from __future__ import annotations

from click.testing import CliRunner, Result

from iem_xp_cli.main import cli


def run(*arguments: str, status: int = 0, data: bytes | None = None) -> Result:
    """Run the command with `data` on standard input, and see that it exits so; a traceback is an error."""
    result = CliRunner().invoke(cli, arguments, input=data)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result
