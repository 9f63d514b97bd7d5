"""The table of scripts in docs/search.md: each text is found as it says, in every store and live."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.backends import ask
from tests.support.keys import ALICE, NOW
from trio_relay import Event, Filter, Rules, Store
from trio_relay.nostr.filter import parse_filter

PAGE: Final = Path(__file__).parents[2] / "docs" / "search.md"
_ROW: Final = re.compile(r"\| ([A-Za-z]+) \|.*\| `(.+)` \| `(.+)` \| (yes|no) \|")


class Row(NamedTuple):
    """One row of the table."""

    script: str
    text: str
    search: str
    is_found: bool


def rows() -> list[Row]:
    """The rows of the table, in their order."""
    _, _, section = PAGE.read_text().partition("## Scripts\n")
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("| ")][1:]
    matches = [_ROW.fullmatch(line) for line in lines]
    assert all(matches), [line for line, match in zip(lines, matches, strict=True) if match is None]
    return [Row(match[1], match[2], match[3], match[4] == "yes") for match in matches if match is not None]


ROWS: Final = rows()
EVENTS: Final = [ALICE.event(row.text, created_at=NOW + number) for number, row in enumerate(ROWS)]


def asking(row: Row, event: Event) -> Filter:
    """As somebody who has typed the search asks a relay that nobody has set otherwise."""
    return parse_filter({"search": row.search, "ids": [event.id]}, prefix=Rules().search_prefix)


def test_the_table_has_every_script_and_both_answers() -> None:
    assert len(ROWS) > 50
    assert {row.script for row in ROWS} >= {"Latin", "Greek", "Cyrillic", "Hebrew", "Arabic", "Hangul", "Han", "Kana"}
    assert sum(not row.is_found for row in ROWS) > 10


def test_live_events_are_found_as_the_table_says() -> None:
    pairs = zip(ROWS, EVENTS, strict=True)
    wrong = [row for row, event in pairs if asking(row, event).matches(event) != row.is_found]
    assert wrong == []


async def test_stored_events_are_found_as_the_table_says(store: Store) -> None:
    await store.save_many(EVENTS)
    wrong = []
    for row, event in zip(ROWS, EVENTS, strict=True):
        found = await ask(store, asking(row, event))
        if found != ([event] if row.is_found else []):
            wrong.append(row)
        assert await store.count([asking(row, event)]) == len(found)
    assert wrong == []
