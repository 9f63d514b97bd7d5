"""What an upgrade leaves in the log: nothing, or, where that is prevented, what a later checkpoint folds back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import apsw
import pytest

from tests.store import version_1
from tests.store.files import exists, opened, opened_for_reading
from tests.store.inside import inside
from tests.support.backends import everything
from tests.support.keys import ALICE
from trio_relay.nostr.event import decode
from trio_relay.store.sqlite import schema
from trio_relay.store.sqlite.upgrade import upgrade

EVENTS: Final = [ALICE.event(f"{number}", tags=[["t", "x"]]) for number in range(50)]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file of version 1 with `EVENTS`."""
    path = tmp_path / "relay.db"
    version_1.write(path, enumerate(EVENTS, 1))
    return path


class FullDisk(apsw.Connection):
    """One that cannot fold the log back."""

    def wal_checkpoint(self, dbname: str | None = None, mode: int = apsw.SQLITE_CHECKPOINT_PASSIVE) -> tuple[int, int]:
        raise apsw.FullError("database or disk is full")


async def is_whole(path: Path) -> bool:
    """True if a relay finds all of it, of this version."""
    async with opened(path) as store:
        version = inside(store).connection.pragma("user_version")
        return version == schema.VERSION and await everything(store) == EVENTS


async def test_when_the_store_opens_the_database_has_all_and_the_log_nothing(old: Path, tmp_path: Path) -> None:
    """Else the first events would wait until it has been folded back."""
    async with opened(old) as store:
        assert exists(Path(f"{old}-wal"))
        assert store.statistics().wal_bytes == 0
        alone = Path(shutil.copy(old, tmp_path / "alone.db"))
    async with opened_for_reading(alone) as copy:
        assert await everything(copy) == EVENTS


async def test_who_still_reads_with_the_older_make_prevents_nothing(old: Path) -> None:
    """An export may be under way: it goes on with what it saw."""
    reader, connection = apsw.Connection(str(old)), apsw.Connection(str(old))
    rows = reader.execute("SELECT json, address FROM event ORDER BY seq")
    seen = [next(rows)]
    upgrade(connection, str(old))
    seen += rows
    assert [decode(json) for json, _ in seen] == EVENTS
    reader.close()
    connection.close()
    assert await is_whole(old)


async def test_a_disk_too_full_to_fold_the_log_back_prevents_nothing(old: Path) -> None:
    connection = FullDisk(str(old))
    upgrade(connection, str(old))
    assert connection.pragma("user_version") == schema.VERSION
    connection.close()
    assert await is_whole(old)
