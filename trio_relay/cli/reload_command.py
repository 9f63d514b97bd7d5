"""The command `reload`: the running relay reads its configuration again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from trio_relay.cli.control_line import LineShut, NoLine, call_relay
from trio_relay.cli.leaving import CONFIG_ERROR, CRASHED, exit_codes, leave
from trio_relay.cli.loading import config_option, loaded
from trio_relay.net.admin.calls import CallRefused
from trio_relay.nostr.errors import Prefix


@click.command("reload")
@config_option
@click.pass_obj
def reload_command(group_path: Path | None, config_path: Path | None) -> None:
    """Have the running relay go by its changed configuration.

    What can change while the relay runs does so at once, also for clients that are connected; what cannot waits for the
    next start, and is named. A configuration that is wrong changes nothing. The relay reads the file that it was
    started with; FILE tells where its control line is. SIGHUP does the same, and the log says what came of it.
    """
    config = loaded(config_path or group_path)
    with exit_codes():
        try:
            found = call_relay(config, "reloadconfig", [])
        except LineShut as shut:
            leave(CRASHED, str(shut))
        except NoLine as no_line:
            leave(CRASHED, f"{no_line}; where the file has moved the control line, SIGHUP reaches the running relay")
        except CallRefused as refused:
            wrong = str(refused).removeprefix(f"{Prefix.INVALID}: ")
            leave(CRASHED if wrong == str(refused) else CONFIG_ERROR, f"{wrong}; the relay goes on as before")
        _tell(found)


def _tell(found: dict[str, Any]) -> None:
    changed, waiting = found["changed"], found["waiting"]
    click.echo("changed: " + ", ".join(changed) if changed else "nothing has changed")
    for name, reason in waiting.items():
        click.echo(f"waits for a restart: {name} ({reason})")
    for name, variable in found.get("overridden", {}).items():
        click.echo(f"the file has no effect: {name} ({variable} says something else)")
