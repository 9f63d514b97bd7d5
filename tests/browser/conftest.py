"""One browser for all of these tests, one relay for those of a module, and visitors who may do nothing wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.site import Site, serving

if TYPE_CHECKING:  # the tests are skipped where Playwright is not installed
    from playwright.sync_api import Browser

    from tests.support.browser import Visitors


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if item.path.parent.name == "browser":
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A Chromium without any window."""
    from tests.support.browser import CHROMIUM, open_browser

    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """What the relay of a module is set to; modules have their own."""
    return {}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, str]) -> Iterator[Site]:
    """The relay of a module."""
    with serving(tmp_path_factory.mktemp("relay"), settings) as site:
        yield site


@pytest.fixture
def visitors(browser: Browser, site: Site) -> Iterator[Visitors]:
    """Who look at the pages of the module's relay; the test fails if a page does what none may."""
    from tests.support.browser import Visitors

    visitors = Visitors(browser, site.origin)
    yield visitors
    visitors.close()
