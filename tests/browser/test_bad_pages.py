"""What the other tests here hold pages to, on pages that are wrong: each fault is noticed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.browser import PHONE, Browser, Page, Route, Visitors, out_of_reach, too_wide, violations
from tests.support.keys import ALICE
from trio_relay import Event

ORIGIN = "http://127.0.0.1:1"
GOOD = """<!doctype html><html lang="en"><title>A page</title><meta name="viewport" content="width=device-width">
<link rel="icon" href="/icon"><main><h1>A page</h1><p>With <a href="/other">a link</a>.%s</main></html>"""


@pytest.fixture
def shown(browser: Browser) -> Callable[..., tuple[Page, Visitors]]:
    """Opens a page that no server has, with something added to it."""

    def show(addition: str = "") -> tuple[Page, Visitors]:
        visitors = Visitors(browser, ORIGIN)
        page = visitors.open(None, key=ALICE, viewport=PHONE)

        def answer(route: Route) -> None:
            is_icon = route.request.url.endswith("/icon")
            route.fulfill(
                body="<svg xmlns='http://www.w3.org/2000/svg'/>" if is_icon else GOOD % addition,
                content_type="image/svg+xml" if is_icon else "text/html",
                headers={"Content-Security-Policy": "default-src 'self'; style-src 'unsafe-inline'"},
            )

        page.route(f"{ORIGIN}/**", answer)
        page.goto("/")
        return page, visitors

    return show


Shown = Callable[..., tuple[Page, Visitors]]


def test_a_good_page_passes(shown: Shown) -> None:
    page, visitors = shown()
    assert (violations(page), out_of_reach(page), too_wide(page)) == ("", [], [])
    visitors.close()


def test_what_no_page_may_do_is_noticed(shown: Shown) -> None:
    page, visitors = shown(
        "<script>1</script><img alt='' src='https://example.com/1'><iframe title='it' src='https://example.com/'></iframe>"
    )
    with page.context.expect_event("weberror"):
        page.evaluate("setTimeout(() => { throw new Error('oh no') }, 0)")
    with page.expect_event("requestfailed"):
        page.evaluate("location = 'http://example.org/'")
    with pytest.raises(AssertionError) as failed:
        visitors.close()
    for fault in (
        "policy: script-src-elem: inline",
        "policy: img-src: https://example.com/1",
        "policy: frame-src: https://example.com",
        "console: Executing inline script violates",
        "uncaught: oh no",
        "asked elsewhere: http://example.org/",
    ):
        assert fault in str(failed.value)


def test_what_hinders_people_is_noticed(shown: Shown) -> None:
    page, visitors = shown(
        "<img src='/icon'><a href='/x' style='outline: none'>another</a><p style='width: 900px'>wide"
    )
    assert violations(page).startswith("image-alt (critical)")
    assert out_of_reach(page) == ['<a href="/x" style="outline: none">another</a>']
    assert too_wide(page) == ["scrolls", '<p style="width: 900px">wide</p>']
    visitors.close()


def test_the_extension_signs_with_the_key_it_was_lent(shown: Shown) -> None:
    page, visitors = shown()
    assert page.evaluate("window.nostr.getPublicKey()") == ALICE.pubkey
    asked = {"kind": 1, "content": "hello", "created_at": 1_700_000_000, "tags": [["t", "x"]]}
    signed = page.evaluate("asked => window.nostr.signEvent(asked)", asked)
    assert Event(**signed) == ALICE.event("hello", tags=[["t", "x"]])
    visitors.close()
