"""The command `check`: what is wrong with the store, and its repair."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Final

import click
import trio
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from trio_relay.cli.leaving import CRASHED, exit_codes, leave
from trio_relay.cli.loading import config_option, loaded_lasting
from trio_relay.cli.operating import store_errors
from trio_relay.config import Config
from trio_relay.exporting import open_for_reading
from trio_relay.nostr.schnorr import open_backend
from trio_relay.store.inspection import Verify

_MOST_TOLD: Final = 1_000
"""Faults that are written out; of a store where more is wrong these are enough to see what."""


@click.command("check")
@config_option
@click.option(
    "--signatures", is_flag=True, help="Verify the signature of each event, too, which takes most of the time."
)
@click.pass_obj
def check_command(group_path: Path | None, config_path: Path | None, signatures: bool) -> None:
    """Look for what is wrong with the store, and change nothing.

    Looked at are the file itself, each event's id, and all that is kept beside its JSON: columns, rows of tags, words,
    expiry, tombstones. Each fault is a line; exit code 1 if there is any. The relay may run meanwhile.
    """
    config = loaded_lasting(config_path or group_path)
    verify = open_backend(config.pipeline.signatures).verify if signatures else None
    with exit_codes(), store_errors():
        events, faults = trio.run(_check, config, verify)
    click.echo(f"{events:,} events looked at: {f'{faults:,} faults' if faults else 'nothing is wrong'}")
    if faults:
        leave(CRASHED, "the store is not as it should be")


async def _check(config: Config, verify: Verify | None) -> tuple[int, int]:
    """Write what is wrong; returns how many events were looked at, and how many faults there are."""
    events = faults = 0
    console = Console(stderr=True)
    columns = TextColumn("checking {task.completed} events"), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        async with open_for_reading(config) as store, aclosing(store.inspect(verify)) as portions:
            async for portion in portions:
                for fault in portion.faults[: max(_MOST_TOLD - faults, 0)]:
                    click.echo(str(fault))
                events, faults = events + portion.events, faults + len(portion.faults)
                progress.update(task, completed=events)
    return events, faults
