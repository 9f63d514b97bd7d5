"""Settings of the SQLite store, in the table `store`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from trio_relay.nostr.event import MAX_TIME
from trio_relay.store.archive import Archiving

_OTHERS: Final = 4
"""Connections that read beside the readers: for what the relay itself looks for, known ids, the loop, checkpoints."""


class SqliteOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how the SQLite store keeps events."""

    path: Annotated[
        str,
        Meta(
            min_length=1,
            description="The database file; its folder is made if it does not exist.",
            extra={"unit": "path"},
        ),
    ] = "data/relay.db"
    synchronous: Annotated[
        Literal["full", "normal"],
        Meta(
            description=(
                "full: OK true is sent after the batch has reached the disk. normal: a power cut may lose the last"
                " moments, a killed process loses nothing."
            )
        ),
    ] = "full"
    readers: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description=(
                "Queries of clients that run at the same time, each on a connection of its own. One address or key"
                " has half of them at most, and a quarter is kept for those that have used little of late."
            ),
            extra={"unit": "connections"},
        ),
    ] = 4
    cache_bytes: Annotated[
        int,
        Meta(
            ge=2**20,
            description=(
                "Memory for pages of the file, of all connections to it together; the system keeps others beside it."
            ),
            extra={"unit": "bytes"},
        ),
    ] = 29_360_128
    event_cache_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description=(
                "Memory for events that were asked for lately, so that SQLite need not look them up again; 0: none."
            ),
            extra={"unit": "bytes"},
        ),
    ] = 29_360_128
    search: Annotated[
        bool,
        Meta(
            description=(
                "Keep an index of words; if off, filters with `search` are refused. After it is switched on again, the"
                " events that came in the meantime are indexed beside the running relay."
            )
        ),
    ] = True
    search_prefix: Annotated[
        int,
        Meta(
            ge=0,
            le=64,
            description=(
                "Of how many characters or more the last word of a search is taken for the beginning of a word, so that"
                " `sato` finds Satoshi while it is being typed; 0: words are always whole."
            ),
            extra={"unit": "characters"},
        ),
    ] = 2

    archive: Annotated[
        bool,
        Meta(
            description=(
                "Keep what is replaced, deleted or has expired apart, where operators alone can read it; requests to"
                " vanish remove it there, too. What is kept stays when this is switched off."
            )
        ),
    ] = False
    archive_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=MAX_TIME,
            description="How long after it went an event stays in the archive; 0: for ever.",
            extra={"unit": "seconds"},
        ),
    ] = 0

    @property
    def archiving(self) -> Archiving:
        """What is kept of what goes."""
        return Archiving(self.archive, self.archive_seconds)

    @property
    def page_bytes_each(self) -> int:
        """Bytes of pages that a connection keeps which only reads."""
        return (self.cache_bytes - self.page_bytes_of_writer) // (self.readers + _OTHERS)

    @property
    def page_bytes_of_writer(self) -> int:
        """Bytes of pages that the writer keeps: it alone has use for them beyond the next commit."""
        return self.cache_bytes // 4
