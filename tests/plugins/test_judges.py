"""Hooks and programs in a row, and what holds where nobody answers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

from tests.support.judges import REJECT, Jury
from tests.support.keys import ALICE, BOB
from tests.support.program import PATIENCE
from trio_relay import Action, Filter, Judges, PluginOptions, Source, Verdict, open_judges

PROGRAMS = Path(__file__).parent / "programs"
READERS = (sys.executable, str(PROGRAMS / "readers.py"))
WHITELIST = (sys.executable, str(PROGRAMS / "whitelist.py"), ALICE.pubkey)
MESSAGES, REACTIONS = Filter(kinds=frozenset([4])), Filter(kinds=frozenset([7]))
NOTES = Filter(kinds=frozenset([1]))


async def test_without_settings_nobody_is_asked() -> None:
    async with open_judges(PluginOptions()) as judges:
        assert (judges.events, judges.filters, judges.connections) == (None, None, None)
        assert (judges.statistics(), judges.degraded()) == ({}, None)


@pytest.mark.slow
async def test_hooks_are_asked_before_the_program() -> None:
    jury = Jury({"bad": REJECT})
    with trio.fail_after(PATIENCE):
        async with open_judges(PluginOptions(write=WHITELIST), Judges(events=jury)) as judges:
            assert judges.events is not None
            verdicts = [
                await judges.events.judge_event(event, Source())
                for event in (ALICE.event("good"), BOB.event("good"), ALICE.event("bad"))
            ]
            assert judges.statistics()["write"].questions == 2
    assert verdicts == [Verdict(), Verdict(Action.REJECT, "blocked: not on the white list"), REJECT]


@pytest.mark.slow
async def test_each_is_asked_about_what_those_before_it_have_narrowed() -> None:
    jury = Jury({7: Verdict(filters=(MESSAGES,)), 8: REJECT})
    member = Source(keys=frozenset([ALICE.pubkey]))
    with trio.fail_after(PATIENCE):
        async with open_judges(PluginOptions(read=READERS), Judges(filters=jury)) as judges:
            assert judges.filters is not None
            judge = judges.filters.judge_filters
            assert await judge([REACTIONS], Source()) == Verdict(Action.REJECT, "auth-required: for members")
            assert await judge([REACTIONS], member) == Verdict(filters=(MESSAGES,))
            assert await judge([NOTES], member) == Verdict()
            assert await judge([Filter()], Source()) == Verdict(filters=(NOTES,))
            assert await judge([Filter(kinds=frozenset([8]))], member) == REJECT


@pytest.mark.parametrize(
    ("fail", "action", "trouble"),
    [("open", Action.ACCEPT, None), ("closed", Action.REJECT, "no process of plugins.write runs")],
)
async def test_what_nobody_answers_is_let_in_or_refused(fail: str, action: Action, trouble: str | None) -> None:
    options = PluginOptions(write="/does/not/exist", read="/does/not/exist", timeout_seconds=0.05, fail=fail)  # type: ignore[arg-type]
    with trio.fail_after(PATIENCE):
        async with open_judges(options) as judges:
            assert judges.events is not None
            assert judges.filters is not None
            verdict = await judges.events.judge_event(ALICE.event(), Source())
            assert await judges.filters.judge_filters([NOTES], Source()) == verdict
            assert verdict.action is action
            while judges.degraded() != trouble or judges.statistics()["write"].running:  # noqa: ASYNC110
                await trio.sleep(0.01)


@pytest.mark.slow
async def test_an_answer_that_decides_nothing_is_none(tmp_path: Path) -> None:
    script = tmp_path / "vague.py"
    script.write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    question = json.loads(line)\n"
        "    answer = {'id': question.get('id') or question['event']['id'], 'action': 'accept', 'filters': [1]}\n"
        "    print(json.dumps(answer | ({'action': 'perhaps'} if 'event' in question else {})), flush=True)\n"
    )
    words = (sys.executable, str(script))
    with trio.fail_after(PATIENCE):
        async with open_judges(PluginOptions(write=words, read=words)) as judges:
            assert judges.events is not None
            assert judges.filters is not None
            assert (await judges.events.judge_event(ALICE.event(), Source())).action is Action.REJECT
            assert (await judges.filters.judge_filters([NOTES], Source())).action is Action.REJECT
            assert judges.statistics()["write"].faults == {"unknown action": 1}
            assert judges.statistics()["read"].faults == {"not filters": 1}
