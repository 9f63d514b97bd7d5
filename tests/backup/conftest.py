"""A store to make backups of, and a place for them."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.support.keys import ALICE, BOB, NOW
from trio_relay import Event, SqliteOptions, open_sqlite

NEWEST = BOB.event("fox", created_at=NOW + 1_000)
EVENTS = [ALICE.event(f"word{number}", created_at=NOW + number, tags=[["t", "x"]]) for number in range(300)]
SECRET, ANOTHER = b"this is the secret key of a rela", b"y, and this another of just that"
KEPT = {"self": SECRET, "console": ANOTHER, f"banned-pubkeys/{BOB.pubkey}": b'{"reason":"spam","since":7}'}


def options(path: Path) -> SqliteOptions:
    """Options that spare a test the waiting for the disk."""
    return SqliteOptions(path=str(path), synchronous="normal", readers=2)


async def fill(path: Path, *events: Event) -> None:
    """Have a relay store these, and stop."""
    async with open_sqlite(options(path)) as store:
        await store.save_many(events)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with `EVENTS`, which keeps `KEPT`; nobody has it open."""
    path = tmp_path / "data" / "relay.db"

    async def make() -> None:
        await fill(path, *EVENTS)
        async with open_sqlite(options(path)) as opened:
            await opened.put_metadata(KEPT)

    trio.run(make)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a backup is to be."""
    return tmp_path / "relay.backup"
