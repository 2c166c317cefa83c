"""`iem-xp completion`: what makes a shell complete this command."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from iem_xp_cli.helping import HelpfulCommand

SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command(
    "completion",
    cls=HelpfulCommand,
    examples={
        """echo 'eval "$(iem-xp completion bash)"' >> ~/.bashrc""": "Bash, from 4.4 on",
        """echo 'eval "$(iem-xp completion zsh)"' >> ~/.zshrc""": "Zsh",
        "iem-xp completion fish > ~/.config/fish/completions/iem-xp.fish": "Fish",
    },
)
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, options and files.

    Once the shell has read it, Tab completes.
    """
    complete = SHELLS[shell](ctx.find_root().command, {}, "iem-xp", "_IEM_XP_COMPLETE")
    click.echo(complete.source())
