"""What moderators do in the console, and what comes of it for those who are connected."""

from __future__ import annotations

import time

import pytest

from tests.support.browser import Page, Visitors, expect, picture
from tests.support.keys import Author
from tests.support.operators import ADMIN
from tests.support.site import Site
from trio_relay import Event

REPORT = 1984


@pytest.fixture(scope="module")
def cookie(site: Site) -> str:
    return site.cookie(ADMIN)


@pytest.fixture
def page(visitors: Visitors, cookie: str) -> Page:
    return visitors.open("/admin/moderation", cookie=cookie)


def note(author: Author, content: str) -> Event:
    return author.event(content, created_at=int(time.time()))


def report(of: Event, reason: str) -> Event:
    tags = [["e", of.id, reason], ["p", of.pubkey]]
    return Author("reporter").event("look at this", kind=REPORT, created_at=int(time.time()), tags=tags)


def test_a_report_is_shown_and_its_event_allowed_or_removed(page: Page, site: Site) -> None:
    author = Author("talker")
    good, bad = note(author, "only loud"), note(author, "really bad")
    site.publish(good, bad, report(good, "profanity"), report(bad, "malware"))
    page.reload()
    shown = page.get_by_role("article")
    expect(shown).to_have_count(2)
    expect(shown.filter(has_text="only loud")).to_contain_text("profanity")
    picture(page, "console-queue")
    shown.filter(has_text="only loud").get_by_role("button", name="Allow").click()
    expect(page.get_by_role("status")).to_contain_text("Let the event")
    expect(shown).to_have_count(1)
    shown.filter(has_text="really bad").get_by_role("button", name="Remove").click()
    expect(shown).to_have_count(0)
    with site.client() as client:
        assert client.ask("left", {"authors": [author.pubkey]}) == [good.id]


def test_a_ban_takes_away_what_a_subscriber_has_seen_and_is_undone(page: Page, site: Site) -> None:
    author = Author("spammer")
    first, second, third = (note(author, text) for text in ("one", "two", "three"))
    with site.client() as client:
        assert client.ask("live", {"authors": [author.pubkey]}) == []
        site.publish(first, report(first, "spam"))
        assert client.receive()[2]["id"] == first.id
        page.reload()
        shown = page.get_by_role("article")
        shown.get_by_role("button", name="for a day").click()
        expect(shown).to_have_count(0)
        expect(page.get_by_role("table")).to_contain_text(first.id[:10])  # of what is gone already
        assert client.ask("again", {"authors": [author.pubkey]}) == []
        assert client.publish(second)[2:] == [False, "blocked: the author of this event is banned here"]
        page.get_by_role("link", name="Banned keys").click()
        expect(page.get_by_role("table")).to_contain_text("spam")
        page.get_by_role("link", name="Log").click()
        page.get_by_role("button", name="Undo Banned the key").first.click()
        expect(page.get_by_role("table")).to_contain_text("undone")
        assert client.publish(third)[2] is True


def test_the_queue_is_worked_by_single_keys(page: Page, site: Site) -> None:
    author = Author("shouter")
    first, second = note(author, "AAA"), note(author, "BBB")
    site.publish(first, second, report(first, "spam"), report(second, "spam"))
    page.reload()
    expect(page.get_by_role("article")).to_have_count(2)
    page.keyboard.press("j")
    page.keyboard.press("r")
    expect(page.get_by_role("article")).to_have_count(1)
    page.keyboard.press("a")
    expect(page.get_by_role("article")).to_have_count(0)
    with site.client() as client:
        assert len(client.ask("left", {"authors": [author.pubkey]})) == 1
