"""Who comes into the console, by which ways, and until when."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.support.browser import PHONE, Page, Visitors, expect, out_of_reach, too_wide, violations
from tests.support.keys import ALICE, BOB
from tests.support.operators import ADMIN
from tests.support.program import launcher
from tests.support.site import COOKIE, Site, serving

_CLOCK = """
import os, time
real = time.time
def shifted():
    try:
        return real() + os.stat("shift").st_size
    except FileNotFoundError:
        return real()
time.time = shifted
"""
"""Has the program's clock go ahead by as many seconds as a file has bytes."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    admins = json.dumps([ADMIN.pubkey, ALICE.pubkey])
    with serving(tmp_path_factory.mktemp("relay"), {"policy.admins": admins}, command=launcher(_CLOCK)) as site:
        yield site


def log_in(page: Page) -> None:
    page.get_by_role("button", name="key").click()


def is_in(page: Page) -> None:
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def is_out(page: Page) -> None:
    expect(page.get_by_role("button", name="Log out")).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Manage")


def test_an_admin_comes_in_by_the_key_of_an_extension_and_goes(visitors: Visitors) -> None:
    page = visitors.open("/admin", key=ADMIN, viewport=PHONE)
    assert (violations(page), out_of_reach(page), too_wide(page)) == ("", [], [])
    log_in(page)
    is_in(page)
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/admin")
    page.get_by_role("button", name="Log out").click()
    is_out(page)
    assert page.context.cookies() == []
    visitors.give(page, cookie["value"])  # who has kept it comes no further
    page.goto("/admin")
    is_out(page)


def test_a_key_that_may_not_manage_stays_out(visitors: Visitors) -> None:
    visitors.faults.expect("status of 401")
    page = visitors.open("/admin", key=BOB)
    log_in(page)
    expect(page.get_by_role("alert")).to_contain_text("this key may not manage the relay")
    page.reload()
    is_out(page)
    assert page.context.cookies() == []


def test_a_link_lets_in_once_without_javascript_too(visitors: Visitors, site: Site) -> None:
    link = site.link()
    first = visitors.open(link, scripts=False)
    first.get_by_role("button", name="link").click()
    is_in(first)
    visitors.faults.expect("status of 401")
    second = visitors.open(link)
    second.get_by_role("button", name="link").click()
    expect(second.get_by_role("alert")).to_contain_text("used up")
    second.goto("/admin")
    is_out(second)
    first.reload()
    is_in(first)


def test_who_has_no_extension_and_no_javascript_is_told_of_the_link(visitors: Visitors) -> None:
    for scripts in (True, False):
        page = visitors.open("/admin", scripts=scripts)
        expect(page.get_by_role("main")).to_contain_text("trio-relay admin-link")


def test_a_session_ends(visitors: Visitors, site: Site) -> None:
    page = visitors.open("/admin", cookie=site.cookie(ADMIN))
    is_in(page)
    (site.folder / "shift").write_bytes(bytes(43_201))
    try:
        is_out(page)  # by itself: the page asks the relay again and again
        page.goto("/admin")
        is_out(page)
    finally:
        (site.folder / "shift").unlink()


def test_a_cookie_is_good_for_its_own_key_alone(visitors: Visitors, site: Site) -> None:
    admins, alices = site.cookie(ADMIN), site.cookie(ALICE)
    mixed = f"{ADMIN.pubkey}.{alices.partition('.')[2]}"
    altered = admins[:-1] + ("A" if admins[-1] != "A" else "B")
    page = visitors.open(None)
    for cookie in (mixed, altered, f"operator.{alices.partition('.')[2]}", ADMIN.pubkey):
        visitors.give(page, cookie)
        page.goto("/admin")
        is_out(page)
    visitors.give(page, alices)
    page.goto("/admin")
    is_in(page)


def test_a_form_of_one_key_is_refused_with_the_cookie_of_another(visitors: Visitors, site: Site) -> None:
    visitors.faults.expect("status of 403")
    page = visitors.open("/admin", cookie=site.cookie(ADMIN))
    visitors.give(page, site.cookie(ALICE))
    with page.expect_response("**/admin/logout") as answered:
        page.get_by_role("button", name="Log out").click()
    assert answered.value.status == 403
    page.goto("/admin")
    is_in(page)


def test_pages_of_others_can_neither_do_nor_read_anything(visitors: Visitors, site: Site) -> None:
    """Another port of the same host is another origin, but the same site: the browser sends the cookie along."""
    visitors.faults.expect("status of 403")
    visitors.faults.expect("blocked by CORS|ERR_FAILED|Failed to fetch|frame-ancestors|refused to connect")
    evil = "http://127.0.0.1:9"
    visitors.faults.origins.add(evil)
    page = visitors.open("/admin", cookie=site.cookie(ADMIN))
    token = page.locator("input[name=form_token]").first.get_attribute("value")
    form = f"""<!doctype html><link rel=icon href=data:,><form method=post action={site.origin}/admin/do>
        <input name=form_token value={token}><input name=method value=banpubkey><input name=s0 value={BOB.pubkey}>
        <button>Win</button></form><iframe src={site.origin}/admin></iframe>"""
    page.route(f"{evil}/**", lambda route: route.fulfill(body=form, content_type="text/html"))
    page.goto(evil)
    read = "url => fetch(url, {credentials: 'include'}).then(answer => answer.text(), () => 'nothing')"
    assert page.evaluate(read, f"{site.origin}/admin") == "nothing"
    assert page.evaluate("window.frames[0].length") == 0
    assert page.evaluate("document.forms[0].elements.form_token.value") == token != ""
    with page.expect_response("**/admin/do") as answered:
        page.get_by_role("button").click()
    assert answered.value.status == 403
    assert f"{COOKIE}=" in answered.value.request.all_headers()["cookie"]  # it was no want of the cookie
    page.goto("/admin")
    post = """fields => fetch(document.baseURI + "/do", {method: "POST", body: new URLSearchParams(fields)})
        .then(answer => answer.status)"""
    ban = {"method": "banpubkey", "s0": BOB.pubkey}
    assert [page.evaluate(post, {**ban, **more}) for more in ({}, {"form_token": "x"})] == [403, 403]
    event = BOB.event("still here", created_at=int(time.time()))
    site.publish(event)
