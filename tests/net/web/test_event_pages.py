"""Pages of events, keys and addresses: what they show, and that they show nobody more than a REQ would."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
import trio
from nostr_sdk import Coordinate, EventId, Kind, Nip19Coordinate, Nip19Event, Nip19Profile, PublicKey  # type: ignore[import-untyped]
from trio.testing import MockClock

from tests.support.keys import ALICE, BOB, NOW
from tests.support.named_relay import rules_for
from tests.support.obedient_store import ObedientStore
from tests.support.pages import Page
from tests.support.server import open_door, plain
from tests.support.wire import Reply, open_stream
from trio_relay import Event, Filter, MemberOptions, MemoryStore, RateOptions, RelayInfo, Rules, Store, WebOptions

pytestmark = pytest.mark.usefixtures("inline_threads")

NOBODY = "0" * 64
PROFILE = ALICE.event(
    '{"name":"alice","about":"writes at https://alice.example","picture":"https://a.example/a.png","nip05":"a@b.example"}',
    kind=0,
)


async def asked(
    *targets: str,
    events: list[Event],
    rules: Rules | None = None,
    web: WebOptions | None = None,
    store: Store | None = None,
    clock: int = NOW,
) -> list[Reply]:
    """What a relay that has these events answers."""
    store = store or MemoryStore()
    await store.save_many(events)
    parts = {"rules": rules or rules_for(), "web": web or WebOptions(), "clock": lambda: clock}
    async with open_door(store, **parts) as door, open_stream(door) as wire:  # type: ignore[arg-type]  # of its own
        return [await wire.ask(target=target, Accept="text/html") for target in targets]


async def test_an_event_has_a_page_with_all_that_it_says(autojump_clock: MockClock) -> None:
    event = ALICE.event("hello\nworld", tags=[["t", "nostr"], ["e", NOBODY]], created_at=1_700_000_000)
    (reply,) = await asked(f"/e/{event.id}", events=[event, PROFILE])
    page = Page(reply)
    assert reply.status == 200
    assert page.one("h1").text == "Note by alice"
    assert page.links[f"/p/{PublicKey.parse(ALICE.pubkey).to_bech32()}"] == "alice"
    assert page.one("time").attributes["datetime"] == "2023-11-14T22:13:20Z"
    assert page.links[f"/e/{NOBODY}"] == NOBODY, "what it answers"
    assert [cell.text for cell in page.all("td")] == ["nostr", NOBODY]
    assert page.meta("og:title") == "Note by alice"
    assert page.meta("og:description") == "hello world"
    assert page.meta("og:type") == "article"
    assert page.meta("og:url") == f"https://relay.example/e/{event.id}"
    assert page.one("link", rel="canonical").attributes["href"] == f"https://relay.example/e/{event.id}"
    assert page.one("link", rel="alternate").attributes["href"] == f"/e/{event.id}.json"
    assert page.meta("robots") is None


async def test_the_json_behind_a_page_is_the_event_for_pages_of_others_too(autojump_clock: MockClock) -> None:
    event = ALICE.event("hello")
    article = ALICE.event("text", kind=30_023, tags=[["d", "a"]])
    naddr = Nip19Coordinate(Coordinate(Kind(30_023), PublicKey.parse(ALICE.pubkey), "a"), []).to_bech32()
    targets = f"/e/{event.id}.json", f"/p/{ALICE.pubkey}.json", f"/a/{naddr}.json"
    replies = await asked(*targets, events=[event, PROFILE, article])
    assert [json.loads(reply.body) for reply in replies] == [plain(event), plain(PROFILE), plain(article)]
    assert {reply.headers["content-type"] for reply in replies} == {"application/json"}
    assert {reply.headers["access-control-allow-origin"] for reply in replies} == {"*"}


async def test_every_spelling_of_a_name_leads_to_the_same_page(autojump_clock: MockClock) -> None:
    event = ALICE.event("hello")
    key, event_id = PublicKey.parse(ALICE.pubkey), EventId.parse(event.id)
    of_event = [event.id, event_id.to_bech32(), Nip19Event(event_id, key, Kind(1), []).to_bech32()]
    of_key = [ALICE.pubkey, key.to_bech32(), Nip19Profile(key, []).to_bech32(), ALICE.pubkey.upper()]
    targets = [*(f"/e/{name}" for name in of_event), *(f"/p/{name}" for name in of_key)]
    bodies = [reply.body for reply in await asked(*targets, events=[event])]
    assert len(set(bodies[:3])) == len(set(bodies[3:])) == 1


async def test_a_key_has_a_page_with_its_profile_and_its_newest_notes(autojump_clock: MockClock) -> None:
    notes = [ALICE.event(f"note {number}", created_at=NOW - number) for number in range(25)]
    (reply,) = await asked(f"/p/{ALICE.pubkey}", events=[*notes, PROFILE, BOB.event("not hers")])
    page = Page(reply)
    assert page.one("h1").text == "alice"
    shown = [one.text for one in page.all("p", class_="content")]
    assert shown == ["writes at https://alice.example", *(f"note {number}" for number in range(20))]
    assert page.links["https://a.example/a.png"] == "https://a.example/a.png", "linked, not loaded"
    assert [one.attributes["src"] for one in page.all("img") if "/static/" not in str(one.attributes["src"])] == []
    assert page.meta("og:type") == "profile"
    assert "a@b.example" in page.one("main").text


async def test_a_key_without_a_profile_has_a_page_for_its_notes(autojump_clock: MockClock) -> None:
    page_of, json_of = await asked(f"/p/{ALICE.pubkey}", f"/p/{ALICE.pubkey}.json", events=[ALICE.event("hello")])
    assert Page(page_of).one("h1").text.startswith("npub1")
    assert json_of.status == 404


async def test_an_address_shows_the_newest_version(autojump_clock: MockClock) -> None:
    versions = [
        ALICE.event(f"version {number}", kind=30_023, created_at=NOW + number, tags=[["d", "é/x"], ["title", "Story"]])
        for number in range(2)
    ]
    key = PublicKey.parse(ALICE.pubkey)
    naddr = Nip19Coordinate(Coordinate(Kind(30_023), key, "é/x"), []).to_bech32()
    follows = Nip19Coordinate(Coordinate(Kind(3), key, ""), []).to_bech32()
    note = Nip19Coordinate(Coordinate(Kind(1), key, ""), []).to_bech32()
    replies = await asked(f"/a/{naddr}", f"/a/{follows}", f"/a/{note}", events=[*versions, ALICE.event("", kind=3)])
    assert [reply.status for reply in replies] == [200, 200, 404]
    page = Page(replies[0])
    assert page.one("h1").text == "Story"
    assert page.one("div", class_="content").text == "version 1"
    assert page.links[f"/a/{naddr}"] == naddr, "by the same spelling as another library's"


GATED: dict[str, tuple[Event, dict[str, Any] | None]] = {
    "private": (ALICE.event("secret", kind=4, tags=[["p", BOB.pubkey]]), {}),
    "wrapped": (ALICE.event("secret", kind=1059, tags=[["p", BOB.pubkey]]), {}),
    "private by configuration": (ALICE.event("secret", kind=30_078, tags=[["d", ""]]), {"private_kinds": (30_078,)}),
    "expired": (ALICE.event("secret", tags=[["expiration", str(NOW - 1)]]), {}),
    "for the authenticated": (ALICE.event("secret"), {"auth_to_read": True}),
    "for members": (ALICE.event("secret"), {"members": MemberOptions(enabled=True, members_read=True)}),
    "unknown": (BOB.event("elsewhere"), None),
}


@pytest.mark.parametrize("why", GATED)
async def test_what_a_visitor_may_not_read_is_as_if_it_were_not_there(why: str, autojump_clock: MockClock) -> None:
    event, policy = GATED[why]
    events = [] if policy is None else [event]
    targets = [
        f"/{which}/{what}{end}" for which, what in (("e", event.id), ("p", event.pubkey)) for end in ("", ".json")
    ]
    there = await asked(*targets, events=events, rules=rules_for(**(policy or {})))
    never = await asked(
        *[f"/e/{NOBODY}", f"/e/{NOBODY}.json", "/p/nonsense", "/p/x.json"], events=[], rules=rules_for()
    )
    assert {reply.status for reply in there} == {404}
    assert [(reply.headers, reply.body) for reply in there] == [(reply.headers, reply.body) for reply in never]


@pytest.mark.parametrize(
    "target", ["/e/", "/e/nevent1qqq", "/p/npub1", "/p/nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5",
               "/a/note1", "/a/" + "0" * 64, "/x/1", "/e/..%2f", "/e/" + "a" * 6_000]
)  # fmt: skip
async def test_nonsense_is_not_there(target: str, autojump_clock: MockClock) -> None:
    (reply,) = await asked(target, events=[PROFILE])
    assert reply.status == 404
    assert b"vl029" not in reply.body


async def test_a_page_is_kept_for_a_minute_and_not_sent_to_who_has_it(autojump_clock: MockClock) -> None:
    event = ALICE.event("hello")
    store = MemoryStore()
    await store.save_many([event])
    async with open_door(store, rules_for(), web=WebOptions()) as door, open_stream(door) as wire:
        first = await wire.ask(target=f"/e/{event.id}")
        known = {"If-None-Match": first.headers["etag"]}
        again = await wire.ask(target=f"/e/{event.id}", **known)
        assert first.headers["cache-control"] == "public, max-age=60"
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
        await store.save_many([PROFILE])
        assert (await wire.ask(target=f"/e/{event.id}", **known)).status == 200, "her name"


async def test_robots_are_asked_to_leave_if_the_operator_wants_that(autojump_clock: MockClock) -> None:
    event = ALICE.event("hello")
    targets = "/", f"/e/{event.id}", f"/e/{event.id}.json", "/robots.txt", f"/p/{BOB.pubkey}"
    replies = await asked(*targets, events=[event], web=WebOptions(noindex=True))
    assert [reply.headers.get("x-robots-tag") for reply in replies if reply.status == 200][:3] == [
        "noindex, nofollow"
    ] * 3
    assert {Page(reply).meta("robots") for reply in (*replies[:2], replies[4])} == {"noindex, nofollow"}
    assert replies[3].body == b"User-agent: *\nDisallow: /\n"


async def test_a_visitor_pays_for_pages_as_a_client_does(autojump_clock: MockClock, peers: list[str]) -> None:
    event = ALICE.event("hello")
    store = MemoryStore()
    await store.save_many([event])
    peers += ["203.0.113.1", "203.0.113.2"]
    rules = rules_for(rates=RateOptions(messages_per_address="3/hour burst 3"))
    async with (
        open_door(store, rules, web=WebOptions()) as door,
        open_stream(door) as crawler,
        open_stream(door) as other,
    ):
        got = [await crawler.ask(target=f"/e/{event.id}") for _ in range(5)]
        assert [reply.status for reply in got] == [200, 200, 200, 429, 429]
        assert int(got[-1].headers["retry-after"]) > 0
        assert (await crawler.ask(target="/", Accept="text/html")).status == 200, (
            "what is made once for all costs nobody"
        )
        assert (await other.ask(target=f"/e/{event.id}")).status == 200


class SlowStore(MemoryStore):
    """A store that takes a second for each look."""

    def query_nowait(self, filters: Sequence[Filter]) -> None:
        return None

    async def query(self, filters: Sequence[Filter]) -> AsyncGenerator[list[bytes], None]:
        await trio.sleep(1)
        async for page in super().query(filters):
            yield page


async def test_work_for_pages_is_charged(autojump_clock: MockClock, peers: list[str]) -> None:
    event, store = ALICE.event("hello"), SlowStore()
    await store.save_many([event])
    peers += ["203.0.113.1"]
    rules = rules_for(rates=RateOptions(work_per_address="1/hour burst 3"))
    async with open_door(store, rules, web=WebOptions()) as door, open_stream(door) as wire:
        statuses = [(await wire.ask(target=f"/e/{event.id}")).status for _ in range(3)]
        assert statuses == [200, 200, 429], "two looks a page"


async def test_looking_up_takes_ten_seconds_at_most(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    async with open_door(store, rules_for(), web=WebOptions()) as door, open_stream(door) as wire:
        store.block("query")
        began = trio.current_time()
        assert (await wire.ask(target=f"/e/{NOBODY}")).status == 503
        assert trio.current_time() - began == 10
        store.release("query")


async def test_a_store_that_cannot_tell_says_nothing_of_what_is_there(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    async with open_door(store, rules_for(), web=WebOptions()) as door, open_stream(door) as wire:
        store.failing["query"] = "the disk is gone"
        reply = await wire.ask(target=f"/e/{NOBODY}")
        assert (reply.status, reply.headers["retry-after"]) == (503, "5")
        assert b"disk" not in reply.body


async def test_pages_lead_on_below_the_relays_own_path(autojump_clock: MockClock) -> None:
    event = ALICE.event(f"see nostr:{PublicKey.parse(BOB.pubkey).to_bech32()} and http://x.example/?a=1&b=2.")
    rules = rules_for(url="wss://host.example/relay", info=RelayInfo(name="Mine"))
    store = MemoryStore()
    await store.save_many([event])
    async with open_door(store, rules, web=WebOptions()) as door, open_stream(door) as wire:
        for target in (f"/relay/e/{event.id}", f"/e/{event.id}"):  # a proxy may take the path off
            page = Page(await wire.ask(target=target, Host="host.example"))
            assert f"/relay/p/{PublicKey.parse(BOB.pubkey).to_bech32()}" in page.links
            outside = page.one("a", href="http://x.example/?a=1&b=2")
            assert outside.attributes["rel"] == "nofollow noopener noreferrer"
            assert page.meta("og:url") == f"https://host.example/relay/e/{event.id}"
            assert {(one.attributes["href"] or "")[:7] for one in page.all("link")} <= {"/relay/", "https:/"}
