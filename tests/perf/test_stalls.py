"""The harness of stalls: its cases are what they say and within the limits, and its instrument counts right."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
import trio
from nostr_sdk import Event  # type: ignore[import-untyped]  # ships no types

from perf.stalls.attackers import ATTACKS, EACH, source_of
from perf.stalls.attempt import FREE_BYTES, MOST_BYTE, MOST_HOLD, Row, server_frame
from perf.stalls.cases import CONTENT, ITEM, MESSAGE, TAGS, VALUES, Messages, filled, in_bytes
from perf.stalls.driver import BEAT, Holds, Meter, measured, place_of
from perf.stalls.events import event_cases
from perf.stalls.frames import deflated, frame_cases, http_cases
from perf.stalls.gauge import Look
from perf.stalls.hostile import measure as measure_hostile
from perf.stalls.report import bars, class_of, page, summary, tables
from perf.stalls.requests import other_cases, request_cases
from perf.stalls.run import cases, measure
from perf.wire import frame
from trio_relay import Limits

EVENTS = {case.name: case for case in event_cases()}
OTHERS = {case.name: case for case in (*request_cases(), *other_cases())}
BY_NIP_01 = {"EVENT control characters"}
"""Those with ids that JSON encoders give differently."""
SOME = {"EVENT small", "EVENT control characters", "EVENT emoji"}
FAULTS = ("wrong id", "wrong signature", "bad JSON at its end", "a lone surrogate", "a raw control character")


def event_of(case: Messages, turn: int = 0) -> dict[str, Any]:
    (message,) = case.make(turn)
    verb, event = json.loads(message)
    assert verb == "EVENT"
    return dict(event)


def judged(case: Messages) -> tuple[bool, bool]:
    """Whether the id and the signature of its event are right, by a library that nobody here wrote."""
    (message,) = case.make(0)
    event = Event.from_json(message.removeprefix(b'["EVENT",')[:-1].decode())
    return event.verify_id(), event.verify_signature()


def is_readable(message: bytes) -> bool:
    """Whether it is JSON that UTF-8 can carry."""
    try:
        json.dumps(json.loads(message), ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


def valid_events() -> list[str]:
    return [name for name in EVENTS if ":" not in name]


def spoilt_events(*faults: str) -> list[str]:
    return [name for name in EVENTS if name.partition(": ")[2] in faults]


def some_of(names: Sequence[str]) -> pytest.MarkDecorator:
    """Those of some events, which stand for all of them."""
    some = {name: name.partition(":")[0] in SOME for name in names}
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=() if is_some else pytest.mark.exhaustive) for name, is_some in some.items()]
    )


# Cases.


def test_no_two_cases_have_one_name() -> None:
    names = [case.name for case in cases()]
    assert len(names) == len(set(names))


@pytest.mark.slow
def test_no_message_is_longer_than_one_may_be() -> None:
    too_long = [
        case.name
        for case in cases()
        if isinstance(case, Messages) and max(map(len, [*case.make(0), case.before])) > MESSAGE
    ]
    assert too_long == []


@pytest.mark.slow
def test_the_same_turn_gives_the_same_and_another_one_another_event() -> None:
    for name in ("EVENT small", "EVENT ligature of 18", "EVENT repost"):
        assert EVENTS[name].make(3) == EVENTS[name].make(3)
        assert EVENTS[name].make(3) != EVENTS[name].make(4)


@some_of(valid_events())
def test_a_valid_event_is_valid_and_within_the_limits(name: str) -> None:
    event = event_of(EVENTS[name])
    assert len(event["content"]) <= CONTENT
    assert len(event["tags"]) <= TAGS
    assert all(len(item) <= ITEM for tag in event["tags"] for item in tag)
    assert judged(EVENTS[name]) == (name not in BY_NIP_01, True)


def test_events_come_up_to_the_limits() -> None:
    assert len(event_of(EVENTS["EVENT ASCII"])["content"]) == CONTENT
    assert len(event_of(EVENTS["EVENT tags, short"])["tags"]) == TAGS
    (message,) = EVENTS["EVENT tags, the longest"].make(0)
    assert len(message) > MESSAGE - ITEM - 1_000


@some_of(spoilt_events(*FAULTS[2:]))
def test_what_shall_not_be_readable_is_not(name: str) -> None:
    (message,) = EVENTS[name].make(0)
    (right,) = EVENTS[name.partition(":")[0]].make(0)
    assert is_readable(right)
    assert not is_readable(message)


@some_of(spoilt_events("wrong id", "wrong signature"))
def test_what_shall_be_wrong_is_wrong_in_nothing_else(name: str) -> None:
    right, _, fault = name.partition(": ")
    assert judged(EVENTS[name]) == (fault != "wrong id" and right not in BY_NIP_01, False)
    assert event_of(EVENTS[name]).keys() == event_of(EVENTS[right]).keys()


def test_the_same_kinds_are_spoilt_in_each_way() -> None:
    kinds = [{name.rpartition(":")[0] for name in spoilt_events(fault)} for fault in (*FAULTS, "twice")]
    assert len(kinds[0]) == 10
    assert all(some == kinds[0] for some in kinds)


@pytest.mark.slow
def test_filters_have_as_many_values_as_may_be_and_no_more() -> None:
    for name in ("tag values", "kinds", "20 filters of tag values"):
        for verb in ("REQ", "COUNT"):
            assert 0.9 * VALUES <= size_of(OTHERS[f"{verb} {name}"]) <= VALUES, name
    for name in ("ids", "authors", "#e"):
        assert len(OTHERS[f"REQ {name}"].make(0)[0]) > MESSAGE - 500, name
    assert size_of(OTHERS["REQ all letters"]) <= VALUES
    assert size_of(OTHERS["REQ 120,000 tag values"]) > Limits().max_filter_values


def size_of(case: Messages) -> int:
    (message,) = case.make(0)
    return sum(len(values) for one in json.loads(message)[2:] for values in one.values() if isinstance(values, list))


def test_texts_are_filled_up_to_the_length() -> None:
    assert filled("abc", 7) == "abcabca"
    assert in_bytes(b"abc", 7) == b"abcabc"


def test_what_is_deflated_inflates_to_the_message() -> None:
    message = b'["REQ","x",{}]' * 1_000
    data = deflated(message)
    assert data[0] == 0xC1
    assert len(data) < 1_000
    assert list(client_frames(data)) == [(0xC1, message)]


def test_frames_inflate_to_what_they_say() -> None:
    for case in frame_cases():
        if case.inflated is not None and "100 MB" not in case.name:
            assert sum(len(message) for _, message in client_frames(case.make())) == case.inflated, case.name


def client_frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Unmasked by zeros, so that they are a server's but for the mask."""
    at = 0
    while at < len(data):
        size = {126: 2, 127: 8}.get(data[at + 1] & 0x7F, 0)
        head = data[at : at + 2 + size]
        length = int.from_bytes(head[2:], "big") if size else head[1] & 0x7F
        start = at + 2 + size + 4
        rest = bytes([head[0], head[1] & 0x7F]) + head[2:] + data[start : start + length]
        found = server_frame(rest, 0)
        assert found is not None
        yield found[0], found[1]
        at = start + length


def test_heads_of_requests_are_such_as_are_still_read() -> None:
    made = {case.name: case.make(0) for case in http_cases()}
    for name in ("HTTP GET with a long header", "HTTP GET with many headers", "HTTP POST signed with junk"):
        assert 10_000 < made[name].index(b"\r\n\r\n") <= 16_384, name


# The instrument.


def test_the_longest_hold_is_kept_with_its_task() -> None:
    holds = Holds()
    holds.step(0.2, 0.3, "first", "here")
    holds.step(0.5, 0.6, "second", "there")
    holds.step(0.1, 0.9, "third", "")
    assert (holds.cpu, holds.wall, holds.task, holds.place) == (0.5, 0.9, "second", "there")


def test_a_gap_counts_only_as_far_as_the_process_worked() -> None:
    holds = Holds()
    holds.beat(BEAT + 0.5, BEAT + 0.1)
    assert holds.gap == pytest.approx(0.1)
    holds.beat(BEAT + 0.05, BEAT + 0.7)
    assert holds.gap == pytest.approx(0.1)
    holds.beat(BEAT, 0.0)
    assert holds.gap == pytest.approx(0.1)


async def test_a_step_lasts_from_one_checkpoint_to_the_next() -> None:
    now = [0.0]
    meter = Meter(lambda: now[0], lambda: 2 * now[0])

    async def work() -> None:
        for seconds in (0.25, 0.5, 0.125):
            now[0] += seconds
            await trio.lowlevel.checkpoint()

    trio.lowlevel.add_instrument(meter)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work, name="worker")
    trio.lowlevel.remove_instrument(meter)
    first = meter.take()
    assert (first.cpu, first.wall, first.task) == (0.5, 1.0, "worker")
    assert meter.take().cpu == 0


def test_a_measured_run_gives_what_the_program_gives() -> None:
    meter = Meter()

    async def program(number: int) -> int:
        await trio.lowlevel.checkpoint()
        return number + 1

    run = measured(trio.run, meter)
    assert run(program, 41, strict_exception_groups=True) == 42
    assert meter.take().cpu > 0


def test_the_place_is_the_innermost_function_of_the_relay() -> None:
    names: dict[str, Any] = {"__name__": "trio_relay.room.part", "look": lambda: place_of(inspect.currentframe())}
    exec("def step(): return look()", names)
    assert names["step"]() == "room.part.step"
    assert place_of(inspect.currentframe()) == place_of(None) == ""


def test_looks_add_up() -> None:
    first = Look(used=1.0, cpu=0.5, wall=0.6, gap=0.1, task="a", place="x")
    both = Look(used=2.0, cpu=0.2, wall=0.9, gap=0.3, task="b", place="y").after(first)
    assert both == Look(used=2.0, cpu=0.5, wall=0.9, gap=0.3, task="a", place="x")


# Frames of a server.


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536])
def test_a_frame_is_read_once_all_of_it_is_there(length: int) -> None:
    message = b"x" * length
    masked = frame(message)
    head = masked[: len(masked) - length - 4]
    data = b"before" + bytes([head[0], head[1] & 0x7F]) + head[2:] + message
    for end in {*range(6, 20), len(data) - 1} - {len(data)}:
        if end < len(data):
            assert server_frame(data[:end], 6) is None, end
    assert server_frame(data + b"behind", 6) == (0x81, message, len(data))


# What is told.


def row(name: str, **fields: object) -> Row:
    usual = {"form": "plain", "wire": 10, "inflated": 100_000, "hold": 0.0, "wall": 0.0, "gap": 0.0, "cpu": 0.0}
    return msgspec.convert({"name": name, "turns": 1, **usual, **fields}, Row)


def test_what_a_thread_holds_counts_as_held() -> None:
    assert row("REQ x", hold=0.1, gap=0.3).held == 0.3
    assert row("REQ x", hold=0.4, gap=0.3).held == 0.4


def test_bytes_are_charged_beyond_those_that_are_free() -> None:
    assert row("REQ x", inflated=FREE_BYTES, cpu=9.0).byte is None
    assert row("REQ x", inflated=FREE_BYTES, cpu=9.0).is_below()
    assert row("REQ x", inflated=200_000, cpu=0.2).byte == pytest.approx(1e-6)
    assert not row("REQ x", inflated=200_000, cpu=1.01 * 200_000 * MOST_BYTE).is_below()
    assert not row("REQ x", hold=1.01 * MOST_HOLD).is_below()


def test_bars_are_those_of_the_worst() -> None:
    rows = [row("REQ x", hold=0.03), row("EVENT y", cpu=0.1), row("EVENT z", gap=0.01)]
    longest, dearest = bars(rows)
    assert longest.value == pytest.approx(30)
    assert dearest.value == pytest.approx(1)
    assert [longest.is_reached, dearest.is_reached] == [False, True]
    assert [bar.value for bar in bars([])] == [None, None]
    assert "1 hold the loop too long, 0 cost too much" in summary(rows)
    assert "REQ x (plain): it is silent" in summary([row("REQ x", failure="it is silent")])


def test_classes_are_verbs_and_the_rest() -> None:
    classes = {class_of(row(case.name)) for case in cases()}
    assert classes == {"EVENT", "REQ", "COUNT", "NEG", "FRAMES", "HTTP", "OTHERS"}
    assert class_of(row("NEG-MSG x")) == "NEG"
    assert class_of(row("CLOSE of a long text")) == "OTHERS"


def test_a_table_has_the_worst_of_a_class_first() -> None:
    rows = [row(f"REQ {number}", hold=number / 100) for number in range(20)]
    lines = tables(rows).splitlines()
    assert lines[0] == "REQ: the worst of 20"
    assert [line.split()[1] for line in lines[2:]] == [str(number) for number in range(19, 9, -1)]


def test_a_page_sets_two_states_side_by_side() -> None:
    before = [row("REQ a|b", hold=0.5, cpu=1.0), row("REQ calm"), row("EVENT late", hold=0.001)]
    after = [row("REQ a|b", hold=0.002, cpu=0.003), row("REQ calm"), row("EVENT late", hold=0.06)]
    assert page(before).splitlines()[2:] == ["| REQ a\\|b | 0.01 / 100 | 500 |  | 1,000 |  |"]
    assert page(before, after).splitlines()[2:] == [
        "| EVENT late | 0.01 / 100 | 1 | 60 | 0 | 0 |",
        "| REQ a\\|b | 0.01 / 100 | 500 | 2 | 1,000 | 3 |",
    ]


# Against the real program.


@pytest.mark.slow
def test_cases_are_answered_and_measured() -> None:
    some = {"EVENT small", "EVENT small: wrong id", "REQ small", "FRAMES unmasked", "HTTP GET small", "NEG-OPEN small"}
    told: list[str] = []
    chosen = [case for case in cases() if case.name in some]
    rows = {one.name: one for one in measure(chosen, sys.executable, told.append, stored=200)}
    assert rows.keys() == some
    assert [one.failure for one in rows.values()] == [""] * len(rows)
    assert '",true,""]' in rows["EVENT small"].answer
    assert '",false,"invalid: id' in rows["EVENT small: wrong id"].answer
    assert rows["REQ small"].answer == '["EOSE","x"]' or json.loads(rows["REQ small"].answer)[0] == "EOSE"
    assert rows["HTTP GET small"].answer == "HTTP/1.1 200"
    assert rows["NEG-OPEN small"].answer.startswith('["NEG-MSG","s"')
    assert all(one.hold > 0 for one in rows.values())
    assert len(told) == 1 + len(rows)


@pytest.mark.slow
def test_what_comes_too_late_is_not_measured() -> None:
    told: list[str] = []
    assert measure(cases()[:3], sys.executable, told.append, seconds=0, stored=200) == []
    assert "were not measured" in told[-1]


def test_half_of_the_hostile_clients_of_a_kind_share_an_address() -> None:
    addresses: list[Sequence[str]] = [
        [source_of(kind, number, EACH) for number in range(EACH)] for kind in range(len(ATTACKS))
    ]
    everyone = [address for some in addresses for address in some]
    assert len(everyone) == 200
    assert all(
        address.startswith(("198.51.100.", "203.0.113.")) and int(address.rpartition(".")[2]) < 255
        for address in everyone
    )
    for some in addresses:
        assert max(map(some.count, some)) == EACH // 2
    assert len(set(everyone)) == len(ATTACKS) * (1 + EACH - EACH // 2)


@pytest.mark.exhaustive
def test_honest_clients_are_served_beside_hostile_ones() -> None:
    outcome = measure_hostile(sys.executable, tuple(ATTACKS), scale=0.02)
    assert outcome.unanswered == 0
    assert outcome.alone.keys() == outcome.beside.keys() == {"OK", "EOSE"}
    assert outcome.most >= outcome.idle > 0
    assert [verdict.value is not None for verdict in outcome.verdicts] == [True, True]
