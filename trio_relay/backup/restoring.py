"""Makes a store of a backup again: the whole of it, or nothing is touched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trio_relay.backup.backup_file import BackupHeader, contents, read_header
from trio_relay.backup.base import BackupRefused
from trio_relay.private_files import filled
from trio_relay.store.sqlite import schema
from trio_relay.store.sqlite.replacing import replacing


@dataclass(frozen=True, slots=True)
class Restored:
    """What a backup that was restored says of itself, and where the store is that was there before, if any was."""

    header: BackupHeader
    before: Path | None


def check_backup(file: Path) -> BackupHeader:
    """Read a whole backup, and return what it says of itself; blocks.

    Raises:
        BackupRefused: it is no backup, of a newer version than this program, or not as it was written.
    """
    header = read_header(file)
    if header.schema > schema.VERSION:
        raise BackupRefused(
            f"{file} holds a store of schema version {header.schema}, this trio-relay knows versions up to"
            f" {schema.VERSION}: take the newer trio-relay that wrote it ({header.program})"
        )
    for _chunk in contents(file):
        pass
    return header


def restore_file(file: Path, store: Path, *, replaces: bool) -> Restored:
    """Put the store that a backup holds in its place; blocks.

    It is read twice: whatever is wrong with it is told before anything is made.

    Args:
        file: the backup.
        store: where the store is to be. Beside it there has to be room for another one.
        replaces: whether there may be a store already, which then is kept under another name.

    Raises:
        BackupRefused: as `check_backup` does.
        StoreRefused: as `replacing` does, and `Replacement.put`; or there is no room.
    """
    header = check_backup(file)
    with replacing(store, replaces=replaces) as place:
        with filled(place.part) as out:
            for chunk in contents(file):
                out.write(chunk)
        place.put()
    return Restored(header, place.before)
