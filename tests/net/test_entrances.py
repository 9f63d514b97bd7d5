"""Where a relay can be reached: the path of each of its names, and `/`, where a proxy asks that has taken it off."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.keys import ALICE
from tests.support.named_relay import AuthClient, open_client, open_named, rules_for
from tests.support.operators import ADMIN, Clock, error_of, header, signed
from tests.support.server import Door
from tests.support.wire import message, open_stream, request, upgrade
from trio_relay import MemoryStore
from trio_relay.config import check
from trio_relay.configured import rules_of
from trio_relay.policy import rules as policy_rules

pytestmark = pytest.mark.usefixtures("inline_threads")

URL = "wss://relay.example/relay"
ONION = "ws://vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd.onion/"
INSIDE = "ws://relay.internal:7777/team/nostr/"
AT_ONCE = {"challenge": "connect"}
BODY = b'{"method":"supportedmethods","params":[]}'


def rules(url: str = URL, *also: str) -> policy_rules.Rules:
    """Of a relay of these names, that `ADMIN` manages."""
    return rules_of(
        check({"relay": {"url": url, "also_known_as": list(also)}, "policy": {"admins": [ADMIN.pubkey], **AT_ONCE}}),
    )


@pytest.mark.parametrize("path", ["/", "/relay", "/relay/", "/relay?page=1", "/%72elay", "/team/nostr", "/team/nostr/"])
async def test_the_path_of_each_name_is_served_in_every_way(path: str) -> None:
    async with open_named(MemoryStore(), rules(URL, ONION, INSIDE)) as door, open_stream(door) as wire:
        assert (await wire.ask(target=path)).body == b"hello\n"
        reply = await wire.ask(target=path, Accept="application/nostr+json")
        assert {"42", "86"} <= {str(nip) for nip in json.loads(reply.body)["supported_nips"]}
        assert "also_known_as" not in json.loads(reply.body)
        assert "POST" in (await wire.ask("OPTIONS", path)).headers["allow"]
        await wire.send(upgrade(path))
        assert (await wire.reply()).status == 101
        assert (await wire.receive())[0] == "AUTH"
        await wire.send(message("REQ", "a", {"limit": 0}))
        assert (await wire.receive())[:2] == ["EOSE", "a"]


@pytest.mark.parametrize("path", ["/relays", "/relay/inbox", "/relay//", "/Relay", "//relay", "/team"])
async def test_no_other_path_is(path: str) -> None:
    async with open_named(MemoryStore(), rules(URL, INSIDE)) as door, open_stream(door) as wire:
        reply = await wire.ask(target=path)
        assert (reply.status, reply.body) == (404, b"Nothing here; the relay is at /relay\n")
        await wire.send(upgrade(path))
        assert (await wire.reply()).status == 404


async def test_a_path_in_letters_of_any_script_is_asked_for_as_the_network_has_it() -> None:
    async with open_named(MemoryStore(), rules("wss://relay.example/büro")) as door, open_stream(door) as wire:
        assert (await wire.ask(target="/b%C3%BCro")).status == 200
        assert (await wire.ask(target="/health")).body == b'{"status":"ok"}'


@pytest.mark.parametrize("url", [URL, f"{URL}/", "wss://relay.example", ONION, INSIDE, "ws://relay.internal:7777"])
async def test_each_name_counts_for_authentication(url: str) -> None:
    async with open_named(MemoryStore(), rules(URL, ONION, INSIDE)) as door, open_client(door) as client:
        assert await client.authenticate(ALICE, url=url) == [True, ""]
        protected = ALICE.event(tags=[["-"]], created_at=int(time.time()))  # NIP-70
        assert await client.publish(protected) == [True, ""]


@pytest.mark.parametrize("url", ["wss://relay.internal:7777/team/nostr", "ws://relay.internal:7777/relay", f"{URL}s"])
async def test_what_is_put_together_of_two_names_does_not(url: str) -> None:
    async with open_named(MemoryStore(), rules(URL, ONION, INSIDE)) as door, open_client(door) as client:
        refusal = f"invalid: the relay tag does not name this relay, {URL}"
        assert await client.authenticate(ALICE, url=url) == [False, refusal]


@pytest.mark.parametrize("target", ["/", "/relay"])
@pytest.mark.parametrize("url", [URL, f"{URL}/", "https://relay.example/", ONION, INSIDE, INSIDE.rstrip("/")])
async def test_each_name_counts_for_management(url: str, target: str) -> None:
    """The target is what a proxy makes of it, so it does not tell which name the caller has used."""
    async with open_named(MemoryStore(), rules(URL, ONION, INSIDE), clock=Clock()) as door:
        assert await managed_by(door, target, url) is None


@pytest.mark.parametrize("url", ["https://relay.example/other", "http://relay.example/relay", f"{URL}?page=1"])
async def test_no_other_url_does(url: str) -> None:
    async with open_named(MemoryStore(), rules(URL, ONION), clock=Clock()) as door:
        assert await managed_by(door, "/relay", url) == f"invalid: the u tag is not the URL of this request, {URL}"


async def managed_by(door: Door, target: str, url: str) -> str | None:
    """Why a call that is signed for a URL is refused, if it is."""
    async with open_stream(door) as wire:
        headers = {"Content-Type": "application/nostr+json+rpc", "Authorization": header(signed(ADMIN, BODY, url=url))}
        await wire.send(request("POST", target, headers, BODY))
        reply = await wire.reply()
        return None if reply.status == 200 else error_of(reply)


@pytest.mark.parametrize("url", [URL, f"{URL}/", ONION, INSIDE])
async def test_each_name_counts_for_requests_to_vanish(url: str) -> None:
    async with open_named(MemoryStore(), rules(URL, ONION, INSIDE)) as door, open_client(door) as client:
        note = ALICE.event(created_at=int(time.time()) - 1)
        assert await client.publish(note) == [True, ""]
        assert await vanish(client, url) == [True, ""]
        assert await client.ask({"ids": [note.id]}) == []


async def test_the_root_of_a_host_is_no_name_of_what_is_below_it() -> None:
    """Another relay may be there: what is removed is not brought back by asking again."""
    async with open_named(MemoryStore(), rules()) as door, open_client(door) as client:
        refusal = "invalid: this request to vanish names other relays only (NIP-62)"
        assert await vanish(client, "wss://relay.example/") == [False, refusal]


async def vanish(client: AuthClient, url: str) -> list[object]:
    return await client.publish(ALICE.event(kind=62, tags=[["relay", url]], created_at=int(time.time())))


async def test_a_relay_on_loopback_has_each_of_its_addresses_for_a_name() -> None:
    listen = {"listen": ["127.0.0.1:7777", "[::1]:7778"]}
    rules = rules_of(check({"net": listen, "relay": {"also_known_as": [ONION]}, "policy": AT_ONCE}))
    async with open_named(MemoryStore(), rules) as door, open_client(door) as client:
        for url in ("ws://localhost:7777", "ws://127.0.0.1:7778/", ONION):
            assert await client.authenticate(ALICE, url=url) == [True, ""]
        assert (await client.authenticate(ALICE, url="ws://127.0.0.1:7779/"))[0] is False


def test_a_relay_without_a_name_has_no_other_either() -> None:
    assert rules_for(url="").names == ()
