"""Trends of any store: reads a window of time, newest first, and counts; and prints the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final
from unicodedata import category

import msgspec
from rich.table import Table
from rich.text import Text

from trio_relay.nostr.access import NOBODY, Reader
from trio_relay.nostr.event import Event, decode
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.ranking import mute_kinds
from trio_relay.nostr.trends import Tally, Trends
from trio_relay.store.base import Queryable, StoreError

FIRST_STEP: Final = 5_000
LAST_STEP: Final = 40_000
_SHOWN: Final = 64
"""Most characters that are shown of a text that others wrote; as many as an id has."""


async def read_trends(store: Queryable, since: int, until: int, limit: int, reader: Reader = NOBODY) -> Trends:
    """Count what most keys refer to in a window of time, in events that this reader may read; see `Trends`.

    Raises:
        StoreError: the store could not answer, or one second has more events than can be read at a time.
    """
    tally = Tally(mute_kinds(reader))
    seen: set[str] = set()
    end, step = until, FIRST_STEP
    while True:
        events = await _newest(store, Filter(since=since, until=end, limit=step, reader=reader))
        for event in events:
            if event.id not in seen:
                tally.add(event)
        if len(events) < step:
            return tally.trends(since, until, limit)
        oldest = events[-1].created_at
        if oldest == end:  # this second may have more
            if step == LAST_STEP:
                raise StoreError(f"more than {step} events are of one second ({end})")
            step = LAST_STEP
        # The next page begins with the second in which this one ended.
        end = oldest
        seen = {event.id for event in events if event.created_at == oldest}


async def _newest(store: Queryable, filter_: Filter) -> list[Event]:
    async with aclosing(store.query([filter_])) as pages:
        return [decode(json) async for page in pages for json in page]


async def describe(store: Queryable, trends: Trends, reader: Reader = NOBODY) -> dict[str, str]:
    """Describe notes and authors, by id and pubkey: by the start of the content, and by the name in the profile.

    What this reader may not read is not described: anybody can refer to a note of somebody else's.

    Raises:
        StoreError: the store could not answer.
    """
    notes = frozenset(trend.name for trend in trends.notes)
    authors = frozenset(trend.name for trend in trends.authors)
    said = {event.id: _line(event.content) for event in await _all(store, Filter(ids=notes, reader=reader))}
    profiles = await _all(store, Filter(kinds=frozenset([0]), authors=authors, reader=reader))
    return said | {profile.pubkey: _name(profile.content) for profile in profiles}


async def _all(store: Queryable, filter_: Filter) -> list[Event]:
    most = len(filter_.ids or filter_.authors or ())
    return await _newest(store, filter_.with_limit(default=most, most=most)) if most else []


def _line(content: str) -> str:
    # A text that others wrote must not move the cursor or control the terminal.
    shown = "".join(character if category(character)[0] != "C" else " " for character in content[:_SHOWN])
    return " ".join(shown.split())


def _name(content: str) -> str:
    try:
        profile = msgspec.json.decode(content, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError):
        return ""
    return _line(str(profile.get("display_name") or profile.get("name") or ""))


def tables(trends: Trends, described: dict[str, str]) -> Iterator[Text | Table]:
    """Yield what a terminal shows: the window, then tables of notes, tags and authors where there are any."""
    yield Text(f"{_time(trends.since)} to {_time(trends.until)} UTC, {trends.events:,} events")
    for column, found in (("note", trends.notes), ("tag", trends.tags), ("author", trends.authors)):
        if not found:
            continue
        yield Text()
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="")
        table.add_column("keys", no_wrap=True, min_width=4, justify="right")
        # Half an id is of no use: where there is little room, the description is cut first.
        table.add_column(column, no_wrap=True, min_width=max((len(_line(item.name)) for item in found), default=0))
        table.add_column("", no_wrap=True, overflow="ellipsis")
        for item in found:
            # What others wrote is text, not markup.
            table.add_row(str(item.voices), Text(_line(item.name)), Text(described.get(item.name, "")))
        yield table


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
