"""A program's processes: questions and answers, and all that can go wrong with them."""

from __future__ import annotations

import pytest
import structlog.testing
import trio
import trio.testing
from trio.testing import MockClock

from tests.plugins.puppets import TIMEOUT, Troupe


async def test_answers_find_their_questions_in_any_order(autojump_clock: MockClock) -> None:
    troupe = Troupe()
    async with troupe.playing():
        await troupe.ask("a", "b")
        assert troupe.last.asked() == ["a", "b"]
        await troupe.last.say({"id": "b", "action": "reject", "msg": "no"}, {"id": "a", "action": "accept"})
    assert troupe.actions == {"a": "accept", "b": "reject"}


async def test_a_process_has_no_more_before_it_than_it_may(autojump_clock: MockClock) -> None:
    troupe = Troupe(in_flight=1)
    async with troupe.playing():
        await troupe.ask("a", "b")
        assert troupe.last.asked() == ["a"]
        await troupe.last.accept("a")
        assert troupe.last.asked() == ["b"]


async def test_several_processes_are_asked(autojump_clock: MockClock) -> None:
    troupe = Troupe(processes=2, in_flight=1)
    async with troupe.playing():
        await troupe.ask("a", "b", "c")
        assert sorted(puppet.asked() for puppet in troupe.puppets) == [["a"], ["b"]]
        for puppet in troupe.puppets:
            await puppet.accept("a", "b")
        assert troupe.actions == {"a": "accept", "b": "accept"}
        assert [puppet.asked() for puppet in troupe.puppets].count(["c"]) == 1


async def test_an_answer_may_come_in_pieces(autojump_clock: MockClock) -> None:
    troupe = Troupe()
    async with troupe.playing():
        await troupe.ask("a")
        await troupe.last.say(b'{"id":"a",', b'"action":"acc', b'ept"}\r\n{"id"')
        assert troupe.actions == {"a": "accept"}


async def test_a_question_of_the_same_key_waits_for_the_first(autojump_clock: MockClock) -> None:
    troupe = Troupe(processes=2)
    async with troupe.playing():
        await troupe.ask("a", "a")
        assert [puppet.asked() for puppet in troupe.puppets].count(["a"]) == 1
        for puppet in troupe.puppets:
            await puppet.accept("a")
        assert [puppet.asked() for puppet in troupe.puppets].count(["a"]) == 1


async def test_who_answers_too_late_has_not_answered(autojump_clock: MockClock) -> None:
    troupe = Troupe()
    async with troupe.playing():
        began = trio.current_time()
        assert await troupe.program.ask("a", b"a\n") is None
        assert trio.current_time() - began == TIMEOUT
        await troupe.last.accept("a")
        assert troupe.program.statistics().faults == {"late": 1}
        assert troupe.program.statistics().timed_out == 1
        await troupe.ask("a")
        await troupe.last.accept("a")
        assert troupe.actions == {"a": "accept"}
        assert len(troupe.puppets) == 1


async def test_the_late_answer_to_one_question_is_not_taken_for_that_to_the_next(autojump_clock: MockClock) -> None:
    troupe = Troupe()
    async with troupe.playing():
        await troupe.ask("a")
        await trio.sleep(TIMEOUT + 1)
        await troupe.ask("a")
        assert troupe.actions == {"a": None}
        assert troupe.last.asked() == ["a"]


async def test_who_leaves_many_questions_is_started_anew(autojump_clock: MockClock) -> None:
    troupe = Troupe(in_flight=2)
    async with troupe.playing():
        await troupe.ask("a", "b")
        await trio.sleep(TIMEOUT + 1)
        assert troupe.puppets[0].ended.is_set()
        assert len(troupe.puppets) == 2
        assert troupe.program.statistics().restarts == 1


async def test_after_a_silence_one_question_at_a_time_is_tried(autojump_clock: MockClock) -> None:
    troupe = Troupe(in_flight=2)
    async with troupe.playing():
        await troupe.ask("a", "b")
        await trio.sleep(TIMEOUT + 1)
        await troupe.ask("c", "d")
        assert (troupe.last.asked(), troupe.actions["d"]) == (["c"], None)
        assert troupe.program.statistics().unasked == 1
        await troupe.last.accept("c")
        await troupe.ask("e", "f")
        assert troupe.last.asked() == ["e", "f"]


async def test_who_ends_leaves_its_questions_and_is_started_again(autojump_clock: MockClock) -> None:
    troupe = Troupe()
    async with troupe.playing():
        await troupe.ask("a")
        began = trio.current_time()
        troupe.last.end(1)
        await trio.testing.wait_all_tasks_blocked()
        assert troupe.actions == {"a": None}
        await troupe.ask("b")
        await trio.sleep(1)
        await troupe.last.accept("b")
        assert troupe.actions["b"] == "accept"
        assert trio.current_time() - began < TIMEOUT


async def test_who_keeps_ending_is_started_less_and_less_often(autojump_clock: MockClock) -> None:
    troupe = Troupe()
    async with troupe.playing():
        for _ in range(100):
            troupe.last.end(1)
            await trio.sleep(1)
        assert 10 < len(troupe.puppets) < 20


async def test_what_cannot_be_started_answers_nothing_and_is_tried_again(autojump_clock: MockClock) -> None:
    troupe = Troupe()
    troupe.is_missing = True
    async with troupe.playing():
        assert await troupe.program.ask("a", b"a\n") is None
        began = trio.current_time()
        assert await troupe.program.ask("b", b"b\n") is None
        assert trio.current_time() == began, "nobody waits for what has been away for so long"
        assert troupe.program.trouble == "no process of plugins.write runs"
        troupe.is_missing = False
        await trio.sleep(10)
        await troupe.ask("c")
        await troupe.last.accept("c")
        assert troupe.actions == {"c": "accept"}
        assert troupe.program.trouble is None


async def test_who_does_not_read_is_started_anew(autojump_clock: MockClock) -> None:
    troupe = Troupe()
    async with troupe.playing():
        troupe.last.stdin.send_all_hook = trio.sleep_forever
        await troupe.ask("a")
        await trio.sleep(TIMEOUT + 1)
        assert troupe.actions == {"a": None}
        assert len(troupe.puppets) == 2


async def test_who_closes_its_output_is_started_anew(autojump_clock: MockClock) -> None:
    troupe = Troupe()
    async with troupe.playing():
        await troupe.ask("a")
        troupe.last.stdout.put_eof()
        await trio.sleep(1)
        assert troupe.actions == {"a": None}
        assert len(troupe.puppets) == 2


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"hello\n", "not JSON"),
        (b'{"id":"a"}\n', "not an answer"),
        (b'{"id":"a","action":1}\n', "not an answer"),
        (b'{"id":"\xff","action":"accept"}\n', "not JSON"),
        (b'{"id":"a","x":' + b"[" * 100_000 + b"\n", "not JSON"),
        (b'{"id":"x","action":"accept"}\n', "unknown id"),
        (b"x" * 300_000 + b"\n", "line too long"),
    ],
)
async def test_what_is_no_answer_is_counted_and_told_once_a_minute(
    autojump_clock: MockClock, line: bytes, fault: str
) -> None:
    troupe = Troupe()
    async with troupe.playing():
        await troupe.ask("a")
        with structlog.testing.capture_logs() as told:
            await troupe.last.say(line, line)
            assert troupe.program.statistics().faults == {fault: 2}
            assert [entry["fault"] for entry in told] == [fault]
            await troupe.last.accept("a")
            assert troupe.actions == {"a": "accept"}
            await trio.sleep(60)
            await troupe.last.say(line)
        assert len(told) == 2


async def test_a_second_answer_is_none(autojump_clock: MockClock) -> None:
    troupe = Troupe()
    async with troupe.playing():
        await troupe.ask("a")
        await troupe.last.accept("a", "a")
        assert troupe.actions == {"a": "accept"}
        assert troupe.program.statistics().faults == {"unknown id": 1}
        await troupe.ask("b", "c")
        assert troupe.last.asked() == ["a", "b", "c"]


async def test_who_writes_without_end_is_ended(autojump_clock: MockClock) -> None:
    """No byte of it is kept, and no lines of it are read for ever."""
    for flood, times in ((b"x" * 65_536, 300), (b"x\n" * 600, 2)):
        troupe = Troupe()
        async with troupe.playing():
            await troupe.last.say(*[flood] * times)
            assert troupe.puppets[0].ended.is_set()


async def test_complaints_go_into_the_log_so_many_a_minute(autojump_clock: MockClock) -> None:
    troupe = Troupe()
    async with troupe.playing():
        with structlog.testing.capture_logs() as told:
            troupe.last.stderr.put_data(b"oh no\n" * 1_000)
            await trio.sleep(1)
            assert [entry["line"] for entry in told] == ["oh no"] * 60
            await trio.sleep(60)
            troupe.last.stderr.put_data(b"again\n")
            await trio.sleep(1)
        assert [entry.get("lines", entry.get("line")) for entry in told[60:]] == [940, "again"]
        await troupe.ask("a")
        await troupe.last.accept("a")
        assert troupe.actions == {"a": "accept"}


async def test_a_program_that_has_changed_is_started_anew_once_it_has_answered(autojump_clock: MockClock) -> None:
    troupe = Troupe()
    async with troupe.playing():
        await troupe.ask("a")
        troupe.version = 2
        await trio.sleep(1.5)
        await troupe.ask("b")
        assert (len(troupe.puppets), troupe.last.asked()) == (1, ["a"])
        await troupe.last.accept("a")
        assert len(troupe.puppets) == 2
        assert troupe.last.asked() == ["b"]
        await troupe.last.accept("b")
    assert troupe.actions == {"a": "accept", "b": "accept"}


async def test_a_program_that_has_changed_waits_no_longer_for_answers_than_its_askers(
    autojump_clock: MockClock,
) -> None:
    troupe = Troupe()
    async with troupe.playing():
        await troupe.ask("a")
        troupe.version = 2
        await trio.sleep(TIMEOUT + 2)
        assert len(troupe.puppets) == 2


@pytest.mark.parametrize(("is_stubborn", "signals"), [(False, ["TERM"]), (True, ["TERM", "KILL"])])
async def test_none_is_left_behind(autojump_clock: MockClock, is_stubborn: bool, signals: list[str]) -> None:
    troupe = Troupe(processes=2, is_stubborn=is_stubborn)
    async with troupe.playing():
        await troupe.ask("a")
        began = trio.current_time()
    assert [puppet.signals for puppet in troupe.puppets] == [signals, signals]
    assert trio.current_time() - began <= 2


async def test_who_asks_may_leave(autojump_clock: MockClock) -> None:
    troupe = Troupe()
    async with troupe.playing():
        with trio.move_on_after(1):
            await troupe.program.ask("a", b"a\n")
        await troupe.last.accept("a")
        await troupe.ask("b", "c")
        assert troupe.last.asked() == ["a", "b", "c"]
