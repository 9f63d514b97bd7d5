"""Completes the index of words beside the running relay, a portion at a time. Blocks.

While search is off, events are stored without their words; after an upgrade, or with a Python whose Unicode data are
newer, words were made by other rules. The file remembers up to which event number the words are those of today's rules
(`tokenizer.RULES`), so that only the rest is made, from there on after every start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apsw

from trio_relay.nostr.event import Event
from trio_relay.nostr.tokenizer import RULES
from trio_relay.store.sqlite.rows import (
    DELETE_TAGS,
    DELETE_WORDS,
    INSERT_TAGS,
    INSERT_WORDS,
    mark_records,
    number_records,
    read_page,
    records_of,
    run,
    word_records,
)

EVENTS_AT_A_TIME: Final = 200
"""Events of one portion, some ten milliseconds: the next batch waits no longer for it."""
_CHARACTERS_AT_A_TIME: Final = 2**18


def is_worded(connection: apsw.Connection) -> bool:
    """Return True if the words of all events are in the index."""
    return connection.execute("SELECT until FROM worded").get is None


def prepare_words(connection: apsw.Connection, last: int, *, search: bool) -> int:
    """Note which events lack words, or will; it has to come before any write.

    Args:
        connection: for writing.
        last: the number of the last event.
        search: new events will have words.

    Returns:
        how many events lack them that are to have them, at most: numbers of removed events count, too.

    Raises:
        apsw.Error: the database could not be read or written.
    """
    noted, rules = connection.execute("SELECT until, rules FROM worded").get
    until = noted if rules == RULES else 0
    if not search:
        until = last if until is None else until
    elif until is not None and until >= last:
        until = None
    if (until, RULES) != (noted, rules):
        _note(connection, until)
    return 0 if until is None or not search else last - until


def index_portion(connection: apsw.Connection, last: int) -> int:
    """Make the words of the next events that lack them, inside the caller's transaction.

    It goes from the oldest to the newest: FTS5 takes numbers that ascend without writing in between.

    Args:
        connection: for writing.
        last: the number of the last event that may lack words.

    Returns:
        the number of the last event that has them now; 0 if all have.
    """
    until = connection.execute("SELECT until FROM worded").get
    if until is None:
        return 0
    page = read_page(connection, _NEXT, until, EVENTS_AT_A_TIME, _CHARACTERS_AT_A_TIME)
    numbered = [(seq, event) for seq, event in page if seq <= last]
    if not numbered:
        _note(connection, None)
        return 0
    run(connection, DELETE_WORDS, number_records(seq for seq, _ in numbered))
    run(connection, DELETE_TAGS, records_of(mark_records, numbered))
    insert_words(connection, numbered)
    until = numbered[-1][0]
    _note(connection, until)
    return until


def insert_words(connection: apsw.Connection, numbered: Sequence[tuple[int, Event]]) -> None:
    """Insert words and marks of stored events into their index, inside the caller's transaction."""
    run(connection, INSERT_WORDS, records_of(word_records, numbered))
    run(connection, INSERT_TAGS, records_of(mark_records, numbered))


def _note(connection: apsw.Connection, until: int | None) -> None:
    connection.execute("UPDATE worded SET until = ?, rules = ?", (until, RULES)).fetchall()


_NEXT: Final = "SELECT seq, json FROM event WHERE seq > ? ORDER BY seq LIMIT ?"
