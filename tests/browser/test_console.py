"""Every page of the console, on a relay where much has happened."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.browser import DESKTOP, PHONE, Page, Visitors, expect, out_of_reach, picture, too_wide, violations
from tests.support.keys import ALICE, BOB, CAROL, Author
from tests.support.operators import ADMIN
from tests.support.site import Site
from trio_relay.nostr.event import encode

DAVE = Author("dave")
MARKUP = """<script>alert(1)</script><img src=x onerror=alert(2)>'"><b>{{ 7 * 7 }}</b> """ + "w" * 300


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"members.enabled": "true", "members.members_write": "false", "relay.name": "A relay of ours"}


@pytest.fixture(scope="module")
def busy(site: Site) -> Iterator[None]:
    """A client is connected that asks for much, and events, reports and decisions are there, all with markup."""
    now = int(time.time())
    note, other = ALICE.event(MARKUP, created_at=now), BOB.event(MARKUP, created_at=now, tags=[["t", MARKUP]])
    site.publish(
        note,
        other,
        ALICE.event('{"name": "<b>Alice</b>", "about": "</p><script>alert(3)</script>"}', kind=0, created_at=now),
        CAROL.event(MARKUP, kind=1984, created_at=now, tags=[["e", note.id, "spam"], ["p", ALICE.pubkey, "spam"]]),
    )
    site.manage("banpubkey", DAVE.pubkey, MARKUP)
    site.manage("addmember", ALICE.pubkey, MARKUP)
    site.manage("createinvite")
    site.manage("blockip", "203.0.113.7", MARKUP)
    with site.client() as client:
        client.ask(MARKUP[:64], {"#t": [MARKUP], "kinds": [1], "search": MARKUP})
        yield


@pytest.fixture
def page(visitors: Visitors, site: Site, cookies: dict[str, str]) -> Page:
    return visitors.open("/admin", cookie=cookies["admin"])


@pytest.fixture(scope="module")
def cookies(site: Site) -> dict[str, str]:
    return {"admin": site.cookie(ADMIN)}


def links(page: Page, menu: str = "") -> list[str]:
    shown = page.get_by_role("navigation", name=menu).get_by_role("link")
    found: list[str] = shown.evaluate_all("links => links.map(link => link.href)")
    return [link for link in found if "#" not in link]


@pytest.mark.usefixtures("busy")
def test_anybody_can_use_each_page(page: Page) -> None:
    sections = links(page, "Sections")
    waiting = list(sections)
    seen: dict[str, list[str]] = {}
    while waiting:
        link = waiting.pop(0)
        page.set_viewport_size(DESKTOP)
        page.goto(link)
        waiting += [found for found in links(page) if found not in {*seen, *waiting, link}]
        expect(page.locator("main h1")).to_have_count(1)
        seen[link] = [violations(page), *too_wide(page)]
        if link in sections:  # their other pages are made of the same parts
            seen[link] += out_of_reach(page)
            page.emulate_media(color_scheme="dark")
            seen[link].append(violations(page, "color-contrast"))
            page.emulate_media(color_scheme="light")
        page.set_viewport_size(PHONE)
        seen[link] += too_wide(page)
    faults = {link: "\n".join(found) for link, found in seen.items() if any(found)}
    assert not faults, "\n\n".join(f"{link}\n{found}" for link, found in faults.items())
    assert len(seen) > len(sections) > 1


def test_plots_move_by_themselves(page: Page, site: Site) -> None:
    corners = "[...document.querySelectorAll('polyline')].map(line => line.getAttribute('points')).join()"
    before = page.evaluate(corners)
    site.publish(*(BOB.event(str(number), created_at=int(time.time())) for number in range(5)))
    page.wait_for_function(f"before => {corners} !== before", arg=before)
    picture(page, "console-now")


@pytest.mark.usefixtures("busy")
def test_requests_and_events_are_explained(page: Page) -> None:
    text, main = page.get_by_role("textbox", name="as JSON"), page.get_by_role("main")
    page.goto("/admin/why")
    text.fill(json.dumps(["REQ", "x", {"kinds": [1], "authors": [ALICE.pubkey]}, {"search": MARKUP}]))
    page.get_by_role("button", name="Explain").click()
    expect(main).to_contain_text("Rows gone through")
    seen = [violations(page), *out_of_reach(page), *too_wide(page)]
    text.fill(encode(DAVE.event(MARKUP, created_at=int(time.time()))).decode())
    page.get_by_role("button", name="Explain").click()
    expect(main).to_contain_text("the author of this event is banned here")
    picture(page, "console-why")
    page.set_viewport_size(PHONE)
    seen += [violations(page), *out_of_reach(page), *too_wide(page)]
    text.fill("</textarea><script>alert(5)</script>")
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("alert")).not_to_be_empty()
    expect(text).to_have_value("</textarea><script>alert(5)</script>")
    assert not any(seen), "\n".join(seen)


def test_who_is_hung_up_on_is_gone(page: Page, site: Site) -> None:
    with site.client("a client of ours") as client:
        client.ask("of-mine", {"kinds": [31_337]})
        page.get_by_role("link", name="Clients").click()
        page.get_by_role("row").filter(has_text="a client of ours").get_by_role("link").click()
        expect(page.get_by_role("main")).to_contain_text("31337")
        page.get_by_role("button", name="Hang up").click()
        with pytest.raises(ConnectionClosed):
            client.receive()
        expect(page.get_by_role("status")).to_contain_text("Hung up")
        expect(page.get_by_role("heading", level=1)).to_have_text("Clients")


def test_what_the_store_holds_is_found_and_shown(page: Page) -> None:
    page.get_by_role("link", name="Store").click()
    expect(page.get_by_role("main")).to_contain_text("Authors with most events")
    page.get_by_role("link", name="Find events").click()
    page.get_by_label("Author").fill(BOB.pubkey)
    page.get_by_role("button", name="Find", exact=True).click()
    expect(page.get_by_role("article").first).to_be_visible()
    seen = [violations(page), *out_of_reach(page), *too_wide(page)]
    page.set_viewport_size(PHONE)
    assert not any([*seen, *too_wide(page)]), "\n".join(seen)
