"""The repository of a cluster of OpenSearch in which snapshots of a relay's index are kept."""

from __future__ import annotations

from trio_relay.backup.base import BackupMade
from trio_relay.backup.options import BackupOptions
from trio_relay.store.opensearch import OpenSearchOptions


class BackupRepository:
    """x."""

    def __init__(self, options: BackupOptions, index: OpenSearchOptions) -> None:
        self._options = options
        self._index = index

    async def make(self, now: float) -> BackupMade:
        raise NotImplementedError

    async def make_named(self, name: str, now: float) -> BackupMade:
        raise NotImplementedError

    async def check(self, name: str) -> str:
        raise NotImplementedError

    async def restore(self, name: str, *, replaces: bool) -> str:
        raise NotImplementedError

    async def newest(self) -> float | None:
        raise NotImplementedError

    async def rotate(self, keep: int) -> list[str]:
        raise NotImplementedError
