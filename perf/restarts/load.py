"""Clients of a relay that is restarted: some that publish all the time, and new ones that come all the time.

All of them come back at once when they are sent away. Nobody may be refused, nobody reset: those are faults.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from random import Random
from typing import Final

import trio

from perf.soak.talk import Gone, Talk, talking
from trio_relay.nostr.event import Event

PUBLISHERS: Final = 4
_WINDOW: Final = 10
"""Events that a publisher sends in one go, and waits for."""
_REST_SECONDS: Final = 0.02
"""Between them: who is measured are the clients who wait, not those who press."""
_NEWCOMERS_A_SECOND: Final = 40
_IDS_AT_A_TIME: Final = 200
_OWN: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Visit:
    """A client that came, asked and was answered: when it came, and the seconds until its answer was whole."""

    came: float
    waited: float


@dataclass(slots=True)
class Tally:
    """What all clients have seen.

    Attributes:
        acknowledged: ids of events for which OK true has come.
        visits: of new clients.
        sent_away: how often one was told to go before it had an answer, by a close frame, and came again.
        faults: by what it was: refused, reset, or the end of the connection without a word.
    """

    acknowledged: set[str] = field(default_factory=set)
    visits: list[Visit] = field(default_factory=list)
    sent_away: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def note(self, gone: Gone) -> bool:
        """Note an end of a connection at which somebody still waited for an answer; True if it is a fault."""
        is_fault = not str(gone).startswith("closed:")
        if is_fault:
            self.faults[f"{gone}: {_cause(gone)}"] += 1
        else:
            self.sent_away += 1
        return is_fault


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return "" if isinstance(error, Gone) else repr(error)


class Clients:
    """The load.

    Args:
        port: of the relay.
        events: that are published, again and again.
    """

    def __init__(self, port: int, events: Sequence[Event]) -> None:
        self.tally = Tally()
        self._port = port
        self._events = events
        self._stop = trio.Event()
        self._waiting: set[float] = set()
        """When each came who has no answer yet."""

    async def run(self) -> None:
        """Be there until `finish`, and until everyone who waits has an answer."""
        async with trio.open_nursery() as nursery:
            share = len(self._events) // PUBLISHERS
            for number in range(PUBLISHERS):
                nursery.start_soon(self._publish, self._events[number * share : (number + 1) * share])
            random = Random(1)
            while not self._stop.is_set():
                nursery.start_soon(self._come)
                await trio.sleep(random.expovariate(_NEWCOMERS_A_SECOND))

    async def answered(self) -> None:
        """Wait until everyone has an answer who has come by now."""
        now = trio.current_time()
        while any(came <= now for came in self._waiting):  # noqa: ASYNC110  # nobody tells
            await trio.sleep(_REST_SECONDS)

    def finish(self) -> None:
        """Nobody comes any more, and nobody goes on."""
        self._stop.set()

    async def _publish(self, events: Sequence[Event]) -> None:
        following = cycle(events)
        pending: dict[str, Event] = {}
        while not self._stop.is_set():
            try:
                async with talking(self._port, _OWN) as talk:
                    while not self._stop.is_set():
                        await self._send_some(talk, following, pending)
                        await trio.sleep(_REST_SECONDS)
            except Gone as gone:
                if pending:
                    await self._note(gone)

    async def _send_some(self, talk: Talk, following: Iterator[Event], pending: dict[str, Event]) -> None:
        while len(pending) < _WINDOW:
            event = next(following)
            pending[event.id] = event
        await talk.say(*(["EVENT", event] for event in pending.values()))
        while pending:
            _, event_id, is_accepted, reason = await talk.hear()
            if not is_accepted:
                self.tally.faults[f"an event was refused: {reason}"] += 1
            else:
                self.tally.acknowledged.add(event_id)
            del pending[event_id]

    async def _come(self) -> None:
        came = trio.current_time()
        self._waiting.add(came)
        while came in self._waiting:
            try:
                async with talking(self._port, _OWN) as talk:
                    await talk.say(["REQ", "one", {"limit": 1}])
                    while (await talk.hear())[0] != "EOSE":
                        pass
                    self.tally.visits.append(Visit(came, trio.current_time() - came))
                    self._waiting.discard(came)
            except Gone as gone:
                await self._note(gone)

    async def _note(self, gone: Gone) -> None:
        if self.tally.note(gone):
            await trio.sleep(_REST_SECONDS)  # nobody is there, and to ask again and again would keep others from it


async def missing(port: int, ids: set[str]) -> set[str]:
    """Return which of these the relay does not have."""
    wanted = sorted(ids)
    found: set[str] = set()
    async with talking(port, _OWN) as talk:
        for first in range(0, len(wanted), _IDS_AT_A_TIME):
            await talk.say(["REQ", f"{first}", {"ids": wanted[first : first + _IDS_AT_A_TIME]}])
            while (message := await talk.hear())[0] != "EOSE":
                if message[0] == "EVENT":
                    found.add(message[2]["id"])
            await talk.say(["CLOSE", f"{first}"])
    return ids - found
