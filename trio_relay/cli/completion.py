"""Completion of what is typed in a shell: the command `completion`, and what arguments may be completed to.

click does the work: its script for a shell runs this program at each Tab, with what has been typed in the environment.
"""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

_NAME: Final = "trio-relay"
_VARIABLE: Final = "_TRIO_RELAY_COMPLETE"
"""By which click knows that a shell asks; it makes it from the name of the program in the same way."""
_SHELLS: Final[dict[str, type[ShellComplete]]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command("completion", short_help="Print the script that has a shell complete words at Tab.")
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> None:
    """Print the script that has a shell complete commands, options, files and methods at Tab.

    \b
    bash, in ~/.bashrc:  eval "$(trio-relay completion bash)"
    zsh, in ~/.zshrc:    eval "$(trio-relay completion zsh)"
    fish, in ~/.config/fish/config.fish:  trio-relay completion fish | source
    """
    click.echo(_SHELLS[shell](context.find_root().command, {}, _NAME, _VARIABLE).source())


def complete_file(_context: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Have the shell complete a file: for arguments that may name something else, too."""
    return [CompletionItem(incomplete, type="file")]


def complete_method(_context: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Complete a method of NIP-86."""
    from trio_relay.net.admin.methods import METHODS, SUPPORTED  # which no other command needs so soon

    return [CompletionItem(name) for name in [SUPPORTED, *METHODS] if name.startswith(incomplete)]
