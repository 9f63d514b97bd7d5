"""Transactions: the one way in which this store writes, so that the first error is the one that is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw
import structlog

log = structlog.get_logger("trio_relay.store")


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """Commit what is written inside, or roll it back and raise the error that prevented it.

    `with connection:` of apsw would roll back to a savepoint. SQLite has none any more after it has rolled back by
    itself, as on a full disk, and then the error of that hides the cause.

    Raises:
        apsw.Error: nothing of it is stored.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise


def _roll_back(connection: apsw.Connection) -> None:
    """Roll back, unless SQLite has done so itself; a failure is logged only, as it is not the cause."""
    if not connection.in_transaction:
        return
    try:
        connection.execute("ROLLBACK")
    except apsw.Error as error:
        log.warning("rollback failed", error=described(error))


def described(error: apsw.Error) -> str:
    """Return SQLite's message, with the name of a finer code if it has one: what kind of I/O failed, for example."""
    name = apsw.mapping_extended_result_codes.get(getattr(error, "extendedresult", 0))
    return f"{error} ({name})" if name else str(error)
