"""Whatever strangers and operators write, pages stay as they are: the same elements, no script, no link to one."""

from __future__ import annotations

import json
import re

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import ALICE, NOW
from tests.support.pages import Page
from tests.support.server import open_door
from tests.support.wire import Reply, open_stream
from trio_relay import MemoryStore, RelayInfo, Rules, WebOptions

MARKUP = [
    "<script>alert(1)</script>", "</title><script>", "\"'><img src=x onerror=alert(1)>", "' onmouseover='x", "]]>",
    "<!--", "&lt;b&gt;", "{{ 7*7 }}", "{% raw %}", "javascript:alert(1)", "data:text/html,x",
    "https://a.example/\"onx=",    "https://a.example/<b>", "http://", "https://.", "nostr:npub1" + "q" * 40,
    "nostr:nsec1xxxxxxxxxxxxxxxxxxxxxxxx",
    "\x00", "\x0b\x1b[31m", "\x7f\x85", "\u202e", "\ufeff", "\uffff", "</textarea>", "<plaintext>", "&#0;", "\r\n\r\n",
]  # fmt: skip
texts = st.lists(st.one_of(st.sampled_from(MARKUP), st.text(max_size=12)), max_size=4).map("".join)
PLAIN = "a"


async def shown(texts: list[str]) -> list[Reply]:
    """The front page, an event's and a profile's of a relay where all that anybody may write is one of these."""
    name, about, content, tag, contact = texts
    info = RelayInfo(name=name, description=about, contact=contact, terms_of_service=contact, pubkey=ALICE.pubkey)
    fields = {"name": name, "about": about, "picture": contact, "website": content, "nip05": tag}
    note = ALICE.event(content, tags=[[tag, name, contact], [], ["title", tag]])
    store = MemoryStore()
    await store.save_many([note, ALICE.event(json.dumps(fields), kind=0, created_at=NOW)])
    rules = Rules(info=info, relay_url="wss://relay.example/")
    async with open_door(store, rules, web=WebOptions(notes=3)) as door, open_stream(door) as wire:
        targets = "/", f"/e/{note.id}", f"/p/{ALICE.pubkey}"
        return [await wire.ask(target=target, Accept="text/html") for target in targets]


def skeleton(page: Page) -> list[str]:
    """The elements that do not come and go with what is written: links do."""
    optional = {"a", "dt", "dd", "p", "div", "dl", "meta", "h3", "section", "h2", "code"}
    return [name for name in page.shape if name not in optional]


@pytest.fixture(scope="module")
def plain() -> list[list[str]]:
    """What pages are made of where nothing is written but a letter."""
    return [skeleton(Page(reply)) for reply in trio.run(shown, [PLAIN] * 5)]


@pytest.mark.slow
@given(st.lists(texts, min_size=5, max_size=5))
def test_markup_and_control_characters_break_no_page(plain: list[list[str]], written: list[str]) -> None:
    for reply, expected in zip(trio.run(shown, written), plain, strict=True):
        assert reply.status == 200
        page = Page(reply)
        assert skeleton(page) == expected
        assert {element.name for element in page.elements} <= KNOWN
        for element in page.elements:
            assert not [name for name in element.attributes if name.startswith("on") or name == "style"]
            for name in ("href", "src"):
                check_link(element.attributes.get(name))
        assert not set(reply.body.decode()) & {*map(chr, [*range(9), 11, 12, *range(14, 32), *range(127, 160)])}


KNOWN = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "link",
        "script",
        "body",
        "header",
        "footer",
        "main",
        "section",
        "article",
        "div",
    ),
    *(
        "p",
        "h1",
        "h2",
        "h3",
        "a",
        "span",
        "img",
        "input",
        "label",
        "button",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
    ),
    *("th", "td", "ul", "li", "dl", "dt", "dd", "code", "svg", "path", "figure", "figcaption", "polyline", "time"),
}


def check_link(link: str | None) -> None:
    """It leads to a page of the relay, or to what a browser opens without running it."""
    if link is not None and not link.startswith(("/", "#")):
        assert re.match("https?://|mailto:", link)


def test_what_is_written_is_shown_as_it_was_written() -> None:
    written = "<b>&amp;\"'</b>"
    front, event, profile = (Page(reply) for reply in trio.run(shown, [written] * 5))
    assert front.one("h1").text == profile.one("h1").text == event.one("h1").text == written
    assert event.one("div", class_="content").text == written
    assert written in [cell.text for cell in event.all("code")]
    assert event.meta("og:title") == event.meta("og:site_name") == written


def test_long_and_odd_events_have_pages() -> None:
    async def main() -> None:
        events = [
            ALICE.event("https://a.example " * 14_000, tags=[["t", "x" * 5_000]] * 3_000),
            ALICE.event("{" * 50_000, kind=0),
            ALICE.event("", created_at=2**53, kind=12_345),
            ALICE.event("x", kind=30_000, tags=[["d", "n" * 300]]),
        ]
        store = MemoryStore()
        await store.save_many(events)
        async with open_door(store, Rules(relay_url="wss://r.example/"), web=WebOptions()) as door:
            for event in events:
                async with open_stream(door) as wire:
                    reply = await wire.ask(target=f"/e/{event.id}")
                    assert reply.status == 200
                    assert len(reply.body) < 300_000
                    Page(reply)

    trio.run(main)
