"""The front page, as visitors see it."""

from __future__ import annotations

import pytest

from tests.support.browser import DESKTOP, PHONE, ViewportSize, Visitors, expect, out_of_reach, too_wide, violations


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"relay.name": "A relay of ours", "relay.description": "For tests & trials."}


def test_it_says_whose_it_is_and_how_to_connect(visitors: Visitors) -> None:
    page = visitors.open("/")
    expect(page).to_have_title("A relay of ours")
    expect(page.get_by_role("heading", level=1)).to_have_text("A relay of ours")
    expect(page.get_by_role("main")).to_contain_text("For tests & trials.")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_anybody_can_use_it(visitors: Visitors, dark: bool, viewport: ViewportSize) -> None:
    page = visitors.open("/", dark=dark, viewport=viewport)
    assert (violations(page), out_of_reach(page), too_wide(page)) == ("", [], [])
