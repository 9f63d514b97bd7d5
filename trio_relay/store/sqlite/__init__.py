"""SQLite as the store: one writer thread, a few readers, one file that holds a complete relay."""

from trio_relay.store.sqlite.glance import Glance
from trio_relay.store.sqlite.lifetime import open_sqlite
from trio_relay.store.sqlite.lock import held
from trio_relay.store.sqlite.migration import migrate
from trio_relay.store.sqlite.options import SqliteOptions
from trio_relay.store.sqlite.read_pool import ReadPool, open_sqlite_for_reading
from trio_relay.store.sqlite.rebuilding import Repaired, repair
from trio_relay.store.sqlite.shrinking import rewrite
from trio_relay.store.sqlite.store import SqliteStore

__all__ = [
    "Glance",
    "ReadPool",
    "Repaired",
    "SqliteOptions",
    "SqliteStore",
    "held",
    "migrate",
    "open_sqlite",
    "open_sqlite_for_reading",
    "repair",
    "rewrite",
]
