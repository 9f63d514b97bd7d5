"""How many new events a second the real program stores, and what CPU each costs: `python -m perf.ingest`.

The generator signs first, then sends pre-built frames over several connections, keeping a window of unanswered events
open on each. CPU is the relay's own, from the system's accounting.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import secrets
import struct
import sys
import tempfile
import time
from functools import partial

import trio
from coincurve import PrivateKey

from trio_relay.nostr.event import Event, compute_id, encode


def signed_events(count: int, authors: int = 50) -> list[Event]:
    """Notes and reactions of some 600 bytes, all different, all validly signed."""
    keys = [PrivateKey() for _ in range(authors)]
    pubkeys = [key.public_key.format()[1:].hex() for key in keys]
    now = int(time.time())
    events: list[Event] = []
    for number in range(count):
        who = number % authors
        kind = (1, 1, 7, 6)[number % 4]
        tags = [["p", pubkeys[(who + 1) % authors]]]
        if events:
            tags.append(["e", events[secrets.randbelow(len(events))].id])
        content = f"note {number} " + "lorem ipsum " * (number % 20)
        created_at = now - count + number
        event_id = compute_id(pubkeys[who], created_at, kind, tags, content)
        sig = keys[who].sign_schnorr(bytes.fromhex(event_id)).hex()
        events.append(Event(event_id, pubkeys[who], created_at, kind, tags, content, sig))
    return events


def frame(message: bytes) -> bytes:
    """A client's text frame; the mask is zero, which masks nothing and costs the generator nothing."""
    length = len(message)
    head = struct.pack("!BB", 0x81, 0x80 | length) if length < 126 else struct.pack("!BBH", 0x81, 0xFE, length)
    return head + bytes(4) + message


async def connect(port: int) -> trio.SocketStream:
    """A WebSocket connection, its handshake done."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.send_all(
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += await stream.receive_some()
    assert b" 101 " in answer, answer
    return stream


async def publish(port: int, frames: list[bytes], window: int) -> None:
    """Send every frame on one connection, at most `window` unanswered at a time."""
    stream = await connect(port)
    sent = answered = 0
    while answered < len(frames):
        burst = frames[sent : answered + window]
        if burst:
            sent += len(burst)
            await stream.send_all(b"".join(burst))
        answered += (await stream.receive_some(65_536)).count(b'["OK"')
    await stream.aclose()


async def measure(events: list[Event], connections: int, window: int) -> None:
    """Start the program, load it, print what it cost."""
    frames = [frame(b'["EVENT",' + encode(event) + b"]") for event in events]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "TRIO_RELAY_NET__LISTEN": '["127.0.0.1:0"]',
            "TRIO_RELAY_METRICS__LISTEN": "",
            "TRIO_RELAY_STORE__PATH": f"{folder}/relay.db",
        }
        async with trio.open_nursery() as nursery:
            start = partial(trio.run_process, [sys.executable, "-m", "trio_relay"], env=environment, stdout=-1)
            process: trio.Process = await nursery.start(partial(start, capture_stdout=False))
            assert process.stdout is not None
            banner = b""
            while (found := re.search(rb"listening on ws://127.0.0.1:(\d+)", banner)) is None:
                banner += await process.stdout.receive_some()
            port = int(found[1])
            before, started = _cpu(process.pid), time.perf_counter()
            own = resource.getrusage(resource.RUSAGE_SELF)
            async with trio.open_nursery() as clients:
                for number in range(connections):
                    clients.start_soon(publish, port, frames[number::connections], window)
            seconds = time.perf_counter() - started
            cpu = _cpu(process.pid) - before
            generator = resource.getrusage(resource.RUSAGE_SELF)
            spent = generator.ru_utime + generator.ru_stime - own.ru_utime - own.ru_stime
            print(
                f"{len(events) / seconds:8.0f} events/s   {cpu / len(events) * 1e6:6.1f} µs of the relay's CPU each"
                f"   cores used: relay {cpu / seconds:.2f}, generator {spent / seconds:.2f}"
            )
            process.terminate()


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has used so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--window", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    for _ in range(given.rounds):
        trio.run(measure, signed_events(given.events), given.connections, given.window)
