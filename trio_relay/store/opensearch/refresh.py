"""Refreshes: makes searchable what was written, every few seconds, and sooner if a task waits for it."""

from __future__ import annotations

from typing import Final

import msgspec
import structlog
import trio

from trio_relay.store.base import StoreError
from trio_relay.store.opensearch.client import OpenSearchClient, read
from trio_relay.store.opensearch.recent import Overlay

log = structlog.get_logger("trio_relay.store")

LEAST_SECONDS = 0.1
"""Least seconds between two refreshes, however many tasks wait: each makes a segment that has to be merged later."""

_CLOSED = "the relay's store is closing"


class _Round:
    """A refresh to come, and its result."""

    def __init__(self) -> None:
        self.is_wanted = False
        self.ended = trio.Event()
        self.error: StoreError | None = None

    def end(self, error: StoreError | None) -> None:
        """Wake the tasks that wait for it."""
        self.error = error
        self.ended.set()


class Refresher:
    """Refreshes the index for as long as `run` does.

    Args:
        client: of the cluster.
        alias: what is refreshed.
        overlay: what a refresh covers.
        seconds: between two refreshes if no task waits.
    """

    def __init__(self, client: OpenSearchClient, alias: str, overlay: Overlay, seconds: float) -> None:
        self._client = client
        self._path = f"/{alias}/_refresh"
        self._overlay = overlay
        self._seconds = seconds
        self._next = _Round()
        self._wanted = trio.Event()

    async def run(self) -> None:
        """Refresh regularly, as long as anything was written."""
        try:
            while True:
                await trio.sleep(LEAST_SECONDS)
                with trio.move_on_after(max(0, self._seconds - LEAST_SECONDS)):
                    await self._wanted.wait()
                if self._next.is_wanted or len(self._overlay):
                    await self._refresh()
        finally:
            self._next.end(StoreError(_CLOSED))  # no task may wait for a refresh that never comes

    def hurry(self) -> None:
        """Make the next refresh come soon."""
        self._next.is_wanted = True
        self._wanted.set()

    def owe(self) -> None:
        """Have the next regular refresh made, although no event was written."""
        self._next.is_wanted = True

    async def cover(self, *, of_others: bool = False) -> None:
        """Wait until everything that this relay, or with `of_others` any relay, has written can be searched.

        Raises:
            StoreError: the cluster could not refresh.
        """
        if not of_others and not len(self._overlay):
            return
        awaited = self._next
        self.hurry()
        await awaited.ended.wait()  # at once, if `run` has ended
        if awaited.error is not None:
            raise awaited.error

    async def _refresh(self) -> None:
        now, self._next = self._next, _Round()
        self._wanted = trio.Event()
        sealed = self._overlay.seal()
        failure: StoreError | None = StoreError(_CLOSED)
        try:
            answer = read(_decode, await self._client.ask("POST", self._path))
            if answer.shards.failed:
                raise StoreError("the relay's store could not refresh")
            self._overlay.drop(sealed)
            failure = None
        except StoreError as error:
            log.warning("not refreshed", error=str(error))
            failure = error
        finally:
            now.end(failure)


class _RefreshShards(msgspec.Struct, gc=False):
    failed: int


class _RefreshResponse(msgspec.Struct, gc=False):
    shards: _RefreshShards = msgspec.field(name="_shards")


_decode: Final = msgspec.json.Decoder(_RefreshResponse).decode
