"""The store's own state, where it is a file: its version, its log, and whether SQLite finds it whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio

from trio_relay.doctor.amounts import sized
from trio_relay.doctor.findings import Ailment, Chart, Finding, Severity
from trio_relay.doctor.patient import Patient
from trio_relay.store.base import StoreRefused
from trio_relay.store.sqlite.glance import Glance, glance

STORE_REFUSED: Final = Ailment(
    "store-refused",
    Severity.FAULT,
    "The file cannot be used as a store: it is of a newer version, of another program, or cannot be opened.",
    "Start the trio-relay that wrote it, correct store.path, or bring back a backup (trio-relay restore).",
)
STORE_DAMAGED: Final = Ailment(
    "store-damaged",
    Severity.FAULT,
    "SQLite finds the file damaged. That comes from a broken disk, from a file system that loses what it has confirmed,"
    " or from another program that wrote to it.",
    "Stop the relay, copy the file, then trio-relay check --repair FILE, or trio-relay restore. Look into dmesg for"
    " errors of the disk first.",
)
STORE_OLDER: Final = Ailment(
    "store-older",
    Severity.NOTE,
    "The file has an older version; the next start brings it to this one, which takes a while where it is large.",
    "Make a backup first, since an older trio-relay cannot open it afterwards.",
)
LOG_LARGE: Final = Ailment(
    "log-large",
    Severity.WARNING,
    "The store's log (-wal) is very large: something has been reading the file for a long time, so that the log cannot"
    " be folded back.",
    "Look for programs that have the file open (fuser relay.db), such as a copy or sqlite3 in a forgotten terminal.",
)

_CHECK_SECONDS: Final = 3.0
_LARGE: Final = 2**30


# Verdicts.


def of_glance(seen: Glance, path: Path) -> Iterator[Finding]:
    """What is wrong with a file."""
    if seen.damage:
        yield STORE_DAMAGED.found(f"{path}: {seen.damage[0].strip()}.")
    if seen.is_older:
        yield STORE_OLDER.found(f"{path} has schema version {seen.version}.")
    if seen.log_bytes > _LARGE:
        yield LOG_LARGE.found(f"{path}-wal has {sized(seen.log_bytes)}.")


# Looks.


async def look_at_store(patient: Patient, chart: Chart) -> None:
    """Open the file for reading, and have SQLite check it as far as there is time."""
    path = patient.store_path
    if path is None or not _holds_anything(path):
        chart.facts.append(f"{patient.config.store.backend}: no file to look at, or nothing in it")
        return
    try:
        seen = await trio.to_thread.run_sync(glance, path, _CHECK_SECONDS, abandon_on_cancel=True)
    except StoreRefused as refused:
        chart.add([STORE_REFUSED.found(f"{refused}.")])
        return
    chart.facts.append(sized(path.stat().st_size))
    chart.facts.append("too large to be checked here: trio-relay check" if seen.damage is None else "checked quickly")
    chart.add(of_glance(seen, path))


def _holds_anything(path: Path) -> bool:
    """False where the next start makes the store: there is no file, or an empty one, whose log has nothing either."""
    files = [one for one in (path, Path(f"{path}-wal")) if one.exists()]
    return path.exists() and any(one.stat().st_size for one in files)
