"""Backups: whether any are made, and whether the newest is as new as it should be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio

from trio_relay.backup.base import BackupRefused
from trio_relay.backup.options import BackupOptions
from trio_relay.backup.vaults import folder_of, vault_of
from trio_relay.doctor.amounts import lasting
from trio_relay.doctor.findings import Ailment, Chart, Finding, Severity
from trio_relay.doctor.own_files import last_changes, of_unfinished
from trio_relay.doctor.patient import Patient
from trio_relay.doctor.rights import WRITE, doer_of, hindrance, told, way_to
from trio_relay.store.base import StoreError, StoreRefused

NO_BACKUPS: Final = Ailment(
    "no-backups",
    Severity.NOTE,
    "The relay makes no backups (backup.every_seconds), and there is none where they would go.",
    "Set backup.every_seconds, best with a backup.folder on another disk; or have something else copy the store.",
)
BACKUP_MISSING: Final = Ailment(
    "backup-missing",
    Severity.WARNING,
    "Backups are to be made regularly, the relay runs, and there is none.",
    "Look into the relay's log for `no backup was made`; try trio-relay backup, which tells why it cannot.",
)
BACKUP_OLD: Final = Ailment(
    "backup-old",
    Severity.WARNING,
    "The newest backup is more than twice as old as backup.every_seconds has it.",
    "Look into the relay's log for `no backup was made`; try trio-relay backup, which tells why it cannot.",
)
BACKUPS_UNREADABLE: Final = Ailment(
    "backups-unreadable",
    Severity.WARNING,
    "The place of the backups cannot be looked at, or there can be none: a file lies in its way, or the relay's user"
    " may not write there, as where root has made the folder by a backup without FILE.",
    "Correct backup.folder or backup.repository, or who may read and write it (chown).",
)

_GRACE_SECONDS: Final = 600
"""For a backup to be written."""


# Verdicts.


def of_newest(options: BackupOptions, newest: float | None, now: float, *, is_running: bool) -> Iterator[Finding]:
    """What is wrong with the newest backup.

    Args:
        options: how often they are to be made.
        newest: when it was made, in seconds since 1970; None: there is none.
        now: seconds since 1970.
        is_running: the relay runs, and so should make them.
    """
    every = options.every_seconds
    if newest is None:
        if not every:
            yield NO_BACKUPS.found("Backups are off.")
        elif is_running:
            yield BACKUP_MISSING.found(f"One is to be made every {lasting(every)}.")
    elif every and now - newest > 2 * every + _GRACE_SECONDS:
        yield BACKUP_OLD.found(
            f"The newest is {lasting(now - newest)} old, and one is to be made every {lasting(every)}."
        )


# Looks.


async def look_at_backups(patient: Patient, chart: Chart) -> None:
    """Look for the newest backup, and for what was not finished."""
    config = patient.config
    vault = vault_of(config.backup, config.store.backend, config.store, config.opensearch)
    if vault is None:
        chart.facts.append("a store in memory has none")
        return
    if config.store.backend == "opensearch" and not config.backup.repository:
        chart.facts.append("no repository for snapshots")
        chart.add(of_newest(config.backup, None, patient.now, is_running=patient.is_running))
        return
    try:
        newest = await vault.newest(patient.now)
        if config.store.backend == "sqlite":
            chart.add(await trio.to_thread.run_sync(_in_the_way, patient, abandon_on_cancel=True))
            parts = await trio.to_thread.run_sync(_parts, patient, abandon_on_cancel=True)
            chart.add(of_unfinished(parts, patient.now))
    except (BackupRefused, StoreError, StoreRefused) as error:
        chart.add([BACKUPS_UNREADABLE.found(f"{error}.")])
        return
    chart.facts.append("none" if newest is None else f"the newest is {lasting(patient.now - newest)} old")
    chart.add(of_newest(config.backup, newest, patient.now, is_running=patient.is_running))


def _in_the_way(patient: Patient) -> list[Finding]:
    folder = folder_of(patient.config.backup, patient.config.store).absolute()
    nearest = next(one for one in (folder, *folder.parents) if os.path.exists(one))
    if not nearest.is_dir():
        return [BACKUPS_UNREADABLE.found(f"{folder}: {nearest} is no folder.")]
    doer = doer_of(patient) if patient.config.backup.every_seconds else None
    blocked = None if doer is None else hindrance(doer, way_to(nearest), WRITE)
    return (
        [] if blocked is None else [BACKUPS_UNREADABLE.found(f"{folder}: the relay may not write, by {told(blocked)}.")]
    )


def _parts(patient: Patient) -> list[tuple[Path, float]]:
    folder = folder_of(patient.config.backup, patient.config.store)
    return last_changes(folder.glob("*.part"))
