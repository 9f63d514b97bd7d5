"""The front page: what it says of the relay, how often it is made, and what of it is anybody's business."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.support.keys import ALICE, BOB, NOW
from tests.support.named_relay import rules_for
from tests.support.obedient_store import ObedientStore
from tests.support.pages import Page
from tests.support.server import Door, open_door
from tests.support.wire import Reply, open_stream
from trio_relay import MemberOptions, MemoryStore, RelayInfo, Rules, WebOptions
from trio_relay.policy import retention

pytestmark = pytest.mark.usefixtures("inline_threads")

INFO = RelayInfo(
    name="Harbour",
    description="For sailors: https://sail.example/.",
    pubkey=ALICE.pubkey,
    contact="mailto:ops@harbour.example",
    terms_of_service="https://harbour.example/terms",
)


async def front(door: Door, host: str = "relay.example", target: str = "/") -> Reply:
    """The front page, as a browser asks for it."""
    async with open_stream(door) as wire:
        return await wire.ask(target=target, Accept="text/html", Host=host)


async def test_it_says_who_the_relay_is_and_how_to_connect(autojump_clock: MockClock) -> None:
    async with open_door(rules=rules_for(info=INFO), web=WebOptions()) as door:
        reply = await front(door)
        page = Page(reply)
    assert reply.headers["vary"] == "Accept"
    assert page.one("title").text == page.one("h1").text == "Harbour"
    assert page.one("input").attributes["value"] == "wss://relay.example/"
    assert page.all("div", role="img")[0].attributes["aria-label"] == "QR code of wss://relay.example/"
    assert page.all("svg", class_="qr") != []
    assert page.links.keys() >= {"https://sail.example/", "mailto:ops@harbour.example", "https://harbour.example/terms"}
    assert any(link.startswith("/p/npub1") for link in page.links), "the operator"
    assert "Anybody may publish." in page.one("main").text
    assert "Anybody may read." in page.one("main").text
    assert page.links["https://github.com/nostr-protocol/nips/blob/master/42.md"] == "42"
    assert page.meta("og:url") == page.one("link", rel="canonical").attributes["href"] == "https://relay.example/"
    assert {one.attributes.get("src", "")[:8] for one in [*page.all("img"), *page.all("script")]} == {"/static/"}  # type: ignore[index]


async def test_it_says_what_is_kept_for_how_long_where_anything_is_forgotten(autojump_clock: MockClock) -> None:
    rules = rules_for(info=INFO)
    rules.retention = retention.Retention((retention.RetentionRule(kinds=(1,), max_age_seconds=90 * 86_400),))
    async with open_door(rules=rules, web=WebOptions()) as door:
        told = Page(await front(door)).one("main").text
    async with open_door(rules=rules_for(info=INFO), web=WebOptions()) as door:
        silent = Page(await front(door)).one("main").text
    assert "Notes are kept for 90 days." in told
    assert "What is kept" not in silent


async def test_its_address_is_the_one_by_which_the_visitor_came(autojump_clock: MockClock) -> None:
    rules = Rules(info=INFO, relay_url="wss://relay.example/r", also_known_as=("ws://hidden.onion/",))
    async with open_door(rules=rules, web=WebOptions()) as door:
        shown = {
            host: Page(await front(door, host)).one("input").attributes["value"]
            for host in ("relay.example", "hidden.onion", "else.example")
        }
    assert shown == {
        "relay.example": "wss://relay.example/r",
        "hidden.onion": "ws://hidden.onion/",
        "else.example": "wss://relay.example/r",
    }


async def test_a_relay_without_a_name_says_where_to_find_its_address(autojump_clock: MockClock) -> None:
    async with open_door(web=WebOptions()) as door:
        page = Page(await front(door, "anything.example"))
    assert page.all("input") == []
    assert "wss:// in place of https://" in page.one("main").text
    assert "anything.example" not in page.one("main").text


async def test_it_is_made_once_a_second_however_many_ask_and_by_whatever_name(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    await store.save_many([ALICE.event("hello")])
    async with open_door(store, rules_for(), web=WebOptions(notes=1)) as door:
        async with trio.open_nursery() as visitors:
            for number in range(30):
                visitors.start_soon(front, door, f"{number}.example")
        assert store.calls["query"] == 2, "the notes, and their authors"
        await trio.sleep(6)
        await front(door)
        assert store.calls["query"] == 4


async def test_the_newest_notes_are_shown_if_the_operator_wants_that(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    notes = [ALICE.event(f"note {number}", created_at=NOW - number) for number in range(4)]
    await store.save_many([*notes, ALICE.event('{"name":"alice"}', kind=0), BOB.event("secret", kind=4)])
    async with (
        open_door(store, rules_for(), web=WebOptions(notes=2)) as door,
        open_door(store, web=WebOptions()) as mute,
    ):
        page = Page(await front(door))
        assert [one.text for one in page.all("p", class_="content")] == ["note 0", "note 1"]
        assert page.links[f"/e/{notes[0].id}"] != ""
        assert [one.text for one in page.all("h3")] == ["alice", "alice"]
        assert Page(await front(mute)).all("article") == []


@pytest.mark.parametrize("gate", [{"auth_to_read": True}, {"members": MemberOptions(enabled=True, members_read=True)}])
async def test_there_are_no_notes_where_not_everybody_may_read(
    gate: dict[str, object], autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    await store.save_many([ALICE.event("for members")])
    async with open_door(store, rules_for(**gate), web=WebOptions(notes=5)) as door:  # type: ignore[arg-type]  # of these
        reply = await front(door)
        assert b"for members" not in reply.body
        assert Page(reply).all("article") == []


async def test_what_moves_is_told_to_anybody_and_nothing_else_is(autojump_clock: MockClock) -> None:
    async with open_door(rules=rules_for(), web=WebOptions()) as door, door.client() as client:
        await client.receive()  # the challenge
        await client.publish(ALICE.event("hello"))
        await trio.sleep(11)
        reply = await front(door, target="/live.json")
        told = json.loads(reply.body)
        assert told["now"] == {
            "connections": 1,
            "subscriptions": 0,
            "events": told["now"]["events"],
            "events_stored": 1,
        }
        assert told.keys() == {"now", "plot"}
        assert len(told["plot"]["lines"]) == 1
        assert (await front(door, target="/live.json")).body == reply.body, "for a second"
        page = Page(await front(door))
        assert page.one("dd", data_number="connections").text == "1"
        assert page.one("section", id="live").attributes["data-from"] == "/live.json"


async def test_pictures_are_the_operators_files_alone(tmp_path: Path, autojump_clock: MockClock) -> None:
    icon, banner = tmp_path / "icon.png", tmp_path / "wide.WEBP"
    icon.write_bytes(b"icon")
    banner.write_bytes(b"banner")
    info = RelayInfo(icon="https://elsewhere.example/i.png", banner="https://elsewhere.example/b.png")
    web = WebOptions(icon=str(icon), banner=str(banner))
    async with open_door(rules=rules_for(info=info), web=web) as door:
        page = Page(await front(door))
        assert [str(one.attributes["src"]).partition("?")[0] for one in page.all("img")] == [
            "/static/banner",
            "/static/icon",
        ]
        assert page.meta("og:image") == "https://relay.example/static/icon"
        assert b"elsewhere" not in (await front(door)).body
        replies = [await front(door, target=f"/static/{name}") for name in ("icon", "banner")]
        assert [(one.headers["content-type"], one.body) for one in replies] == [
            ("image/png", b"icon"),
            ("image/webp", b"banner"),
        ]
    async with open_door(rules=rules_for(info=info), web=WebOptions()) as door:
        page = Page(await front(door))
        assert page.meta("og:image") is None
        assert [str(one.attributes["src"])[:19] for one in page.all("img")] == ["/static/favicon.svg"]
