"""NIP-86: what bans and permissions do to clients that are connected, to what is stored, and after a restart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.backends import everything
from tests.support.keys import ALICE, BOB, CAROL, NOW
from tests.support.named_relay import open_client
from tests.support.operators import ADMIN, BY_ADMIN, Clock, FailingStore, managed, operator
from trio_relay import MemoryStore, SqliteOptions, Store, open_sqlite

HEX = "ab" * 32


class TestKeys:
    """Bans and permissions of keys."""

    async def test_a_ban_removes_all_and_refuses_more_of_a_client_that_is_connected(self, store: Store) -> None:
        old, new, others = ALICE.event("old"), ALICE.event("new"), BOB.event("hello")
        async with managed(store) as door, operator(door) as admin, open_client(door) as alice, door.client() as other:
            assert await alice.publish(old) == [True, ""]
            assert await alice.publish(others) == [True, ""]
            assert await admin.call("banpubkey", ALICE.pubkey, "spam") is True
            assert await alice.ask({}) == [others.id]
            refusal = [False, "blocked: the author of this event is banned here"]
            assert await alice.publish(new) == refusal
            assert await alice.publish(old) == refusal
            assert (await other.receive())[0] == "AUTH"
            assert await other.publish(new) == ["OK", new.id, *refusal]
            assert await admin.call("unbanpubkey", ALICE.pubkey) is True
            assert await alice.publish(new) == [True, ""]
            assert await alice.publish(old) == [True, ""]

    async def test_a_ban_leaves_no_rest(self, store: Store) -> None:
        """Versions, deletions and searches of a banned key go with its events."""
        events = [
            ALICE.event("alice here", kind=0),
            ALICE.event("draft", kind=30_023, tags=[["d", "a"]]),
            ALICE.event("one two three", tags=[["t", "words"]]),
            ALICE.event(kind=5, tags=[["e", HEX]]),
        ]
        async with managed(store) as door, operator(door) as admin, open_client(door) as client:
            for event in events:
                assert await client.publish(event) == [True, ""]
            await admin.call("banpubkey", ALICE.pubkey)
            for wanted in ({}, {"authors": [ALICE.pubkey]}, {"search": "two"}, {"#t": ["words"]}, {"kinds": [5]}):
                assert await client.ask(wanted) == []
                assert (await client.count(wanted))["count"] == 0
            assert await everything(store) == []

    async def test_a_key_that_is_allowed_makes_the_relay_one_for_such_keys(self, store: Store) -> None:
        async with managed(store) as door, operator(door) as admin, open_client(door) as client:
            await admin.call("allowpubkey", ALICE.pubkey)
            assert await client.publish(ALICE.event()) == [True, ""]
            refusal = "restricted: the author of this event is not among the keys that may write here"
            assert await client.publish(BOB.event()) == [False, refusal]
            await admin.call("unallowpubkey", ALICE.pubkey)
            assert await client.publish(BOB.event()) == [True, ""]

    async def test_an_admin_is_not_banned(self) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            refusal = "restricted: this key is an admin's (policy.admins, relay.pubkey)"
            assert await admin.refusal("banpubkey", ADMIN.pubkey) == refusal
            assert await admin.call("listbannedpubkeys") == []

    async def test_a_ban_with_an_end_ends(self, store: Store) -> None:
        clock, event = Clock(), ALICE.event()
        async with managed(store, clock) as door, operator(door) as admin, open_client(door) as client:
            assert await admin.call("banpubkey", ALICE.pubkey, "for a minute", NOW + 60) is True
            banned = {"pubkey": ALICE.pubkey, "reason": "for a minute", "until": NOW + 60, **BY_ADMIN}
            assert await admin.call("listbannedpubkeys") == [banned]
            clock.now = NOW + 59
            assert (await client.publish(event))[0] is False
            clock.now = admin.now = NOW + 60
            assert await client.publish(event) == [True, ""]
            assert await admin.call("listbannedpubkeys") == []

    async def test_what_has_a_denied_word_is_refused_from_the_answer_on(self, store: Store) -> None:
        async with (
            managed(store, denied_words=("Straße",)) as door,
            operator(door) as admin,
            open_client(door) as client,
        ):
            assert (await client.publish(ALICE.event("BUY NOW, cheap")))[0] is True
            assert await admin.call("denyword", "Buy now", "spam", NOW + 60) is True
            refused = [False, "blocked: the content holds a word that is not allowed here"]
            assert await client.publish(ALICE.event("or BUY NOW")) == refused
            assert await admin.call("listdeniedwords") == [
                {"word": "strasse", "reason": "configured (policy.denied_words)"},
                {"word": "buy now", "reason": "spam", "until": NOW + 60, **BY_ADMIN},
            ]
            for word in ("Straße", "strasse"):
                refusal = "restricted: the configuration says otherwise (policy.denied_words)"
                assert await admin.refusal("undenyword", word) == refusal
            assert await admin.call("undenyword", "BUY NOW") is True
            assert (await client.publish(ALICE.event("or BUY NOW")))[0] is True

    async def test_there_is_an_end_to_the_words_that_every_content_is_searched_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("trio_relay.net.admin.lists.MOST_WORDS", 1)
        async with managed(MemoryStore()) as door, operator(door) as admin:
            assert await admin.call("denyword", "one") is True
            assert await admin.call("denyword", "one", "again") is True
            assert (await admin.refusal("denyword", "two")).startswith("restricted: this list has 1 words")

    async def test_what_the_configuration_says_is_told_and_stays(self) -> None:
        fixed: dict[str, Any] = {"denied_pubkeys": (BOB.pubkey,), "allowed_pubkeys": (ALICE.pubkey,)}
        async with managed(MemoryStore(), **fixed) as door, operator(door) as admin:
            denied = "configured (policy.denied_pubkeys)"
            assert await admin.call("listbannedpubkeys") == [{"pubkey": BOB.pubkey, "reason": denied}]
            refusal = "restricted: the configuration says otherwise (policy.denied_pubkeys)"
            assert await admin.refusal("unbanpubkey", BOB.pubkey) == refusal
            assert await admin.refusal("allowpubkey", BOB.pubkey) == refusal
            allowed = "restricted: the configuration says otherwise (policy.allowed_pubkeys)"
            assert await admin.refusal("unallowpubkey", ALICE.pubkey) == allowed
            assert await admin.call("banpubkey", ALICE.pubkey) is True


class TestEvents:
    """Bans of single events."""

    async def test_a_banned_event_goes_and_does_not_come_back(self, store: Store) -> None:
        bad, good = ALICE.event("bad"), ALICE.event("good")
        async with managed(store) as door, operator(door) as admin, open_client(door) as client:
            for event in (bad, good):
                await client.publish(event)
            assert await admin.call("banevent", bad.id, "bad") is True
            assert await client.ask({}) == [good.id]
            assert await client.publish(bad) == [False, "blocked: this event is banned here"]
            await admin.call("allowevent", bad.id)
            assert await client.publish(bad) == [True, ""]

    async def test_an_event_can_be_banned_before_it_comes(self, store: Store) -> None:
        event = ALICE.event()
        async with managed(store) as door, operator(door) as admin, open_client(door) as client:
            await admin.call("banevent", event.id)
            assert await client.publish(event) == [False, "blocked: this event is banned here"]


class TestKinds:
    """Which kinds are taken."""

    async def test_a_disallowed_kind_is_not_taken(self, store: Store) -> None:
        async with managed(store) as door, operator(door) as admin, open_client(door) as client:
            await admin.call("disallowkind", 7)
            assert await client.publish(ALICE.event(kind=7)) == [False, "blocked: kind 7 is not accepted here"]
            assert await client.publish(ALICE.event(kind=1)) == [True, ""]
            await admin.call("undisallowkind", 7)
            assert await client.publish(ALICE.event(kind=7)) == [True, ""]

    async def test_once_a_kind_is_allowed_others_are_not(self, store: Store) -> None:
        async with managed(store) as door, operator(door) as admin, open_client(door) as client:
            await admin.call("allowkind", 1)
            assert await client.publish(ALICE.event(kind=1)) == [True, ""]
            refusal = [False, "blocked: kind 7 is not among the kinds that are accepted here"]
            assert await client.publish(ALICE.event(kind=7)) == refusal
            await admin.call("unallowkind", 1)
            assert await client.publish(ALICE.event(kind=7)) == [True, ""]

    async def test_kinds_of_the_configuration_are_told_and_stay(self) -> None:
        fixed: dict[str, Any] = {"denied_kinds": (7,), "allowed_kinds": (1,)}
        async with managed(MemoryStore(), **fixed) as door, operator(door) as admin:
            assert await admin.call("allowkind", 2) is True
            assert await admin.call("listallowedkinds") == [1, 2]
            assert await admin.call("listdisallowedkinds") == [7]
            denied = "restricted: the configuration says otherwise (policy.denied_kinds)"
            assert await admin.refusal("allowkind", 7) == denied
            assert await admin.refusal("undisallowkind", 7) == denied


class TestKept:
    """What operators have decided outlives the process."""

    async def test_all_lists_are_there_after_a_restart(self, tmp_path: Path) -> None:
        calls: list[list[Any]] = [
            ["banpubkey", CAROL.pubkey, "spam", NOW + 60],
            ["banevent", HEX, "bad"],
            ["disallowkind", 7],
            ["allowkind", 1],
            ["allowkind", 0],
            ["blockip", "203.0.113.0/24", "a net"],
            ["changerelayname", "elsewhere"],
        ]
        shown = ["listbannedpubkeys", "listbannedevents", "listdisallowedkinds", "listallowedkinds", "listblockedips"]
        told = []
        for given in (calls, []):
            path = str(tmp_path / "relay.db")
            async with (
                open_sqlite(SqliteOptions(path=path)) as store,
                managed(store) as door,
                operator(door) as admin,
                open_client(door) as client,
            ):
                for call in given:
                    assert await admin.call(*call) is True
                told.append([await admin.call(method) for method in shown])
                assert (await client.publish(CAROL.event()))[1] == "blocked: the author of this event is banned here"
                document = json.loads((await admin.wire.ask(Accept="application/nostr+json")).body)
                assert document["name"] == "elsewhere"
        assert told[0] == told[1]
        assert told[0][3:] == [[0, 1], [{"ip": "203.0.113.0/24", "reason": "a net", **BY_ADMIN}]]


class TestFailures:
    """What is told when the store fails."""

    async def test_what_could_not_be_kept_is_not_done(self) -> None:
        store = FailingStore()
        async with managed(store) as door, operator(door) as admin, open_client(door) as client:
            store.failing = {"keep"}
            reply = await admin.ask("banpubkey", ALICE.pubkey)
            assert (reply.status, json.loads(reply.body)) == (503, {"error": "error: no keep"})
            assert await admin.call("listbannedpubkeys") == []
            assert await client.publish(ALICE.event()) == [True, ""]

    async def test_a_ban_holds_although_its_events_could_not_be_removed(self) -> None:
        store = FailingStore()
        async with managed(store) as door, operator(door) as admin, open_client(door) as client:
            await client.publish(ALICE.event())
            store.failing = {"remove"}
            reply = await admin.ask("banpubkey", ALICE.pubkey)
            told = "error: no remove; the ban holds, but not all is removed: that is tried again"
            assert (reply.status, json.loads(reply.body)) == (503, {"error": told})
            assert (await client.publish(ALICE.event("more")))[0] is False
            store.failing = set()
            assert await admin.call("banpubkey", ALICE.pubkey) is True
            assert await client.ask({}) == []
