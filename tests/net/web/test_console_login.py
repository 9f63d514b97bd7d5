"""Who comes into the console, over the relay's own door: by a key, by a link, and by nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
from msgspec.structs import replace
from trio.testing import MockClock

from tests.net.web.canned import Outline, notice
from tests.support.keys import ALICE, BOB, NOW, Author
from tests.support.named_relay import open_named, rules_for
from tests.support.operators import ADMIN, MODERATOR, Clock, header, operator, signed
from tests.support.server import Door, plain
from tests.support.wire import Reply, open_stream, request
from trio_relay import MemberOptions, MemoryStore, Store, WebOptions
from trio_relay.net import web

pytestmark = pytest.mark.usefixtures("inline_threads")

LOGIN = "https://relay.example/admin/login"
ORIGIN = "https://relay.example"


@asynccontextmanager
async def site(store: Store | None = None, clock: Clock | None = None, **policy: Any) -> AsyncIterator[Door]:
    """A relay with a console that `ADMIN` manages, and who is on its machine."""
    rules = rules_for(**{"admins": (ADMIN.pubkey,), "members": MemberOptions(enabled=True), **policy})
    async with open_named(store or MemoryStore(), rules, clock=clock or Clock(), web=WebOptions(admin=True)) as door:
        yield door


class Browser:
    """A browser at a door: it keeps its cookie, and says where its forms are from."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.cookie = ""

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str | None] | None = None
    ) -> Reply:
        """A request; None leaves a header out."""
        named: dict[str, str | None] = {"Host": "relay.example", "Cookie": f"other=1; {self.cookie}"}
        if method == "POST":
            form = "application/x-www-form-urlencoded"
            named |= {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin", "Content-Type": form}
        named |= headers or {}
        async with open_stream(self.door) as wire:
            sent = {name: text for name, text in named.items() if text is not None}
            await wire.send(request(method, path, sent, body))
            reply = await wire.reply(method)
        if (set_ := reply.headers.get("set-cookie")) is not None:
            self.cookie = set_.partition(";")[0]
        return reply

    async def log_in(self, key: Author = ADMIN, **changes: Any) -> Reply:
        """Log in by a key, as the page's script does."""
        event = signed(key, b"login", **{"url": LOGIN, **changes})
        return await self.ask("POST", "/admin/login", b"login", {"Authorization": header(event)})

    async def text(self, path: str = "/admin") -> str:
        """A page."""
        reply = await self.ask("GET", path)
        assert reply.status == 200, reply
        return reply.body.decode()

    async def is_in(self) -> bool:
        """Whether the console shows itself."""
        return "Log out" in await self.text()

    async def token(self) -> str:
        """What forms of the page carry."""
        values = dict(zip_values(await self.text()))
        return values["form_token"]

    async def send(self, form_token: str | None = None, path: str = "/admin/do", **fields: str) -> Reply:
        """Send a form, with what forms of the page carry unless another token is given."""
        token = await self.token() if form_token is None else form_token
        return await self.ask("POST", path, urlencode({"form_token": token, **fields}).encode())


def zip_values(page: str) -> list[tuple[str, str]]:
    """The names and values of a page's hidden fields."""
    found = Outline(page).attributes
    return [
        (text, found[place + 1][1])
        for place, (name, text) in enumerate(found[:-1])
        if name == "name" and found[place + 1][0] == "value"
    ]


@asynccontextmanager
async def visited(**parts: Any) -> AsyncIterator[Browser]:
    """A browser at such a site."""
    async with site(**parts) as door:
        yield Browser(door)


async def link(store: Store, caller: str = "operator", at: int = NOW) -> str:
    """The token of a link that somebody on the machine has made."""
    return web.sessions.link_token((await store.get_metadata())["console"], caller, at)


async def test_a_console_that_opens_while_the_relay_runs_lets_nobody_in_by_a_link_that_anybody_can_sign() -> None:
    """Its admins stand in a file that was empty at the start: so nobody has made what links are signed by."""
    rules = rules_for(members=MemberOptions(enabled=True))
    async with open_named(MemoryStore(), rules, clock=Clock(), web=WebOptions()) as door:
        rules.take_options(replace(rules.options, admins=(ADMIN.pubkey,)))
        browser = Browser(door)
        body = urlencode({"token": web.sessions.link_token(b"", "operator", NOW)}).encode()
        assert (await browser.ask("POST", "/admin/enter", body)).status == 401
        assert not await browser.is_in()


async def test_an_admin_comes_in_by_a_signed_login_and_goes() -> None:
    async with visited() as browser:
        assert not await browser.is_in()
        reply = await browser.log_in()
        assert (reply.status, reply.body) == (200, b'{"to":"/admin"}')
        cookie = reply.headers["set-cookie"]
        assert cookie.endswith("; Path=/admin; Max-Age=43200; HttpOnly; SameSite=Strict; Secure")
        assert await browser.is_in()
        kept = browser.cookie
        assert (await browser.send(path="/admin/logout")).headers["location"] == "/admin"
        assert not await browser.is_in()
        browser.cookie = kept
        assert not await browser.is_in(), "who has kept the cookie comes no further"


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "https://relay.example/"},
        {"url": "https://evil.example/admin/login"},
        {"tags": {"method": "GET"}},
        {"tags": {"payload": None}},
        {"tags": {"payload": "0" * 64}},
        {"kind": 22_242},
        {"created_at": NOW - 61},
        {"created_at": NOW + 61},
    ],
)
async def test_a_login_that_was_signed_for_something_else_lets_nobody_in(changes: dict[str, Any]) -> None:
    async with visited() as browser:
        reply = await browser.log_in(**changes)
        assert reply.status == 401
        assert "set-cookie" not in reply.headers
        assert b"error" in reply.body


async def test_a_key_that_may_call_nothing_stays_out() -> None:
    async with visited() as browser:
        reply = await browser.log_in(BOB)
        assert (reply.status, "this key may not manage the relay" in reply.body.decode()) == (401, True)
        assert not await browser.is_in()


async def test_a_login_with_a_wrong_signature_or_none_stays_out() -> None:
    async with visited() as browser:
        event = signed(ADMIN, b"login", url=LOGIN)
        forged = ADMIN.signed(event.id, event.created_at, event.kind, [*event.tags], "other")
        for authorization in (header(forged), "Nostr !", "Basic YTpi", ""):
            headers = {"Authorization": authorization} if authorization else {}
            reply = await browser.ask("POST", "/admin/login", b"login", headers)
            assert (reply.status, "set-cookie" in reply.headers) == (401, False)


async def test_a_login_is_good_once() -> None:
    async with visited() as browser:
        authorization = {"Authorization": header(signed(ADMIN, b"login", url=LOGIN))}
        assert (await browser.ask("POST", "/admin/login", b"login", authorization)).status == 200
        again = await browser.ask("POST", "/admin/login", b"login", authorization)
        assert (again.status, "set-cookie" in again.headers) == (401, False)


async def test_a_login_from_before_a_restart_is_good_no_more() -> None:
    clock, store = Clock(), MemoryStore()
    authorization = {"Authorization": header(signed(ADMIN, b"login", url=LOGIN))}
    clock.now += 10
    async with visited(clock=clock, store=store) as browser:
        reply = await browser.ask("POST", "/admin/login", b"login", authorization)
        assert (reply.status, "before the relay started" in reply.body.decode()) == (401, True)


async def test_a_link_lets_its_bearer_in_once_and_by_a_press_of_a_button_alone() -> None:
    store = MemoryStore()
    async with visited(store=store) as browser:
        token = await link(store)
        page = await browser.text(f"/admin/enter?token={token}")
        assert ("token", token) in zip_values(page)
        assert browser.cookie == "", "who looks ahead at links uses none up"
        body = urlencode({"token": token}).encode()
        assert (await browser.ask("POST", "/admin/enter", body)).status == 303
        assert "operator" in await browser.text()
        other = Browser(browser.door)
        reply = await other.ask("POST", "/admin/enter", body)
        assert reply.status == 401
        assert "used up" in reply.body.decode()
        assert not await other.is_in()


async def test_a_link_for_a_key_gives_no_more_than_the_key_may_do() -> None:
    store = MemoryStore()
    async with visited(store=store) as browser:
        body = urlencode({"token": await link(store, BOB.pubkey)}).encode()
        assert (await browser.ask("POST", "/admin/enter", body)).status == 401
        assert not await browser.is_in()


async def test_a_session_ends_when_it_should() -> None:
    clock = Clock()
    async with visited(clock=clock) as browser:
        await browser.log_in()
        clock.now += 43_199
        assert await browser.is_in()
        clock.now += 1
        assert not await browser.is_in()
        assert (await browser.ask("GET", "/admin/now.json")).status == 401


async def test_a_cookie_is_good_for_its_own_key_alone() -> None:
    async with site(admins=(ADMIN.pubkey, ALICE.pubkey)) as door:
        admin, alice = Browser(door), Browser(door)
        await admin.log_in()
        await alice.log_in(ALICE)
        token = alice.cookie.partition(".")[2]
        for mixed in (f"{ADMIN.pubkey}.{token}", f"operator.{token}", token, f".{token}", ""):
            alice.cookie = f"{web.sessions.COOKIE}={mixed}"
            assert not await alice.is_in()


async def test_a_form_needs_the_token_of_its_own_session() -> None:
    async with site(admins=(ADMIN.pubkey, ALICE.pubkey)) as door:
        admin, alice = Browser(door), Browser(door)
        await admin.log_in()
        await alice.log_in(ALICE)
        for token in ("", "x", await alice.token(), f"{await admin.token()} "):
            reply = await admin.send(token, method="blockip", s0="203.0.113.1")
            assert reply.status == 403
            assert "load the page again" in reply.body.decode()
        reply = await admin.ask("POST", "/admin/do", b"&".join([b"a=1"] * 1_000))
        assert reply.status == 403
        async with operator(door) as machine:
            assert await machine.call("listblockedips") == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://relay.example"},
        {"Origin": "https://relay.example:8443"},
        {"Origin": "null"},
        {"Origin": f"{ORIGIN}, {ORIGIN}"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": None, "Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", ["/admin/do", "/admin/logout", "/admin/login", "/admin/enter", "/admin/export.jsonl"])
async def test_a_page_of_another_origin_can_do_nothing(path: str, headers: dict[str, str | None]) -> None:
    async with visited() as browser:
        await browser.log_in()
        body = urlencode({"form_token": await browser.token(), "method": "blockip", "s0": "203.0.113.1"}).encode()
        reply = await browser.ask("POST", path, body, headers)
        assert reply.status == 403
        assert "set-cookie" not in reply.headers
        assert await browser.is_in()


async def test_a_form_of_the_console_does_what_it_says_and_comes_back() -> None:
    async with visited() as browser:
        await browser.log_in()
        reply = await browser.send(method="blockip", s0="203.0.113.1", s1="spam", back="moderation/barred-addresses")
        assert (reply.status, reply.headers["location"]) == (303, "/admin/moderation/barred-addresses")
        page = await browser.text(reply.headers["location"])
        assert notice(page) == "Barred the address 203.0.113.1."
        assert "spam" in page


async def test_a_moderator_sees_and_does_what_was_assigned_until_it_is_taken_away() -> None:
    async with site() as door, operator(door) as admin:
        assert (await admin.call("assignmethod", MODERATOR.pubkey, "listbannedpubkeys"))[0]
        assert (await admin.call("assignmethod", MODERATOR.pubkey, "banpubkey"))[0]
        browser = Browser(door)
        assert (await browser.log_in(MODERATOR)).status == 200
        page = await browser.text("/admin/moderation/banned-keys")
        assert "Add one" in page
        assert "Barred addresses" not in page
        for path in ("/admin", "/admin/moderation/barred-addresses", "/admin/settings", "/admin/now.json"):
            assert (await browser.ask("GET", path)).status == 403, path
        values = dict(zip_values(page))
        await browser.send(values["form_token"], method="blockip", s0="203.0.113.1", back="moderation/banned-keys")
        page = await browser.text("/admin/moderation/banned-keys")
        assert notice(page) == "Not done: you may not call this method."
        for method in ("listbannedpubkeys", "banpubkey"):
            await admin.call("unassignmethod", MODERATOR.pubkey, method)
        assert not await browser.is_in(), "at once, and not when the session ends"
        assert (await browser.send("x", method="banpubkey", s0=BOB.pubkey)).status == 401
        assert await admin.call("listblockedips") == []


async def test_a_banned_moderator_is_out_at_once() -> None:
    async with site() as door, operator(door) as admin:
        await admin.call("assignmethod", MODERATOR.pubkey, "stats")
        browser = Browser(door)
        await browser.log_in(MODERATOR)
        assert await browser.is_in()
        await admin.call("banpubkey", MODERATOR.pubkey)
        assert not await browser.is_in()


async def test_a_head_tells_the_same_and_sends_no_body() -> None:
    async with visited() as browser:
        await browser.log_in()
        reply = await browser.ask("HEAD", "/admin")
        assert (reply.status, reply.body) == (200, b"")
        assert reply.headers["content-type"].startswith("text/html")
        assert (await browser.ask("HEAD", "/admin/live")).status == 404
        assert (await browser.ask("HEAD", "/admin/logout")).status == 404
        assert await browser.is_in()


async def test_each_page_forbids_what_it_does_not_need() -> None:
    async with visited() as browser:
        for _ in range(2):
            reply = await browser.ask("GET", "/admin")
            policy = reply.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert reply.headers["cache-control"] == "no-store"
            assert "access-control-allow-origin" not in reply.headers
            await browser.log_in()


async def test_the_cookie_is_secure_where_the_browser_speaks_tls_and_not_elsewhere() -> None:
    """Where the relay has no name that says so, the browser does."""
    async with visited() as browser:
        named = {"Host": "192.0.2.1:7777", "Authorization": header(signed(ADMIN, b"login", url=LOGIN))}
        reply = await browser.ask("POST", "/admin/login", b"login", named | {"Origin": "http://192.0.2.1:7777"})
        assert "Secure" not in reply.headers["set-cookie"]
        named["Authorization"] = header(signed(ADMIN, b"login", url=LOGIN))
        reply = await browser.ask("POST", "/admin/login", b"login", named | {"Origin": "https://192.0.2.1:7777"})
        assert reply.headers["set-cookie"].endswith("; Secure")


@pytest.mark.parametrize(
    "path", ["/admin/../admin", "/admin//", "/admin/%0d%0aSet-Cookie:%20a=b", "/admin/%00", "/admin/\xff"]
)
async def test_a_strange_path_is_no_page_and_breaks_nothing(path: str) -> None:
    async with visited() as browser:
        await browser.log_in()
        reply = await browser.ask("GET", path)
        assert reply.status in (200, 400, 404)
        assert "set-cookie" not in reply.headers
        assert await browser.is_in()


async def test_each_page_of_the_menu_shows_what_the_relay_answers() -> None:
    """Not what is written down in `canned`: with a client, events, a report, a ban, and an act."""
    note, clock = ADMIN.event("hello"), Clock()
    report = ADMIN.event("spam", kind=1984, tags=[["e", note.id, "spam"], ["p", ADMIN.pubkey]])
    async with site(clock=clock) as door, door.client() as client:
        await client.receive()
        for event in (note, report, BOB.event("not a member")):
            await client.publish(event)
        assert await client.ask("sub", {"kinds": [1]})
        browser = Browser(door)
        await browser.log_in()
        await browser.send(method="banpubkey", s0=BOB.pubkey, d2="86400")
        await browser.send(method="createinvite")
        page = await browser.text()
        paths = set(re.findall(r'href="(/admin[^"#?]*)"', page))
        assert "/admin/why" in paths
        for path in [*paths]:
            page = await browser.text(path)
            more = set(re.findall(r'href="(/admin[^"#]*)"', page)) - paths
            paths |= more
            for other in more:
                assert (await browser.ask("GET", other.replace("&amp;", "&"))).status == 200, other
        assert len(paths) > 20
        found = await browser.send(path="/admin/why", text='["REQ", "a", {"kinds": [1]}]')
        assert "Rows gone through" in found.body.decode()
        found = await browser.send(path="/admin/why", text=json.dumps(plain(note)))
        assert "The store would say" in found.body.decode()


async def test_numbers_come_again_and_again_until_the_session_ends(autojump_clock: MockClock) -> None:
    async with visited() as browser:
        await browser.log_in()
        async with open_stream(browser.door) as wire:
            live = {"Host": "relay.example", "Cookie": browser.cookie}
            await wire.send(request("GET", "/admin/live?span=day", live))
            told = b""
            while told.count(b"\n\n") < 4:
                told += await wire.stream.receive_some()
            assert b"Content-Type: text/event-stream" in told
            assert b'"seconds":86400.0' in told
            await browser.send(path="/admin/logout")
            while b"event: over" not in told:
                told += await wire.stream.receive_some()
        assert (await browser.ask("GET", "/admin/live")).status == 401


async def test_no_key_comes_in_where_the_relay_has_no_admins() -> None:
    async with visited(admins=()) as browser:
        assert "Log in with your key" not in await browser.text()
        reply = await browser.log_in()
        assert (reply.status, "no key may come in" in reply.body.decode()) == (401, True)
