"""Honest clients: they publish, ask for what was acknowledged, listen, and sync; nothing makes them give up.

Whoever loses a connection comes back, and sends again what was not answered. What the relay must not do is noted when
it does: an acknowledged event not found, one not delivered or delivered twice, a refusal without a reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import trio

from perf.soak.ledger import Entry, Fate, Ledger
from perf.soak.talk import Gone, Talk, talking
from perf.soak.tally import Tally
from perf.soak.writing import NOTE, Writer
from trio_relay.nostr.event import Event
from trio_relay.nostr.kinds import is_ephemeral
from trio_relay.nostr.negentropy.items import ItemSet
from trio_relay.nostr.negentropy.protocol import initiate, reconcile

_ELSEWHERE: Final = 30.0
"""Seconds after which one relay must find what another has acknowledged: while the bus is away, it takes a refresh."""
_BACK: Final = 0.2
_MOST_RESENT: Final = 50
_MOST_WINDOW: Final = 12
_ASKED: Final = 40
_OLD: Final = 60
_SYNC_EVERY: Final = 7.0
_SYNC_FRAME: Final = 65_536
_AGAIN: Final = re.compile(r"error: |rate-limited: |invalid: created_at is more than \d+ seconds ahead")
"""Refusals after which an honest client sends the same event later: the relay, or its clock, is unwell."""
_NEVER: Final = re.compile(
    r"blocked: deleted by its author|duplicate: have a newer version|(invalid|blocked): .*expir", re.IGNORECASE
)
"""Refusals that are right: what was sent has been deleted, replaced, or has expired meanwhile."""
_NUMBER: Final = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True)
class Stage:
    """What all clients of a run share.

    Attributes:
        ports: of the relays; each client has its own.
        ledger: of what they send.
        tally: of what they find.
        clock: time of day.
        listeners: all of them.
        over: set when nothing new is to be published.
        delivered: seconds within which an acknowledged event must have come to whoever listened.
    """

    ports: Sequence[int]
    ledger: Ledger
    tally: Tally
    clock: Callable[[], float]
    listeners: list[Listener]
    over: trio.Event
    delivered: float

    def port_of(self, address: str) -> int:
        """The relay of a client, by its address."""
        return self.ports[int(address.rpartition(".")[2]) % len(self.ports)]

    def talking(self, address: str) -> AbstractAsyncContextManager[Talk]:
        """A new connection of a client."""
        return talking(self.port_of(address), address)


class Publisher:
    """Sends what an author writes, some events at a time, and again until each has its answer.

    Args:
        stage: shared.
        writer: of its events.
        address: its own.
        pause: seconds between two windows, on average.
    """

    def __init__(self, stage: Stage, writer: Writer, address: str, pause: float) -> None:
        self._stage = stage
        self._writer = writer
        self._address = address
        self._port = stage.port_of(address)
        self._pause = pause
        self._dice = Random(address)
        self.unanswered: dict[str, Event] = {}

    async def run(self) -> None:
        """Until the run is over, and nothing is unanswered."""
        while self.unanswered or not self._stage.over.is_set():
            try:
                async with self._stage.talking(self._address) as talk:
                    while self.unanswered or not self._stage.over.is_set():
                        await self._publish(talk)
                        await trio.sleep(self._dice.expovariate(1 / self._pause))
            except Gone as gone:
                self._stage.tally.counts[f"publisher: {str(gone)[:60]}"] += 1
                self._forget_ephemeral()
                await trio.sleep(_BACK)

    async def _publish(self, talk: Talk) -> None:
        window = list(self.unanswered.values())[:_MOST_RESENT]
        if not window:
            window = [self._writer.write() for _ in range(self._dice.randint(1, _MOST_WINDOW))]
        for event in window:
            self.unanswered[event.id] = event
            self._stage.ledger.send(event, trio.current_time())
        await talk.say(*(["EVENT", event] for event in window))
        waiting = {event.id for event in window}
        while waiting:
            match await talk.hear():
                case ["OK", str(event_id), bool(accepted), str(reason)]:
                    waiting.discard(event_id)
                    self._answered(event_id, accepted, reason)

    def _answered(self, event_id: str, accepted: bool, reason: str) -> None:
        if event_id not in self.unanswered:
            self._stage.tally.fault("answered twice", f"{event_id} {accepted} {reason}")
            return
        entry = self._stage.ledger.hear(event_id, accepted, reason, trio.current_time(), self._port)
        if accepted:
            self._writer.remember(self.unanswered.pop(event_id))
            for listener in self._stage.listeners:
                listener.expect(entry)
            return
        self._stage.tally.counts[f"refused: {_NUMBER.sub('N', reason)[:80]}"] += 1
        if not _AGAIN.match(reason):
            del self.unanswered[event_id]
            if not _NEVER.match(reason):
                self._stage.tally.fault("an honest event refused", f"{event_id} {reason}")

    def _forget_ephemeral(self) -> None:
        """Sent again it would be delivered again, which nobody could call wrong."""
        for event in list(self.unanswered.values()):
            if is_ephemeral(event.kind):
                del self.unanswered[event.id]


class Asker:
    """Asks for what was acknowledged a moment ago, and now and then for what was long ago."""

    def __init__(self, stage: Stage, address: str) -> None:
        self._stage = stage
        self._address = address
        self._dice = Random(address)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with self._stage.talking(self._address) as talk:
                    await self._ask(talk, [*self._newest(), *self._some()])  # after a restart above all
                    while True:
                        await self._ask(talk, self._newest() if self._dice.random() < 0.8 else self._some())
                        await trio.sleep(self._dice.uniform(0, 0.3))
            except Gone as gone:
                self._stage.tally.counts[f"asker: {str(gone)[:60]}"] += 1
                await trio.sleep(_BACK)

    def _newest(self) -> Sequence[Entry]:
        return self._stage.ledger.acknowledged[-_ASKED:]

    def _some(self) -> Sequence[Entry]:
        everything = self._stage.ledger.acknowledged
        return self._dice.sample(everything, min(_OLD, len(everything)))

    async def _ask(self, talk: Talk, entries: Sequence[Entry]) -> None:
        stage = self._stage
        ids = {entry.event.id for entry in entries}
        if not ids:
            return
        before = standing(stage, ids, self._address)
        found = await stored(talk, {"ids": sorted(ids)}, stage.tally)
        if found is None:
            stage.tally.counts["asker: not answered"] += 1
            return
        after = standing(stage, ids, self._address)
        stage.tally.counts["asked for"] += len(before & after)
        for event_id in (before & after) - found.keys():
            entry = stage.ledger.entries[event_id]
            ago = trio.current_time() - (entry.acknowledged_at or 0)
            stage.tally.fault("acknowledged and not found", f"{event_id} of kind {entry.event.kind}, {ago:.1f} s after")
        # What was replaced or deleted may still come live in between; whether it stands is asked in calm.
        for event_id in found.keys() - ids:
            stage.tally.fault("found and not asked for", event_id)


class Listener:
    """Subscribed to all authors; each event that is acknowledged while it listens must come, once.

    Args:
        stage: shared.
        address: its own.
        authors: pubkeys.
    """

    def __init__(self, stage: Stage, address: str, authors: Sequence[str]) -> None:
        self._stage = stage
        self._address = address
        self._authors = authors
        self._since: float | None = None
        self._heard: set[str] = set()
        self.due: dict[str, float] = {}
        """Events that have not come yet, and when they were acknowledged."""

    def expect(self, entry: Entry) -> None:
        """Note that an event was acknowledged."""
        if self._since is None or not entry.is_news or entry.sent_at < self._since:
            return
        assert entry.acknowledged_at is not None
        if entry.event.id not in self._heard:
            self.due[entry.event.id] = entry.acknowledged_at

    def look(self) -> None:
        """Note what should have come by now."""
        stage, now = self._stage, trio.current_time()
        for event_id, acknowledged_at in list(self.due.items()):
            if now - acknowledged_at <= stage.delivered:
                continue
            del self.due[event_id]
            entry = stage.ledger.entries[event_id]
            is_here = entry.port == stage.port_of(self._address)
            if is_here or stage.ledger.fate(event_id, stage.clock()) is Fate.STANDS:
                stage.tally.fault("not delivered", f"{event_id} of kind {entry.event.kind}")
            else:  # while the bus is away, another relay sees what the index still has
                stage.tally.counts["not delivered by another relay, and gone since"] += 1

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with self._stage.talking(self._address) as talk:
                    await talk.say(["REQ", "live", {"authors": self._authors, "limit": 10}])
                    while True:
                        self._take(await talk.hear())
            except Gone as gone:
                self._stage.tally.counts[f"listener: {str(gone)[:60]}"] += 1
            finally:
                self._stage.tally.counts["deliveries that an end cut off"] += len(self.due)
                self._since = None
                self._heard.clear()
                self.due.clear()
            await trio.sleep(_BACK)

    def _take(self, message: list[Any]) -> None:
        tally = self._stage.tally
        match message:
            case ["EOSE", "live", *_]:
                self._since = trio.current_time()
            case ["CLOSED", "live", reason]:
                raise Gone(f"subscription closed: {reason}")
            case ["EVENT", "live", {"id": str(event_id)}]:
                tally.counts["delivered"] += self._since is not None
                if event_id in self._heard:
                    tally.fault("delivered twice", event_id)
                if event_id not in self._stage.ledger.entries:
                    tally.fault("delivered and never sent", event_id)
                self._heard.add(event_id)
                self.due.pop(event_id, None)


class Syncer:
    """Finds out by NIP-77 now and then how the notes of one author differ from what must stand."""

    def __init__(self, stage: Stage, address: str, authors: Sequence[str]) -> None:
        self._stage = stage
        self._address = address
        self._authors = authors
        self._dice = Random(address)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(self._dice.expovariate(1 / _SYNC_EVERY))
            try:
                async with self._stage.talking(self._address) as talk:
                    await self._sync(talk, self._dice.choice(self._authors))
            except Gone as gone:
                self._stage.tally.counts[f"syncer: {str(gone)[:60]}"] += 1

    async def _sync(self, talk: Talk, author: str) -> None:
        stage = self._stage
        events = {
            entry.event.id: entry.event
            for entry in stage.ledger.acknowledged
            if entry.event.pubkey == author and entry.event.kind == NOTE
        }
        before = standing(stage, events, self._address)
        own = ItemSet()
        for event_id in before:
            own.add(events[event_id].created_at, bytes.fromhex(event_id))
        items = own.snapshot()
        have: set[bytes] = set()
        need: set[bytes] = set()
        message: bytes | None = initiate(items)
        verb = "NEG-OPEN"
        while message is not None:
            filters = [{"authors": [author], "kinds": [NOTE]}] if verb == "NEG-OPEN" else []
            await talk.say([verb, "s", *filters, message.hex()])
            answer = await talk.hear()
            while answer[:2] != ["NEG-MSG", "s"]:
                if answer[:1] in (["NEG-ERR"], ["CLOSED"]):
                    stage.tally.counts["sync: not answered"] += 1
                    return
                answer = await talk.hear()
            message, had, needed = reconcile(items, bytes.fromhex(answer[2]), _SYNC_FRAME)
            have.update(had)
            need.update(needed)
            verb = "NEG-MSG"
        stage.tally.counts["synced"] += len(before)
        for event_id in {one.hex() for one in have} & standing(stage, events, self._address):
            stage.tally.fault("acknowledged and not in a sync", event_id)
        for event_id in {one.hex() for one in need} - stage.ledger.entries.keys():
            stage.tally.fault("in a sync and never sent", event_id)


def standing(stage: Stage, ids: Iterable[str], address: str) -> set[str]:
    """Those of these events that a client with this address must find now."""
    clock, now, port = stage.clock(), trio.current_time(), stage.port_of(address)
    entries = (stage.ledger.entries[event_id] for event_id in ids)
    return {
        entry.event.id
        for entry in entries
        if stage.ledger.fate(entry.event.id, clock) is Fate.STANDS
        and (entry.port == port or now - (entry.acknowledged_at or now) > _ELSEWHERE)
    }


async def stored(talk: Talk, filter_: dict[str, Any], tally: Tally) -> dict[str, dict[str, Any]] | None:
    """What is stored for a filter, by id; None if the relay says that it cannot answer.

    What comes live behind an answer, until the relay has read that the question is over, is no part of it.

    Raises:
        Gone: the connection has ended.
    """
    sub_id = f"stored {len(talk.answers)}"
    talk.answers[sub_id] = set()
    await talk.say(["REQ", sub_id, filter_])
    found: dict[str, dict[str, Any]] = {}
    while True:
        match await talk.hear():
            case ["EVENT", str(to), {"id": str(event_id)} as event]:
                if event_id in talk.answers[to]:
                    tally.fault("delivered twice", f"{event_id}, in answer to one question")
                talk.answers[to].add(event_id)
                if to == sub_id:
                    found[event_id] = event
            case ["EOSE", str(to), *_] if to == sub_id:
                await talk.say(["CLOSE", sub_id])
                return found
            case ["CLOSED", str(to), *_] if to == sub_id:
                return None
