"""A member of the bus over a stream: sends what waits, reads what others say, and stays through every failure."""

from __future__ import annotations

import math
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final, Literal, TypeAlias

import structlog
import trio

from trio_relay.bus.base import BusStatistics, Gap, Heard, Note, Take
from trio_relay.bus.entries import Reach, Unreadable, decode, encode
from trio_relay.bus.ledger import PULSE_SECONDS, SILENT_PULSES, Ledger
from trio_relay.bus.outgoing import ENTRY_BYTES, Outgoing
from trio_relay.bus.stream import READ_SECONDS, Stream, StreamAway, StreamLine

PAGE: Final = 16
"""Entries that are read at a time; each is a quarter of a megabyte at most, or one note."""
BETWEEN_SECONDS: Final = 0.005
"""From one command of a task to its next: a lone note goes at once, and under load they go together.

A command and its answer take 0.3 to 0.4 ms of the loop, however much they carry.
"""
LEAST_PAUSE: Final = 0.1
MOST_PAUSE: Final = 2.0
"""Seconds between two attempts; twice as long each time."""
FAREWELL_SECONDS: Final = 1.0
DEAF_SECONDS: Final = SILENT_PULSES * PULSE_SECONDS
"""Whoever has read all that there is, and heard nothing of its own for so long, reads from a server cut off."""
WAITING_BYTES: Final = 16_777_216

log = structlog.get_logger("trio_relay.bus")

_Serve: TypeAlias = Callable[[StreamLine], Awaitable[None]]
_Work: TypeAlias = Literal["send", "read"]


class StreamBus:
    """One member of the bus; implements `Bus`.

    Each of its two tasks has a connection of its own, since a reader waits on its own for most of the time. One that
    fails is closed, whatever it said, and the next is opened after a pause: what became of a request that failed
    nobody knows, so it is made again, and the numbers of the notes make the repeat harmless.

    Args:
        stream: that all members share.
        max_entries: that the stream may have, about.
        max_bytes: that they may have.
        waiting_bytes: of notes that may wait while the stream is away.
    """

    reaches_all = True

    def __init__(self, stream: Stream, max_entries: int, max_bytes: int, waiting_bytes: int = WAITING_BYTES) -> None:
        self._stream = stream
        me = secrets.token_hex(8)
        self._outgoing = Outgoing(me, waiting_bytes)
        self._ledger = Ledger(me)
        self._reach = Reach(max_entries, max_bytes)
        self._position: str | None = None
        self._troubles: dict[_Work, str] = dict.fromkeys(("send", "read"), "not reached yet")
        self._pauses: dict[_Work, float] = {}
        self._page = PAGE
        self._appended_at = -math.inf
        self._heard = self._gaps = self._failures = 0

    def send(self, note: bytes) -> None:
        """Have all other members hear this."""
        self._outgoing.add(note)

    @property
    def trouble(self) -> str | None:
        """Why the stream is away; None while it answers."""
        return next(iter(self._troubles.values()), None)

    def statistics(self) -> BusStatistics:
        """Return what was sent, heard and lost until now."""
        return BusStatistics(
            notes_sent=self._outgoing.sent,
            notes_heard=self._heard,
            notes_dropped=self._outgoing.dropped,
            notes_repeated=self._ledger.repeated,
            gaps=self._gaps,
            failures=self._failures,
            waiting_bytes=self._outgoing.waiting_bytes,
            members=self._ledger.members,
        )

    async def listen(self, take: Take) -> None:
        """Give `take` what other members send, and gaps, until cancelled; send what waits meanwhile."""

        async def read(line: StreamLine) -> None:
            await self._read(line, take)

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_on, "send", self._send)
                await self._keep_on("read", read)
        finally:
            with trio.move_on_after(FAREWELL_SECONDS, shield=True):
                await self._leave()

    async def _keep_on(self, work: _Work, serve: _Serve) -> None:
        """Do one of the two works over one connection after another."""
        while True:
            try:
                async with self._stream.connect() as line:
                    await serve(line)
            except StreamAway as error:
                self._failed(work, str(error))
            pause = self._pauses.get(work, LEAST_PAUSE)
            self._pauses[work] = min(2 * pause, MOST_PAUSE)
            await trio.sleep(pause)

    def _failed(self, work: _Work, reason: str) -> None:
        self._failures += 1
        if self.trouble is None:
            log.warning("the bus is away", reason=reason)
        self._troubles[work] = reason

    def _answered(self, work: _Work) -> None:
        self._pauses.pop(work, None)
        if self._troubles.pop(work, None) is not None and self.trouble is None:
            log.info("the bus is here")

    async def _send(self, line: StreamLine) -> None:
        """Send what waits, all that there is at a time; and a pulse where there is nothing."""
        while True:
            since = trio.current_time()
            entry = self._outgoing.head()
            await line.append(encode(entry), self._reach.keep)
            self._outgoing.took(entry)
            self._appended_at = trio.current_time()
            self._answered("send")
            if self._outgoing.waiting_bytes < ENTRY_BYTES:
                await trio.sleep_until(since + BETWEEN_SECONDS)
            with trio.move_on_after(PULSE_SECONDS):
                await self._outgoing.wait()

    async def _leave(self) -> None:
        """Send what still waits, and say goodbye; the others notice if it cannot be done."""
        try:
            async with self._stream.connect() as line:
                while (entry := self._outgoing.head()).notes:
                    await line.append(encode(entry), self._reach.keep)
                    self._outgoing.took(entry)
                await line.append(encode(self._outgoing.farewell()), self._reach.keep)
        except StreamAway as error:
            self._failed("send", str(error))

    async def _read(self, line: StreamLine, take: Take) -> None:
        """Read from where this listener stands; first of all find a place to stand."""
        if self._position is None:
            await self._stand_anew(line, "started", take)
        is_sure = False  # that nothing was trimmed away before it was read
        while True:
            assert self._position is not None
            since = trio.current_time()
            try:
                page = await line.read(self._position, self._page)
                is_sure = is_sure and 0 < len(page) < self._page and trio.current_time() - since < 2 * READ_SECONDS
                is_held = is_sure or await line.holds(self._position)
            except StreamAway:
                self._page = 1  # large entries over a slow network are read one by one
                raise
            self._page = min(PAGE, 2 * self._page)
            self._answered("read")
            if is_held:
                await self._hear(page, [], take)
            elif page:
                await self._hear(page, [Gap("trimmed")], take)
            else:
                await self._stand_anew(line, "emptied", take)
            if not page and self._appended_at - self._ledger.pulse_at > DEAF_SECONDS:
                raise StreamAway("what is sent does not come back: another server is read from")
            if len(page) < PAGE:
                await trio.sleep_until(since + BETWEEN_SECONDS)
            is_sure = trio.current_time() - since < 2 * READ_SECONDS

    async def _stand_anew(self, line: StreamLine, reason: str, take: Take) -> None:
        """Stand behind an entry of our own: one that is known to be there, on whichever stream there is now."""
        self._position = await line.append(encode(self._outgoing.pulse()), self._reach.keep)
        self._answered("read")
        await self._give([Gap(reason)], take)

    async def _hear(self, page: list[tuple[str, bytes]], heard: list[Heard], take: Take) -> None:
        self._reach.add([len(data) for _, data in page])
        now = trio.current_time()
        for position, data in page:
            self._position = position
            try:
                heard += self._ledger.hear(position, decode(data), now)
            except Unreadable:
                heard.append(Gap("unreadable"))
        await self._give(heard, take)

    async def _give(self, heard: Iterable[Heard], take: Take) -> None:
        for item in _without_doubled_gaps(heard):
            if isinstance(item, Note):
                self._heard += 1
            else:
                self._gaps += 1
            await take(item)


def _without_doubled_gaps(heard: Iterable[Heard]) -> Iterator[Heard]:
    """Leave out a gap right after another: one look at the store is for both."""
    before: Heard | None = None
    for item in heard:
        if not (isinstance(item, Gap) and isinstance(before, Gap)):
            yield item
        before = item
