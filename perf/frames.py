"""What parsing one masked text message of 600 bytes costs: `python -m perf.frames`."""

from __future__ import annotations

import time
from collections.abc import Callable

import wsproto.connection
import wsproto.events
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from perf.wire import frame
from trio_relay.net.websocket import WebSocket

MESSAGES = 5_000
_READ = 65_536


def by_ours(data: bytes) -> int:
    """Messages that the relay finds, in reads of 64 KiB."""
    socket = WebSocket(ServerProtocol(state=OPEN))
    found = 0
    for start in range(0, len(data), _READ):
        found += len(socket.receive(data[start : start + _READ]))
        while socket.has_more:
            found += len(socket.more())
    return found


def by_websockets(data: bytes) -> int:
    """Messages that websockets' core finds."""
    core = ServerProtocol(state=OPEN)
    core.receive_data(data)
    return len(core.events_received())


def by_wsproto(data: bytes) -> int:
    """Messages that wsproto finds."""
    core = wsproto.connection.Connection(wsproto.connection.ConnectionType.SERVER)
    core.receive_data(data)
    return sum(isinstance(event, wsproto.events.TextMessage) and event.message_finished for event in core.events())


def main() -> None:
    """Print the median of nine rounds of each."""
    data = frame(b"x" * 600) * MESSAGES
    parsers: list[Callable[[bytes], int]] = [by_ours, by_websockets, by_wsproto]
    for parse in parsers:
        rounds = []
        for _ in range(9):
            start = time.process_time()
            assert parse(data) == MESSAGES
            rounds.append((time.process_time() - start) / MESSAGES * 1e6)
        print(f"{parse.__name__:15} {sorted(rounds)[4]:5.1f} µs a message")


if __name__ == "__main__":
    main()
