"""The documentation is true: generated pages are up to date, examples run, links lead somewhere, names exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.generate import ROOT, pages
from trio_relay.config import Config, load
from trio_relay.nostr.limits import Limits
from trio_relay.nostr.relay_info import SUPPORTED_NIPS, RelayInfo, document
from trio_relay.policy.capabilities import capabilities_of, optional_nips
from trio_relay.policy.options import MemberOptions, PolicyOptions
from trio_relay.policy.rules import Rules

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_generated_page_is_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == pages()[path], "run `make docs`"


def test_sample_file_says_the_defaults() -> None:
    assert load(ROOT / "config" / "relay.toml", {}) == Config()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_the_table_of_nips_is_what_can_be_supported() -> None:
    page = (ROOT / "docs" / "nips.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]*) \|$", page, re.MULTILINE)
    able = {*SUPPORTED_NIPS, *optional_nips(Rules())}
    assert [int(nip) for nip, _ in rows] == sorted(able)
    tests = [path for _, named in rows for path in re.findall(r"`([^`]+)`", named)]
    assert [path for path in tests if not (ROOT / path).exists()] == []


def test_the_document_names_no_other_nips_than_the_table() -> None:
    everything = PolicyOptions(min_pow_difficulty=1, admins=("a" * 64,), and_tags=True)
    rules = Rules(Limits(), everything, MemberOptions(enabled=True), relay_url="wss://relay.example/")
    told = json.loads(document(RelayInfo(), rules.limits, capabilities_of(rules)))["supported_nips"]
    assert told == sorted({*SUPPORTED_NIPS, *optional_nips(rules)})
    nothing = Rules(has_search=False, has_sync=False)
    assert json.loads(document(RelayInfo(), nothing.limits, capabilities_of(nothing)))["supported_nips"] == list(
        SUPPORTED_NIPS
    )


def test_the_readme_names_every_nip() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    able = {*SUPPORTED_NIPS, *optional_nips(Rules())} - {91}
    assert [nip for nip in sorted(able) if f"/nips/blob/master/{nip:02}.md" not in readme] == []


@pytest.mark.slow
def test_the_embedding_example_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    example = next(block for block in blocks if "open_relay" in block)
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("listening on 127.0.0.1:")


def test_every_setting_named_in_the_docs_exists() -> None:
    known = {f"{section}.{key}" for section in Config.__struct_fields__ for key in _keys(section)}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = re.findall(rf"`((?:{'|'.join(Config.__struct_fields__)})\.[a-z_]+)`", text)
        assert [name for name in named if name not in known and not _is_module(name)] == []


def _is_module(name: str) -> bool:
    return (ROOT / "trio_relay" / f"{name.replace('.', '/')}.py").exists()


def _keys(section: str) -> tuple[str, ...]:
    return tuple(type(getattr(Config(), section)).__struct_fields__)
