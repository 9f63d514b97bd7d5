"""NIP-86: the methods that answer "why", past the gate and without any effect."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from tests.support.keys import ALICE, BOB, CAROL, NOW, Author, made_up
from tests.support.named_relay import open_client, open_named, rules_for
from tests.support.operators import ADMIN, error_of, managed, operator
from trio_relay import Event, Limits, MemberOptions, MemoryStore, Store
from trio_relay.store import insight

NOTE = ALICE.event("tea", created_at=NOW)
SECRETS = [ALICE.event(f"?iv={n}", kind=4, created_at=NOW + n, tags=[["p", BOB.pubkey]]) for n in range(3)]
PRIVATE = [*SECRETS, BOB.event("to nobody", kind=4, created_at=NOW + 9)]
ACCEPTED = {"accepted": True, "reason": "", "setting": ""}


class TestExplainFilters:
    """`explainfilters`."""

    async def test_an_answer_is_explained_with_what_the_gate_hides(self, store: Store) -> None:
        await store.save_many([NOTE, *PRIVATE])
        async with managed(store) as door, operator(door) as admin:
            answer = await admin.call("explainfilters", [{}, {"kinds": [1, 4], "limit": 2}, {"kinds": [1]}])
            assert answer["verdict"] == ACCEPTED
            assert [one["filter"] for one in answer["filters"]] == [{}, {"kinds": [1, 4], "limit": 2}, {"kinds": [1]}]
            assert [(one["found"], one["hidden"]) for one in answer["filters"]] == [(1, 4), (1, 4), (1, 0)]
            for one in answer["filters"]:
                assert sorted(one) == ["filter", "found", "hidden", "looked_at", "plan", "seconds"]
                assert all(sorted(step) == ["detail", "index"] for step in one["plan"])
                assert one["looked_at"] >= one["found"]
                assert one["plan"]

    @pytest.mark.parametrize(("key", "found", "hidden"), [(ALICE, 4, 1), (BOB, 5, 0), (ADMIN, 1, 4), (None, 1, 4)])
    async def test_it_can_be_asked_as_anybody(self, key: Any, found: int, hidden: int) -> None:
        store = MemoryStore()
        await store.save_many([NOTE, *PRIVATE])
        async with managed(store) as door, operator(door) as admin:
            answer = await admin.call("explainfilters", [{}], {"key": key and key.pubkey})
            (one,) = answer["filters"]
            assert (one["found"], one["hidden"]) == (found, hidden)

    @pytest.mark.parametrize(
        ("sources", "reason", "setting"),
        [
            ([{}] * 3, "error: at most 2 filters in a REQ (max_filters)", "limits.max_filters"),
            ([{"kinds": [1], "x": 1}], "unsupported: filter key 'x' is not known here", ""),
            ([{"ids": ["a"]}], "invalid: ids must hold strings of 64 lowercase hex characters", ""),
            ([7], "invalid: a filter must be an object", ""),
            (
                [{"kinds": list(range(60))}],
                "error: at most 50 values in the filters of a connection (max_filter_values)",
                "limits.max_filter_values",
            ),
            ([{"search": "tea"}], "unsupported: search is off on this relay", "store.search"),
        ],
    )
    async def test_what_is_refused_when_it_is_read_has_no_plan(
        self, sources: list[object], reason: str, setting: str
    ) -> None:
        rules = rules_for(limits=Limits(max_filters=2, max_filter_values=50), has_search=False, admins=(ADMIN.pubkey,))
        async with open_named(MemoryStore(), rules, clock=lambda: NOW) as door, operator(door) as admin:
            answer = await admin.call("explainfilters", sources)
            assert answer == {"verdict": {"accepted": False, "reason": reason, "setting": setting}, "filters": []}

    @pytest.mark.parametrize(
        ("policy", "members", "setting"),
        [
            ({"auth_to_read": True}, MemberOptions(), "policy.auth_to_read"),
            ({}, MemberOptions(enabled=True, members_read=True), "members.members_read"),
            ({"private_kinds": (1, 4)}, MemberOptions(), "policy.private_kinds"),
        ],
    )
    async def test_what_policy_refuses_is_told_with_its_setting_and_explained_all_the_same(
        self, policy: dict[str, Any], members: MemberOptions, setting: str
    ) -> None:
        store = MemoryStore()
        await store.save_many([NOTE])
        rules = rules_for(members=members, admins=(ADMIN.pubkey,), **policy)
        async with open_named(store, rules, clock=lambda: NOW) as door, operator(door) as admin:
            answer = await admin.call("explainfilters", [{"kinds": [1]}])
            assert answer["verdict"]["accepted"] is False
            assert answer["verdict"]["reason"].startswith("auth-required: ")
            assert answer["verdict"]["setting"] == setting
            assert len(answer["filters"]) == 1

    @pytest.mark.parametrize(
        ("params", "error"),
        [
            ([], "parameter 1 of explainfilters must be a list of filters"),
            ([{}], "parameter 1 of explainfilters must be a list of filters"),
            ([[]], "parameter 1 of explainfilters must be a list of filters"),
            ([[{}], "me"], "parameter 2 of explainfilters must be an object of key"),
            ([[{}], {"name": "me"}], "parameter 2 of explainfilters must be an object of key"),
            ([[{}], {"key": 7}], "key must be a text of 200 characters at most"),
            (
                [[{}], {"key": "me"}],
                "key must be a pubkey: 'me' is no key: a key is 64 hex characters, or starts with npub1 or nprofile1",
            ),
            ([[{}], {}, 1], "explainfilters takes 2 parameters at most"),
        ],
    )
    async def test_parameters_are_read_strictly(self, params: list[object], error: str) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            assert await admin.refusal("explainfilters", *params) == f"invalid: {error}"


def as_json(event: Event) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(event)
    return found


def refusing(answer: dict[str, Any]) -> list[str]:
    return [one["check"] for one in answer["checks"] if not one["accepted"]]


PROFILE = ALICE.event("old", kind=0, created_at=NOW - 10)
NEWER = ALICE.event("new", kind=0, created_at=NOW - 5)
ARTICLE = ALICE.event("old", kind=30_023, created_at=NOW - 10)
NEWER_ARTICLE = ALICE.event("new", kind=30_023, created_at=NOW - 5, tags=[["d"]])
UNWANTED = ALICE.event("regretted", created_at=NOW - 5)
DELETION = ALICE.event(kind=5, created_at=NOW - 4, tags=[["e", UNWANTED.id]])
OF_ADDRESS = BOB.event(kind=5, created_at=NOW - 4, tags=[["a", f"30023:{BOB.pubkey}:x"]])
GONE = BOB.event("gone", kind=30_023, created_at=NOW - 5, tags=[["d", "x"]])
LEAVING = CAROL.event(kind=62, created_at=NOW - 4, tags=[["relay", "ALL_RELAYS"]])
STORED = [NOTE, NEWER, NEWER_ARTICLE, UNWANTED, DELETION, OF_ADDRESS, LEAVING]
FATES: dict[str, tuple[Event, str, Event | None, str]] = {
    "new": (ALICE.event("new", created_at=NOW), "new", None, ""),
    "here already": (NOTE, "duplicate", NOTE, "duplicate: already have this event"),
    "an older version": (PROFILE, "superseded", NEWER, "duplicate: have a newer version"),
    "one of an address without a name": (ARTICLE, "superseded", NEWER_ARTICLE, "duplicate: have a newer version"),
    "deleted": (UNWANTED, "deleted", DELETION, "blocked: deleted"),
    "deleted by its address": (GONE, "deleted", OF_ADDRESS, "blocked: deleted"),
    "vanished": (CAROL.event("x", created_at=NOW - 5), "vanished", LEAVING, "blocked: its author has asked to vanish"),
    "ephemeral": (ALICE.event(kind=20_001, created_at=NOW), "ephemeral", None, ""),
    "expired": (
        ALICE.event(created_at=NOW, tags=[["expiration", str(NOW)]]),
        "expired",
        None,
        "invalid: the event has",
    ),
    "a deletion": (ALICE.event(kind=5, created_at=NOW, tags=[["e", NOTE.id]] * 50), "new", None, ""),
}


class TestExplainEvent:
    """`explainevent`."""

    async def test_what_the_store_would_say_is_told_with_the_event_that_makes_it(self, store: Store) -> None:
        await store.save_many(STORED)
        async with managed(store) as door, operator(door) as admin:
            for name, (event, fate, cause, reason) in FATES.items():
                answer = await admin.call("explainevent", as_json(event))
                assert (answer["store"], answer["by"]) == (fate, cause and cause.id), name
                assert answer["verdict"]["reason"].startswith(reason), name
                assert answer["verdict"]["accepted"] is (not reason or fate == "duplicate"), name
                assert refusing(answer) == (["expiry and protection"] if fate == "expired" else []), name

    async def test_nothing_is_counted_or_changed(self) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            before = door.relay.statistics()
            for _ in range(3):
                assert (await admin.call("explainevent", as_json(NOTE)))["store"] == "new"
                assert (await admin.call("explainevent", {"id": 7}))["verdict"]["accepted"] is False
            after = door.relay.statistics()
            assert (after.received, after.refused, after.unreadable) == (before.received, before.refused, 0)
            assert after.writer == before.writer

    async def test_each_check_is_told_with_what_decides_it(self) -> None:
        forged = replace(NOTE, id="0" * 64, sig="1" * 128)
        rules = rules_for(admins=(ADMIN.pubkey,), denied_kinds=(1,), denied_words=("tea",))
        async with open_named(MemoryStore(), rules, clock=lambda: NOW) as door, operator(door) as admin:
            answer = await admin.call("explainevent", as_json(forged))
            assert refusing(answer) == ["kind", "words", "id", "signature"]
            assert answer["verdict"] == {
                "accepted": False,
                "reason": "blocked: kind 1 is not accepted here",
                "setting": "policy.denied_kinds",
            }

    @pytest.mark.parametrize(("key", "accepted"), [(ALICE, True), (BOB, False), (None, False)])
    async def test_it_can_be_asked_as_sent_by_anybody(self, key: Author | None, accepted: bool) -> None:
        protected = ALICE.event(created_at=NOW, tags=[["-"]])
        async with managed(MemoryStore()) as door, operator(door) as admin:
            answer = await admin.call("explainevent", as_json(protected), {"key": key and key.pubkey})
            assert answer["verdict"]["accepted"] is accepted

    @pytest.mark.parametrize(
        ("address", "refused", "setting"),
        [
            ("203.0.113.7", ["address"], "policy.denied_addresses"),
            ("198.51.100.7", ["address"], "listblockedips"),
            ("192.0.2.7", [], "policy.denied_addresses, listblockedips"),
        ],
    )
    async def test_it_can_be_asked_as_sent_from_anywhere(self, address: str, refused: list[str], setting: str) -> None:
        async with managed(MemoryStore(), denied_addresses=("203.0.113.0/24",)) as door, operator(door) as admin:
            await admin.call("blockip", "198.51.100.7")
            answer = await admin.call("explainevent", as_json(NOTE), {"address": address})
            assert refusing(answer) == refused
            assert answer["checks"][0]["setting"] == setting
            assert answer["verdict"]["accepted"] is not refused or answer["verdict"]["setting"] == setting

    async def test_open_subscriptions_that_would_get_it_are_counted(self) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin, open_client(door, BOB) as bob:
            await bob.send("REQ", "notes", {"kinds": [1], "limit": 0})
            await bob.send("REQ", "tea", {"search": "tea", "limit": 0})
            await bob.send("REQ", "others", {"kinds": [7], "limit": 0})
            for _ in range(3):
                assert (await bob.receive())[0] == "EOSE"
            assert (await admin.call("explainevent", as_json(NOTE)))["subscriptions"] == 2
            long = ALICE.event("tea " * 5_000, created_at=NOW)
            assert (await admin.call("explainevent", as_json(long)))["subscriptions"] == 2
            assert (await admin.call("explainevent", as_json(SECRETS[0])))["subscriptions"] == 0

    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            ({}, "invalid: id is missing"),
            (as_json(NOTE) | {"kind": "one"}, "invalid: kind"),
            (as_json(NOTE) | {"pubkey": "A" * 64}, "invalid: pubkey"),
        ],
    )
    async def test_what_is_no_event_is_refused_as_for_clients(self, source: dict[str, Any], reason: str) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            answer = await admin.call("explainevent", source)
            assert answer["verdict"]["reason"].startswith(reason)
            assert (answer["checks"], answer["store"], answer["by"], answer["subscriptions"]) == ([], "", None, None)

    @pytest.mark.parametrize(
        ("params", "error"),
        [
            ([], "parameter 1 of explainevent must be an event"),
            (["{}"], "parameter 1 of explainevent must be an event"),
            ([{}, {"ip": "x"}], "parameter 2 of explainevent must be an object of key and address"),
            ([{}, {"address": "nowhere"}], "address must be an IP address"),
        ],
    )
    async def test_parameters_are_read_strictly(self, params: list[object], error: str) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            assert (await admin.refusal("explainevent", *params)).startswith(f"invalid: {error}")


class TestStore:
    """`storestats` and `findevents`."""

    async def test_what_is_stored_is_told_in_numbers(self, store: Store) -> None:
        expiring = ALICE.event("later", created_at=NOW - 86_400, tags=[["expiration", "4000000000"]])
        await store.save_many([NOTE, *PRIVATE, expiring])
        async with managed(store) as door, operator(door) as admin:
            answer = await admin.call("storestats")
            assert answer.pop("disk_bytes") >= 0
            assert NOW <= answer.pop("next_sweep") <= NOW + 60
            assert answer.pop("next_retention") is None
            assert answer == {
                "events": 6,
                "kinds": [{"kind": 4, "events": 4}, {"kind": 1, "events": 2}],
                "days": [{"day": "2023-11-14", "events": 5}, {"day": "2023-11-13", "events": 1}],
                "authors": [{"pubkey": ALICE.pubkey, "events": 5}, {"pubkey": BOB.pubkey, "events": 1}],
                "expiring": {"events": 1, "next": 4_000_000_000},
            }

    async def test_it_is_counted_once_a_minute(self, autojump_clock: MockClock) -> None:
        store = MemoryStore()
        async with managed(store) as door:
            for waited, expected in ((0, 0), (59, 0), (2, 1)):
                await trio.sleep(waited)
                assert (await door.relay.explaining.holdings()).events == expected
                await store.save_many([NOTE])

    async def test_what_takes_too_long_is_an_error(self, autojump_clock: MockClock) -> None:
        class Slow(MemoryStore):
            async def tally(self) -> insight.Holdings:
                await trio.sleep_forever()
                raise AssertionError

        async with managed(Slow()) as door, operator(door) as admin:
            reply = await admin.ask("storestats")
            assert (reply.status, error_of(reply)) == (503, "error: took too long")

    async def test_the_newest_events_are_found_past_the_gate(self, store: Store) -> None:
        notes = [BOB.event(f"{n}", created_at=NOW + n) for n in range(120)]
        await store.save_many([NOTE, *PRIVATE, *notes])
        async with managed(store) as door, operator(door) as admin:
            found = await admin.call("findevents", [{"kinds": [1, 4]}])
            assert len(found) == 100
            assert found == sorted(found, key=lambda event: (-event["created_at"], event["id"]))
            assert await admin.call("findevents", [{"kinds": [4], "authors": [BOB.pubkey]}]) == [as_json(PRIVATE[-1])]
            assert len(await admin.call("findevents", [{"kinds": [4]}, {"ids": [NOTE.id]}])) == 5
            assert [event["content"] for event in await admin.call("findevents", [{"search": "tea"}])] == ["tea"]

    async def test_what_is_found_is_bounded_in_bytes(self) -> None:
        store = MemoryStore()
        await store.save_many([made_up("x" * 900_000, created_at=NOW + n) for n in range(6)])
        async with managed(store) as door:
            assert len(await door.relay.explaining.find([{}])) == 4

    @pytest.mark.parametrize(
        ("params", "error"),
        [
            ([], "invalid: parameter 1 of findevents must be a list of filters"),
            ([[{"kind": 1}]], "unsupported: filter key 'kind' is not known here"),
            ([[{}], {}], "invalid: findevents takes 1 parameters at most"),
        ],
    )
    async def test_filters_that_cannot_be_read_are_refused(self, params: list[object], error: str) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            assert await admin.refusal("findevents", *params) == error
