"""NIP-98 as NIP-86 asks for it: who may call the relay's methods over HTTP, and who is told to authenticate."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support.keys import ALICE, NOW
from tests.support.named_relay import URL, open_named, rules_for
from tests.support.operators import (
    ADMIN,
    MODERATOR,
    Clock,
    FailingStore,
    Operator,
    error_of,
    header,
    managed,
    operator,
    signed,
)
from tests.support.wire import open_stream, request
from trio_relay import MemoryStore, RelayInfo
from trio_relay.net.admin import api, methods, replays
from trio_relay.nostr.event import encode

BODY = b'{"method":"listbannedpubkeys","params":[]}'
CHANGE = msgspec.json.encode({"method": "banpubkey", "params": ["b" * 64]})
CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-headers": "*, Authorization",
    "access-control-allow-methods": "GET, HEAD, POST, OPTIONS",
}


async def test_a_request_that_an_admin_has_signed_is_answered() -> None:
    async with managed(MemoryStore()) as door, operator(door) as admin:
        reply = await admin.send(BODY, header(signed(ADMIN, BODY)))
        assert (reply.status, json.loads(reply.body)) == (200, {"result": []})
        assert reply.headers["content-type"] == api.CONTENT_TYPE
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers.items() >= CORS.items()


async def test_the_key_of_the_operator_is_an_admins() -> None:
    rules = rules_for(info=RelayInfo(pubkey=ALICE.pubkey))
    async with open_named(MemoryStore(), rules, clock=Clock()) as door, operator(door, ALICE) as alice:
        assert await alice.call("listbannedpubkeys") == []


async def test_without_an_event_the_answer_is_401() -> None:
    async with managed(MemoryStore()) as door, operator(door) as admin:
        reply = await admin.send(BODY, None)
        assert (reply.status, reply.headers["www-authenticate"]) == (401, "Nostr")
        assert error_of(reply) == "the Authorization header is missing (NIP-98)"
        assert reply.headers.items() >= CORS.items()


@pytest.mark.parametrize(
    ("authorization", "error"),
    [
        ("Basic YTpi", "invalid: Authorization must have the scheme Nostr"),
        ("Nostr e", "invalid: Authorization must be base64 after its scheme"),
        ("Nostr e30=", "invalid: Authorization does not hold an event"),
    ],
)
async def test_a_header_that_holds_no_event_is_401(authorization: str, error: str) -> None:
    async with managed(MemoryStore()) as door, operator(door) as admin:
        reply = await admin.send(BODY, authorization)
        assert (reply.status, error_of(reply)) == (401, error)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"kind": 27_236}, "invalid: kind must be 27235"),
        ({"kind": 22_242}, "invalid: kind must be 27235"),
        ({"created_at": NOW - 61}, "invalid: created_at is more than 60 seconds from the relay's time"),
        ({"created_at": NOW + 61}, "invalid: created_at is more than 60 seconds from the relay's time"),
        ({"url": "wss://other.example/"}, f"invalid: the u tag is not the URL of this request, {URL}"),
        ({"url": f"{URL}?page=1"}, f"invalid: the u tag is not the URL of this request, {URL}"),
        ({"tags": {"u": None}}, f"invalid: the u tag is not the URL of this request, {URL}"),
        ({"tags": {"method": "GET"}}, "invalid: the method tag is not the method of this request, POST"),
        ({"tags": {"method": None}}, "invalid: the method tag is not the method of this request, POST"),
        ({"tags": {"payload": "0" * 64}}, "invalid: the payload tag is not the SHA-256 of the body"),
        ({"tags": {"payload": None}}, "invalid: the payload tag is missing; it holds the SHA-256 of the body"),
    ],
)
async def test_an_event_for_something_else_is_401(changes: dict[str, Any], error: str) -> None:
    async with managed(MemoryStore()) as door, operator(door) as admin:
        reply = await admin.send(BODY, header(signed(ADMIN, BODY, **changes)))
        assert (reply.status, error_of(reply)) == (401, error)


@pytest.mark.parametrize("created_at", [NOW - 60, NOW + 60])
@pytest.mark.parametrize("url", ["wss://relay.example", "https://relay.example/", "https://RELAY.example:443"])
async def test_a_minute_and_the_way_in_which_the_url_is_written_do_not_matter(created_at: int, url: str) -> None:
    clock = Clock()
    clock.now -= 100
    async with managed(MemoryStore(), clock) as door, operator(door) as admin:
        clock.now = NOW
        reply = await admin.send(BODY, header(signed(ADMIN, BODY, created_at=created_at, url=url)))
        assert reply.status == 200


async def test_the_host_that_a_request_names_plays_no_part() -> None:
    """A proxy may change it; what counts is the name that the relay was given."""
    async with managed(MemoryStore()) as door, operator(door) as admin:
        authorization = header(signed(ADMIN, BODY, url="http://127.0.0.1:7777/"))
        reply = await admin.send(BODY, authorization, Host="127.0.0.1:7777", X_Forwarded_Proto="http")
        assert reply.status == 401


async def test_a_signature_by_another_key_is_401() -> None:
    async with managed(MemoryStore()) as door, operator(door) as admin:
        event, other = signed(ADMIN, BODY), signed(ALICE, BODY)
        forged = msgspec.structs.replace(event, sig=other.sig)
        reply = await admin.send(BODY, header(forged))
        assert (reply.status, error_of(reply)) == (401, "invalid: sig is not a valid signature of the id by the pubkey")


async def test_an_event_changes_something_once_and_who_comes_again_is_told_the_same() -> None:
    """Two equal calls of one second have the same id: both are honest, and one change is enough."""
    async with managed(MemoryStore()) as door, operator(door) as admin, open_stream(door) as other:
        authorization = header(signed(ADMIN, CHANGE))
        first = await admin.send(CHANGE, authorization)
        assert (first.status, json.loads(first.body)) == (200, {"result": True})
        for again in (admin, Operator(other)):
            reply = await again.send(CHANGE, authorization)
            assert (reply.status, reply.body) == (200, first.body)
        assert len(await admin.call("listacts")) == 1
        assert (await admin.send(CHANGE, header(signed(ADMIN, CHANGE)))).status == 200
        assert len(await admin.call("listacts")) == 2


class SlowStore(MemoryStore):
    """A memory store that keeps what operators decide once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_keep = trio.Event()

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        await self.may_keep.wait()
        await super().put_metadata(changes)


async def test_who_comes_again_while_the_first_call_is_carried_out_waits_for_its_answer() -> None:
    store, authorization, bodies = SlowStore(), header(signed(ADMIN, CHANGE)), list[bytes]()

    async def call(caller: Operator) -> None:
        bodies.append((await caller.send(CHANGE, authorization)).body)

    async with managed(store) as door, operator(door) as admin, open_stream(door) as other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, admin)
            nursery.start_soon(call, Operator(other))
            await wait_all_tasks_blocked()
            assert bodies == []
            store.may_keep.set()
        assert bodies == [b'{"result":true}'] * 2
        assert len(await admin.call("listacts")) == 1


async def test_a_failure_is_told_again_and_the_same_event_makes_no_other_try() -> None:
    store, authorization = FailingStore(), header(signed(ADMIN, CHANGE))
    store.failing = {"keep"}
    async with managed(store) as door, operator(door) as admin:
        first = await admin.send(CHANGE, authorization)
        store.failing = set()
        again = await admin.send(CHANGE, authorization)
        assert (first.status, again.status) == (503, 503)
        assert first.body == again.body
        assert await admin.call("listbannedpubkeys") == []


async def test_a_change_that_there_was_nothing_of_is_not_made_later_by_the_same_event() -> None:
    unban = msgspec.json.encode({"method": "unbanpubkey", "params": ["b" * 64]})
    async with managed(MemoryStore()) as door, operator(door) as admin:
        authorization = header(signed(ADMIN, unban))
        assert (await admin.send(unban, authorization)).status == 200
        assert (await admin.send(CHANGE, header(signed(ADMIN, CHANGE)))).status == 200
        assert json.loads((await admin.send(unban, authorization)).body) == {"result": True}
        assert [entry["pubkey"] for entry in await admin.call("listbannedpubkeys")] == ["b" * 64]


async def test_who_may_call_nothing_any_more_is_not_told_the_answer_again() -> None:
    unban = msgspec.json.encode({"method": "unbanpubkey", "params": ["b" * 64]})
    async with managed(MemoryStore()) as door, operator(door) as admin, operator(door, MODERATOR) as moderator:
        await admin.call("assignmethod", MODERATOR.pubkey, "unbanpubkey")
        authorization = header(signed(MODERATOR, unban))
        assert (await moderator.send(unban, authorization)).status == 200
        await admin.call("unassignmethod", MODERATOR.pubkey, "unbanpubkey")
        assert (await moderator.send(unban, authorization)).status == 403


def test_the_reading_methods_are_those_that_list_and_tell() -> None:
    assert {*methods.METHODS, "supportedmethods"} >= methods.READING
    changing = methods.METHODS.keys() - methods.READING
    assert {name.rstrip("s") for name in changing if name.startswith(("list", "supported", "stat"))} == set()
    verbs = "ban unban allow unallow disallow undisallow block unblock change create edit delete assign unassign"
    others = "add remove undo disconnect backup export deny undeny compact run reload"
    assert [name for name in changing if not name.startswith(tuple(f"{verbs} {others}".split()))] == []


async def test_reading_calls_may_use_an_event_again_within_its_minute() -> None:
    """A page with two panels asks the same twice in a second: both calls have the same id."""
    clock = Clock()
    async with managed(MemoryStore(), clock) as door, operator(door) as admin, open_stream(door) as other:
        authorization = header(signed(ADMIN, BODY))
        for again in (admin, Operator(other), admin):
            assert (await again.send(BODY, authorization)).status == 200
        assert (await admin.send(CHANGE, authorization)).status == 401  # it signs another body
        clock.now += 61
        assert (await admin.send(BODY, authorization)).status == 401


async def test_a_moderator_cannot_use_up_the_changes_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that changes nothing is remembered as well: later it might change something."""
    monkeypatch.setattr(api, "Replays", partial(replays.Replays, 12, 10))
    nothing = msgspec.json.encode({"method": "unbanevent", "params": ["b" * 64]})
    async with managed(MemoryStore()) as door, operator(door) as admin, operator(door, MODERATOR) as moderator:
        assert await admin.call("assignmethod", MODERATOR.pubkey, "unbanevent") == [True, "assigned"]
        assert {(await moderator.post(nothing)).status for _ in range(10)} == {200}
        reply = await moderator.post(nothing)
        words = "this key has made 10 changes within the last 2 minutes; try again in a minute"
        assert (reply.status, reply.headers["retry-after"], error_of(reply)) == (429, "60", words)
        assert await moderator.call("supportedmethods") == ["unbanevent"]
        assert {(await admin.post(CHANGE)).status for _ in range(11)} == {200}


async def test_what_was_used_before_a_restart_is_not_used_again() -> None:
    clock, store, authorization = Clock(), MemoryStore(), header(signed(ADMIN, CHANGE))
    async with managed(store, clock) as door, operator(door) as admin:
        assert (await admin.send(CHANGE, authorization)).status == 200
    clock.now = NOW + 2
    async with managed(store, clock) as door, operator(door) as admin:
        reply = await admin.send(CHANGE, authorization)
        assert reply.status == 401
        assert error_of(reply) == "this event was made before the relay started; every change needs a new one"
        assert (await admin.send(CHANGE, header(signed(ADMIN, CHANGE, created_at=NOW + 1)))).status == 200


@pytest.mark.parametrize(
    ("target", "url", "status"),
    [
        ("/?page=1", f"{URL}?page=1", 200),
        ("https://relay.example/?page=1", "https://relay.example?page=1", 200),
        ("/?page=1", URL, 401),
        ("/?page=1", f"{URL}?page=2", 401),
        ("/", f"{URL}?page=1", 401),
    ],
)
async def test_the_query_of_a_request_is_signed_too(target: str, url: str, status: int) -> None:
    async with managed(MemoryStore()) as door, open_stream(door) as wire:
        headers = {"Content-Type": api.CONTENT_TYPE, "Authorization": header(signed(ADMIN, BODY, url=url))}
        await wire.send(request("POST", target, headers, BODY))
        assert (await wire.reply()).status == status


@pytest.mark.parametrize("body", [b'{"method":"\xff"}', b"\xff", b'{"method":"\\ud800"}', b"[" * 50_000])
async def test_a_body_that_cannot_be_read_is_400(body: bytes) -> None:
    async with managed(MemoryStore()) as door, operator(door) as admin:
        reply = await admin.post(body)
        assert reply.status == 400
        assert error_of(reply) == "the body must be a JSON object with a method, a text, and params, an array"


async def test_a_body_may_be_sent_when_the_relay_says_so() -> None:
    async with managed(MemoryStore()) as door, operator(door) as admin:
        named = {
            "Content-Type": api.CONTENT_TYPE,
            "Authorization": header(signed(ADMIN, BODY)),
            "Expect": "100-continue",
        }
        await admin.wire.send(request("POST", "/", {**named, "Content-Length": str(len(BODY))}))
        assert (await admin.wire.reply()).status == 100
        await admin.wire.send(BODY)
        assert json.loads((await admin.wire.reply()).body) == {"result": []}


async def test_the_same_event_written_in_another_way_is_the_same() -> None:
    async with managed(MemoryStore()) as door, operator(door) as admin:
        event = signed(ADMIN, CHANGE)
        assert (await admin.send(CHANGE, header(event))).status == 200
        spaced = json.dumps(json.loads(encode(event)), indent=1).encode()
        assert (await admin.send(CHANGE, f"nostr {b64encode(spaced).decode()}")).status == 200
        assert len(await admin.call("listacts")) == 1


async def test_a_stranger_is_told_403_and_uses_up_nothing() -> None:
    async with managed(MemoryStore()) as door, operator(door, ALICE) as stranger:
        authorization = header(signed(ALICE, BODY))
        for _ in range(2):
            reply = await stranger.send(BODY, authorization)
            assert (reply.status, error_of(reply)) == (403, "restricted: this key may not manage the relay")
        assert (await stranger.ask("supportedmethods")).status == 403


async def test_what_was_not_used_for_a_call_may_be_used_for_the_right_one() -> None:
    """An event that came with the wrong body has authorised nothing yet."""
    async with managed(MemoryStore()) as door, operator(door) as admin:
        authorization = header(signed(ADMIN, BODY))
        assert (await admin.send(b"{}", authorization)).status == 401
        assert (await admin.send(BODY, authorization)).status == 200


async def test_another_content_type_is_415() -> None:
    async with managed(MemoryStore()) as door, operator(door) as admin:
        for wrong in ("application/json", "application/nostr+json", "text/plain", ""):
            reply = await admin.post(BODY, Content_Type=wrong)
            assert reply.status == 415
            assert error_of(reply) == "the Content-Type must be application/nostr+json+rpc"
        for right in ("Application/Nostr+JSON+RPC", "application/nostr+json+rpc; charset=utf-8"):
            assert (await admin.post(BODY, Content_Type=right)).status == 200


async def test_a_page_in_a_browser_may_ask() -> None:
    async with managed(MemoryStore()) as door, open_stream(door) as wire:
        reply = await wire.ask("OPTIONS")
        assert (reply.status, reply.headers["allow"]) == (204, "GET, HEAD, POST, OPTIONS")
        assert reply.headers.items() >= CORS.items()
        reply = await wire.ask("PUT")
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, POST, OPTIONS")


async def test_health_is_not_managed() -> None:
    async with managed(MemoryStore()) as door, open_stream(door) as wire:
        reply = await wire.ask("POST", "/health")
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("rules", [{"admins": ()}, {"url": ""}])
async def test_a_relay_without_admins_or_a_name_has_nothing_to_manage(rules: dict[str, Any]) -> None:
    given = rules_for(**{"admins": (ADMIN.pubkey,), **rules})
    async with open_named(MemoryStore(), given, clock=Clock()) as door, operator(door) as admin:
        reply = await admin.post(BODY)
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    async with open_named(MemoryStore(), given, clock=Clock()) as door, open_stream(door) as wire:
        supported = json.loads((await wire.ask(Accept="application/nostr+json")).body)["supported_nips"]
        assert {86, 98}.isdisjoint(supported)


async def test_a_managed_relay_says_so() -> None:
    async with managed(MemoryStore()) as door, open_stream(door) as wire:
        supported = json.loads((await wire.ask(Accept="application/nostr+json")).body)["supported_nips"]
        assert {86, 98} <= set(supported)
