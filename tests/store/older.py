"""Files as earlier makes of this relay wrote them, out of those of this one; `version_1` makes them of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw

_STEPS: Final = {
    4: "DROP TABLE numbering; DROP TABLE worded; CREATE TABLE worded (until INTEGER) STRICT;"
    " INSERT INTO worded VALUES (NULL)",
    3: "DROP TABLE expiry; DROP TABLE kept; DROP TABLE vanishing; ALTER TABLE tag DROP COLUMN sketch",
    2: "DROP TABLE word; DROP TABLE worded",
}


def make_older(path: Path, version: int) -> None:
    """Take from a file what versions above this one have added."""
    connection = apsw.Connection(str(path))
    for step, sql in _STEPS.items():
        if step >= version:
            connection.execute(f"{sql}; PRAGMA user_version = {step}").fetchall()
    connection.close()
