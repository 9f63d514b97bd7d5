"""What the relay keeps for itself is in the file, and changes as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.store.files import opened
from trio_relay import StoreError
from trio_relay.store.sqlite import batch_writer


async def test_what_is_kept_outlasts_the_store_and_is_kept_whole_or_not_at_all(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path) as store:
        await store.put_metadata({"a": b"1", "b": b"\0"})
        with monkeypatch.context() as patch:
            patch.setattr(batch_writer, "_KEEP", "INSERT INTO nowhere VALUES (?, ?)")
            with pytest.raises(StoreError, match=r"^the relay's store failed \(SQLError\)$"):
                await store.put_metadata({"a": None, "c": b"3"})
    async with opened(path) as store:
        assert await store.get_metadata() == {"a": b"1", "b": b"\0"}
