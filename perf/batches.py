"""What storing costs, as one array of records and as one JSON text: `python -m perf.batches`.

The same tables and indexes, the same events, commits of 500 with synchronous=FULL, nothing else running.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence

import apsw

from perf.corpus import signed_events
from trio_relay.nostr.event import Event, encode, single_letter_tags
from trio_relay.store.sqlite import rows, schema

COMMIT = 500

_JSON_EVENTS = """
INSERT INTO event (seq, id, rank, pubkey, kind, created_at, json)
SELECT ?2 + key, unhex(value ->> 'id'), value ->> 'rank', unhex(value ->> 'pubkey'), value ->> 'kind',
       value ->> 'created_at', value
FROM json_each(?1)
"""
_JSON_TAGS = """
INSERT INTO tag (key, seq, rank, kind, created_at)
SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?1)
"""


def as_arrays(connection: apsw.Connection, events: Sequence[Event], first: int) -> None:
    """What the store does."""
    events_bound = tuple(rows.event_record(event, seq) for seq, event in enumerate(events, first))
    tags = tuple(record for seq, event in enumerate(events, first) for record in rows.tag_records(event, seq))
    connection.execute(rows.INSERT_EVENTS, (apsw.carray(events_bound),))
    connection.execute(rows.INSERT_TAGS, (apsw.carray(tags),))


def as_json(connection: apsw.Connection, events: Sequence[Event], first: int) -> None:
    """The same through json_each; what is no field of an event, its rank, stands among them."""
    ranks = [rows.rank_of(bytes.fromhex(event.id)) for event in events]
    texts = [f'{{"rank":{rank},{encode(event)[1:].decode()}' for rank, event in zip(ranks, events, strict=True)]
    connection.execute(_JSON_EVENTS, (f"[{','.join(texts)}]", first))
    tags = [
        [key.hex(), seq, rank, event.kind, event.created_at]
        for seq, (rank, event) in enumerate(zip(ranks, events, strict=True), first)
        for key in {rows.tag_key(letter, value) for letter, value in single_letter_tags(event)}
    ]
    connection.execute(_JSON_TAGS, (json.dumps(tags),))


def measure(store: Callable[[apsw.Connection, Sequence[Event], int], None], events: Sequence[Event]) -> float:
    """Microseconds of CPU an event."""
    with tempfile.TemporaryDirectory() as folder:
        connection = apsw.Connection(f"{folder}/relay.db")
        schema.tune(connection, cache_bytes=2**26)
        schema.prepare(connection, "relay.db")
        connection.pragma("synchronous", "full")
        start = time.process_time()
        for at in range(0, len(events), COMMIT):
            with connection:
                store(connection, events[at : at + COMMIT], at + 1)
        seconds = time.process_time() - start
        connection.close()
        return seconds / len(events) * 1e6


def main() -> None:
    """Print three rounds of each, in turn."""
    events = signed_events(20_000)
    for _ in range(3):
        for store in (as_arrays, as_json):
            print(f"{store.__name__:10} {measure(store, events):5.1f} µs of CPU an event")


if __name__ == "__main__":
    main()
