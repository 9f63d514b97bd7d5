"""What a memory channel saves: the same events through a list of a real Redis, over a Unix socket.

Producer and consumer have a connection each and take turns in one thread, which costs Redis no change of threads and no
lock. The messages are JSON already; to write and to read it again, which a channel needs not do, is told apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

from perf.micro.channels import PARCEL
from perf.micro.resp import Answer, Redis, command
from perf.micro.rows import CLOCK, CPU, ROUNDS, Row, Skipped, each, timed
from perf.servers import Command, Server, running
from trio_relay.nostr.event import Event, decode, encode

SERVER: Final = Command(
    "redis",
    "redis-server --bind 127.0.0.1 --port {port} --unixsocket {folder}/socket --dir {folder} --save '' --appendonly no",
)
_KEY: Final = b"events"
_FOREVER: Final = b"0"

_Route = Callable[[Redis, Redis, Sequence[bytes]], None]


def redis(events: Sequence[Event], count: int = 10_000) -> list[Row]:
    """Events through a list: one by one with the consumer waiting, pipelined, and many a command.

    Args:
        events: at least one; they are taken again and again.
        count: messages of a round.

    Raises:
        Skipped: redis-server is not installed.
    """
    if not SERVER.is_here:
        raise Skipped("redis-server is not installed")
    taken = [events[number % len(events)] for number in range(count)]
    messages = [encode(event) for event in taken]
    rows = []
    with running(SERVER) as server, _connect(server) as producer, _connect(server) as consumer:
        for what, route in _ROUTES.items():
            seconds, cpu = _measure(route, producer, consumer, messages)
            rows += [Row(what, seconds / count * 1e6, CLOCK), Row(f"{what}, both processes", cpu / count * 1e6, CPU)]
    there_and_back = timed(lambda: [decode(encode(event)) for event in taken], time.thread_time)
    return [*rows, Row("JSON written and read again", each(there_and_back, count), CPU)]


def _connect(server: Server) -> Redis:
    return Redis(server.folder / "socket")


def _measure(route: _Route, producer: Redis, consumer: Redis, messages: Sequence[bytes]) -> tuple[float, float]:
    """Seconds of a round: its time, and the CPU of both processes."""
    rounds = []
    for _ in range(ROUNDS):
        cpu, start = _cpu(producer), time.perf_counter()
        route(producer, consumer, messages)
        rounds.append((time.perf_counter() - start, _cpu(producer) - cpu))
    return median(seconds for seconds, _ in rounds), median(cpu for _, cpu in rounds)


def _cpu(connection: Redis) -> float:
    """Seconds that Redis and this thread have used so far."""
    text = connection.ask(b"INFO", b"cpu")
    assert isinstance(text, bytes)
    used = dict(line.split(":") for line in text.decode().splitlines() if ":" in line)
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"]) + time.thread_time()


def _singly(producer: Redis, consumer: Redis, messages: Sequence[bytes]) -> None:
    waiting = command(b"BRPOP", _KEY, _FOREVER)
    for message in messages:
        consumer.send(waiting)
        producer.send(command(b"LPUSH", _KEY, message))
        _check(producer.answer(), 1)  # it was the only one, whoever waits for it
        _check(consumer.answer(), [_KEY, message])


def _pipelined(producer: Redis, consumer: Redis, messages: Sequence[bytes]) -> None:
    pop = command(b"RPOP", _KEY)
    for start in range(0, len(messages), PARCEL):
        batch = messages[start : start + PARCEL]
        producer.send(b"".join([command(b"LPUSH", _KEY, message) for message in batch]))
        _check(list(producer.answers(len(batch))), list(range(1, len(batch) + 1)))
        consumer.send(pop * len(batch))
        _check(list(consumer.answers(len(batch))), batch)


def _in_batches(producer: Redis, consumer: Redis, messages: Sequence[bytes]) -> None:
    for start in range(0, len(messages), PARCEL):
        batch = messages[start : start + PARCEL]
        _check(producer.ask(b"RPUSH", _KEY, *batch), len(batch))
        _check(consumer.ask(b"LPOP", _KEY, b"%d" % len(batch)), batch)


def _check(answer: Answer, expected: object) -> None:
    if answer != expected:
        raise RuntimeError(f"redis lost a message: {answer!r:.300}")


_ROUTES: Final[dict[str, _Route]] = {
    "LPUSH to a waiting BRPOP, one by one": _singly,
    f"LPUSH and RPOP, {PARCEL} of them pipelined": _pipelined,
    f"RPUSH of {PARCEL}, LPOP of {PARCEL}": _in_batches,
}
