"""What verifying costs, alone and beside a busy event loop: `python -m perf.signatures`.

Beside a busy loop each return from C waits up to a switch interval for the GIL. One call a signature pays that for each
of them, one call a batch pays it once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from statistics import median

from perf.corpus import signed_events
from trio_relay.nostr.event import Event
from trio_relay.nostr.schnorr import Backend, BackendName, open_backend

BATCH = 256


def alone(backend: Backend, events: Sequence[Event]) -> float:
    """Microseconds of CPU a verification, in batches, nothing else running."""
    start = time.thread_time()
    for at in range(0, len(events), BATCH):
        assert all(backend.verify(events[at : at + BATCH]))
    return (time.thread_time() - start) / len(events) * 1e6


def beside_busy_loop(backend: Backend, events: Sequence[Event]) -> float:
    """Verifications a second in a thread, while this thread runs Python without pause."""
    done = threading.Event()
    seconds = 0.0

    def work() -> None:
        nonlocal seconds
        start = time.perf_counter()
        for at in range(0, len(events), BATCH):
            backend.verify(events[at : at + BATCH])
        seconds = time.perf_counter() - start
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.is_set():
        pass
    thread.join()
    return len(events) / seconds


def main() -> None:
    """Print both for every native backend."""
    events = signed_events(2_048)
    names: tuple[BackendName, ...] = ("batch", "coincurve")
    for name in names:
        backend = open_backend(name)
        cost = median(alone(backend, events) for _ in range(5))
        rates = sorted(beside_busy_loop(backend, events[:BATCH]) for _ in range(5))
        print(f"{name:10} {cost:5.1f} µs of CPU alone   {rates[0]:.0f} to {rates[-1]:.0f} a second beside a busy loop")


if __name__ == "__main__":
    main()
