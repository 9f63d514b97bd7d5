"""NIP-86 beyond the NIP: how the relay did over time, backups, and who may take all events along."""

from __future__ import annotations

from trio.testing import MockClock

from tests.support.keys import ALICE, NOW
from tests.support.named_relay import URL, rules_for
from tests.support.operators import ADMIN, MODERATOR, Operator, managed, operator
from tests.support.server import open_door
from tests.support.wire import open_stream
from trio_relay import MemoryStore, WebOptions
from trio_relay.nostr import errors, nip19
from trio_relay.policy import retention


async def test_the_last_hour_is_told_point_by_point_and_the_present_last() -> None:
    rules = rules_for(admins=(ADMIN.pubkey,))
    async with open_door(rules=rules, web=WebOptions()) as door, door.client(), operator(door) as admin:
        *_, last = await admin.call("listvitals")
        assert last["values"]["connections"] == 1
        assert await admin.call("listvitals", "day")
        assert "hour or day" in await admin.refusal("listvitals", "week")


async def test_where_nobody_keeps_that_there_is_none(store: MemoryStore) -> None:
    async with managed(store) as door, operator(door) as admin:
        assert await admin.refusal("listvitals") == "unsupported: nobody keeps how this relay did"
        assert (await admin.refusal("backupnow")).startswith("unsupported: this relay was started without")


async def test_a_backup_is_an_act_and_its_failure_is_none() -> None:
    fails = True

    async def back_up() -> dict[str, object]:
        if fails:
            raise errors.Rejected(errors.Prefix.ERROR, "no backup: No space left on device")
        return {"file": "/backups/relay-20261130T073549Z.backup", "number": 2, "bytes": 1_539}

    async with open_door(rules=rules_for(admins=(ADMIN.pubkey,)), back_up=back_up) as door, operator(door) as admin:
        reply = await admin.ask("backupnow")
        assert (reply.status, b"No space left" in reply.body) == (503, True)
        assert await admin.call("listacts") == []
        fails = False
        assert (await admin.call("backupnow"))["number"] == 2
        [act] = await admin.call("listacts")
        assert (act["method"], act["who"]) == ("backupnow", ADMIN.pubkey)


async def test_who_may_export_is_recorded_each_time(store: MemoryStore) -> None:
    async with managed(store) as door, operator(door) as admin, open_stream(door) as wire:
        moderator = Operator(wire, MODERATOR, URL)
        await admin.call("assignmethod", MODERATOR.pubkey, "exportevents")
        assert await moderator.call("exportevents") is True
        assert (await moderator.refusal("backupnow")).startswith("restricted:")
        assert [act["method"] for act in await admin.call("listacts")] == ["exportevents", "assignmethod"]


async def test_events_are_counted_and_removed_by_filters_and_come_back_if_published(store: MemoryStore) -> None:
    note, gone = ALICE.event("a note", created_at=NOW), ALICE.event("?iv=", kind=4, created_at=NOW)
    async with managed(store) as door, operator(door) as admin, door.client() as client:
        assert (await client.receive())[0] == "AUTH"
        for event in (note, gone):
            assert (await client.publish(event))[2] is True
        asked = [{"authors": [nip19.npub_of(ALICE.pubkey)], "kinds": [4]}]
        assert await admin.call("countevents", asked) == 1
        would_go = {"events": 1, "kinds": {"4": 1}}
        assert await admin.call("removeevents", asked, True) == would_go
        assert await admin.call("listacts") == []
        assert await admin.call("removeevents", asked) == would_go
        [act] = await admin.call("listacts")
        assert (act["told"], act["can_undo"]) == ("1 events removed", False)
        assert [event["id"] for event in await client.ask("a", {"kinds": [1]})] == [note.id]
        assert (await client.publish(gone))[2] is True
        assert await admin.call("removeevents", [{}], False, True) == {"events": 2, "kinds": {"1": 1, "4": 1}}


async def test_what_takes_too_much_or_nobody_can_tell_is_not_removed(store: MemoryStore) -> None:
    async with managed(store) as door, operator(door) as admin:
        assert (await admin.refusal("removeevents", [{}])).startswith("invalid: a filter matches everything")
        assert "has no limit" in await admin.refusal("removeevents", [{"kinds": [1], "limit": 1}])
        assert "at least one" in await admin.refusal("removeevents", [])
        assert "parameter 2" in await admin.refusal("removeevents", [{"kinds": [1]}], "yes")
        assert "kinds must be" in await admin.refusal("countevents", [{"kinds": 1}])


async def test_a_round_of_retention_is_made_when_asked(autojump_clock: MockClock) -> None:
    store, rules = MemoryStore(), rules_for(admins=(ADMIN.pubkey,))
    rules.retention = retention.Retention((retention.RetentionRule(kinds=(1,), max_events=1),))
    notes = [ALICE.event(f"note {age}", created_at=NOW - age) for age in range(3)]
    await store.save_many(notes)
    async with open_door(store, rules) as door, operator(door) as admin, door.client() as client:
        assert (await client.receive())[0] == "AUTH"
        assert NOW <= (await admin.call("storestats"))["next_retention"] <= NOW + 120
        (told,) = await admin.call("runretention")
        assert (told["rule"], told["events"], told["newest"]) == ("1", 2, NOW - 1)
        (act,) = await admin.call("listacts")
        assert (act["told"], act["can_undo"]) == ("2 events forgotten", False)
        assert [event["id"] for event in await client.ask("a", {"kinds": [1]})] == [notes[0].id]
        said = "invalid: this relay has no more room for kind 1 that is so old (retention.max_events)"
        assert (await client.publish(notes[1]))[3] == said


async def test_without_rules_there_is_no_round_to_make(store: MemoryStore) -> None:
    async with managed(store) as door, operator(door) as admin:
        assert (await admin.refusal("runretention")).startswith("unsupported: nothing is ever forgotten here")


async def test_only_admins_remove_by_filters_and_nobody_else_can_be_let(store: MemoryStore) -> None:
    async with managed(store) as door, operator(door) as admin, open_stream(door) as wire:
        moderator = Operator(wire, MODERATOR, URL)
        assert await admin.call("assignmethod", MODERATOR.pubkey, "countevents") == [True, "assigned"]
        told = await admin.call("assignmethod", MODERATOR.pubkey, "removeevents")
        assert told == [False, "it is for admins alone"]
        assert await moderator.call("countevents", [{}]) == 0
        assert (await moderator.refusal("removeevents", [{"kinds": [1]}])).startswith("restricted:")
        assert await moderator.call("supportedmethods") == ["countevents"]


async def test_the_configuration_is_read_again_for_nobody_with_a_key(store: MemoryStore) -> None:
    async with managed(store) as door, operator(door) as admin:
        assert "reloadconfig" not in await admin.call("supportedmethods")
        assert (await admin.refusal("reloadconfig")).startswith("restricted: ")
        assert (await admin.call("assignmethod", MODERATOR.pubkey, "reloadconfig"))[0] is False
