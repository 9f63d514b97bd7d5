"""The moderation queue with what it is about: the events, who reported them, and what else their authors have."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence

import pytest
import trio
from trio.testing import MockClock

from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.named_relay import open_client
from tests.support.operators import ADMIN, managed, operator
from trio_relay import Event, Filter, MemoryStore, Store, StoreError
from trio_relay.nostr import event as events
from trio_relay.pipeline import operator_reads

NOTE = BOB.event("a note")
SECRET = BOB.event("for one reader", kind=4, tags=[["p", CAROL.pubkey]])
MISSING = "1" * 64


def report(event_id: str, by: Author, why: str = "spam") -> Event:
    return by.event(kind=1_984, tags=[["p", BOB.pubkey], ["e", event_id, why]])


async def test_what_is_reported_is_shown_with_who_reported_it_and_how_much_else_there_is(store: Store) -> None:
    async with managed(store) as door, operator(door) as admin, open_client(door, BOB, CAROL) as client:
        for event in (NOTE, SECRET, BOB.event("another")):
            assert await client.publish(event) == [True, ""]
        for reported, by in ((NOTE.id, ALICE), (NOTE.id, ADMIN), (SECRET.id, CAROL), (MISSING, ALICE)):
            assert await client.publish(report(reported, by)) == [True, ""]
        first, second, third = await admin.call("listreportedevents")
        assert first == {
            "id": NOTE.id,
            "since": NOW,
            "reason": "spam",
            "reporters": [{"pubkey": ADMIN.pubkey, "known": True}, {"pubkey": ALICE.pubkey, "known": False}],
            "event": json.loads(events.encode(NOTE)),
            "author_events": 2,
        }
        told = {entry["id"]: (entry["event"], entry["author_events"]) for entry in (second, third)}
        # The gate is for clients: who moderates sees what he is to judge.
        assert told == {SECRET.id: (json.loads(events.encode(SECRET)), 2), MISSING: (None, None)}


async def test_an_empty_queue_asks_nothing() -> None:
    async with managed(MemoryStore()) as door, operator(door) as admin:
        assert await admin.call("listreportedevents") == []
        assert await admin.refusal("listreportedevents", 1) == "invalid: listreportedevents takes no parameters"


async def test_events_beyond_what_is_read_for_one_question_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_reads, "MOST_READ_BYTES", len(events.encode(NOTE)) + 10)
    async with managed(MemoryStore()) as door, operator(door) as admin, open_client(door) as client:
        for event in (NOTE, other := BOB.event("a note, too")):
            await client.publish(event)
            await client.publish(report(event.id, ALICE))
        shown = await admin.call("listreportedevents")
        assert {entry["id"] for entry in shown} == {NOTE.id, other.id}
        assert [entry["event"] is None for entry in shown].count(False) == 1


class Countless(MemoryStore):
    """A store that counts for ever, or fails."""

    def __init__(self, *, fails: bool) -> None:
        super().__init__()
        self.fails = fails

    async def count(self, filters: object) -> int:
        if self.fails:
            raise StoreError("no count")
        await trio.sleep_forever()
        raise AssertionError


@pytest.mark.parametrize("fails", [True, False])
async def test_the_queue_is_shown_though_nothing_can_be_counted(autojump_clock: MockClock, fails: bool) -> None:
    async with managed(Countless(fails=fails)) as door, operator(door) as admin, open_client(door) as client:
        await client.publish(NOTE)
        await client.publish(report(NOTE.id, ALICE))
        [entry] = await admin.call("listreportedevents")
        assert (entry["event"]["id"], entry["author_events"]) == (NOTE.id, None)


async def test_a_store_that_fails_is_told() -> None:
    class Unreadable(MemoryStore):
        async def query(self, filters: Sequence[Filter]) -> AsyncGenerator[list[bytes], None]:
            raise StoreError("no read")
            yield []

    async with managed(Unreadable()) as door, operator(door) as admin, open_client(door) as client:
        await client.publish(report(NOTE.id, ALICE))
        reply = await admin.ask("listreportedevents")
        assert (reply.status, json.loads(reply.body)) == (503, {"error": "error: no read"})
