"""What the doors offer over HTTP: NIP-11 with CORS, a greeting, health."""

from __future__ import annotations

import json

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE
from tests.support.obedient_store import ObedientStore
from tests.support.server import open_door
from tests.support.wire import open_stream, upgrade
from trio_relay import Limits
from trio_relay.net import endpoints

pytestmark = pytest.mark.usefixtures("inline_threads")

CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-headers": "*",
    "access-control-allow-methods": "GET, HEAD, OPTIONS",
}


@pytest.mark.parametrize(
    ("accept", "wants"),
    [
        ("application/nostr+json", True),
        ("Application/Nostr+JSON", True),
        ("application/nostr+json; charset=utf-8", True),
        ("text/html, application/nostr+json", True),
        ("text/html;q=0.9,application/nostr+json;q=0.1,*/*;q=0.8", True),
        ("application/nostr+json;q=1.0", True),
        ("application/nostr+json;q=0", False),
        ("application/nostr+json; Q=0.000", False),
        ("application/nostr+json;q=0, text/html", False),
        ("application/nostr+json;q=much", True),
        ("application/nostr+json;level=0", True),
        ("application/json", False),
        ("application/nostr+jsonp", False),
        ("application/*", False),
        ("*/*", False),
        ("text/html", False),
        ("", False),
        (",;,", False),
    ],
)
def test_the_document_is_for_those_who_name_its_type(accept: str, wants: bool) -> None:
    assert endpoints.accepts(accept, endpoints.NOSTR_JSON) == wants


async def test_nip_11_is_served_from_the_limits_in_force(autojump_clock: MockClock) -> None:
    limits = Limits(max_subscriptions=7)
    async with open_door(limits=limits) as door, open_stream(door) as wire:
        reply = await wire.ask(Accept="text/html, application/nostr+json")
        assert (reply.status, reply.headers["content-type"]) == (200, "application/nostr+json")
        assert reply.headers.items() >= CORS.items()
        assert reply.headers["vary"] == "Accept"
        assert json.loads(reply.body)["limitation"]["max_subscriptions"] == 7


async def test_who_does_not_ask_for_the_document_gets_a_greeting(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        reply = await wire.ask(Accept="text/html")
        assert (reply.status, reply.body) == (200, b"hello\n")
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"
        assert reply.headers["vary"] == "Accept"
        assert reply.headers.items() >= CORS.items()


async def test_options_answers_with_the_three_cors_headers(autojump_clock: MockClock) -> None:
    """NIP-11: "Relays MUST accept CORS requests"."""
    async with open_door() as door, open_stream(door) as wire:
        reply = await wire.ask("OPTIONS", Origin="https://client.example", Access_Control_Request_Method="GET")
        assert (reply.status, reply.body) == (204, b"")
        assert reply.headers.items() >= CORS.items()
        assert (await wire.ask()).status == 200


@pytest.mark.parametrize("accept", ["text/html", "application/nostr+json"])
async def test_head_has_the_headers_of_get_and_no_body(accept: str, autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        got, head = await wire.ask("GET", Accept=accept), await wire.ask("HEAD", Accept=accept)
        assert head.headers == got.headers
        assert int(head.headers["content-length"]) == len(got.body)
        assert (await wire.ask()).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("target", ["/", "/health"])
async def test_other_methods_are_not_allowed(method: str, target: str, autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        reply = await wire.ask(method, target)
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("target", ["/nothing", "/metrics", "//", "/health/", "/?", "*", "/%2F"])
async def test_there_is_one_endpoint(target: str, autojump_clock: MockClock) -> None:
    """NIP-01: connections on one endpoint only."""
    async with open_door() as door, open_stream(door) as plain, open_stream(door) as upgrading:
        expected = 200 if target == "/?" else 404
        assert (await plain.ask(target=target)).status == expected
        await upgrading.send(upgrade(target))
        assert (await upgrading.reply()).status == (101 if target == "/?" else 404)


async def test_a_refused_upgrade_leaves_the_connection_usable(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        await wire.send(upgrade("/nothing"))
        assert (await wire.reply()).status == 404
        assert (await wire.ask()).status == 200


async def test_the_query_does_not_change_the_endpoint(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        await wire.send(upgrade("/?client=some"))
        assert (await wire.reply()).status == 101


async def test_health_follows_the_store(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    async with open_door(store) as door, open_stream(door) as wire, door.client() as client:
        reply = await wire.ask(target="/health")
        assert (reply.status, json.loads(reply.body)) == (200, {"status": "ok"})
        assert (reply.headers["content-type"], reply.headers["cache-control"]) == ("application/json", "no-store")

        store.failing |= {"save_many": "no space left", "probe": "no space left"}
        await client.publish(ALICE.event("lost"))
        await wait_all_tasks_blocked()
        reply = await wire.ask(target="/health")
        assert (reply.status, json.loads(reply.body)) == (503, {"status": "failing", "reason": "no space left"})

        store.failing.clear()
        assert (await wire.ask(target="/health")).status == 503  # a probe writes: once a second is enough
        await trio.sleep(1)
        assert (await wire.ask("HEAD", "/health")).status == 200


async def test_a_relay_that_stores_all_and_is_worse_than_it_should_be_says_so_and_is_healthy(
    autojump_clock: MockClock,
) -> None:
    store = ObedientStore()
    store.degraded = "the relays' bus is away"
    async with open_door(store) as door, open_stream(door) as wire:
        reply = await wire.ask(target="/health")
        assert (reply.status, json.loads(reply.body)) == (200, {"status": "degraded", "reason": store.degraded})
        store.trouble = "no space left"
        reply = await wire.ask(target="/health")
        assert (reply.status, json.loads(reply.body)) == (503, {"status": "failing", "reason": "no space left"})


@pytest.mark.parametrize("target", ["http://relay.example/health", "https://relay.example/health?now"])
async def test_a_proxy_may_send_the_whole_address(target: str, autojump_clock: MockClock) -> None:
    """RFC 9112, section 3.2.2."""
    async with open_door() as door, open_stream(door) as wire:
        assert (await wire.ask(target=target)).status == 200
        assert (await wire.ask(target="http://relay.example")).status == 200
        assert (await wire.ask(target="http://relay.example/none")).status == 404
