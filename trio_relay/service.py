"""This process as one of a service: what it was handed, who is told how it is, and the process that was there before.

While sockets stay open over a restart, two processes of a relay may meet: the old one still answers its clients and
stores what it has accepted, and the new one has read everything else that it needs. It waits for the store then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import structlog
import trio

from trio_relay.banner import url_of
from trio_relay.config import Config
from trio_relay.net.listeners import BoundListener
from trio_relay.store.base import StoreInUse
from trio_relay.systemd import HandedSocket, Notifier

log = structlog.get_logger("trio_relay.app")

Again: TypeAlias = Callable[[StoreInUse], Awaitable[bool]]
"""Whether a store that another process holds is to be tried again; returns when it is."""

_LOOK_SECONDS: Final = 0.005
"""Between two looks whether the store is free. One costs 10 µs, and a client may wait for it."""
_CLOSING_SECONDS: Final = 20.0
"""For what has no setting: workers that are killed (5 seconds), and the store's closing (10)."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a service manager gave this process, and what tells it how that is.

    Attributes:
        sockets: that were opened for it.
        notifier: tells the manager.
    """

    sockets: Sequence[HandedSocket] = ()
    notifier: Notifier = field(default_factory=Notifier)

    def turn(self, config: Config, stop: trio.Event) -> Again | None:
        """Return what waits for the process before this one; None: there is none, and whoever has the store keeps it.

        Args:
            config: checked; the time in which the other process ends goes by it.
            stop: nobody waits any longer once it is set.
        """
        return _Turn(self.notifier, longest_stop(config), stop).comes if self.sockets else None

    async def run(
        self,
        config: Callable[[], Config],
        listeners: Sequence[BoundListener],
        answers: Callable[[], Awaitable[object]],
        stop: trio.Event,
    ) -> None:
        """Tell the manager that the relay serves, that it is alive, and, once it is to stop, that it does.

        Args:
            config: tells what the relay goes by now.
            listeners: open ones.
            answers: returns once all parts have shown that they work.
            stop: set when the relay is to stop. From then on the manager waits for the end, and not for signs of life.
        """
        await self.notifier.ready(f"serving on {', '.join(url_of('ws', one) for one in listeners)}")
        async with trio.open_nursery() as watching:
            watching.start_soon(self.notifier.watch, answers)
            await stop.wait()
            watching.cancel_scope.cancel(reason="the relay is stopping")
        await self.notifier.stopping("letting clients go, and storing what was accepted", longest_stop(config()))


class _Turn:
    """Waits until the store is free, in bounded time."""

    def __init__(self, notifier: Notifier, seconds: float, stop: trio.Event) -> None:
        self._notifier = notifier
        self._seconds = seconds
        self._stop = stop
        self._until: float | None = None

    async def comes(self, refused: StoreInUse) -> bool:
        if self._until is None:
            self._until = trio.current_time() + self._seconds
            log.info("waiting for the process before this one", reason=str(refused), seconds=self._seconds)
            await self._notifier.starting(f"waiting: {refused}", self._seconds)
        with trio.move_on_after(_LOOK_SECONDS):
            await self._stop.wait()
        return not self._stop.is_set() and trio.current_time() < self._until


@contextmanager
def unless_stopped(stop: trio.Event) -> Iterator[None]:
    """Let it be that another process has the store, if this one was asked to end while it waited."""
    try:
        yield
    except* StoreInUse:
        if not stop.is_set():
            raise


def longest_stop(config: Config) -> float:
    """Return how many seconds a relay takes at most from the signal that stops it to its end."""
    return config.net.grace_seconds + config.pipeline.drain_seconds + _CLOSING_SECONDS
