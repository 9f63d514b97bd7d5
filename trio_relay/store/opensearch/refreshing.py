"""When what was written becomes searchable: every few seconds, and for who needs it now a little sooner."""

from __future__ import annotations

import structlog
import trio

from trio_relay.store.base import StoreError
from trio_relay.store.opensearch.client import Client
from trio_relay.store.opensearch.overlay import Overlay

log = structlog.get_logger("trio_relay.store")

_LEAST_SECONDS = 0.1
"""Between two refreshes, however many ask for one: each makes a segment that the cluster has to merge again."""


class _Round:
    """One refresh that is to come, and how it ended."""

    def __init__(self) -> None:
        self.is_wanted = False
        self.ended = trio.Event()
        self.error: StoreError | None = None


class Refreshing:
    """Refreshes the index for as long as `run` does.

    Args:
        client: of the cluster.
        alias: what is refreshed.
        overlay: what waits for it.
        seconds: between two refreshes that nobody asks for.
    """

    def __init__(self, client: Client, alias: str, overlay: Overlay, seconds: float) -> None:
        self._client = client
        self._path = f"/{alias}/_refresh"
        self._overlay = overlay
        self._seconds = seconds
        self._next = _Round()
        self._wanted = trio.Event()

    async def run(self) -> None:
        """Refresh again and again what was written."""
        while True:
            await trio.sleep(_LEAST_SECONDS)
            with trio.move_on_after(self._seconds - _LEAST_SECONDS):
                await self._wanted.wait()
            if self._next.is_wanted or len(self._overlay):
                await self._refresh()

    def hurry(self) -> None:
        """Let the next refresh come soon."""
        self._next.is_wanted = True
        self._wanted.set()

    async def cover(self, *, of_others: bool = False) -> None:
        """Wait until all that this relay has written so far, or anyone, can be searched.

        Raises:
            StoreError: the cluster could not refresh.
        """
        if not of_others and not len(self._overlay):
            return
        awaited = self._next
        self.hurry()
        await awaited.ended.wait()
        if awaited.error is not None:
            raise awaited.error

    async def _refresh(self) -> None:
        now, self._next = self._next, _Round()
        self._wanted = trio.Event()
        sealed = self._overlay.seal()
        try:
            answer = await self._client.decoded("POST", self._path)
            if answer["_shards"]["failed"]:
                raise StoreError("the relay's store could not refresh")
        except StoreError as error:
            log.warning("not refreshed", error=str(error))
            now.error = error
        else:
            self._overlay.drop(sealed)
        finally:
            now.ended.set()
