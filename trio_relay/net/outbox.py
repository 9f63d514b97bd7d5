"""The way out to one client: what waits for it, bounded in bytes, and how that gets onto the network.

A client that doesn't read its messages hurts only itself. Answers and live events never wait: where they find no room
the client is too slow, and is told so and disconnected. Stored events wait for room, and take at most half of it, so
that a large answer does not cost the client its live events.

How bytes leave, and who moves them on:

    nothing waits ──a message──▶ a flush is due ──flush──▶ all has left: nothing waits again
                                                └────────▶ the network is full: draining ──▶ nothing waits

A flush writes without waiting: the relay's stages and the flush task (`net/flush`) call it, for thousands of clients in
a row. Only where the network takes no more is a task of this client's started, which waits for the network; until all
has left it alone sends, and flushes do nothing. Closing is beside this: a closed outbox takes nothing more, and what it
holds still leaves.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from trio_relay.net.budgets import BOUNDLESS, Budget
from trio_relay.net.close_reasons import LOST, TOO_SLOW, CloseReason
from trio_relay.net.flush import Flushes
from trio_relay.net.frames import deflated_text, text
from trio_relay.net.keepalive import Keepalive
from trio_relay.net.transport import Transport
from trio_relay.pipeline.recipient import Flush

log = structlog.get_logger("trio_relay.net")

_OVERHEAD: Final = 64
"""What a waiting message costs beyond its own bytes; without it, a flood of tiny answers would pass for small."""
_TAKE_BYTES: Final = 65_536
"""What leaves in one go: so little that a slow but living client shows progress, and a close frame comes soon."""
_PLAIN_BYTES: Final = 2**20
_DEFLATED_BYTES: Final = 2**16
"""What of an answer is framed in one go: a millisecond or two of work each."""
_TIGHT_BYTES: Final = 65_536
"""What stored events may take of the room while the outboxes of all clients together are rather full."""
_SAMPLE: Final = 16
"""Of so many messages an outbox tells what part of all its bytes is its own."""


@dataclass(frozen=True, slots=True)
class OutboxStatistics:
    """What an outbox holds: messages that no flush has taken yet, what of its room is taken, and who sends.

    Attributes:
        waiting: messages, or pieces of several, that are still to be handed to the network.
        used_bytes: of the room, with the overhead of each message, and with what is on its way.
        is_draining: True while a task waits for the network.
    """

    waiting: int
    used_bytes: int
    is_draining: bool


class Outbox:
    """A client's `pipeline.recipient.Recipient` over its connection; any number of senders in the same loop.

    Args:
        transport: of the connection.
        keepalive: hears of what waits for the network.
        flushes: get a flush when something waits and nothing did before.
        most_bytes: what may wait; half of it for stored events.
        hang_up: called when something found no room, or sending failed in a way that nobody has foreseen; sync. The
            outbox takes nothing from then on; whoever is called must `close` it at last.
        deflates: the client has agreed to deflated messages.
        budget: of all outboxes; told of what the network does not take at once.
    """

    __slots__ = (
        "_ahead",
        "_behind",
        "_budget",
        "_closed",
        "_drained",
        "_flush",
        "_flushes",
        "_half",
        "_hang_up",
        "_is_held",
        "_keepalive",
        "_most",
        "_room",
        "_sent",
        "_transport",
        "_used",
        "_waiting",
        "chunk_bytes",
        "frame",
        "live_frame",
        "tasks",
    )

    def __init__(
        self,
        transport: Transport,
        keepalive: Keepalive,
        flushes: Flushes,
        most_bytes: int,
        hang_up: Callable[[CloseReason], None],
        *,
        deflates: bool = False,
        budget: Budget = BOUNDLESS,
    ) -> None:
        self.tasks: trio.Nursery | None = None
        """The client's; there from the first message to the last."""
        self.frame = deflated_text if deflates else text
        self.live_frame = text
        self.chunk_bytes = min(_DEFLATED_BYTES if deflates else _PLAIN_BYTES, most_bytes // 2)
        self._transport = transport
        self._keepalive = keepalive
        self._flushes = flushes
        self._flush: Flush = self.flush  # made once, not for each delivery
        self._hang_up: Callable[[CloseReason], None] = hang_up
        self._most = most_bytes
        self._half = most_bytes // 2
        self._ahead = min(self._half, _TIGHT_BYTES)
        self._budget = budget
        self._behind = 0
        self._waiting: list[bytes] = []
        self._used = self._sent = 0
        self._closed = False
        self._is_held = False
        self._room: trio.Event | None = None
        self._drained: trio.Event | None = None

    def take_room(self, most_bytes: int) -> None:
        """Have so many bytes wait at most from now on; what waits already stays."""
        self._most = most_bytes
        self._half = most_bytes // 2
        self._ahead = min(self._half, _TIGHT_BYTES)
        self.chunk_bytes = min(_PLAIN_BYTES if self.frame is text else _DEFLATED_BYTES, self._half)

    def send_nowait(self, message: bytes) -> None:
        """Queue one message; dropped only if the client is gone, or is disconnected because of it."""
        self.send_framed_nowait(self.frame(message))

    def send_framed_nowait(self, framed: bytes) -> None:
        """Queue what is framed already."""
        if self._closed:
            return
        cost = len(framed) + _OVERHEAD
        # A client that has read everything before gets its message, whatever the size.
        if self._used + cost > self._most and self._used and not self._made_room(cost):
            self._overflow()
            return
        self._used += cost
        self._waiting.append(framed)
        if self._drained is not None:
            self._budget.grow(cost)  # last: it may close this
        elif len(self._waiting) == 1 and not self._is_held:
            self._flushes.add(self._flush)

    def _made_room(self, cost: int) -> bool:
        """Offer what waits to the network first: what was never offered to the client is not its delay."""
        self.flush()  # which closes this where it finds that the client is gone
        return not self._closed and (not self._used or self._used + cost <= self._most)

    def _overflow(self) -> None:
        if not self._closed:
            self._closed = True  # whoever hangs up may have a last word
            self._wake_senders()
            self._hang_up(TOO_SLOW)

    def has_room_for(self, size: int) -> bool:
        """True if stored events of so many bytes need not wait."""
        most = self._ahead if self._budget.is_tight else self._half
        return self._used + size <= most and not self._closed

    async def wait_for_room(self, framed: Sequence[bytes] = (), page: Sequence[bytes] = ()) -> None:
        """Wait until at least half of the room is free and these messages fit in, or the client is gone.

        While the outboxes of all clients together are rather full, all but 64 KiB of the room have to be free.
        """
        size = sum(map(len, framed))
        fit = self._most - size - _OVERHEAD * len(framed)
        if not self._must_wait(fit):
            return
        held = size + sum(map(len, page))
        self._behind += held
        try:
            self._budget.grow(held)
            while self._must_wait(fit):
                if self._room is None:
                    self._room = trio.Event()
                await self._room.wait()
        finally:
            self._behind -= held

    def _must_wait(self, fit: int) -> bool:
        most = self._ahead if self._budget.is_tight else self._half
        return not self._closed and bool(self._used) and self._used > min(most, fit)

    def hold(self) -> None:
        """Have messages wait until `let_go`, so that they leave in one piece; sync code alone may be in between."""
        self._is_held = True

    def let_go(self) -> None:
        """Flush what has waited; to be called whatever happens after `hold`."""
        self._is_held = False
        if self._waiting:
            self.flush()

    def flush(self) -> None:
        """Send what waits as far as the network takes it at once; a task waits for the rest to leave. Never fails.

        What goes wrong in it is this client's affair alone: the caller has others to serve.
        """
        try:
            while self._waiting and self._drained is None:
                self._send_nowait()
        except OSError:
            self.close(forget=True)  # the reader will find the end of the stream
        except Exception:
            log.exception("sending failed")
            self._hang_up(LOST)
            self.close(forget=True)

    def _send_nowait(self) -> None:
        joined, cost = self._take()
        sent = self._transport.send_nowait(joined)
        if sent == len(joined):
            self._free(cost)
            return
        assert self.tasks is not None, "the outbox is emptied when the nursery ends"
        self._drained = trio.Event()
        self.tasks.start_soon(self._drain, memoryview(joined)[sent:], cost)
        self._budget.grow(self._used)  # last: it may close this

    async def _drain(self, rest: memoryview, cost: int) -> None:
        """Send the rest of what was taken, and what came meanwhile, until all has left."""
        assert self._drained is not None
        try:
            while cost:
                await self._send(rest)
                self._free(cost)
                joined, cost = self._take()
                rest = memoryview(joined)
        except BaseException as error:
            # Cancelled, too: a frame has been cut, and nothing may follow it.
            self.close(forget=True)
            if not isinstance(error, (trio.BrokenResourceError, trio.ClosedResourceError)):
                raise
        finally:
            self._drained.set()
            self._drained = None

    async def _send(self, rest: memoryview) -> None:
        # A frame may be longer than what should leave in one go.
        for start in range(0, len(rest), _TAKE_BYTES):
            self._keepalive.sending(trio.current_time())
            await self._transport.send(rest[start : start + _TAKE_BYTES])
        self._keepalive.sent()

    async def drained(self) -> None:
        """Wait until nothing waits for the network."""
        if self._drained is not None:
            await self._drained.wait()

    def _take(self) -> tuple[bytes, int]:
        """What waits, about `_TAKE_BYTES` of it, joined, and what of the room it takes; `(b"", 0)` if nothing waits.

        It takes that room until it has left.
        """
        if not self._waiting:
            return b"", 0
        taken = self._next_frames()
        joined = taken[0] if len(taken) == 1 else b"".join(taken)
        return joined, len(joined) + _OVERHEAD * len(taken)

    def _next_frames(self) -> list[bytes]:
        if self._used <= _TAKE_BYTES:
            taken, self._waiting = self._waiting, []
            return taken
        size = count = 0
        while size < _TAKE_BYTES and count < len(self._waiting):
            size += len(self._waiting[count])
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _free(self, cost: int) -> None:
        self._used -= cost
        self._sent += cost
        if self._room is not None and self._used <= self._half:
            self._wake_senders()

    def _wake_senders(self) -> None:
        if self._room is not None:
            self._room.set()
            self._room = None

    def close(self, *, last: bytes = b"", forget: bool = False) -> None:
        """Take nothing more; what waits is still to be flushed.

        Args:
            last: framed, goes out after all else and finds room always: a close frame.
            forget: drop what waits, so that `last` is next.
        """
        if forget:
            self._used -= sum(map(len, self._waiting)) + _OVERHEAD * len(self._waiting)
            self._waiting.clear()
        if last:
            self._waiting.append(last)
            self._used += len(last) + _OVERHEAD
        self._closed = True
        # Nothing calls them any more, and a client that is gone is not to wait for the garbage collector.
        self._flush = self._hang_up = _nothing
        self._wake_senders()

    def take_sent(self) -> int:
        """Bytes that have left since the last call, and `_OVERHEAD` for each message."""
        sent, self._sent = self._sent, 0
        return sent

    @property
    def held_bytes(self) -> int:
        """What waits for the network, the pages of answers that wait for room included; shared frames count whole."""
        return self._used + self._behind

    def own_bytes(self) -> int:
        """The same, of frames that wait for several clients this one's part alone; estimated by a sample."""
        waiting = self._waiting
        if not waiting:
            return self.held_bytes
        step = len(waiting) // _SAMPLE + 1
        size = own = 0.0
        for place in range(random.randrange(step) if step <= len(waiting) else 0, len(waiting), step):
            length = len(waiting[place])
            size += length + _OVERHEAD
            own += _OVERHEAD + length / max(1, _references(waiting, place) - _OWN_REFERENCES)
        return int(self.held_bytes * own / size)

    def statistics(self) -> OutboxStatistics:
        """What it holds now."""
        return OutboxStatistics(len(self._waiting), self._used, self._drained is not None)


def _references(framed: list[bytes], place: int) -> int:
    """Who has this frame, the call itself included: how often depends on whether it is compiled."""
    return sys.getrefcount(framed[place])


_OWN_REFERENCES: Final = _references([bytes(bytearray(64))], 0) - 1
"""Beyond that of the list."""


def _nothing(*_arguments: object) -> None:
    pass
