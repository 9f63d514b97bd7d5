"""The code that runs: how it was built, and whether what it needs is known to be good."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Final

import trio

from trio_relay.doctor.findings import Ailment, Chart, Finding, Severity
from trio_relay.doctor.patient import Patient
from trio_relay.nostr.schnorr import BackendName, open_backend
from trio_relay.store.sqlite.glance import library_version
from trio_relay.version import CODE, __version__

INTERPRETED: Final = Ailment(
    "interpreted",
    Severity.NOTE,
    "The hot path runs interpreted, as it does where no C compiler was found at installation.",
    "Install a wheel, or a C compiler and Python's headers, then again; in a checkout: make compiled.",
)
SIGNATURES_SLOW: Final = Ailment(
    "signatures-slow",
    Severity.WARNING,
    "Signatures are not verified by the batch, but one by one, or even in Python, at some 75 ms each.",
    "Install a wheel, or a C compiler and Python's headers, and the package again; leave pipeline.signatures at auto.",
)
SIGNATURES_NONE: Final = Ailment(
    "signatures-none",
    Severity.FAULT,
    "No library that verifies signatures can be loaded: the relay does not start.",
    "Install the package again; leave pipeline.signatures at auto.",
)
SQLITE_BUG: Final = Ailment(
    "sqlite-bug",
    Severity.WARNING,
    "This SQLite has a bug by which a file in WAL mode may be damaged when two connections fold back and write at the"
    " same moment (3.7.0 to 3.51.2). It is very rare.",
    "pip install --upgrade apsw, from a wheel, which brings its own SQLite.",
)

_REPAIRED: Final = ((3, 44, 6), (3, 50, 7))
"""Older lines of SQLite that got the repair, too."""
_REPAIRED_FROM: Final = (3, 51, 3)


# Verdicts.


def of_code(code: str, signatures: BackendName) -> Iterator[Finding]:
    """What is wrong with how the program was built."""
    if code != "compiled":
        yield INTERPRETED.found(f"The code is {code}.")
    if signatures != "batch":
        yield SIGNATURES_SLOW.found(f"They are verified by {signatures}.")


def of_sqlite(version: tuple[int, ...]) -> Iterator[Finding]:
    """Whether a version of SQLite has a bug that concerns stores."""
    is_repaired = any(version[:2] == line[:2] and version >= line for line in _REPAIRED)
    if version < _REPAIRED_FROM and not is_repaired:
        yield SQLITE_BUG.found(f"SQLite {'.'.join(map(str, version))} is used.")


# Looks.


async def look_at_software(patient: Patient, chart: Chart) -> None:
    """Look at what this program consists of, which is what a relay consists of that starts now."""
    await trio.lowlevel.checkpoint()
    sqlite = library_version()
    chart.facts += [f"trio-relay {__version__}, {CODE}", f"Python {platform.python_version()}"]
    chart.facts.append(f"SQLite {'.'.join(map(str, sqlite))}")
    chart.add(of_sqlite(sqlite))
    try:
        chart.add(of_code(CODE, open_backend(patient.config.pipeline.signatures).name))
    except ImportError as missing:
        chart.add([SIGNATURES_NONE.found(f"{missing}.")])
