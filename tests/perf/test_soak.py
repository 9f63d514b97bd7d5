"""The soak: its plans and its ledger by themselves, and a short run of it, which must be able to fail."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from signal import SIGINT
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perf.plan import Failed
from perf.soak.clock import sitecustomize
from perf.soak.judge import Bounds, but_expired, compare, hold_to, read_log, tracebacks
from perf.soak.ledger import Fate, Ledger
from perf.soak.plan import AFTER, AT_ONCE, BEFORE, ENDS_A_WORKER, WEATHER, make_plan, names
from perf.soak.program import Program
from perf.soak.report import lines
from perf.soak.run import Options, Outcome, soak
from perf.soak.tally import MOST_TOLD, Tally
from perf.soak.writing import Writer
from tests.support.keys import ALICE, BOB, NOW
from tests.support.oracles import NaiveStore
from tests.support.program import launcher
from tests.support.strategies import histories
from trio_relay import Event

EVERYWHERE = ("workers", "plugins", "opensearch", "redis")
seeds = st.integers(0, 2**32)


# Plans.


def test_the_same_seed_gives_the_same_plan_and_another_one_another() -> None:
    assert make_plan(7, 600, names(())) == make_plan(7, 600, names(()))
    assert make_plan(7, 600, names(())) != make_plan(8, 600, names(()))


@example(148_635, 112.0, {"plugins"})  # one begins as another ends
@given(seeds, st.floats(10, 600), st.sets(st.sampled_from(EVERYWHERE)))
def test_a_plan_keeps_its_calms_and_never_has_two_that_undo_each_other(
    seed: int, seconds: float, has: set[str]
) -> None:
    plan = make_plan(seed, seconds, names(has))
    for number, spell in enumerate(plan):
        assert spell.at >= BEFORE
        assert spell.at + spell.seconds <= seconds - AFTER + 0.01
        together = [other for other in plan[:number] if other.at + other.seconds > spell.at]
        assert len(together) < AT_ONCE
        assert WEATHER[spell.weather].place not in {WEATHER[other.weather].place for other in together}


@given(seeds)
def test_workers_are_never_ended_so_often_that_the_whole_relay_must_end(seed: int) -> None:
    ends = [spell.at for spell in make_plan(seed, 900, names({"workers"})) if spell.weather in ENDS_A_WORKER]
    assert len(ends) > 5
    assert all(later - first > 60 for first, later in zip(ends, ends[4:], strict=False))


def test_every_weather_comes_within_ten_minutes_where_it_can() -> None:
    for seed in range(10):
        assert {spell.weather for spell in make_plan(seed, 600, names(()))} == set(names(()))
    assert not {sort.needs for name, sort in WEATHER.items() if name in names(())} - {""}
    assert "full disk" not in names({"opensearch"})


# The ledger.


def acknowledged(ledger: Ledger, *events: Event) -> None:
    for event in events:
        ledger.send(event, 1.0)
        ledger.hear(event.id, True, "", 2.0)


@given(histories())
def test_the_ledger_says_what_an_obvious_store_says(history: list[Event]) -> None:
    """Where the store takes everything, exactly; what it refuses leaves only doubts, and no wrong certainty."""
    ledger, twin, is_all_taken = Ledger(), NaiveStore(), True
    for event in history:
        ledger.send(event, 1.0)
        is_taken = twin.save(event) in ("stored", "duplicate")
        ledger.hear(event.id, is_taken, "", 2.0)
        is_all_taken = is_all_taken and is_taken
    standing = {event.id for event in twin.standing}
    fates = {event_id: ledger.fate(event_id, NOW) for event_id in ledger.entries}
    assert {event_id for event_id, fate in fates.items() if fate is Fate.STANDS} <= standing
    assert not {event_id for event_id, fate in fates.items() if fate is Fate.GONE} & standing
    if is_all_taken:
        assert {event_id for event_id, fate in fates.items() if fate is Fate.STANDS} == standing


def test_what_was_not_answered_is_open_and_so_is_what_it_may_take_away() -> None:
    ledger = Ledger()
    note, profile = ALICE.event("a note"), ALICE.event("{}", kind=0)
    newer = ALICE.event("{}", kind=0, created_at=NOW + 1)
    deletion = ALICE.event(kind=5, tags=[["e", note.id]])
    foreign = BOB.event(kind=5, tags=[["e", note.id]])
    acknowledged(ledger, note, profile, foreign)
    assert {ledger.fate(event.id, NOW) for event in (note, profile, foreign)} == {Fate.STANDS}
    for event in (newer, deletion):
        ledger.send(event, 3.0)
    assert {ledger.fate(event.id, NOW) for event in (note, profile, newer, deletion)} == {Fate.OPEN}
    acknowledged(ledger, newer, deletion)
    assert {ledger.fate(event.id, NOW) for event in (newer, deletion)} == {Fate.STANDS}
    assert {ledger.fate(event.id, NOW) for event in (note, profile)} == {Fate.GONE}


def test_what_expires_is_open_once_the_relay_s_clock_has_been_there_and_gone_once_it_is_time() -> None:
    ledger = Ledger()
    note = ALICE.event("a note", tags=[["expiration", str(NOW + 10)]])
    acknowledged(ledger, note)
    assert ledger.fate(note.id, NOW) is Fate.STANDS
    ledger.latest_clock = NOW + 10
    assert ledger.fate(note.id, NOW) is Fate.OPEN
    assert ledger.fate(note.id, NOW + 10) is Fate.GONE
    assert but_expired({note.id: Fate.GONE}, ledger) == {note.id: Fate.OPEN}
    assert but_expired({note.id: Fate.STANDS}, ledger) == {note.id: Fate.STANDS}


def test_ephemeral_events_never_stand() -> None:
    ledger = Ledger()
    acknowledged(ledger, passing := ALICE.event(kind=20_001))
    assert ledger.fate(passing.id, NOW) is Fate.GONE


def test_an_event_is_acknowledged_once_and_news_only_if_it_was_new() -> None:
    written: list[tuple[object, ...]] = []
    ledger = Ledger(written.append)
    note = ALICE.event()
    ledger.send(note, 1.0)
    ledger.send(note, 2.0)
    ledger.hear(note.id, False, "error: no room", 3.0)
    assert ledger.acknowledged == []
    ledger.hear(note.id, True, "duplicate: already have this event", 4.0)
    ledger.hear(note.id, True, "", 5.0)
    [entry] = ledger.acknowledged
    assert (entry.sent_at, entry.acknowledged_at, entry.is_news) == (1.0, 4.0, False)
    assert [change[0] for change in written] == ["sent", "OK", "OK", "OK"]
    with pytest.raises(KeyError):
        ledger.hear("0" * 64, True, "", 6.0)


def test_the_same_seed_writes_the_same_events_and_deletes_only_its_own() -> None:
    first, again, other = (Writer(1, number, lambda: NOW) for number in (1, 1, 2))
    written = []
    for _ in range(300):
        written.append(event := first.write())
        assert again.write() == event
        for writer in (first, again):
            writer.remember(event)
    own = {event.id for event in written}
    named = [tag[1] for event in written if event.kind == 5 for tag in event.tags]
    assert named
    assert all(name in own or name.split(":")[1] == first.pubkey for name in named)
    assert other.pubkey != first.pubkey


# The judgement.


def judged(wanted: dict[str, Fate], sent: list[Event], found: list[Any]) -> dict[str, int]:
    tally = Tally(lambda _: None)
    compare(tally, "here", wanted, {event.id: msgspec.to_builtins(event) for event in sent}, found)
    return tally.sorts


def test_what_is_lost_or_doubled_or_back_or_changed_is_a_fault() -> None:
    one, two = ALICE.event("one"), ALICE.event("two")
    a, b = (msgspec.to_builtins(event) for event in (one, two))
    both = {one.id: Fate.STANDS, two.id: Fate.STANDS}
    assert judged(both, [one, two], [a, b]) == {}
    assert judged(both, [one, two], [a]) == {"here: lost": 1}
    assert judged(both, [one, two], [a, b, b]) == {"here: doubled": 1}
    assert judged({one.id: Fate.GONE, two.id: Fate.OPEN}, [one, two], [a]) == {"here: stands and should be gone": 1}
    assert judged({two.id: Fate.OPEN}, [two], []) == judged({two.id: Fate.OPEN}, [two], [b]) == {}
    assert judged({one.id: Fate.STANDS}, [one], [{**a, "content": "?"}]) == {"here: changed": 1}
    assert judged({one.id: Fate.STANDS}, [one], [a, b]) == {"here: never sent": 1}


def test_tracebacks_are_found_in_both_forms_and_those_expected_are_counted(tmp_path: Path) -> None:
    in_json = json.dumps({"event": "failed", "level": "error", "exception": "Traceback …\n  line\nValueError: no"})
    plain = 'Traceback (most recent call last):\n  File "x", line 1, in y\n    z\nKeyError: 1'
    log = "\n".join([in_json, '{"event": "cut', '{"event": "fine", "level": "info"}', plain, "after"])
    assert list(tracebacks(log)) == ["failed: ValueError: no", "KeyError: 1"]
    (tmp_path / "log").write_text(log)
    tally = Tally(lambda _: None)
    read_log(tmp_path / "log", tally, {"KeyError: 1$": "a test of it"})
    assert tally.sorts == {"traceback": 1}
    assert tally.counts["tracebacks that were expected"] == 1
    assert tally.counts["log: error: failed"] == 1


def test_what_is_held_has_bounds() -> None:
    calm = Bounds(
        rss_start=60_000_000,
        rss_most=100_000_000,
        rss_end=70_000_000,
        descriptors_start=30,
        descriptors_most=900,
        descriptors_end=31,
    )
    for change, sort in (
        ({}, None),
        ({"rss_most": 900_000_000}, "memory"),
        ({"rss_end": 300_000_000}, "memory kept"),
        ({"descriptors_end": 60}, "descriptors"),
    ):
        tally = Tally(lambda _: None)
        hold_to(msgspec.structs.replace(calm, **change), 1, tally)
        assert list(tally.sorts) == ([] if sort is None else [sort])


def test_faults_are_counted_beyond_those_that_are_told() -> None:
    told: list[str] = []
    tally = Tally(told.append)
    for number in range(MOST_TOLD + 5):
        tally.fault("sort", f"{number}")
    assert tally.sorts == {"sort": MOST_TOLD + 5}
    assert len(tally.faults) == len(told) == MOST_TOLD


# Against the real program.


def test_a_clock_is_set_for_a_whole_process(tmp_path: Path) -> None:
    program = Program((), {}, tmp_path, Tally(lambda _: None))
    program.set_clock(86_400.0)
    ask = "import time; print(time.time(), time.time_ns() / 1e9)"
    told = subprocess.run([sys.executable, "-c", ask], env=program.environment(), capture_output=True, check=True)
    now, now_ns = map(float, told.stdout.split())
    assert abs(now - time.time() - 86_400) < 60
    assert abs(now_ns - now) < 60
    assert sitecustomize.AHEAD.size == 8


SHORT = Options(seed=17, seconds=20, weathers=("killed", "stopped and started", "full disk", "clock", "half-open"))
"""A seed with which all of them come in so short a time."""
LOSING = launcher(
    "from trio_relay.store.base import Saved\n"
    "from trio_relay.store.sqlite.store import SqliteStore\n"
    "save_all = SqliteStore.save_many\n"
    "async def save_some(self, events):\n"
    "    lost = [event.kind == 1 and event.id < '08' for event in events]\n"
    "    saved = iter(await save_all(self, [event for event, is_lost in zip(events, lost) if not is_lost]))\n"
    "    return [Saved.STORED if is_lost else next(saved) for is_lost in lost]\n"
    "SqliteStore.save_many = save_some\n"
    "from itertools import count\n"
    "from trio_relay.net.outbox import Outbox\n"
    "number, send_once = count(), Outbox.send_framed_nowait\n"
    "def send(self, framed):\n"
    '    times = {5: 0, 9: 2}.get(next(number) % 20, 1) if b\'["EVENT","live",\' in framed else 1\n'
    "    for _ in range(times):\n"
    "        send_once(self, framed)\n"
    "Outbox.send_framed_nowait = send"
)
"""A relay that acknowledges some notes and does not store them, and delivers some events not at all or twice."""


@pytest.mark.exhaustive
def test_a_short_run_finds_no_fault(tmp_path: Path) -> None:
    told: list[str] = []
    outcome = soak(SHORT, tmp_path, told.append)
    assert outcome.faults == []
    assert outcome.lives > 3
    assert outcome.standing == outcome.found == outcome.exported > 30
    assert all(outcome.counts[f"weather: {name}"] for name in SHORT.weathers)
    assert outcome.counts["delivered"] > outcome.acknowledged
    assert list(lines(outcome))[-1] == "nothing lost, nothing doubled, nothing left"
    written = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert sum(change[0] == "sent" for change in written) == outcome.sent
    assert msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome) == outcome


@pytest.mark.exhaustive
def test_a_run_notices_a_relay_that_loses_some_notes_and_some_deliveries(tmp_path: Path) -> None:
    calm = msgspec.structs.replace(SHORT, seconds=8, weathers=("half-open",), command=LOSING, delivered=3)
    outcome = soak(calm, tmp_path, lambda _: None)
    assert outcome.lost > 0
    assert outcome.sorts["by id: lost"] == outcome.sorts["export: lost"] == outcome.lost
    assert {"acknowledged and not found", "not delivered", "delivered twice"} <= outcome.sorts.keys()
    assert list(lines(outcome))[-1] == "failed"


@pytest.mark.exhaustive
def test_a_relay_that_does_not_start_fails_the_run(tmp_path: Path) -> None:
    ending = msgspec.structs.replace(SHORT, command=(sys.executable, "-c", "raise SystemExit('not today')"))
    told: list[str] = []
    with pytest.raises(Failed, match="not today"):
        soak(ending, tmp_path, told.append)
    assert any("FAULT does not start: not today" in line for line in told)


@pytest.mark.exhaustive
def test_an_interrupted_run_leaves_no_process(tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "perf.soak", "2", "--seed", "1", "--keep", str(tmp_path), "--workers", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        while b" s  " not in running.stdout.readline():
            pass
        started = [pid for pid in everybody() if f"SOAK_CLOCK={tmp_path}/" in environment_of(pid)]
        running.send_signal(SIGINT)
        assert running.wait(60) == 130
    assert len(started) >= 3
    assert [pid for pid in everybody() if f"SOAK_CLOCK={tmp_path}/" in environment_of(pid)] == []


def everybody() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def environment_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except OSError:
        return ""
