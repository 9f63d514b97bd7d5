"""500 events out of SQLite, row by row and as one string, alone and beside a busy loop: `python -m perf.answers`

The median says little here: most of the time the thread keeps the GIL by luck. Where it doesn't, it waits a switch
interval after each step; hence the worst of 50 beside it.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from statistics import median

import apsw

from perf.batches import as_arrays
from perf.corpus import signed_events
from trio_relay.store.sqlite import schema

_NEWEST = "SELECT {} FROM event INDEXED BY event_kind WHERE kind = 1 ORDER BY created_at DESC, id LIMIT 500"


def rows(connection: apsw.Connection) -> list[bytes]:
    """A step of SQLite each."""
    return [row[0] for row in connection.execute(_NEWEST.format("CAST(json AS BLOB)"))]


def string(connection: apsw.Connection) -> list[bytes]:
    """One step in all."""
    sql = f"SELECT CAST(group_concat(json, char(10)) AS BLOB) FROM ({_NEWEST.format('json')})"  # noqa: S608 (our own)
    answer: bytes = connection.execute(sql).get
    return answer.split(b"\n")


def cost(
    answer: Callable[[apsw.Connection], list[bytes]], connection: apsw.Connection, busy: bool
) -> tuple[float, float]:
    """Microseconds of clock time an answer in a thread, median and worst of 50; this thread is busy or waits."""
    durations: list[float] = []

    def work() -> None:
        for _ in range(50):
            start = time.perf_counter()
            assert len(answer(connection)) == 500
            durations.append((time.perf_counter() - start) * 1e6)

    thread = threading.Thread(target=work)
    thread.start()
    while busy and len(durations) < 50:
        pass
    thread.join()
    return median(durations), max(durations)


def main() -> None:
    """Print all four."""
    with tempfile.TemporaryDirectory() as folder:
        connection = apsw.Connection(f"{folder}/relay.db")
        schema.tune(connection, cache_bytes=2**26)
        schema.prepare(connection, "relay.db")
        with connection:
            as_arrays(connection, signed_events(5_000), 1)
        for answer in (rows, string):
            for busy in (False, True):
                middle, worst = cost(answer, connection, busy)
                print(f"{answer.__name__:8} {middle:6.0f} µs, worst {worst:8.0f} µs {'beside a busy loop' * busy}")
        connection.close()


if __name__ == "__main__":
    main()
