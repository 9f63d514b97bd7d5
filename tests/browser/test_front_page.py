"""What everybody may see: the front page, and those of events, profiles and addresses."""

from __future__ import annotations

import time

import pytest

from tests.support.browser import DESKTOP, PHONE, Page, Visitors, expect, out_of_reach, picture, too_wide, violations
from tests.support.keys import ALICE, BOB, Author
from tests.support.operators import ADMIN
from tests.support.site import Site
from trio_relay import Event

MARKUP = """<script>alert(1)</script><img src=x onerror=alert(2)>'"><b>{{ 7 * 7 }}</b> https://example.com/?a=<i>"""
LONG = "w" * 300
ARTICLE = 30_023


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {
        "relay.name": "A relay of ours",
        "relay.url": "wss://relay.example.org",
        "relay.description": "For tests & trials, and for those who like them.",
        "relay.contact": "mailto:operator@example.org",
        "relay.pubkey": ADMIN.pubkey,
        "web.notes": "5",
    }


@pytest.fixture(scope="module")
def events(site: Site) -> dict[str, Event]:
    """What the relay holds, with markup and words that are too long wherever strangers may write."""
    now = int(time.time())
    made = {
        "plain": BOB.event("A note that can be read.", created_at=now),
        "note": ALICE.event(f"{MARKUP}\n\n{LONG}", created_at=now - 1, tags=[["t", MARKUP], ["e", "a" * 64], [LONG]]),
        "profile": ALICE.event(
            '{"name": "Alice <b>of</b> ours", "about": "</p><script>alert(3)</script>",'
            ' "website": "javascript:alert(4)",'
            ' "picture": "https://example.com/p.png", "nip05": "<i>@example.com"}',
            kind=0,
            created_at=now,
        ),
        "article": ALICE.event(MARKUP, kind=ARTICLE, created_at=now, tags=[["d", "on <i>"], ["title", MARKUP]]),
    }
    site.publish(*made.values())
    return made


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without"])
def front(request: pytest.FixtureRequest, visitors: Visitors, events: dict[str, Event]) -> Page:
    assert events
    return visitors.open("/", scripts=request.param)


def test_it_says_whose_it_is_how_to_connect_and_who_may(front: Page) -> None:
    expect(front).to_have_title("A relay of ours")
    expect(front.get_by_role("heading", level=1)).to_have_text("A relay of ours")
    main = front.get_by_role("main")
    for text in ("For tests & trials", "operator@example.org", "Who may write", "Who may read"):
        expect(main).to_contain_text(text)
    expect(front.get_by_label("Address of this relay")).to_have_value("wss://relay.example.org")
    expect(front.get_by_role("img", name="QR code")).to_be_visible()


def test_notes_lead_to_events_and_those_to_authors(front: Page, events: dict[str, Event]) -> None:
    front.get_by_role("link", name="note").or_(front.get_by_role("main").locator("a[href^='/e/']")).first.click()
    expect(front.get_by_role("article")).to_contain_text("A note that can be read.")
    front.get_by_role("article").get_by_role("link").first.click()
    expect(front.get_by_role("main")).to_contain_text(BOB.pubkey)


def test_the_address_is_copied(visitors: Visitors) -> None:
    page = visitors.open("/")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("status")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "wss://relay.example.org"


def test_its_numbers_move_by_themselves(visitors: Visitors, site: Site) -> None:
    page = visitors.open(None)
    page.clock.install()
    page.goto("/")
    number = page.locator("[data-number=connections]")
    before = int(number.inner_text())
    with site.client(), site.client():
        for _ in range(50):  # the page asks again after seconds, and is told what was true a second before
            page.clock.fast_forward(10_000)
            page.wait_for_timeout(100)
            if int(number.inner_text()) == before + 2:
                break
        expect(number).to_have_text(str(before + 2))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_anybody_can_use_all_of_it(visitors: Visitors, events: dict[str, Event], dark: bool) -> None:
    page = visitors.open(None, dark=dark, viewport=PHONE if dark else DESKTOP)
    visitors.faults.expect("status of 404")
    faults = {}
    for path in (
        "/",
        f"/e/{events['note'].id}",
        f"/e/{events['article'].id}",
        f"/p/{ALICE.pubkey}",
        f"/p/{Author('nobody').pubkey}",
        f"/e/{'0' * 64}",
    ):
        page.goto(path)
        faults[path] = "\n".join([violations(page), *out_of_reach(page), *too_wide(page)]).strip()
    assert {path: found for path, found in faults.items() if found} == {}


def test_pictures(visitors: Visitors, events: dict[str, Event]) -> None:
    assert events
    for name, dark, viewport in (
        ("front", False, DESKTOP),
        ("front-dark", True, DESKTOP),
        ("front-phone", False, PHONE),
    ):
        picture(visitors.open("/", dark=dark, viewport=viewport), name)
