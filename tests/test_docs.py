"""The documentation is true: generated pages are up to date, examples run, links lead somewhere, names exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from building.notes import tag_of
from docs.generate import ROOT, pages
from trio_relay import Limits, MemberOptions, PolicyOptions, Rules
from trio_relay.config import Config, load
from trio_relay.config_tables import options_of
from trio_relay.nostr.relay_info import SUPPORTED_NIPS, RelayInfo, document
from trio_relay.policy.capabilities import capabilities_of, optional_nips
from trio_relay.version import __version__

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_generated_page_is_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == pages()[path], "run `make docs`"


def test_sample_file_says_the_defaults() -> None:
    assert load(ROOT / "config" / "relay.toml", {}) == Config()


def test_every_decision_is_in_the_index_with_its_date_and_status() -> None:
    """A page whose answer has changed says so there."""
    folder = ROOT / "docs" / "decisions"
    rows = []
    for page in sorted(folder.glob("0*.md")):
        head = re.match(
            r"# (\d+)\. (.+)\n\nDate: (\d{4}-\d\d-\d\d)\. Status: (.+)\.\n", page.read_text(encoding="utf-8")
        )
        assert head is not None, page.name
        number, title, date, status = head.groups()
        assert page.name.startswith(f"{int(number):04}-")
        rows.append(f"| [{number}]({page.name}) | {title} | {date} | {status} |")
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert [line for line in index.splitlines() if line.startswith("| [")] == rows


def test_the_hooks_before_a_commit_are_what_make_check_runs() -> None:
    hooks = re.findall(r"entry: \.venv/bin/(.+)", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [hook.removesuffix(" --force-exclude") for hook in hooks] == ["ruff format", "ruff check", "mypy"]
    checks = re.findall(
        r"^\t\$\(VENV\)/bin/(ruff format|ruff check|mypy)", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert set(checks) == {"ruff format", "ruff check", "mypy"}
    pinned = re.findall(r"^(ruff|mypy)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert sorted(pinned) == ["mypy", "ruff"]


def test_the_changelog_has_the_version() -> None:
    assert f"## [{tag_of(__version__)}] - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_contributing_names_files_that_exist() -> None:
    named = re.findall(r"`([\w/]+\.(?:py|md|toml|yaml))", CONTRIBUTING)
    made_up = {"tests/nips/test_nipNN.py", "options.py"}
    places = (ROOT, ROOT / "trio_relay")
    assert [name for name in named if name not in made_up and not any((it / name).exists() for it in places)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_each_page_has_a_line_on_the_first_one() -> None:
    """From which the site has its tables of contents; tests/test_site.py builds it."""
    first = ROOT / "docs" / "index.md"
    listed = re.findall(r"^- \[.+?\]\((.+?)\): .", first.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(set(listed))
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {first.name}
    assert {name for name in listed if "/" not in name} == pages


def test_the_table_of_nips_is_what_can_be_supported() -> None:
    page = (ROOT / "docs" / "nips.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]*) \|$", page, re.MULTILINE)
    able = {*SUPPORTED_NIPS, *optional_nips(Rules())}
    assert [int(nip) for nip, _ in rows] == sorted(able)
    tests = [path for _, named in rows for path in re.findall(r"`([^`]+)`", named)]
    assert [path for path in tests if not (ROOT / path).exists()] == []


def test_the_document_names_no_other_nips_than_the_table() -> None:
    everything = PolicyOptions(min_pow_difficulty=1, admins=("a" * 64,), and_tags=True)
    rules = Rules(Limits(), everything, MemberOptions(enabled=True), RelayInfo(eose_hints=True), "wss://relay.example/")
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
        if page.name == "migrating.md":
            text = re.sub(r"^\| [^|]+ \|", "", text, flags=re.MULTILINE)  # what other relays call theirs
        named = re.findall(rf"`((?:{'|'.join(Config.__struct_fields__)})\.[a-z_]+)`", text)
        assert [name for name in named if name not in known and not _is_module(name)] == []


def test_each_attack_has_an_answer_its_settings_and_a_test() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    part = page.partition("## What answers which attack")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")]
    attacks = [row for row in rows if row != ["the attack", "the answer", "settings", "tested in"]]
    known = {f"`{section}.{key}`" for section in Config.__struct_fields__ for key in _keys(section)}
    for attack, answer, settings, tested in attacks:
        assert answer
        assert (
            settings == "none"
            or re.fullmatch(r"\[.+\]\(configuration\.md#\w+\)", settings)
            or (set(settings.split(", ")) <= known)
        ), attack
        tests = re.findall(r"\]\(\.\./(tests/[\w/]+/test_\w+\.py|tests/test_\w+\.py)\)", tested)
        assert tests, attack
        assert len(tests) == tested.count("]("), attack
        assert [test for test in tests if not (ROOT / test).exists()] == [], attack
    assert len(attacks) > 30


def _is_module(name: str) -> bool:
    return (ROOT / "trio_relay" / f"{name.replace('.', '/')}.py").exists()


def _keys(section: str) -> tuple[str, ...]:
    return tuple(options_of(section).__struct_fields__)
