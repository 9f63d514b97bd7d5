"""SELECTs and the conditions of their WHERE clauses: all text is ours, all values are bound. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

import apsw

from trio_relay.nostr.access import Reader
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import WRAPS
from trio_relay.nostr.search import Phrase, Search
from trio_relay.nostr.tokenizer import ANY_END
from trio_relay.store.sqlite.rows import MARK, SEALED, tag_key

_MOST_INLINE: Final = 4
"""Up to so many values of a column are bound one by one: a table costs 10 µs more. Each number is another SQL text."""

Binding: TypeAlias = Any
"""What is bound to a question mark: None, a number, a text, bytes, or an array of numbers or bytes. Only on Python 3.12
and newer has apsw a type for it that says more."""


class Select:
    """A SELECT and what is bound to its question marks, in their order."""

    __slots__ = ("bindings", "sql")

    def __init__(self, sql: str, bindings: list[Binding]) -> None:
        self.sql = sql
        self.bindings = bindings


class Where:
    """A WHERE clause that grows with what a filter asks for."""

    __slots__ = ("bindings", "terms")

    def __init__(self) -> None:
        self.terms: list[str] = []
        self.bindings: list[Binding] = []

    def is_in(self, column: str, values: Sequence[bytes] | Sequence[int]) -> Where:
        if len(values) == 1:
            self.terms.append(f"{column} = ?")
            self.bindings.append(values[0])
        elif len(values) <= _MOST_INLINE:
            self.terms.append(f"{column} IN ({', '.join('?' * len(values))})")
            self.bindings += values
        else:
            self.terms.append(f"{column} IN (SELECT value FROM carray(?))")
            self.bindings.append(array_of(values))
        return self

    def is_not_in(self, column: str, values: Sequence[int]) -> Where:
        inner = Where().is_in(column, values)
        self.terms.append(f"NOT {inner.terms[0]}")
        self.bindings += inner.bindings
        return self

    def kinds(self, filter_: Filter) -> Where:
        return self if filter_.kinds is None else self.is_in("kind", sorted(filter_.kinds))

    def authors(self, filter_: Filter) -> Where:
        return self if filter_.authors is None else self.is_in("pubkey", raw(filter_.authors))

    def times(self, filter_: Filter, table: str = "") -> Where:
        if filter_.since is not None:
            self.terms.append(f"{table}created_at >= ?")
            self.bindings.append(filter_.since)
        if filter_.until is not None:
            self.terms.append(f"{table}created_at <= ?")
            self.bindings.append(filter_.until)
        return self

    def tagged(
        self, tags: Iterable[tuple[str, frozenset[str]]], table: str = "event", *, sealed_too: bool = False
    ) -> Where:
        """Keep only what carries one of the values of each of these; `sealed_too`: also of kinds that are private."""
        for tag in tags:
            keys = keys_of(tag) + keys_of(sealed(tag)) if sealed_too else keys_of(tag)
            self._carries(keys, table, "IS NOT NULL")
        return self

    def searched(self, filter_: Filter, table: str = "event", expired_by: int | None = None) -> Where:
        """Add what a search asks for, except for its words and wanted marks, which stand among the tags."""
        search = filter_.search
        if search is None:
            return self
        if search.excluded and not search.phrases:
            self.terms.append(f"{table}.seq NOT IN (SELECT rowid FROM word WHERE word MATCH ?)")
            self.bindings.append(any_of(search.excluded))
        for mark in search.unwanted_marks:
            self._carries([tag_key(MARK, mark)], table, "IS NULL")
        if search.author_mark is not None:
            author = "pubkey" if table == "event" else AUTHOR
            claims = Where().is_in("claim.key", [tag_key(MARK, search.author_mark)])
            if filter_.reader is not None:
                claims._readable(filter_.reader, "claim", "profile.pubkey")
            claims.living(expired_by, "claim")
            self.terms.append(f"{author} IN ({_CLAIMANTS} {' AND '.join(claims.terms)})")
            self.bindings += claims.bindings
        return self

    def served(self, filter_: Filter, table: str = "event", expired_by: int | None = None) -> Where:
        """Keep only what the filter's reader may read, like `access.may_read`, and what has not expired."""
        if filter_.reader is not None:
            self._readable(filter_.reader, table, "event.pubkey" if table == "event" else AUTHOR)
        return self.living(expired_by, table)

    def living(self, expired_by: int | None, table: str = "event") -> Where:
        """Leave out what has expired by this second (NIP-40); None if no stored event has."""
        if expired_by is not None:
            # Row by row, so that it does not matter how many expired events are still to be swept.
            self.terms.append(f"(SELECT 1 FROM expiry WHERE expiry.seq = {table}.seq AND at <= ?) IS NULL")
            self.bindings.append(expired_by)
        return self

    def _readable(self, reader: Reader, table: str, author: str) -> None:
        if not reader.private_kinds:
            return
        ways = Where().is_not_in(f"{table}.kind", sorted(reader.private_kinds))
        if reader.keys:
            keys = sorted(reader.keys)
            own = Where().is_not_in(f"{table}.kind", sorted(WRAPS)).is_in(author, raw(keys))
            ways.terms.append(" AND ".join(own.terms))
            ways.bindings += own.bindings
            ways.tagged([("p", frozenset(keys))], table, sealed_too=True)
        self.terms.append(f"({' OR '.join(ways.terms)})")
        self.bindings += ways.bindings

    def _carries(self, keys: Sequence[bytes], table: str, answer: str) -> None:
        key = Where().is_in("other.key", keys)
        same_event = " AND ".join(f"other.{name} = {table}.{name}" for name in ("created_at", "rank", "seq"))
        # Not EXISTS: SQLite makes a join of each, and planning fifty of them takes a second.
        self.terms.append(f"(SELECT 1 FROM tag AS other WHERE {key.terms[0]} AND {same_event}) {answer}")
        self.bindings += key.bindings


AUTHOR: Final = "(SELECT pubkey FROM event WHERE event.seq = tag.seq)"
_CLAIMANTS: Final = (
    "SELECT profile.pubkey FROM tag AS claim CROSS JOIN event AS profile ON profile.seq = claim.seq WHERE"
)


def raw(texts: Iterable[str]) -> list[bytes]:
    """Decode hex texts to bytes."""
    return [bytes.fromhex(text) for text in texts]


def keys_of(tag: tuple[str, frozenset[str]]) -> list[bytes]:
    """Return the keys of `tag` for a letter's values."""
    letter, values = tag
    return [tag_key(letter, value) for value in values]


def sealed(tag: tuple[str, frozenset[str]]) -> tuple[str, frozenset[str]]:
    """Return the same tag as events of `access.PRIVATE_KINDS` carry it; marks are the same for all kinds."""
    letter, values = tag
    return (letter if letter == MARK else SEALED + letter, values)


def array_of(values: Sequence[bytes] | Sequence[int]) -> Binding:
    """Make one binding of values."""
    members: Any = values
    return apsw.carray(array("q", members) if isinstance(values[0], int) else tuple(members))


def all_of(search: Search) -> str:
    """Make the FTS5 query for all phrases of a search but none of those excluded; there must be phrases.

    Words are letters and digits alone, so nothing has to be escaped. FTS5 looks up the beginning of a word in its list
    of words, which is in order; the deadline of a query bounds how long it may take.
    """
    wanted = " AND ".join(map(_wanted, search.phrases))
    return f"({wanted}) NOT ({any_of(search.excluded)})" if search.excluded else wanted


def whole_of(search: Search) -> str:
    """Make the FTS5 query for all phrases of a search, the last word of each being whole."""
    return " AND ".join(_quoted((*phrase[:-1], phrase[-1].removesuffix(ANY_END))) for phrase in search.phrases)


def any_of(phrases: Sequence[Phrase]) -> str:
    """Make the FTS5 query for texts with any of the phrases."""
    return " OR ".join(map(_quoted, phrases))


def _wanted(phrase: Phrase) -> str:
    """Whole words count twice, so that they come before those that only begin so."""
    begun = _quoted(phrase)
    return f"({begun[:-2]} OR {begun})" if phrase[-1].endswith(ANY_END) else begun


def _quoted(phrase: Phrase) -> str:
    """What stands outside of the quotation marks makes the last word a beginning."""
    joined = " ".join(phrase)
    return f'"{joined[:-1]}" *' if joined.endswith(ANY_END) else f'"{joined}"'
