"""What the relay itself has to do for an index: words, documents, and remembering what no search sees yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from perf.micro.rows import CPU, Row, each, timed
from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.search import text_of
from trio_relay.nostr.tokenizer import words
from trio_relay.store.opensearch.bulk import Write
from trio_relay.store.opensearch.documents import Record, document, slot_of
from trio_relay.store.opensearch.recent import Overlay

T = TypeVar("T")
_NEVER_WRITTEN: Final = Record()


def indexing(events: Sequence[Event], count: int = 4_000) -> list[Row]:
    """An event on its way into the index and into the overlay, and a query's look at that.

    Args:
        events: at least `count`.
        count: events of a round, and events that the overlay holds when it is asked.
    """
    events = events[:count]
    notes = [event.content for event in events if event.kind == 1]
    writes = [Write(slot_of(event), _NEVER_WRITTEN, document(event, 1)) for event in events]
    overlay = _filled(events)

    def row(what: str, work: Callable[[], object], operations: int = count) -> Row:
        return Row(what, each(timed(work, time.thread_time), operations), CPU)

    def asking(what: str, filters: Sequence[Filter]) -> Row:
        return row(f"recent events, {what}, {count:,} there", lambda: _ask(overlay, filters), len(filters))

    some = events[:: max(count // 200, 1)]
    return [
        row("words of a note", lambda: _each(words, notes), len(notes)),
        row("searched text of an event", lambda: _each(text_of, events)),
        row("document, text included", lambda: [document(event, 1) for event in events]),
        row("name of a record", lambda: _each(slot_of, events)),
        row("document as JSON", lambda: _each(Write.lines, writes)),
        row("into the overlay", lambda: _filled(events)),
        asking("by id", [Filter(ids=frozenset([event.id])) for event in some]),
        asking("of an author", [Filter(authors=frozenset([event.pubkey]), kinds=frozenset([1])) for event in some]),
        asking("of a kind", [Filter(kinds=frozenset([1]), limit=20)] * 20),
    ]


def _each(function: Callable[[T], object], items: Sequence[T]) -> None:
    for item in items:
        function(item)


def _filled(events: Sequence[Event]) -> Overlay:
    overlay = Overlay()
    for event in events:
        overlay.put(slot_of(event), 1, event)
    return overlay


def _ask(overlay: Overlay, filters: Sequence[Filter]) -> None:
    for filter_ in filters:
        overlay.recent().matching(filter_)
