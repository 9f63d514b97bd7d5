"""The notes of a release: its section of the changelog, and nothing of its neighbours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from building import notes

CHANGELOG = """# Changelog

## Unreleased

- Not yet.

## [1.0.0-rc1] - 2026-11-30

### Added

- A [page](docs/releasing.md), [docs/cli.md](docs/cli.md), [NIP-01](https://example.com/01.md) and [here](#below).

## [0.2.0] - 2026-11-29

- The first.
"""

numbers = st.lists(st.integers(0, 99), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
versions = st.builds("{}{}".format, numbers, st.sampled_from(["", "a1", "b2", "rc10", ".post3", ".dev4"]))
texts = st.lists(st.sampled_from(["### Added", "- [0.2.0] - no heading", "- words", "", "## ", "#"])).map("\n".join)


@given(versions)
def test_python_takes_the_tag_for_the_same_version(version: str) -> None:
    assert Version(notes.tag_of(version)) == Version(version)


def test_what_comes_before_a_release_stands_behind_a_hyphen_as_semantic_versions_have_it() -> None:
    assert [notes.tag_of(version) for version in ("1.0.0rc1", "2.0.0a1", "1.1.0b12", "1.0.0")] == [
        "1.0.0-rc1",
        "2.0.0-a1",
        "1.1.0-b12",
        "1.0.0",
    ]


def test_notes_are_the_section_with_links_to_files_as_words() -> None:
    assert notes.release_notes(CHANGELOG, "1.0.0rc1") == (
        "# trio-relay 1.0.0-rc1\n\n2026-11-30\n\n### Added\n\n"
        "- A page (docs/releasing.md), docs/cli.md, [NIP-01](https://example.com/01.md) and [here](#below).\n"
    )
    assert notes.release_notes(CHANGELOG, "0.2.0") == "# trio-relay 0.2.0\n\n2026-11-29\n\n- The first.\n"


@pytest.mark.parametrize("version", ["1.0.0", "0.2", "Unreleased", "0.2.0rc1"])
def test_a_version_without_a_section_has_no_notes(version: str) -> None:
    with pytest.raises(LookupError, match=r"CHANGELOG.md has no heading `## \["):
        notes.release_notes(CHANGELOG, version)


def test_an_empty_section_is_no_notes() -> None:
    with pytest.raises(LookupError, match=r"CHANGELOG.md says nothing of 1.0.0-rc1"):
        notes.release_notes("## [1.0.0-rc1] - 2026-11-30\n\n## [0.2.0] - 2026-11-29\n\n- The first.\n", "1.0.0rc1")


@given(st.dictionaries(versions, texts.filter(lambda text: "## " not in text.splitlines())))
def test_each_release_of_any_changelog_gets_its_own_section(releases: dict[str, str]) -> None:
    said = {version: text for version, text in releases.items() if text.strip()}
    changelog = "".join(f"## [{notes.tag_of(version)}] - 2026-11-30\n\n{text}\n\n" for version, text in said.items())
    for version, text in said.items():
        head = f"# trio-relay {notes.tag_of(version)}\n\n2026-11-30\n\n"
        assert notes.release_notes(f"# Changelog\n\n{changelog}", version) == f"{head}{text.strip()}\n"
