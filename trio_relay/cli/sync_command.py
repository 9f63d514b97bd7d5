"""The command `sync`: brings a store and another relay to the same events."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import click
import msgspec
import trio
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from trio_relay.cli.leaving import CONFIG_ERROR, CRASHED, exit_codes, leave
from trio_relay.cli.loading import config_option, loaded_lasting
from trio_relay.nostr.errors import Rejected
from trio_relay.nostr.nip19 import secret_of
from trio_relay.nostr.signer import Signer
from trio_relay.nostr.urls import bare_url
from trio_relay.peers.authentication import key_text
from trio_relay.peers.outcomes import SyncReport
from trio_relay.peers.waiting import PeerLost

KEY_VARIABLE: Final = "TRIO_RELAY_PEER_KEY"
_AGAIN: Final = "what came before is stored, and the same sync can be run again"
_TICK_SECONDS: Final = 0.2
_TOLD_SECONDS: Final = 30.0
"""Where nobody sees a line change, one is written so often."""


@click.command("sync", short_help="Sync the store with another relay.")
@config_option
@click.option(
    "--filter",
    "filters",
    metavar="JSON",
    multiple=True,
    help="Only what this filter asks for; may be given several times. By default everything.",
)
@click.option(
    "--direction",
    type=click.Choice(["down", "up", "both"]),
    default="both",
    show_default=True,
    help="down: fetch what is lacking here; up: offer what is lacking there.",
)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help=f"A secret key, hex or nsec1…, for a relay that asks who we are (NIP-42); or in {KEY_VARIABLE}.",
)
@click.argument("url")
@click.pass_obj
def sync_command(
    group_path: Path | None,
    config_path: Path | None,
    filters: tuple[str, ...],
    direction: str,
    key_file: Path | None,
    url: str,
) -> None:
    """Sync the store with the relay at URL, wss://… or ws://…

    Sets are compared by NIP-77, so that only what differs goes over the network; a relay without it is asked page by
    page. What comes in passes the same checks as a client's events, but for authentication. Private messages are not
    offered, nor are protected events. The relay must not run on the same store meanwhile; a running one has [[mirror]].

    A connection that is lost is made again, and the sync goes on. At the end it is said what became of the events of
    each direction, and why. It can be run again at any time.
    """
    # They load the WebSocket client, which no other command needs.
    from trio_relay.peers.dialing import parse_url
    from trio_relay.syncing import bring_over

    wanted = [_parsed(text) for text in filters] or [{}]
    try:
        parse_url(url)
        signer = _signer(key_file)
    except ValueError as error:
        leave(CONFIG_ERROR, str(error))
    config = loaded_lasting(config_path or group_path)
    report, lost = SyncReport(), None
    takes, gives = direction != "up", direction != "down"
    tell = partial(_tell, report, takes=takes, gives=gives)
    with exit_codes(interrupted=partial(_interrupted, tell)):
        watch = partial(_watch, report, time.monotonic())
        try:
            trio.run(partial(bring_over, config, url, wanted, report, watch, signer=signer, takes=takes, gives=gives))
        except PeerLost as error:
            lost = str(error)
    tell()
    if lost is not None:
        leave(CRASHED, f"{bare_url(url)}: {lost}; {_AGAIN}")
    if not report.is_whole:
        leave(CRASHED, "not all that is there could be fetched")


def _parsed(text: str) -> Mapping[str, object]:
    from trio_relay.peers.synchronizing import check_sync_filter

    try:
        filter_ = msgspec.json.decode(text, type=dict[str, object])
        check_sync_filter(filter_)
    except msgspec.DecodeError:
        leave(CONFIG_ERROR, f"--filter: not a JSON object: {text}")
    except Rejected as rejected:
        leave(CONFIG_ERROR, f"--filter: {rejected.reason}")
    return filter_


def _signer(key_file: Path | None) -> Signer | None:
    """Read the key; raises ValueError, which names where it stands, and says nothing of it."""
    text = os.environ.get(KEY_VARIABLE, "") if key_file is None else key_text(key_file)
    if not text.strip():
        return None
    try:
        return Signer(secret_of(text))
    except ValueError as error:
        raise ValueError(f"{KEY_VARIABLE if key_file is None else key_file}: {error}") from None


async def _watch(report: SyncReport, began: float, count_bytes: Callable[[], None]) -> None:
    """Show how it goes on standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        while True:
            await trio.sleep(_TOLD_SECONDS)
            count_bytes()
            click.echo(report.progress(time.monotonic() - began), err=True)
    with Progress(TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("connected", total=None)
        while True:
            await trio.sleep(_TICK_SECONDS)
            count_bytes()
            progress.update(task, description=report.progress(time.monotonic() - began))


def _interrupted(tell: Callable[[], None]) -> str:
    tell()
    return f"interrupted; {_AGAIN}"


def _tell(report: SyncReport, *, takes: bool, gives: bool) -> None:
    for line in report.down.lines("down") if takes else []:
        click.echo(line)
    for line in report.up.lines("up") if gives else []:
        click.echo(line)
    for remark in report.remarks:
        click.echo(remark)
    click.echo(report.steps())
