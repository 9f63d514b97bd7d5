"""What a release is called, and what its notes say: the section of CHANGELOG.md under its name. Pure."""

from __future__ import annotations

import re
from typing import Final

_LINK: Final = re.compile(r"(?<!!)\[([^\]]+)\]\(((?!\w+:|#)[^)]+)\)")
"""A link to another file of the sources, which leads nowhere from where the notes are read."""


def tag_of(version: str) -> str:
    """Return the name under which a version stands in CHANGELOG.md and is tagged: that of Semantic Versioning.

    Args:
        version: as Python spells it (PEP 440): numbers, then `aN`, `bN` or `rcN` for what comes before a release.

    Returns:
        such as `1.0.0-rc1` for `1.0.0rc1`, which Python takes for the same version.
    """
    return re.sub(r"(?<=\d)(a|b|rc)(?=\d+$)", r"-\1", version)


def release_notes(changelog: str, version: str) -> str:
    """Return the notes of a release, in Markdown.

    Args:
        changelog: all of it, in the form of Keep a Changelog: each release under `## [1.0.0-rc1] - 2026-11-30`.
        version: as for `tag_of`.

    Raises:
        LookupError: there is no such section, or nothing stands in it.
    """
    tag = tag_of(version)
    # `(?=^## |\Z)`: up to the next release, or the end.
    section = re.search(rf"^## \[{re.escape(tag)}\] - (\S+)$\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if section is None:
        raise LookupError(f"CHANGELOG.md has no heading `## [{tag}] - DATE`: give the section `Unreleased` this one")
    date, text = section.groups()
    if not text.strip():
        raise LookupError(f"CHANGELOG.md says nothing of {tag}")
    return f"# trio-relay {tag}\n\n{date}\n\n{_LINK.sub(_plain, text.strip())}\n"


def _plain(link: re.Match[str]) -> str:
    words, target = link.groups()
    return words if words == target else f"{words} ({target})"
