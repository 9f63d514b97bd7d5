"""NIP-11, relay information document: what is there, for whom, and which NIPs it names in which configuration."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from tests.support.keys import ALICE, BOB
from tests.support.named_relay import URL, open_client, open_named
from tests.support.operators import ADMIN, managed, operator
from tests.support.server import Door
from tests.support.wire import Reply, open_stream, upgrade
from trio_relay import MemoryStore
from trio_relay.config import check
from trio_relay.config_checks import ConfigError
from trio_relay.configured import rules_of
from trio_relay.policy.lists import Change, ListEntry, ListName
from trio_relay.version import __version__

ALWAYS: Final = {1, 2, 9, 11, 40, 45, 50, 51, 65, 77}
NAMED: Final = {4, 17, 42, 59, 62, 70}
NAME: Final = {"relay": {"url": URL}}
EVERYWHERE: Final = {"net": {"listen": ["0.0.0.0:7777"]}}
DOCUMENT: Final = "application/nostr+json"
RATES: Final = {
    "messages_per_address": "1200000/minute burst 3000000",
    "bytes_per_address": "3000000000/minute burst 6000000000",
    "events_per_address": "1200000/minute burst 3000000",
    "work_per_connection": "60/minute burst 300",
    "work_per_address": "60/minute burst 300",
    "work_per_key": "60/minute burst 300",
    "connections_per_address": "600/minute burst 3000",
    "failed_auths_per_address": "60/minute burst 600",
    "calls_per_address": "600/minute burst 600",
    "calls_per_key": "300/minute burst 300",
}
"""As they are unless an operator says otherwise."""


async def ask(door: Door, method: str = "GET", accept: str = DOCUMENT, **headers: str) -> Reply:
    async with open_stream(door) as wire:
        return await wire.ask(method, Accept=accept, **headers)


async def published(config: dict[str, Any]) -> dict[str, Any]:
    """The document of a relay that is configured so."""
    async with open_named(MemoryStore(), rules_of(check(config))) as door:
        return await read(door)


async def read(door: Door) -> dict[str, Any]:
    reply = await ask(door)
    assert (reply.status, reply.headers["content-type"]) == (200, DOCUMENT)
    document: dict[str, Any] = json.loads(reply.body)
    return document


async def test_the_whole_document_of_a_relay_that_says_all_of_itself() -> None:
    texts = {
        "name": "tea",
        "description": "For tea.\n\nAnd for tea alone.",
        "banner": "https://relay.example/banner.png",
        "icon": "https://relay.example/icon.png",
        "pubkey": ALICE.pubkey,
        "contact": "mailto:tea@relay.example",
        "terms_of_service": "https://relay.example/terms",
    }
    assert await published({"relay": {"url": URL, **texts}}) == {
        **texts,
        "supported_nips": sorted(ALWAYS | NAMED | {86, 98}),
        "software": "https://github.com/trio-relay/trio-relay",
        "version": __version__,
        "limitation": {
            "max_message_length": 1_048_576,
            "max_subscriptions": 300,
            "max_limit": 5_000,
            "max_subid_length": 64,
            "max_event_tags": 10_000,
            "max_content_length": 262_144,
            "min_pow_difficulty": 0,
            "auth_required": False,
            "payment_required": False,
            "restricted_writes": False,
            "created_at_upper_limit": 900,
            "default_limit": 500,
            "rates": RATES,
        },
    }


async def test_any_field_may_be_omitted() -> None:
    """What the operator leaves empty is not there; fields that the NIP has given up never are."""
    document = await published({"relay": {"name": "", "description": ""}})
    assert set(document) == {"supported_nips", "software", "version", "limitation"}


async def test_it_is_on_the_uri_of_the_websocket_for_who_accepts_it() -> None:
    """ "On the same URI as the relay's websocket"."""
    async with open_named(MemoryStore()) as door:
        assert "limitation" in await read(door)
        for accept in ("text/html, application/nostr+json;q=0.5", "Application/Nostr+JSON; charset=utf-8"):
            assert (await ask(door, accept=accept)).headers["content-type"] == DOCUMENT
        for accept in ("text/html", "*/*", "application/json", "application/nostr+json;q=0"):
            reply = await ask(door, accept=accept)
            assert (reply.body, reply.headers["vary"]) == (b"hello\n", "Accept")
        async with open_stream(door) as wire:
            await wire.send(upgrade(Accept=DOCUMENT))
            assert (await wire.reply()).status == 101


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("accept", [DOCUMENT, "text/html"])
async def test_requests_from_any_origin_are_accepted(method: str, accept: str) -> None:
    """ "Relays MUST accept CORS requests by sending" three headers."""
    async with open_named(MemoryStore()) as door:
        reply = await ask(door, method, accept, Origin="https://client.example")
    assert reply.status == (204 if method == "OPTIONS" else 200)
    assert {name: text for name, text in reply.headers.items() if name.startswith("access-control-")} == {
        "access-control-allow-origin": "*",
        "access-control-allow-headers": "*",
        "access-control-allow-methods": "GET, HEAD, OPTIONS",
    }


def test_a_name_has_less_than_30_characters() -> None:
    assert check({"relay": {"name": "é" * 29}}).relay.name == "é" * 29
    with pytest.raises(ConfigError, match=r"^relay\.name: expected `str` of length <= 29$"):
        check({"relay": {"name": "é" * 30}})


def test_a_pubkey_is_told_as_hex_as_in_events() -> None:
    assert check({"relay": {"pubkey": ALICE.pubkey.upper()}}).relay.pubkey == ALICE.pubkey


@pytest.mark.parametrize("pubkey", [ALICE.pubkey[:-1], ALICE.pubkey + "0", "npub1"])
def test_what_is_no_pubkey_is_refused(pubkey: str) -> None:
    with pytest.raises(ConfigError, match=r"^relay\.pubkey: "):
        check({"relay": {"pubkey": pubkey}})


SUPPORTED: Final[dict[str, tuple[dict[str, Any], set[int]]]] = {
    "nothing configured, on loopback": ({}, ALWAYS | NAMED),
    "no name": (EVERYWHERE, ALWAYS),
    "no name, half on loopback": ({"net": {"listen": ["127.0.0.1:1", "192.0.2.1:1"]}}, ALWAYS),
    "a name": (EVERYWHERE | NAME, ALWAYS | NAMED),
    "work": ({"policy": {"min_pow_difficulty": 1}}, ALWAYS | NAMED | {13}),
    "work, no name": (EVERYWHERE | {"policy": {"min_pow_difficulty": 1}}, ALWAYS | {13}),
    "no search": ({"store": {"search": False}}, (ALWAYS | NAMED) - {50}),
    "no sync": ({"sync": {"enabled": False}}, (ALWAYS | NAMED) - {77}),
    "admins": ({"policy": {"admins": [ALICE.pubkey]}}, ALWAYS | NAMED | {86, 98}),
    "an operator": ({"relay": {"url": URL, "pubkey": ALICE.pubkey}}, ALWAYS | NAMED | {86, 98}),
    "admins, no name": (EVERYWHERE | {"policy": {"admins": [ALICE.pubkey]}}, ALWAYS),
    "members": ({"members": {"enabled": True}}, ALWAYS | NAMED | {43}),
    "all values of tags": ({"policy": {"and_tags": True}}, ALWAYS | NAMED | {91}),
    "nothing is private": ({"policy": {"private_kinds": []}}, (ALWAYS | NAMED) - {4, 17, 59}),
    "only wraps are private": ({"policy": {"private_kinds": [1_059]}}, (ALWAYS | NAMED) - {4}),
    "only old messages are private": ({"policy": {"private_kinds": [4]}}, (ALWAYS | NAMED) - {17, 59}),
    "nobody vanishes": ({"policy": {"denied_kinds": [62]}}, (ALWAYS | NAMED) - {62}),
    "notes alone": ({"policy": {"allowed_kinds": [1]}}, ALWAYS | NAMED),
    "no search, no sync, no name": (
        EVERYWHERE | {"store": {"search": False}, "sync": {"enabled": False}},
        ALWAYS - {50, 77},
    ),
    "everything": (
        {
            "relay": {"url": URL, "pubkey": ALICE.pubkey},
            "policy": {"min_pow_difficulty": 1, "and_tags": True},
            "members": {"enabled": True},
        },
        ALWAYS | NAMED | {13, 43, 86, 91, 98},
    ),
}


@pytest.mark.parametrize(("config", "nips"), SUPPORTED.values(), ids=SUPPORTED)
async def test_the_nips_that_work_as_the_relay_is_configured_are_named(config: dict[str, Any], nips: set[int]) -> None:
    """ "An array of the integer identifiers of NIPs that are implemented in the relay"; in order, each once."""
    assert (await published(config))["supported_nips"] == sorted(nips)


async def test_a_relay_that_signs_names_its_key() -> None:
    async with open_named(MemoryStore(), rules_of(check({"members": {"enabled": True}}))) as door:
        assert (await read(door))["self"] == door.relay.rules.signer != ""
    assert "self" not in await published({})


RESTRICTED: Final[dict[str, tuple[dict[str, Any], bool, bool]]] = {
    "nothing": ({}, False, False),
    "reading needs authentication": ({"policy": {"auth_to_read": True}}, True, False),
    "writing needs it": ({"policy": {"auth_to_write": True}}, False, True),
    "allowed keys": ({"policy": {"allowed_pubkeys": [BOB.pubkey]}}, False, True),
    "denied keys": ({"policy": {"denied_pubkeys": [BOB.pubkey]}}, False, False),
    "a web of trust": ({"policy": {"trust_depth": 1, "admins": [ALICE.pubkey]}}, False, True),
    "a niche kind": ({"policy": {"allowed_kinds": [30_023]}}, False, True),
    "work": ({"policy": {"min_pow_difficulty": 1}}, False, True),
    "members write": ({"members": {"enabled": True}}, False, True),
    "members read": ({"members": {"enabled": True, "members_read": True, "members_write": False}}, True, False),
}


@pytest.mark.parametrize(("config", "auth_required", "restricted_writes"), RESTRICTED.values(), ids=RESTRICTED)
async def test_conditions_of_reading_and_writing_are_told(
    config: dict[str, Any], auth_required: bool, restricted_writes: bool
) -> None:
    """ "Some kind of condition to be fulfilled in order to accept events"; bans and other heuristics are none."""
    told = (await published(config))["limitation"]
    assert (told["auth_required"], told["restricted_writes"]) == (auth_required, restricted_writes)
    assert told["payment_required"] is False


async def test_operators_change_it_while_the_relay_runs() -> None:
    store = MemoryStore()
    async with managed(store) as door, operator(door) as admin:
        before = await read(door)
        await admin.call("changerelayname", "coffee")
        assert await read(door) == before | {"name": "coffee"}
        await admin.call("changerelaydescription", "For coffee.")
        await admin.call("changerelayicon", "https://relay.example/cup.png")
        changed = {"name": "coffee", "description": "For coffee.", "icon": "https://relay.example/cup.png"}
        assert await read(door) == before | changed
        await admin.call("allowpubkey", BOB.pubkey)
        assert (await read(door))["limitation"] == before["limitation"] | {"restricted_writes": True}
        await admin.call("unallowpubkey", BOB.pubkey)
        assert await read(door) == before | changed
    async with managed(store) as door:
        assert await read(door) == before | changed


@pytest.mark.parametrize(("name", "changed"), [(ListName.ALLOWED_KINDS, True), (ListName.DISALLOWED_KINDS, False)])
async def test_kinds_that_are_allowed_while_it_runs_change_it_too(name: ListName, changed: bool) -> None:
    async with managed(MemoryStore()) as door:
        await door.relay.moderation.state.amend([Change(name, "1", ListEntry())])
        assert (await read(door))["limitation"]["restricted_writes"] is changed


async def test_who_stops_requests_to_vanish_while_it_runs_names_them_no_more() -> None:
    request = ALICE.event(kind=62, tags=[["relay", "ALL_RELAYS"]])
    async with managed(MemoryStore()) as door, operator(door, ADMIN) as admin, open_client(door) as client:
        await admin.call("disallowkind", 62)
        assert 62 not in (await read(door))["supported_nips"]
        assert await client.publish(request) == [False, "blocked: kind 62 is not accepted here"]
        await admin.call("undisallowkind", 62)
        assert 62 in (await read(door))["supported_nips"]
        assert await client.publish(request) == [True, ""]
