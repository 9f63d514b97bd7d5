"""SQLite as the store: one writer thread, a few readers, one file that holds a complete relay."""

from trio_relay.store.sqlite.migrating import migrate
from trio_relay.store.sqlite.store import (
    SqliteOptions,
    SqliteReader,
    SqliteStore,
    open_sqlite,
    open_sqlite_for_reading,
)

__all__ = ["SqliteOptions", "SqliteReader", "SqliteStore", "migrate", "open_sqlite", "open_sqlite_for_reading"]
