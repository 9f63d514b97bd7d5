"""The first pages of all kinds, on each store that needs no other server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.browser import Visitors, expect
from tests.support.keys import ALICE
from tests.support.operators import ADMIN
from tests.support.site import Site, serving


@pytest.fixture(scope="module", params=["sqlite", "memory"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("relay"), {"store.backend": request.param}) as site:
        yield site


def test_front_and_console_show_what_is_there(visitors: Visitors, site: Site) -> None:
    event = ALICE.event("to be found")
    site.publish(event)
    page = visitors.open(f"/e/{event.id}", cookie=site.cookie(ADMIN))
    expect(page.get_by_role("main")).to_contain_text("to be found")
    page.goto("/")
    expect(page.get_by_role("heading", name="Connect")).to_be_visible()
    page.goto("/admin")
    expect(page.get_by_role("heading", level=1)).to_have_text("Now")
    page.get_by_role("navigation").get_by_role("link", name="Store").click()
    expect(page.get_by_role("main")).to_contain_text("Authors with most events")
