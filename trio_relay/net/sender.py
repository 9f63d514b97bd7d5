"""What one outbox holds, sent: as far as the network takes it at once, and the rest by a task until all has left."""

from __future__ import annotations

from typing import Final

import trio

from trio_relay.net.keepalive import Keepalive
from trio_relay.net.transport import Transport
from trio_relay.pipeline.outbox import Outbox

_WRITE_BYTES: Final = 65_536


class Sender:
    """Empties a client's outbox into its connection.

    Args:
        outbox: closed from here when the connection is found to be broken.
        transport: of the connection.
        keepalive: hears of what waits for the network.
    """

    __slots__ = ("_drained", "_keepalive", "_outbox", "_transport")

    def __init__(self, outbox: Outbox, transport: Transport, keepalive: Keepalive) -> None:
        self._outbox = outbox
        self._transport = transport
        self._keepalive = keepalive
        self._drained: trio.Event | None = None

    @property
    def is_draining(self) -> bool:
        """True while a task waits for the network."""
        return self._drained is not None

    async def drained(self) -> None:
        """Wait until nothing waits for the network."""
        if self._drained is not None:
            await self._drained.wait()

    def send_waiting(self, tasks: trio.Nursery | None) -> None:
        """Send what the network takes at once; a task in this nursery sends the rest, and what comes meanwhile."""
        while self._drained is None:
            joined, cost = self._outbox.take_nowait()
            if not cost:
                return
            try:
                sent = self._transport.send_nowait(joined)
            except OSError:
                self._outbox.close(forget=True)  # the reader will find the end of the stream
                return
            if sent < len(joined):
                assert tasks is not None, "the outbox is emptied when the nursery ends"
                self._drained = trio.Event()
                tasks.start_soon(self._drain, memoryview(joined)[sent:], cost)
            else:
                self._outbox.sent(cost)

    async def _drain(self, rest: memoryview, cost: int) -> None:
        """Send the rest of what was taken from the outbox, and what came meanwhile, until all has left."""
        assert self._drained is not None
        try:
            while cost:
                await self._send(rest)
                self._outbox.sent(cost)
                joined, cost = self._outbox.take_nowait()
                rest = memoryview(joined)
        except BaseException as error:
            # Cancelled, too: a frame has been cut, and nothing may follow it.
            self._outbox.close(forget=True)
            if not isinstance(error, (trio.BrokenResourceError, trio.ClosedResourceError)):
                raise
        finally:
            self._drained.set()
            self._drained = None

    async def _send(self, rest: memoryview) -> None:
        # A frame may be longer than what should leave in one go.
        for start in range(0, len(rest), _WRITE_BYTES):
            self._keepalive.sending(trio.current_time())
            await self._transport.send(rest[start : start + _WRITE_BYTES])
        self._keepalive.sent()
