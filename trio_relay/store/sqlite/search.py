"""Answers searches with numbers of events: filter after filter, each in its own order. Runs in readers' threads.

A search with `sort:` takes two queries: the newest matches, and the number of keys that refer to each. SQLite counts
the keys: fetching them could take a million rows for one note.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apsw

from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import REACTION
from trio_relay.nostr.ranking import Voices, candidates, mute_kinds, ranked_by, reference_window
from trio_relay.nostr.search import COLOURS, DISLIKES, LIKES, Sort
from trio_relay.store.sqlite.planner import plan_newest, plan_one
from trio_relay.store.sqlite.rows import tag_key
from trio_relay.store.sqlite.sql import Select, Where


def find(connection: apsw.Connection, filters: Sequence[Filter], now: int, expired_by: int | None = None) -> list[int]:
    """Find the numbers of what the filters ask for, each once, in the order of the answer.

    Args:
        connection: for reading.
        filters: each has a limit.
        now: seconds since 1970, from which ages are counted.
        expired_by: events that expire up to this second are left out; None if no stored event does.

    Raises:
        apsw.InterruptError: the query was interrupted.
        apsw.Error: the database could not answer.
    """
    found: dict[int, None] = {}
    for filter_ in filters:
        if filter_.wants_stored:
            found |= dict.fromkeys(_find(connection, filter_, now, expired_by))
    return list(found)


def _find(connection: apsw.Connection, filter_: Filter, now: int, expired_by: int | None) -> list[int]:
    if filter_.search is not None and filter_.search.sort is not None:
        return _ranked(connection, filter_, filter_.search.sort, now, expired_by)
    return numbers(connection, plan_one(filter_, expired_by))


def numbers(connection: apsw.Connection, select: Select) -> list[int]:
    """Return the numbers of the events of a narrow SELECT, in its order."""
    joined = joined_numbers(connection, select)
    return list(map(int, joined.split(","))) if joined else []


def joined_numbers(connection: apsw.Connection, select: Select) -> str:
    """Return the same as one text with commas: a million integers would hold the GIL for a tenth of a second."""
    # The numbers of a hundred thousand events are longer than an answer string may be.
    before = connection.limit(apsw.SQLITE_LIMIT_LENGTH, _NUMBERS_BYTES)
    try:
        joined: str | None = connection.execute(_NUMBERS.format(select.sql), tuple(select.bindings)).get
    finally:
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, before)
    return joined or ""


def _ranked(connection: apsw.Connection, filter_: Filter, sort: Sort, now: int, expired_by: int | None) -> list[int]:
    newest = plan_newest(candidates(filter_, now), expired_by)
    joined = connection.execute(_NOTES.format(newest.sql), tuple(newest.bindings)).get
    if not joined:
        return []
    notes: dict[str, tuple[int, int]] = {}
    for line in joined.split(","):
        note, created_at, seq = line.split()
        notes[note] = int(created_at), int(seq)
    voices = _voices(connection, list(notes), sort, filter_, expired_by)
    best = ranked_by(sort, [(note, at) for note, (at, _) in notes.items()], voices, now, filter_.limit or 0)
    return [notes[note][1] for note in best]


def _voices(
    connection: apsw.Connection, notes: Sequence[str], sort: Sort, filter_: Filter, expired_by: int | None
) -> dict[str, Voices]:
    """Count the keys that refer to each note; votes only if they matter, since they need every reaction's content."""
    targets = {tag_key("e", note): note for note in notes}
    since, until = reference_window(filter_)
    heard_then = Where().times(Filter(since=since, until=until), "tag.").living(expired_by, "tag")
    heard_then.is_not_in("tag.kind", sorted(mute_kinds(filter_.reader)))
    counts = [_count("", heard_then)]
    if sort == "controversial":
        counts += [_count(f" AND {_REACTION} IN ({answers})", heard_then) for answers in (_LIKES, _DISLIKES)]
    numbers = " || ' ' || ".join(f"({count.sql})" for count in counts)
    sql = f"SELECT group_concat(hex(target.value) || ' ' || {numbers}) FROM carray(?) AS target"  # noqa: S608  # ours
    bindings = [binding for count in counts for binding in count.bindings]
    joined: str = connection.execute(sql, (*bindings, apsw.carray(tuple(targets)))).get
    voices: dict[str, Voices] = {}
    for line in joined.split(","):
        key, *heard = line.split()
        if heard[0] != "0":
            voices[targets[bytes.fromhex(key)]] = Voices(*map(int, heard))
    return voices


def _count(condition: str, where: Where) -> Select:
    narrowed = "".join(f" AND {term}" for term in where.terms)
    return Select(_VOICES.format(narrowed, condition), list(where.bindings))


def _texts(texts: Sequence[str]) -> str:
    return ", ".join(f"'{text}'" for text in texts)


# Nothing here has to be escaped.
_LIKES: Final = _texts(sorted(LIKES))
_DISLIKES: Final = _texts(sorted(DISLIKES))
_REACTION: Final = f"tag.kind = {REACTION} AND rtrim(event.json ->> '$.content', '{COLOURS}')"
_VOICES: Final = """
SELECT count(DISTINCT event.pubkey) FROM tag CROSS JOIN event ON event.seq = tag.seq
WHERE tag.key = target.value{}{}
"""
_NUMBERS_BYTES: Final = 2**29
_NUMBERS: Final = "SELECT group_concat(seq) FROM ({})"
_NOTES: Final = """
SELECT group_concat((SELECT lower(hex(id)) FROM event WHERE event.seq = newest.seq) || ' ' || created_at || ' ' || seq)
FROM ({}) AS newest
"""
