"""Many events at a time: records of theirs as one binding of one statement, and pages of them to go through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import Final

import apsw

from trio_relay.nostr.event import Event, decode

_PAGE_CHARACTERS: Final = 2**23


def records_of(make: Callable[[Event, int], list[bytes]], numbered: Iterable[tuple[int, Event]]) -> list[bytes]:
    """What `make` (of `records`) makes of all these events."""
    return [record for seq, event in numbered for record in make(event, seq)]


def run(connection: apsw.Connection, sql: str, records: Sequence[bytes]) -> None:
    """Carry out a statement on records, if there are any: an array must have a member."""
    if records:
        connection.execute(sql, (apsw.carray(tuple(records)),)).fetchall()


def read_page(connection: apsw.Connection, sql: str, after: int, most: int) -> list[tuple[int, Event]]:
    """Numbers and events of a table, up to so many, and fewer where they are large; empty at the end.

    Args:
        connection: for reading.
        sql: gives number and JSON of those with a number above its first parameter, in order, as many as the second.
        after: the number of the last one of the page before.
        most: how many events.
    """
    page: list[tuple[int, Event]] = []
    characters = 0
    with closing(connection.execute(sql, (after, most))) as rows:
        for seq, json in rows:
            text = str(json)
            page.append((int(str(seq)), decode(text)))
            characters += len(text)
            if characters >= _PAGE_CHARACTERS:
                break
    return page
