"""The command `check`: what is wrong with the store, and its repair."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import trio

from trio_relay.cli.leaving import CRASHED, exit_codes, leave
from trio_relay.cli.loading import check_writable, config_option, loaded_lasting
from trio_relay.cli.operating import store_errors
from trio_relay.cli.progress_line import counted
from trio_relay.config import Config
from trio_relay.exporting import open_for_reading
from trio_relay.nostr.schnorr import open_backend
from trio_relay.private_files import written_whole
from trio_relay.store import opensearch
from trio_relay.store.inspection import Fault, MoveOut, Verify
from trio_relay.store.sqlite import Repaired, held, repair

_MOST_TOLD: Final = 1_000
"""Faults that are written out; of a store where more is wrong these are enough to see what."""


@click.command("check")
@config_option
@click.option(
    "--signatures", is_flag=True, help="Verify the signature of each event, too, which takes most of the time."
)
@click.option(
    "--repair",
    "broken_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Repair what is wrong; FILE takes events that have no place any more.",
)
@click.pass_obj
def check_command(
    group_path: Path | None, config_path: Path | None, signatures: bool, broken_path: Path | None
) -> None:
    """Look for what is wrong with the store, and change nothing.

    Looked at are the file itself, each event's id, and all that is kept beside its JSON: columns, rows of tags, words,
    expiry, tombstones. Each fault is a line. The relay may run meanwhile.

    With --repair, while no relay runs, everything is made anew of the events that can be read and are right, in a new
    file; the old one stays beside it. On OpenSearch, documents that are wrong are written anew, and relays may go on.
    Events that are broken themselves, or have no place, are written to FILE.
    """
    config = loaded_lasting(config_path or group_path)
    check_writable(config, broken_path)
    verify = open_backend(config.pipeline.signatures).verify if signatures else None
    with exit_codes(writes=True), store_errors():
        if broken_path is not None:
            _check_repairable(config)
        events, faults = trio.run(_check, config, verify)
        click.echo(f"{events:,} events looked at: {f'{faults:,} faults' if faults else 'nothing is wrong'}")
        if faults and broken_path is not None:
            _repair(config, broken_path, verify)
        elif faults:
            leave(CRASHED, "the store is not as it should be")


def _check_repairable(config: Config) -> None:
    """Refuse a store that is used, before anything is looked at."""
    if config.store.backend == "sqlite":
        with held(Path(config.store.path)):
            pass


def _repair(config: Config, broken_path: Path, verify: Verify | None) -> None:
    with written_whole(broken_path) as broken:

        def move_out(json: bytes, fault: Fault) -> None:
            broken.write(json.replace(b"\n", b" ") + b"\n")
            click.echo(f"moved out: {fault}")

        if config.store.backend == "sqlite":
            aside = datetime.now(UTC).strftime(".before-%Y%m%dT%H%M%SZ")
            lines = _told_of_file(trio.run(repair, config.store, aside, move_out, verify))
        else:
            lines = trio.run(_mend, config, move_out, verify)
    click.echo(f"repaired; what was moved out is in {broken_path}")
    for line in lines:
        click.echo(line)


def _told_of_file(done: Repaired) -> list[str]:
    lines = [f"{done.events:,} events stay, {done.moved_out:,} were moved out; the old file is {done.kept_aside}"]
    if done.unread:
        lines.append(f"of {done.unread:,} numbers nothing could be read; some of them may have been of no event")
    return lines


async def _mend(config: Config, move_out: MoveOut, verify: Verify | None) -> list[str]:
    async with opensearch.open_opensearch(config.opensearch) as store:
        done = await store.mend(move_out, verify)
    lines = [f"{done.written_anew:,} documents were written anew, {done.moved_out:,} moved out"]
    return [*lines, f"{done.left:,} were written by others meanwhile: check again"] if done.left else lines


async def _check(config: Config, verify: Verify | None) -> tuple[int, int]:
    """Write what is wrong; returns how many events were looked at, and how many faults there are."""
    events = faults = 0
    with counted("checking") as advance:
        async with open_for_reading(config) as store, aclosing(store.inspect(verify)) as portions:
            async for portion in portions:
                for fault in portion.faults[: max(_MOST_TOLD - faults, 0)]:
                    click.echo(str(fault))
                events, faults = events + portion.events, faults + len(portion.faults)
                advance(portion.events)
    return events, faults
