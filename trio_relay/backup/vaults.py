"""Where the backups of a relay go, by its configuration."""

from __future__ import annotations

from pathlib import Path

from trio_relay.backup.base import Vault
from trio_relay.backup.options import BackupOptions
from trio_relay.store.opensearch import OpenSearchOptions
from trio_relay.store.sqlite import SqliteOptions


def vault_of(options: BackupOptions, backend: str, file: SqliteOptions, index: OpenSearchOptions) -> Vault | None:
    """Return where backups go; None if the store is in memory. What that needs is loaded for who has it alone.

    Args:
        options: what is to be in them, and where they are.
        backend: of the store.
        file: of a store in SQLite.
        index: of a store in OpenSearch.
    """
    if backend == "memory":
        return None
    if backend == "opensearch":
        from trio_relay.backup.repository import BackupRepository

        return BackupRepository(options, index)
    from trio_relay.backup.folder import BackupFolder

    return BackupFolder(folder_of(options, file), Path(file.path), with_key=options.with_key)


def folder_of(options: BackupOptions, file: SqliteOptions) -> Path:
    """Return the folder of the backups of a store in SQLite."""
    return Path(options.folder or Path(file.path).parent / "backups")
