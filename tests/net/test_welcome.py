"""By which names the relay may be called, which pages may speak with it, and at which paths it answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.server import open_door
from tests.support.wire import open_stream, request, upgrade
from trio_relay import NetOptions
from trio_relay.net import http_responses
from trio_relay.net.http import Request
from trio_relay.net.welcome import Names, Welcome, plain_host

pytestmark = pytest.mark.usefixtures("inline_threads")

HOSTS = NetOptions(hosts=("relay.example.org", "*.Relay.Example", "[2001:db8::1]", "büro.example"))
PAGES = NetOptions(origins=("app.example.org", "*.pages.example"))
DOCUMENT = {"Accept": "application/nostr+json"}


def asked(**headers: str) -> Request:
    """A request with these headers."""
    return Request("GET", "/", headers, list(headers.items()), "/")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("relay.example.org", 101),
        ("RELAY.Example.ORG", 101),
        ("relay.example.org:443", 101),
        ("relay.example.org.", 101),
        ("relay.example.org.:7777", 101),
        ("a.relay.example", 101),
        ("a.b.relay.example:80", 101),
        ("[2001:db8::1]", 101),
        ("[2001:DB8:0::1]:443", 101),
        ("xn--bro-hoa.example", 101),
        ("example.org", 421),
        ("relay.example.org.evil.example", 421),
        ("evilrelay.example", 421),
        ("relay.example", 421),
        (".relay.example", 421),
        ("[2001:db8::2]", 421),
        ("relay.example.org..", 421),
        ("203.0.113.7", 421),
        ("", 421),
    ],
)
def test_only_these_hosts_are_served(host: str, expected: int) -> None:
    welcome = Welcome(HOSTS.hosts)
    refusal = welcome.refusal(asked(host=host))
    assert (101 if refusal is None else refusal.status) == expected


async def test_other_hosts_are_told_so_wherever_they_ask_but_for_the_health() -> None:
    async with open_door(net=HOSTS) as door, open_stream(door) as wire:
        await wire.send(upgrade(Host="evil.example"))
        reply = await wire.reply()
        assert (reply.status, reply.body) == (421, b"not served under this name\n")
        assert (await wire.ask("GET", "/", Host="evil.example", **DOCUMENT)).status == 421
        assert (await wire.ask("GET", "/health", Host="evil.example")).status == 200
        await wire.send(upgrade(Host="relay.example.org:7777"))
        assert (await wire.reply()).status == 101


async def test_the_host_of_the_target_counts_before_the_header() -> None:
    """RFC 9112, section 3.2.2."""
    async with open_door(net=HOSTS) as door, open_stream(door) as wire:
        good, bad = "http://u@relay.example.org:80/", "http://evil.example/"
        assert (await wire.ask("GET", good, Host="evil.example")).status == 200
        assert (await wire.ask("GET", bad, Host="relay.example.org")).status == 421


async def test_the_body_of_a_request_for_another_host_is_not_read() -> None:
    async with open_door(net=HOSTS) as door, open_stream(door) as wire:
        await wire.send(request("POST", "/", {"Host": "evil.example", "Content-Length": "1000"}))
        assert (await wire.reply()).status == 421


async def test_by_default_every_name_and_every_page_will_do() -> None:
    async with open_door() as door, open_stream(door) as wire:
        await wire.send(upgrade(Host="[::1]:7777", Origin="https://anywhere.example"))
        assert (await wire.reply()).status == 101


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, True),
        ("https://app.example.org", True),
        ("http://APP.example.org:8080", True),
        ("https://one.pages.example", True),
        ("https://pages.example", False),
        ("https://example.org", False),
        ("https://app.example.org.evil.example", False),
        ("https://app.example.org@evil.example", False),
        ("https://evil.example/app.example.org", False),
        ("https://app.example.org, https://evil.example", False),
        ("app.example.org", False),
        ("null", False),
        ("https://[", False),
        ("", False),
    ],
)
def test_only_pages_of_these_origins_may_connect_or_read(origin: str | None, expected: bool) -> None:
    welcome, headers = Welcome((), PAGES.origins), {} if origin is None else {"origin": origin}
    refusal = welcome.refusal(asked(upgrade="websocket", **headers))
    assert (refusal is None) is expected
    assert welcome.refusal(asked(**headers)) is None
    answer = welcome.answered(
        asked(**headers), http_responses.Response(200, headers=[("Access-Control-Allow-Origin", "*")])
    )
    told = [("Access-Control-Allow-Origin", origin)] if expected and origin is not None else []
    assert answer.headers == [("Vary", "Origin"), *told]


async def test_other_pages_are_told_so() -> None:
    async with open_door(net=PAGES) as door, open_stream(door) as wire:
        await wire.send(upgrade(Origin="https://evil.example"))
        reply = await wire.reply()
        assert (reply.status, reply.body) == (403, b"pages of this origin may not connect\n")
        assert "access-control-allow-origin" not in (await wire.ask("OPTIONS", "/", Origin="null")).headers
        good = "https://app.example.org"
        assert (await wire.ask("GET", "/", Origin=good, **DOCUMENT)).headers["access-control-allow-origin"] == good
        await wire.send(upgrade(Origin=good))
        assert (await wire.reply()).status == 101


async def test_without_the_setting_every_page_may_read() -> None:
    async with open_door() as door, open_stream(door) as wire:
        reply = await wire.ask("GET", "/", **DOCUMENT, Origin="https://anywhere.example")
        assert reply.headers["access-control-allow-origin"] == "*"
        assert reply.headers["vary"] == "Accept"


@pytest.mark.parametrize(
    "name",
    ["", "*", "*.", "a..b", "-a.example", "a b", "https://a.example", "a.example:80", "a.*.example", "*a.example"],
)
def test_what_is_no_name_is_refused_by_itself(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a host") as refused:
        Names([name])
    assert repr(name) in str(refused.value)


@given(st.text(max_size=60))
def test_any_host_is_compared_without_trouble(host: str) -> None:
    assert Names([]).cover(host) is False
    assert plain_host(plain_host(host)) is not None
    assert not Names(["relay.example"]).cover(host) or plain_host(host) == "relay.example"


async def test_it_answers_at_further_paths() -> None:
    async with open_door(net=NetOptions(paths=("/nostr", "/a/b"))) as door, open_stream(door) as wire:
        for path in ("/", "/nostr", "/nostr/", "/n%6Fstr", "/a/b"):
            assert (await wire.ask("GET", path)).status == 200
        await wire.send(upgrade("/a"))
        assert (await wire.reply()).status == 404
        await wire.send(upgrade("/nostr"))
        assert (await wire.reply()).status == 101
