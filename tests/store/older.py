"""Files as earlier makes of this relay wrote them, out of those of this one; `version_1` makes them of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw

from trio_relay.store.sqlite import rows

_STEPS: Final = {
    6: "DROP TABLE archive; DROP TABLE archive_owner",
    5: "",
    4: "DROP TABLE numbering; DROP TABLE worded; CREATE TABLE worded (until INTEGER) STRICT;"
    " INSERT INTO worded VALUES (NULL)",
    3: "DROP TABLE expiry; DROP TABLE kept; DROP TABLE vanishing; ALTER TABLE tag DROP COLUMN sketch",
    2: "DROP TABLE word; DROP TABLE worded",
}


def make_older(path: Path, version: int) -> None:
    """Take from a file what versions above this one have added."""
    connection = apsw.Connection(str(path))
    for step, sql in _STEPS.items():
        if step == 5 and version <= 5:
            _unseal(connection)
        if step >= version:
            connection.execute(f"{sql}; PRAGMA user_version = {step}").fetchall()
    connection.close()


def _unseal(connection: apsw.Connection) -> None:
    """Put the tags of private kinds under the keys of all others."""
    private = "SELECT seq, json FROM event WHERE seq > ? AND kind IN (4, 1059) ORDER BY seq LIMIT ?"
    numbered = rows.read_page(connection, private, 0, 10_000)
    rows.run(connection, rows.DELETE_TAGS, rows.records_of(rows.tag_records, numbered))
    rows.run(connection, rows.INSERT_TAGS, rows.records_of(rows.unsealed_records, numbered))
