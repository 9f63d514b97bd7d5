"""What a store's file tells at a glance, beside a running relay or without one; and which SQLite it is that looks.

Nothing is made or changed: a file that nobody uses, and that has no log, is read as one that does not change.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from trio_relay.store.base import StoreRefused
from trio_relay.store.sqlite.lock import holder_of
from trio_relay.store.sqlite.schema import VERSION, check
from trio_relay.store.sqlite.transaction import described

_STEPS: Final = 10_000
"""Of SQLite's machine between two looks at the clock: a fraction of a millisecond."""
_MOST_TOLD: Final = 5


@dataclass(frozen=True, slots=True)
class Glance:
    """What was seen.

    Attributes:
        version: of the schema.
        damage: what SQLite finds wrong with the file, at most five lines; None: the time was too short to tell.
        log_bytes: size of its log.
    """

    version: int
    damage: tuple[str, ...] | None
    log_bytes: int

    @property
    def is_older(self) -> bool:
        """True if the next start of a relay brings the file to a newer version."""
        return self.version < VERSION


def library_version() -> tuple[int, ...]:
    """Return the version of the SQLite that this program uses."""
    return tuple(map(int, apsw.sqlite_lib_version().split(".")))


def glance(path: Path, seconds: float) -> Glance:
    """Look at a file; blocks.

    Args:
        path: of the database.
        seconds: for SQLite's quick check of the whole file, at most.

    Raises:
        StoreRefused: it is not a relay's, is of a newer version, or cannot be opened.
    """
    log = Path(f"{path}-wal")
    log_bytes = log.stat().st_size if log.is_file() else 0
    is_quiet = not log_bytes and holder_of(path) is None
    try:
        with closing(_opened(path, is_quiet=is_quiet)) as connection:
            version = int(connection.pragma("user_version"))
            check(connection, str(path))
            return Glance(version, _damage(connection, time.monotonic() + seconds), log_bytes)
    except (apsw.CorruptError, apsw.NotADBError) as error:
        return Glance(VERSION, (described(error),), log_bytes)
    except apsw.Error as error:
        raise StoreRefused(f"{path}: {described(error)}") from error


def _opened(path: Path, *, is_quiet: bool) -> apsw.Connection:
    source = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if is_quiet else ''}"
    return apsw.Connection(source, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)


def _damage(connection: apsw.Connection, until: float) -> tuple[str, ...] | None:
    connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
    try:
        found = connection.execute(f"PRAGMA quick_check({_MOST_TOLD})").fetchall()
    except apsw.InterruptError:
        return None
    finally:
        connection.set_progress_handler(None)
    return tuple(str(line) for (line,) in found if line != "ok")
