"""Work that is done when it is due, by one task, and tried again after the store has failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
import trio

from trio_relay.store.base import StoreError

log = structlog.get_logger("trio_relay.moderation")

RETRY_SECONDS: Final = 10.0


class Due:
    """Whether something is to be done: set by whoever notices, any number of times, and done once for all of them."""

    def __init__(self, *, is_set: bool = False) -> None:
        self._event = trio.Event()
        if is_set:
            self._event.set()

    @property
    def is_set(self) -> bool:
        """True if there is something to do."""
        return self._event.is_set()

    def set(self) -> None:
        """Have it done; sync."""
        self._event.set()

    def clear(self) -> None:
        """What is noticed from now on is to be done anew."""
        if self._event.is_set():
            self._event = trio.Event()

    async def run(self, work: Callable[[], Awaitable[object]], failure: str) -> None:
        """Do the work whenever it is due, until cancelled.

        Args:
            work: raises `StoreError` where the store failed; it is tried again in `RETRY_SECONDS`.
            failure: what the log says then.
        """
        while True:
            await self._event.wait()
            self.clear()
            try:
                await work()
            except StoreError as error:
                log.warning(failure, error=str(error))
                await trio.sleep(RETRY_SECONDS)
                self.set()
