"""The site that `make site` makes of the pages: no warning, no dead link, and nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from docs.generate import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]  # it is built once


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, built by the command of the Makefile."""
    pytest.importorskip("sphinx", reason="the extra site is not installed")
    folder = tmp_path_factory.mktemp("site")
    (command,) = re.findall(r"^SPHINX = \S+ (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    options = command.replace("build/site-pages", str(folder / "pages")).split()
    built = subprocess.run(
        [sys.executable, *options, "--builder", "html", ".", str(folder / "site")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return folder / "site"


class Links(HTMLParser):
    """What a page of the site has: the links for readers, what the browser loads with it, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        self.anchors.add(has.get("id") or "")
        where = has.get("src") or has.get("href") or ""
        if tag == "a" and where:
            self.links.append(where)
        elif where:
            self.loaded.append(where)


@cache
def read(page: Path) -> Links:
    return Links(page.read_text(encoding="utf-8"))


def is_there(link: str, page: Path) -> bool:
    parts = urlsplit(link)
    file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    return file.is_file() and (not parts.fragment or unquote(parts.fragment) in read(file).anchors)


def test_no_link_within_the_site_is_dead(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    dead = [
        (str(page.relative_to(site)), link)
        for page in pages
        for link in [*read(page).links, *read(page).loaded]
        if not re.match(r"[a-z]+:", link) and not is_there(link, page)
    ]
    assert dead == []
    assert len(pages) > 70


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loaded = {link for page in site.rglob("*.html") for link in read(page).loaded}
    assert [link for link in loaded if "//" in link] == []
    styles = "".join(file.read_text(encoding="utf-8") for file in site.rglob("*.css"))
    assert re.findall(r"url\([\"']?(?:https?:)?//[^)]*|@import[^;]*", styles) == []


def test_the_search_knows_what_is_on_the_pages(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert '"docs/operations"' in index
    assert "negentropi" in index, "words are kept by their stem"


def test_the_root_leads_to_the_first_page_and_that_to_every_other(site: Path) -> None:
    first = site / "docs" / "index.html"
    assert (site / read(site / "index.html").links[0]).resolve() == first
    listed = {(first.parent / urlsplit(link).path).resolve() for link in read(first).links if ":" not in link}
    made = {*site.rglob("*.html")} - {site / "index.html", site / "search.html", first}
    assert {page.relative_to(site) for page in made - listed} == set()
