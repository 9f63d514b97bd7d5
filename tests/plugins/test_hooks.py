"""Hooks: what each answer means, and what becomes of those that fail."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock

from tests.support.keys import ALICE, NOW
from trio_relay import (
    Action,
    Event,
    Filter,
    HookedRelay,
    Hooks,
    HooksRefused,
    MemoryStore,
    Reject,
    Shadow,
    Source,
    Verdict,
)

EVENT = ALICE.event("hello")
SOMEBODY = Source("192.0.2.7")
ACCEPTED = Verdict()
FAILED = Verdict(Action.REJECT, "error: the relay could not judge this; try again later")
UNWANTED = Verdict(Action.REJECT)
NOTES = Filter(kinds=frozenset({1}), limit=10)

Logged = list[structlog.typing.EventDict]


def hooks(**functions: Callable[..., object]) -> Hooks:
    """Hooks that refuse when they fail, after a second if they are async."""
    return Hooks(SimpleNamespace(**functions), timeout_seconds=1.0, fail="closed")


async def answer_to(answer: object, hook: str = "on_event") -> Verdict:
    """What it means if a hook answers this, which is the same for plain and async ones."""

    def plain(*_given: object) -> object:
        return answer

    async def waiting(*_given: object) -> object:
        await trio.sleep(0.5)
        return answer

    verdict = await asked(hooks(**{hook: plain}), hook)
    assert await asked(hooks(**{hook: waiting}), hook) == verdict
    return verdict


async def asked(judge: Hooks, hook: str = "on_event") -> Verdict:
    """What hooks say of an event, a request or a connection."""
    if hook == "on_event":
        return await judge.judge_event(EVENT, SOMEBODY)
    if hook == "on_filters":
        return await judge.judge_filters([NOTES], SOMEBODY)
    return await judge.judge_connection(SOMEBODY)


@pytest.mark.parametrize("hook", ["on_event", "on_filters", "on_connect"])
@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (None, ACCEPTED),
        (True, ACCEPTED),
        (Verdict(), ACCEPTED),
        (False, UNWANTED),
        ("", UNWANTED),
        (Reject(), UNWANTED),
        ("go away", Verdict(Action.REJECT, "go away")),
        (Reject("pow: 20 bits are needed"), Verdict(Action.REJECT, "pow: 20 bits are needed")),
        ("rate-limited: later", Verdict(Action.REJECT, "rate-limited: later")),
        (Verdict(Action.REJECT, "restricted: members"), Verdict(Action.REJECT, "restricted: members")),
    ],
)
async def test_answers_that_all_hooks_can_give(
    hook: str, answer: object, verdict: Verdict, autojump_clock: MockClock
) -> None:
    assert await answer_to(answer, hook) == verdict


async def test_a_shadow_is_not_for_connections(autojump_clock: MockClock) -> None:
    assert await answer_to(Shadow()) == Verdict(Action.SHADOW_REJECT)
    assert await answer_to(Shadow(), "on_filters") == Verdict(Action.SHADOW_REJECT)
    assert await answer_to(Shadow(), "on_connect") == FAILED


async def test_filters_take_the_place_of_those_that_were_asked(autojump_clock: MockClock) -> None:
    assert await answer_to([NOTES], "on_filters") == Verdict(filters=(NOTES,))
    assert await answer_to((NOTES, NOTES), "on_filters") == Verdict(filters=(NOTES, NOTES))
    assert await answer_to([], "on_filters") == Verdict(filters=())
    assert await answer_to([NOTES]) == FAILED


@pytest.mark.parametrize("answer", [0, 1, 2.0, b"no", {"action": "accept"}, [NOTES, "no"], object(), Reject])
async def test_an_answer_that_means_nothing_is_a_failure(
    answer: object, logged: Logged, autojump_clock: MockClock
) -> None:
    judge = hooks(on_filters=lambda _filters, _source: answer)
    assert await asked(judge, "on_filters") == FAILED
    assert judge.outcomes() == {("on_filters", "wrong_answer"): 1}
    assert logged[0]["event"] == "a hook gave an answer that means nothing"
    assert str(logged[0]["exc_info"]).startswith("on_filters cannot answer ")


def fails(*_given: object) -> None:
    raise ValueError("a secret of the operator's")


async def fails_later(*_given: object) -> None:
    await trio.sleep(0.1)
    raise ValueError("a secret of the operator's")


async def fails_in_two_tasks(*_given: object) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails_later)
        nursery.start_soon(trio.sleep_forever)


@pytest.mark.parametrize("hook", [fails, fails_later, fails_in_two_tasks])
async def test_what_a_hook_raises_stays_in_it(
    hook: Callable[..., object], logged: Logged, autojump_clock: MockClock
) -> None:
    judge = hooks(on_event=hook)
    assert await asked(judge) == FAILED
    assert judge.outcomes() == {("on_event", "raised"): 1}
    [entry] = logged
    assert (entry["event"], entry["hook"]) == ("a hook failed", "SimpleNamespace.on_event")
    assert isinstance(entry["exc_info"], Exception)


async def test_a_failure_accepts_where_that_is_set(autojump_clock: MockClock) -> None:
    assert await asked(Hooks(SimpleNamespace(on_event=fails), fail="open")) == ACCEPTED
    assert await asked(Hooks(SimpleNamespace(on_event=never), fail="open")) == ACCEPTED


async def never(*_given: object) -> None:
    await trio.sleep_forever()


async def test_a_type_error_of_the_hook_is_none_of_its_answer(autojump_clock: MockClock) -> None:
    def adds(_event: Event, _source: Source) -> object:
        return 1 + "1"  # type: ignore[operator]  # that is the fault

    judge = hooks(on_event=adds)
    assert await asked(judge) == FAILED
    assert judge.outcomes() == {("on_event", "raised"): 1}


@pytest.mark.parametrize(("seconds", "verdict"), [(0.999, ACCEPTED), (1.001, FAILED)])
async def test_an_async_hook_has_a_deadline(
    seconds: float, verdict: Verdict, logged: Logged, autojump_clock: MockClock
) -> None:
    async def takes_its_time(_event: Event, _source: Source) -> None:
        await trio.sleep(seconds)

    judge = hooks(on_event=takes_its_time)
    began = trio.current_time()
    assert await asked(judge) == verdict
    assert trio.current_time() - began <= 1.0
    assert [entry["event"] for entry in logged] == ["a hook took too long, and was cancelled"] * (verdict == FAILED)


async def test_a_deadline_of_the_hook_itself_is_an_error_like_any(autojump_clock: MockClock) -> None:
    async def impatient(_event: Event, _source: Source) -> None:
        with trio.fail_after(0.1):
            await trio.sleep_forever()

    judge = hooks(on_event=impatient)
    assert await asked(judge) == FAILED
    assert judge.outcomes() == {("on_event", "raised"): 1}


async def test_a_hook_is_cancelled_with_who_asks(autojump_clock: MockClock) -> None:
    has_ended = False

    async def tidy(_event: Event, _source: Source) -> None:
        nonlocal has_ended
        try:
            await trio.sleep_forever()
        finally:
            has_ended = True

    judge = hooks(on_event=tidy)
    with trio.move_on_after(0.5) as scope:
        await asked(judge)
    assert scope.cancelled_caught
    assert has_ended
    assert judge.outcomes() == {}


async def test_the_same_failure_is_told_once_a_minute(logged: Logged, autojump_clock: MockClock) -> None:
    judge = hooks(on_event=fails, on_connect=fails)
    for _ in range(3):
        await asked(judge)
    await asked(judge, "on_connect")
    await trio.sleep(59.9)
    await asked(judge)
    await trio.sleep(0.1)
    await asked(judge)
    assert [(entry["hook"], entry["times"]) for entry in logged] == [
        ("SimpleNamespace.on_event", 1),
        ("SimpleNamespace.on_connect", 1),
        ("SimpleNamespace.on_event", 5),
    ]
    assert judge.outcomes() == {("on_event", "raised"): 5, ("on_connect", "raised"): 1}


@pytest.mark.parametrize(("seconds", "told"), [(0.009, []), (0.012, [12])])
async def test_a_function_that_holds_up_the_relay_is_told_of(
    seconds: float, told: list[int], logged: Logged, autojump_clock: MockClock
) -> None:
    worked = 0.0

    def works(_event: Event, _source: Source) -> str:
        nonlocal worked
        worked += seconds
        return "no"

    judge = Hooks(SimpleNamespace(on_event=works), stopwatch=lambda: worked)
    for _ in range(2):
        assert (await asked(judge)).message == "no"
    assert [entry["milliseconds"] for entry in logged if entry["event"] == "a hook held up the whole relay"] == told
    assert judge.outcomes().get(("on_event", "held_up"), 0) == 2 * len(told)
    assert judge.outcomes()["on_event", "reject"] == 2


async def test_a_hook_that_is_not_there_accepts(autojump_clock: MockClock) -> None:
    judge = hooks(on_connect=lambda _source: "no")
    assert (judge.judges.events, judge.judges.filters, judge.judges.connections) == (None, None, judge)
    assert await asked(judge) == ACCEPTED
    assert await asked(judge, "on_filters") == ACCEPTED
    assert judge.outcomes() == {}


async def test_what_hooks_are_given(autojump_clock: MockClock) -> None:
    given: list[tuple[Any, ...]] = []

    def note(*arguments: object) -> None:
        given.append(arguments)

    judge = hooks(on_event=note, on_filters=note, on_connect=note)
    for hook in ("on_event", "on_filters", "on_connect"):
        assert await asked(judge, hook) == ACCEPTED
    assert given == [(EVENT, SOMEBODY), ([NOTES], SOMEBODY), (SOMEBODY,)]


def one(_event: Event) -> None: ...


def three(_event: Event, _source: Source, _more: object) -> None: ...


def by_name(*, event: Event, source: Source) -> None: ...


@pytest.mark.parametrize("hook", [one, three, by_name, partial(one, EVENT)])
def test_a_hook_that_takes_something_else_is_refused(hook: Callable[..., object]) -> None:
    with pytest.raises(HooksRefused, match=r"on_event: takes \(.*\), and is called with \(event, source\)"):
        hooks(on_event=hook)


def with_default(_event: Event, _source: Source, _more: int = 3) -> None: ...


@pytest.mark.parametrize("hook", [with_default, lambda *_given: None, partial(three, EVENT), max])
def test_a_hook_may_take_more_than_it_is_given(hook: Callable[..., object]) -> None:
    assert hooks(on_event=hook).judges.events is not None


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (SimpleNamespace(), "SimpleNamespace: has none of on_event, on_filters, on_connect"),
        (SimpleNamespace(on_event=3), "SimpleNamespace: has none of on_event, on_filters, on_connect"),
        (
            SimpleNamespace(on_events=with_default),
            "SimpleNamespace.on_events: there is no such hook; there are on_event, on_filters, on_connect",
        ),
    ],
)
def test_an_object_without_hooks_is_refused(asked: object, reason: str) -> None:
    with pytest.raises(HooksRefused) as refused:
        Hooks(asked)
    assert str(refused.value) == reason


async def test_hooks_ask_the_store(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    notes = [ALICE.event(str(number), created_at=NOW + number) for number in range(600)]
    await store.save_many(notes)
    relay = HookedRelay(store, clock=lambda: NOW + 0.7)
    assert relay.now() == NOW
    assert await relay.query(Filter(ids=frozenset({notes[3].id}))) == [notes[3]]
    assert await relay.query(Filter(kinds=frozenset({1}), limit=2)) == [notes[599], notes[598]]
    assert len(await relay.query(Filter())) == 500
    assert [event async for event in relay.events(Filter(limit=600))] == notes[::-1]
    assert await relay.query() == []


async def test_the_load_follows_what_is_asked(autojump_clock: MockClock) -> None:
    relay = HookedRelay(MemoryStore())
    judge = Hooks(SimpleNamespace(on_event=lambda _event, _source: None), relay)
    assert relay.events_per_second() == 0
    for _ in range(600):
        await asked(judge)
        await trio.sleep(0.1)
    assert relay.events_per_second() == pytest.approx(10, rel=0.02)
    await trio.sleep(60)
    assert 0 < relay.events_per_second() < 0.1
