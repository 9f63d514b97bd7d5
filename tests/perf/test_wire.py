"""The lean client: whatever way bytes are cut, each message counts once; and what a stubborn server leads to."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count, pairwise
from types import SimpleNamespace

import pytest
from websockets.frames import Frame
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from perf import asking, wire
from perf.asking import COUNT, EOSE, LIVE, OK, Asker, Clock, Log, Question, event_key, publishing
from perf.plan import Failed
from perf.wire import Loop, Wire, connect, frame
from tests.support.keys import ALICE
from trio_relay.nostr.event import encode

FIRST, SECOND = ALICE.event("first"), ALICE.event("second")
TRICKY = ALICE.event('["EOSE","x"] ["OK", ["EVENT",[[["E', tags=[["e", "[" * 91], ["t", '",false,"'], ["x", '["EO']])
"""Looks like many messages where it isn't read as JSON."""
STORED = b'["EVENT","q0",' + encode(TRICKY) + b"]"
END = b'["EOSE","q0"]'


class FakeSocket:
    """Gives the parts that it was made of, and keeps what is sent."""

    def __init__(self, parts: Sequence[bytes] = ()) -> None:
        self.parts = list(parts)
        self.sent: list[bytes] = []

    def setsockopt(self, *_: int) -> None:
        """Whatever it is."""

    def recv(self, most: int) -> bytes:
        return self.parts.pop(0) if self.parts else b""

    def send(self, data: bytes) -> int:
        self.sent.append(bytes(data))
        return len(data)


def fake_wire(monkeypatch: pytest.MonkeyPatch, parts: Sequence[bytes] = ()) -> tuple[Wire, FakeSocket]:
    fake = FakeSocket(parts)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: fake)
    return Wire(0), fake


def answer(message: bytes) -> bytes:
    """A server's text frame."""
    size = len(message)
    return (struct.pack("!BB", 0x81, size) if size < 126 else struct.pack("!BBH", 0x81, 126, size)) + message


def cuts(stream: bytes) -> Iterator[list[bytes]]:
    """The stream in two parts, cut at each byte, and at last byte by byte."""
    for at in range(1, len(stream)):
        yield [stream[:at], stream[at:]]
    yield [stream[at : at + 1] for at in range(len(stream))]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_frame_is_read_by_the_server_as_it_was_meant(size: int) -> None:
    core = ServerProtocol(state=OPEN, max_size=None)
    core.receive_data(frame(b"x" * size))
    (received,) = core.events_received()
    assert isinstance(received, Frame)
    assert received.data == b"x" * size


def test_answers_that_are_cut_anywhere_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [b'["OK","%b",true,""]' % FIRST.id.encode(), STORED, STORED, END, STORED, END]
    for parts in cuts(b"".join(map(answer, said))):
        one, fake = fake_wire(monkeypatch, parts)
        log = Log()
        asked = [Question(EOSE, b"q"), *publishing([FIRST]), Question(EOSE, b"q")]
        Asker(one, asked, log, refill=False, most_open=2).ask(3)
        while fake.parts:
            one.receive()
        counted = len(log.latencies[OK]), len(log.latencies[EOSE]), log.events, log.messages
        assert counted == (1, 2, 3, 6), parts


def test_counts_that_are_cut_anywhere_add_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [
        b'["AUTH","5e1f"]',
        b'["COUNT","q0",{"count":120}]',
        b'["COUNT", "q0", {"count": 3}]',
        b'["COUNT","q0",{"count":4000,"hll":"%b"}]' % (b"0" * 512),
        END,
    ]
    for parts in cuts(b"".join(map(answer, said))):
        one, fake = fake_wire(monkeypatch, parts)
        log = Log()
        asked = [Question(COUNT, b"c")] * 3 + [Question(EOSE, b"q")]
        Asker(one, asked, log, refill=False, most_open=1).ask(4)
        while fake.parts:
            one.receive()
        assert (len(log.latencies[COUNT]), len(log.latencies[EOSE]), log.matches) == (3, 1, 4_123), parts
        assert (log.answered, log.messages) == (4, 4)


def test_a_challenge_that_comes_with_the_handshake_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    challenge = answer(b'["AUTH","5e1f"]')
    one, fake = fake_wire(monkeypatch, [b"HTTP/1.1 101 Switching\r\n\r\n" + challenge[:9], challenge[9:] + answer(END)])
    one.end_handshake()
    log = Log()
    Asker(one, [Question(EOSE, b"q")] * 2, log, refill=False, most_open=2).ask(2)
    while fake.parts:
        one.receive()
    assert log.messages == 1


def test_deliveries_that_are_cut_anywhere_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    events = (FIRST, TRICKY, SECOND)
    stream = b"".join(answer(b'["EVENT","live",' + encode(event) + b"]") for event in events)
    for parts in cuts(stream):
        one, fake = fake_wire(monkeypatch, parts)
        log = Log()
        log.sent = {event_key(event): 0.0 for event in (FIRST, SECOND)}
        one.on_data = log.hear
        while fake.parts:
            one.receive()
        assert len(log.latencies[LIVE]) == 2, parts


def test_an_event_that_is_refused_ends_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = fake_wire(monkeypatch, [answer(b'["OK","%b",false,"blocked: not here"]' % FIRST.id.encode())])
    Asker(one, publishing([FIRST]), Log(), refill=True, most_open=1).ask(1)
    with pytest.raises(Failed, match="blocked: not here"):
        one.receive()


def test_an_event_that_is_refused_because_it_is_known_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = fake_wire(monkeypatch, [answer(b'["OK","%b",false,"duplicate: have it"]' % FIRST.id.encode())])
    log = Log()
    Asker(one, publishing([FIRST]), log, refill=True, most_open=1).ask(1)
    one.receive()
    assert log.answered == 1


def test_a_request_waits_rather_than_replace_one_that_has_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    one, fake = fake_wire(monkeypatch, [answer(END)])
    asker = Asker(one, [Question(EOSE, b"%d" % n) for n in range(4)], Log(), refill=False, most_open=2)
    for _ in range(3):
        asker.ask(1)
    assert fake.sent == [b"0", b"1"]
    one.receive()
    assert fake.sent == [b"0", b"1", b"2"]


def test_each_answer_makes_the_next_question(monkeypatch: pytest.MonkeyPatch) -> None:
    one, fake = fake_wire(monkeypatch, [answer(END) * 2, answer(END)])
    asker = Asker(one, [Question(EOSE, b"%d" % n) for n in range(4)], Log(), refill=True, most_open=9)
    asker.ask(2)
    one.receive()
    one.receive()
    assert fake.sent == [b"01", b"23"]


class FakeTime:
    """A clock that only the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(asking, "time", SimpleNamespace(perf_counter=lambda: self.now))


def test_a_clock_keeps_its_rate_and_its_dues(monkeypatch: pytest.MonkeyPatch) -> None:
    time = FakeTime(monkeypatch)
    happened: list[tuple[int, float, float]] = []
    clock = Clock(100, 2_000, lambda number, due: happened.append((number, due, time.now)))
    while len(happened) < 2_000:
        time.now += clock.pace()
    assert [number for number, _, _ in happened] == list(range(2_000))
    assert all(due <= now for _, due, now in happened)
    gaps = [later - earlier for (_, earlier, _), (_, later, _) in pairwise(happened)]
    assert sum(gaps) == pytest.approx(20, rel=0.1)
    # Independent arrivals: an exponential distribution, of which 1 - 1/e lie under the mean.
    assert sum(gap < 0.01 for gap in gaps) == pytest.approx(2_000 * 0.632, rel=0.1)


def test_what_is_late_happens_at_once_and_keeps_its_due_time(monkeypatch: pytest.MonkeyPatch) -> None:
    time = FakeTime(monkeypatch)
    dues: list[float] = []
    clock = Clock(100, 2_000, lambda _, due: dues.append(due))
    clock.pace()
    time.now += 1
    clock.pace()
    assert len(dues) == pytest.approx(100, abs=35)
    assert len(set(dues)) == len(dues)
    assert dues == sorted(dues)


def test_a_server_that_falls_silent_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    minutes = count(step=61.0)
    monkeypatch.setattr(wire, "time", SimpleNamespace(perf_counter=lambda: next(minutes)))
    with closing(Loop()) as loop, pytest.raises(Failed, match="silent for 61 s"):
        loop.run(lambda: False, pace=lambda: 0.0)


def test_a_server_that_hangs_up_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = fake_wire(monkeypatch, [b"so long"])
    one.receive()
    with pytest.raises(Failed, match=r"closed a connection; at last b'so long'"):
        one.receive()


def test_a_server_without_websockets_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeSocket([b"HTTP/1.1 404 Not ", b"Found\r\n\r\n"])
    fake.sendall = fake.send  # type: ignore[attr-defined]
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: fake)
    with pytest.raises(Failed, match="404 Not Found"):
        connect(0, 1)


def test_what_a_full_socket_does_not_take_is_sent_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, closing(Loop()) as loop:
        one = Wire(listener.getsockname()[1])
        far, _ = listener.accept()
        with far:
            one.join(loop)
            data = bytes(range(256)) * 40_000
            one.send(data[:-1])
            one.send(data[-1:])
            received = bytearray()

            def is_all_there() -> bool:
                received.extend(far.recv(2**20))
                return len(received) == len(data)

            loop.run(is_all_there, pace=lambda: 0.0)
    assert received == data
