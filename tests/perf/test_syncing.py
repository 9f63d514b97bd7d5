"""The client of syncs: its set differs as it is told, and nothing but the right differences counts as a sync."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from perf import syncing
from perf.plan import Counted, Failed, Plan
from perf.syncing import differing, sync, sync_again
from trio_relay.nostr.negentropy import protocol
from trio_relay.nostr.negentropy.items import RECORD_SIZE, Items, ItemSet, record

RECORDS = [record(1_000 + number // 2, sha256(str(number).encode()).digest()) for number in range(2_000)]
PLAN = Plan(load="sync", filled=len(RECORDS), differing=20, count=3)


def items_of(records: list[bytes]) -> Items:
    collection = ItemSet()
    collection.extend(b"".join(records))
    return collection.snapshot()


def ids_of(records: set[bytes]) -> set[bytes]:
    return {record[-32:] for record in records}


def records_of(items: Items) -> set[bytes]:
    return {items.record(index) for index in range(len(items))}


class FakeWire:
    """A server on the other end, which speaks when it is read from, in parts of a few bytes."""

    def __init__(self, answer: Callable[[list[Any]], list[bytes]]) -> None:
        self.socket = self
        self.heard: list[list[Any]] = []
        self.sent = self.received = 0
        self._answer = answer
        self._waiting = b'\x81\x0f["AUTH","5e1f"]'

    def sendall(self, data: bytes) -> None:
        self.sent += len(data)
        message = json.loads(data[data.index(b"[") :])
        self.heard.append(message)
        for each in self._answer(message):
            self._waiting += struct.pack("!BBH", 0x81, 126, len(each)) + each

    def read(self) -> bytes:
        part, self._waiting = self._waiting[:1_000], self._waiting[1_000:]
        assert part, "nothing more comes"
        self.received += len(part)
        return part


def honest(items: Items) -> Callable[[list[Any]], list[bytes]]:
    def answer(message: list[Any]) -> list[bytes]:
        if message[0] == "NEG-CLOSE":
            return []
        return [json.dumps(["NEG-MSG", message[1], protocol.reply(items, bytes.fromhex(message[-1])).hex()]).encode()]

    return answer


def measured(
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[[list[Any]], list[bytes]],
    load: Callable[[Plan], Callable[[], Counted]] = sync,
) -> tuple[Counted, list[FakeWire]]:
    wires: list[FakeWire] = []

    def connect(_port: int, _count: int) -> list[FakeWire]:
        wires.append(FakeWire(answer))
        return wires[-1:]

    monkeypatch.setattr(syncing, "connect", connect)
    monkeypatch.setattr(syncing, "filled_records", lambda _count: b"".join(RECORDS))
    return load(PLAN)(), wires


def test_a_set_differs_by_as_many_as_it_is_told_in_both_directions() -> None:
    difference = differing(b"".join(RECORDS), 20)
    ours, theirs = records_of(difference.items), set(RECORDS)
    assert len(difference.items) == len(RECORDS)
    assert difference.have == ids_of(ours - theirs)
    assert difference.need == ids_of(theirs - ours)
    assert (len(difference.have), len(difference.need)) == (10, 10)
    assert {len(one) for one in ours} == {RECORD_SIZE}
    assert all(1_000 <= int.from_bytes(one[:8], "big") < 2_000 for one in ours)


def test_bytes_and_rounds_of_all_syncs_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, (wire,) = measured(monkeypatch, honest(items_of(RECORDS)))
    verbs = [message[0] for message in wire.heard]
    assert verbs == ["NEG-OPEN", "NEG-MSG", "NEG-CLOSE"] * 3
    assert wire.heard[0][1:3] == ["s", {}]
    assert (counted.operations, counted.messages) == (3, 6)
    assert (counted.sent, counted.received) == (wire.sent, wire.received)
    assert counted.received > 10_000
    assert list(counted.latencies) == ["sync"]


def test_the_first_sync_does_not_count_where_a_further_one_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, wires = measured(monkeypatch, honest(items_of(RECORDS)), sync_again)
    assert [len(wire.heard) for wire in wires] == [3, 9]
    assert (counted.operations, counted.sent) == (3, wires[1].sent)


def test_a_sync_that_is_refused_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Failed, match="blocked: not today"):
        measured(monkeypatch, lambda message: [b'["NEG-ERR","s","blocked: not today"]'])


@pytest.mark.parametrize("theirs", [RECORDS[1:], [*RECORDS, record(1_050, bytes(32))], []])
def test_a_sync_that_finds_other_differences_has_failed(monkeypatch: pytest.MonkeyPatch, theirs: list[bytes]) -> None:
    with pytest.raises(Failed, match="differences, or others than there are"):
        measured(monkeypatch, honest(items_of(theirs)))
