"""NIP-42, "Signed Event Verification": what an AUTH event must be, and what its sender hears if it is not."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB
from tests.support.named_relay import URL, AuthClient, auth_event, open_client, open_named, rules_for
from tests.support.server import plain
from tests.support.wire import message, open_wire
from trio_relay import Event, Filter, MemoryStore, NetOptions

NOW = 1_800_000_000
OTHER_CHALLENGE = "invalid: the challenge tag is not the challenge of this connection"
OTHER_RELAY = f"invalid: the relay tag does not name this relay, {URL}"
OTHER_TIME = "invalid: created_at is more than 600 seconds from the relay's time"
OTHER_ID = "invalid: id is not the hash of the event"


async def is_authenticated(client: AuthClient) -> bool:
    await client.send("REQ", "sub", {"kinds": [4]})
    verb = (await client.receive())[0]
    if verb == "AUTH":
        assert (await client.receive())[0] == "CLOSED"
    return bool(verb == "EOSE")


async def answer_to(client: AuthClient, event: Event) -> list[Any]:
    """The last two items of the OK to an AUTH."""
    await client.send("AUTH", event)
    verb, event_id, *answer = await client.receive()
    assert (verb, event_id) == ("OK", event.id)
    return answer


@pytest.mark.parametrize("kind", [1, 0, 22_241, 22_243, 27_235])
async def test_its_kind_is_22242(kind: int) -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        assert await client.authenticate(ALICE, kind=kind) == [False, "invalid: kind must be 22242"]
        assert not await is_authenticated(client)


@pytest.mark.parametrize("seconds", [-601, -3_600, -NOW, 601, 86_400])
async def test_its_time_is_not_more_than_ten_minutes_off(seconds: int) -> None:
    async with open_named(MemoryStore(), clock=lambda: NOW) as door, open_client(door) as client:
        assert await client.authenticate(ALICE, created_at=NOW + seconds) == [False, OTHER_TIME]
        assert not await is_authenticated(client)


@pytest.mark.parametrize("seconds", [-600, -1, 0, 1, 600])
async def test_its_time_may_be_ten_minutes_off(seconds: int) -> None:
    async with open_named(MemoryStore(), clock=lambda: NOW) as door, open_client(door) as client:
        assert await client.authenticate(ALICE, created_at=NOW + seconds) == [True, ""]
        assert await is_authenticated(client)


async def test_its_challenge_is_the_one_of_this_connection() -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as client, open_client(door) as other:
        wrong = ["", "none", other.challenge, client.challenge.upper() + "0", client.challenge[:-1], "é"]
        for challenge in wrong:
            assert await client.authenticate(ALICE, challenge=challenge) == [False, OTHER_CHALLENGE]
        assert not await is_authenticated(client)
        assert await client.authenticate(ALICE) == [True, ""]


async def test_an_answer_that_was_overheard_serves_on_no_other_connection() -> None:
    async with open_named(MemoryStore()) as door:
        async with open_client(door) as client:
            event = auth_event(ALICE, client.challenge)
            assert await answer_to(client, event) == [True, ""]
        async with open_client(door) as other:
            assert await answer_to(other, event) == [False, OTHER_CHALLENGE]
            assert not await is_authenticated(other)


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "wss://relay.example",
        "WSS://Relay.EXAMPLE/",
        "wss://relay.example:443/",
        "wss://relay.example./",
        "https://relay.example/",
        " wss://relay.example/\n",
        "wss://relay.example/?source=app",
        "wss://user@relay.example/#x",
    ],
)
async def test_its_relay_is_this_one_in_whatever_spelling(url: str) -> None:
    """ "URL normalization techniques can be applied"."""
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        assert await client.authenticate(ALICE, url=url) == [True, ""]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "relay.example",
        "wss://other.example/",
        "wss://relay.example.other.example/",
        "wss://sub.relay.example/",
        "wss://relay.example@other.example/",
        "wss://relay.example:4443/",
        "wss://relay.example/inbox",
        "ws://relay.example/",
        "ws://relay.example:443/",
        "wss://",
        "ALL_RELAYS",
    ],
)
async def test_its_relay_is_no_other(url: str) -> None:
    """What a hostile relay has had signed for itself must open nothing here."""
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        assert await client.authenticate(ALICE, url=url) == [False, OTHER_RELAY]
        assert not await is_authenticated(client)


@pytest.mark.parametrize(
    ("name", "url", "is_taken"),
    [
        ("ws://127.0.0.1:7777/", "ws://localhost:7777", True),
        ("ws://127.0.0.1:7777/", "ws://[::1]:7777/", True),
        ("ws://127.0.0.1:7777/", "ws://localhost:7778", False),
        ("wss://relay.example/inbox/", "wss://relay.example/inbox", True),
        ("wss://relay.example/inbox/", "wss://relay.example/", True),  # it is served there too
        ("wss://relay.example/inbox/", "wss://relay.example/outbox", False),
        ("wss://relay.example/inbox/", "wss://relay.example/inbox/old", False),
        ("wss://relay.example/b%C3%BCro", "wss://relay.example/büro", True),
        ("wss://büro.example/", "wss://xn--bro-hoa.example/", True),
        ("wss://büro.example/", "wss://buro.example/", False),
    ],
)
async def test_every_part_of_the_name_counts(name: str, url: str, is_taken: bool) -> None:
    async with open_named(MemoryStore(), rules_for(url=name)) as door, open_client(door) as client:
        refusal = f"invalid: the relay tag does not name this relay, {name}"
        assert await client.authenticate(ALICE, url=url) == ([True, ""] if is_taken else [False, refusal])


async def test_it_has_both_tags_and_may_have_more() -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        relay, challenge = ["relay", URL], ["challenge", client.challenge]
        for tags, reason in (
            ([], OTHER_CHALLENGE),
            ([relay], OTHER_CHALLENGE),
            ([relay, ["challenge"]], OTHER_CHALLENGE),
            ([relay, ["challenge", "x"], challenge], OTHER_CHALLENGE),
            ([challenge], OTHER_RELAY),
            ([challenge, ["relay"]], OTHER_RELAY),
            ([challenge, ["relay", "wss://other.example/"], relay], OTHER_RELAY),
            ([["r", URL], challenge], OTHER_RELAY),
        ):
            event = replace_tags(client, tags)
            assert await answer_to(client, event) == [False, reason]
        assert not await is_authenticated(client)
        for tags in ([challenge, relay], [[], ["x"], [*relay, "more"], [*challenge, "more"]]):
            assert await answer_to(client, replace_tags(client, tags)) == [True, ""]


def replace_tags(client: AuthClient, tags: list[list[str]]) -> Event:
    right = auth_event(ALICE, client.challenge)
    return ALICE.event(kind=22_242, created_at=right.created_at, tags=tags)


async def test_its_id_is_its_own() -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        right = auth_event(ALICE, client.challenge)
        signed = ALICE.signed("0" * 64, right.created_at, 22_242, right.tags, "")
        for event in (signed, replace(right, content="changed"), replace(right, pubkey=BOB.pubkey)):
            assert await answer_to(client, event) == [False, OTHER_ID]
        assert not await is_authenticated(client)


async def test_its_signature_is_by_the_key_that_it_names() -> None:
    forged = "invalid: sig is not a valid signature of the id by the pubkey"
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        right, other = auth_event(ALICE, client.challenge), auth_event(BOB, client.challenge)
        for sig in (other.sig, "0" * 128, "f" * 128):
            assert await answer_to(client, replace(right, sig=sig)) == [False, forged]
        assert not await is_authenticated(client)
        assert await answer_to(client, right) == [True, ""]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sig": "00"}, "invalid: sig must be 128 lowercase hex characters"),
        ({"pubkey": ALICE.pubkey.upper()}, "invalid: pubkey must be 64 lowercase hex characters"),
        ({"created_at": -1}, "invalid: created_at must be between 0 and 8589934591"),
        ({"kind": 65_536}, "invalid: kind must be between 0 and 65535"),
    ],
)
async def test_it_is_an_event_at_all(changes: dict[str, Any], reason: str) -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        event = plain(auth_event(ALICE, client.challenge)) | changes
        await client.send("AUTH", event)
        assert await client.receive() == ["OK", event["id"], False, reason]


async def test_what_is_no_event_gets_a_notice_and_the_connection_goes_on() -> None:
    """A client has no challenge to send."""
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        for rest, text in (
            ([], "invalid: AUTH takes an event, an object"),
            (["a challenge"], "invalid: AUTH takes an event, an object"),
            ([None], "invalid: AUTH takes an event, an object"),
            ([{}], "invalid: id is missing"),
        ):
            await client.send("AUTH", *rest)
            assert await client.receive() == ["NOTICE", text]
        event = auth_event(ALICE, client.challenge)
        await client.send("AUTH", event, "more")
        assert await client.receive() == ["OK", event.id, False, "invalid: AUTH takes one event and nothing else"]
        assert await client.authenticate(ALICE) == [True, ""]


async def never(_event: Event) -> bool:
    """A verification for which no thread becomes free."""
    await trio.sleep_forever()
    raise AssertionError("unreachable")


async def test_a_signature_that_cannot_be_verified_in_time_is_refused_and_the_connection_goes_on(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        monkeypatch.setattr(door.relay.stages.verifier, "verify_one", never)
        before = trio.current_time()
        assert await client.authenticate(ALICE) == [False, "error: the signature was not verified within 10 seconds"]
        assert trio.current_time() - before == 10
        assert not await is_authenticated(client)
        monkeypatch.undo()
        assert await client.authenticate(ALICE) == [True, ""]
        assert await is_authenticated(client)


@pytest.mark.parametrize(("grace_seconds", "verbs"), [(60, ["OK", "OK"]), (3, [])])
async def test_a_relay_that_stops_meanwhile_takes_what_came_before_and_waits_no_longer_than_its_grace(
    grace_seconds: float, verbs: list[str], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    note, before = BOB.event("note"), trio.current_time()
    store = MemoryStore()
    async with open_named(store, net=NetOptions(grace_seconds=grace_seconds)) as door, open_wire(door) as wire:
        _, challenge = await wire.receive()
        monkeypatch.setattr(door.relay.stages.verifier, "verify_one", never)
        await wire.send(message("EVENT", note), message("AUTH", auth_event(ALICE, challenge)))
        await wait_all_tasks_blocked()
        door.stop.set()
        assert [(await wire.receive())[0] for _ in verbs] == verbs
        if verbs:
            assert await wire.receive_close() == (1012, "the relay is stopping")
        await wire.stream.aclose()
    assert trio.current_time() - before == min(grace_seconds, 10)
    assert (await store.count([Filter()]) == 1) is bool(verbs)
