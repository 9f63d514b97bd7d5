"""NIP-86 beyond the NIP: how the relay did over time, backups, and who may take all events along."""

from __future__ import annotations

from tests.support.named_relay import URL, rules_for
from tests.support.operators import ADMIN, MODERATOR, Operator, managed, operator
from tests.support.server import open_door
from tests.support.wire import open_stream
from trio_relay import MemoryStore, WebOptions
from trio_relay.nostr import errors


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
        return {"events": "/backups/events.jsonl.gz", "state": "/backups/state.json", "number": 2}

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
