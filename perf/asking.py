"""Questions on one connection, and the answers counted in the bytes that come back.

Latency is told from the moment at which a question was given to the socket or, at a fixed rate, from the moment at
which it was due. Answers of one kind are taken to come in the order of their questions.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Final, NamedTuple

from perf.plan import Failed
from perf.requests import counts, requests
from perf.wire import Wire, frame
from trio_relay.nostr.event import Event, encode

OK: Final = "OK"
EOSE: Final = "EOSE"
COUNT: Final = "COUNT"
LIVE: Final = "live"
_VERBS: Final = {OK: b'["OK"', EOSE: b'["EOSE"', COUNT: b'["COUNT"'}
_ID: Final = re.compile(rb'"id":"([0-9a-f]{16})')
_NUMBER: Final = re.compile(rb'"count": ?([0-9]+)')
# Inside of JSON strings these quotes would have backslashes. Some relays refuse what they have: that too is an answer.
_REFUSED: Final = re.compile(rb'", ?false, ?"(?!duplicate:)')
_LONGEST: Final = 22
"""Bytes of what is looked for, at most: so much of a read is kept for the next one."""


class Question(NamedTuple):
    """A frame, the kind of its answer, and of an event the id, as `event_key` cuts it."""

    kind: str
    data: bytes
    event: bytes = b""


def event_key(event: Event) -> bytes:
    """By which a delivered event is recognized."""
    return event.id[:16].encode()


def publishing(events: Iterable[Event]) -> list[Question]:
    """An EVENT each."""
    return [Question(OK, frame(b'["EVENT",' + encode(event) + b"]"), event_key(event)) for event in events]


def requesting(shape: str, stored: Sequence[Event], count: int, connections: int, sub_ids: int = 1) -> list[Question]:
    """A REQ each, to be dealt out to connections in turn."""
    return [Question(EOSE, data) for data in requests(shape, stored, count, connections, sub_ids)]


def counting(shape: str, stored: Sequence[Event], count: int, connections: int) -> list[Question]:
    """A COUNT each, to be dealt out to connections in turn."""
    return [Question(COUNT, data) for data in counts(shape, stored, count, connections)]


class Log:
    """When events were sent, and how long answers and deliveries took; shared by all connections of a load."""

    def __init__(self) -> None:
        self.sent: dict[bytes, float] = {}
        self.latencies: dict[str, list[float]] = {OK: [], EOSE: [], COUNT: [], LIVE: []}
        self.events = 0
        """Stored ones that came back."""
        self.matches = 0
        """Stored ones that were only counted."""

    @property
    def answered(self) -> int:
        """Questions that have been answered so far."""
        return sum(len(self.latencies[kind]) for kind in _VERBS)

    @property
    def messages(self) -> int:
        """That came, of whatever kind."""
        return self.answered + len(self.latencies[LIVE]) + self.events

    def hear(self, data: bytes) -> int:
        """Note the deliveries in what a subscriber got; gives how many of the bytes can be forgotten."""
        now = time.perf_counter()
        sent = self.sent
        self.latencies[LIVE] += [now - sent[key] for key in _ID.findall(data) if key in sent]
        cut = data.rfind(b'"id":"', max(len(data) - _LONGEST + 1, 0))
        return cut if cut >= 0 else max(len(data) - 5, 0)


class Asker:
    """One connection that asks.

    Args:
        wire: the connection.
        questions: in their order.
        log: of all connections.
        refill: ask as much again as was answered.
        most_open: requests without an answer; a further one waits, so that it never replaces one of them.
    """

    def __init__(self, wire: Wire, questions: Iterable[Question], log: Log, *, refill: bool, most_open: int) -> None:
        self.wire = wire
        self._questions = deque(questions)
        self._log = log
        self._refill = refill
        self._most_open = most_open
        self._due: deque[float] = deque()
        self._waiting: dict[str, deque[float]] = {kind: deque() for kind in _VERBS}
        wire.on_data = self._take

    def ask(self, most: int, since: float | None = None) -> None:
        """Send the next questions, in one write; what must wait for an answer is late from now on all the same."""
        self._due.extend([since or time.perf_counter()] * min(most, len(self._questions) - len(self._due)))
        burst = []
        while self._due:
            kind, data, event = self._questions[0]
            if kind is EOSE and len(self._waiting[EOSE]) >= self._most_open:
                break
            self._questions.popleft()
            due = self._due.popleft()
            if event:
                self._log.sent[event] = due
            self._waiting[kind].append(due)
            burst.append(data)
        if burst:
            self.wire.send(b"".join(burst))

    def give_up(self) -> int:
        """Take what has no answer for answered now; the number of such questions. All must be due."""
        now = time.perf_counter()
        unsent = [(question.kind, due) for question, due in zip(self._questions, self._due, strict=False)]
        late = [*unsent, *((kind, due) for kind, waiting in self._waiting.items() for due in waiting)]
        for kind, due in late:
            self._log.latencies[kind].append(now - due)
        return len(late)

    def _take(self, data: bytes) -> int:
        now = time.perf_counter()
        start = data.rfind(b"[", max(len(data) - 8, 0))  # of a verb that is cut off
        end = len(data) if start < 0 else start
        if self._waiting[COUNT]:
            end = min(end, _end_of_counts(data))
        for kind, waiting in self._waiting.items():
            answered = data.count(_VERBS[kind], 0, end) if waiting else 0
            if answered:
                if kind is OK:
                    _check(data)
                if kind is COUNT:
                    self._log.matches += sum(map(int, _NUMBER.findall(data, 0, end)))
                self._log.latencies[kind] += [now - waiting.popleft() for _ in range(answered)]
                self.ask(answered if self._refill else 0)
        if self._waiting[EOSE] or data.find(b'["EOSE"', 0, end) >= 0:
            self._log.events += data.count(b'["EVENT"', 0, end)
        return end


def _end_of_counts(data: bytes) -> int:
    """Where an answer to COUNT begins whose number may not be all there yet."""
    start = data.rfind(_VERBS[COUNT])
    return start if start >= 0 and data.find(b"}", start) < 0 else len(data)


def _check(data: bytes) -> None:
    """See that no event was refused."""
    if data.find(b"false") >= 0 and (found := _REFUSED.search(data)):
        raise Failed(f"refused: {data[max(found.start() - 80, 0) : found.start() + 200]!r}")


class Clock:
    """Makes things happen at a mean rate at random, independent times (a Poisson process), late ones at once."""

    def __init__(self, rate: float, most: int, happen: Callable[[int, float], None]) -> None:
        self._random = Random(11)
        self._rate = rate
        self._most = most
        self._happen = happen
        self._next = 0
        self._due = 0.0

    def pace(self) -> float:
        """Do what is due; the seconds to the next."""
        now = time.perf_counter()
        self._due = self._due or now
        while self._next < self._most and self._due <= now:
            self._happen(self._next, self._due)
            self._next += 1
            self._due += self._random.expovariate(self._rate)
        return self._due - now if self._next < self._most else 1.0
