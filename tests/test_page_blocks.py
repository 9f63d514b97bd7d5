"""What the pages have people type is run by a test, or stands here with the reason why not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.page_blocks import ROOT, SHELLS, blocks_of
from trio_relay.config import load

PAGES: Final = sorted(
    str(page.relative_to(ROOT))
    for place in (".", "config/cluster", "docs", "docs/decisions", "perf", "tests/support")
    for page in (ROOT / place).glob("*.md")
)

MAKE = "what `make` makes is CI's first step; that there are such targets is seen below"
MINUTES = "takes minutes; what it runs is tried for moments in tests/perf"
NOT_RUN: Final = {
    ("CONTRIBUTING.md", "First run"): MAKE,
    ("README.md", "trio-relay"): MAKE,
    ("README.md", "Try it"): "nak cannot be had from the Go module proxy; the example in Python below it is run",
    ("config/cluster/README.md", "To take one relay out"): "needs that cluster, and root",
    ("config/cluster/README.md", "With containers, on one machine"): "needs root and an engine for containers",
    ("docs/comparison.md", "Promises"): MINUTES,
    ("docs/fuzzing.md", "Long runs"): "takes as long as it is given; tests/fuzz tries the same doors by properties",
    ("docs/installing.md", "In a container"): "needs an engine for containers; `make machines` does what it would do",
    ("docs/restarting.md", "What the service manager is told"): "tests/e2e/test_restarting.py does so on free ports",
    ("docs/scaling.md", "Scaling"): MINUTES,
    ("perf/README.md", "Run it"): MINUTES,
}
"""By page and heading."""


def taken() -> Iterator[tuple[str, str]]:
    """The page and the heading of each `shell_blocks("page", "heading")` in the tests."""
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Name("shell_blocks"), args=[ast.Constant(str(page)), ast.Constant(str(section))]
                ):
                    yield page, section


def test_each_block_for_a_shell_is_run_or_has_a_reason() -> None:
    shown = {(page, block.section) for page in PAGES for block in blocks_of(page) if block.language in SHELLS}
    assert shown == set(taken()) | set(NOT_RUN)
    assert set(taken()) & set(NOT_RUN) == set()


def test_each_block_says_its_language() -> None:
    assert [(page, block.text) for page in PAGES for block in blocks_of(page) if not block.language] == []


def test_make_has_each_target_that_a_page_names() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        (page, target)
        for page in PAGES
        for target in re.findall(r"(?:^|`)make ([a-z][\w-]*)", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert [(page, target) for page, target in named if target not in targets] == []
    assert len(named) > 20


TABLES: Final = [page for page in PAGES if page not in ("docs/mirrors.md", "perf/README.md")]
"""All but those of a page with a test of its own, which makes the key that they name, and of other relays' tables."""


@pytest.mark.parametrize("page", TABLES)
def test_each_table_for_the_configuration_is_one(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks_of(page):
        if block.language == "toml":
            for name in re.findall(r'"file:(.+?)"', block.text):
                (tmp_path / name).parent.mkdir(exist_ok=True)
                (tmp_path / name).touch()
            (tmp_path / "relay.toml").write_text(block.text, encoding="utf-8")
            load(tmp_path / "relay.toml", CERTIFIED if "tls:" in block.text else {})


CERTIFIED: Final = {"TRIO_RELAY_NET__TLS_CERTIFICATE": "c.pem", "TRIO_RELAY_NET__TLS_KEY": "k.pem"}
