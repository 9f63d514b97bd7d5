"""Modules with hooks: where they are looked for, what they must have, and how they start and end."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from tests.support.keys import ALICE
from trio_relay import Action, HookedRelay, Hooks, HooksRefused, MemoryStore, Source, open_hooks
from trio_relay.plugins import load_hooks, located

EVENT = ALICE.event("hello")
SOMEBODY = Source("192.0.2.7")
REFUSES = "def on_event(event, source):\n    return 'no'\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Of a configuration; what is loaded from it is forgotten at the end."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield tmp_path
    for name in sys.modules.keys() - before:
        del sys.modules[name]


async def answer_of(hooks: str | object, **options: Any) -> str:
    """What hooks tell the sender of an event."""
    async with open_hooks(hooks, MemoryStore(), options=options) as judge:
        return (await judge.judge_event(EVENT, SOMEBODY)).message


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ("my_policy", "my_policy.py"),
        ("my_policy.py", "my_policy.py"),
        ("policies/mine.py", "policies/mine.py"),
        ("policies.mine", "policies/mine.py"),
        ("my_policy", "my_policy/__init__.py"),
    ],
)
async def test_a_module_is_found_beside_the_configuration(written: str, file: str, folder: Path) -> None:
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(REFUSES)
    assert located(written, folder) == str(path)
    assert await answer_of(located(written, folder)) == "no"


async def test_a_module_is_found_where_python_looks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "policy_elsewhere.py").write_text(REFUSES)
    monkeypatch.syspath_prepend(folder)
    assert located("policy_elsewhere", folder / "none") == "policy_elsewhere"
    assert await answer_of("policy_elsewhere") == "no"


def test_an_absolute_path_stays_as_it_is(folder: Path) -> None:
    assert located("/etc/relay/mine.py", folder) == "/etc/relay/mine.py"


async def test_a_module_takes_no_other_ones_place_and_finds_its_neighbours(folder: Path) -> None:
    (folder / "json.py").write_text("from words_of_mine import WORD\ndef on_event(event, source):\n    return WORD\n")
    (folder / "words_of_mine.py").write_text("WORD = 'spam'\n")
    assert await answer_of(str(folder / "json.py")) == "spam"
    assert "loads" in dir(sys.modules["json"])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "mine: has none of on_event, on_filters, on_connect"),
        ("def on_event(event): ...", "mine.on_event: takes (event), and is called with (event, source)"),
        ("def on_evnt(event, source): ...", "mine.on_evnt: there is no such hook"),
        ("def start(relay): ...", "mine.start: takes (relay), and is called with (relay, options)"),
        ("start = 3", "mine.start: is no function"),
        ("import no_such_library", "No module named 'no_such_library'"),
        ("def on_event(", "cannot be loaded: SyntaxError"),
        ("1 / 0", "cannot be loaded: ZeroDivisionError"),
    ],
)
def test_a_module_that_cannot_be_asked_is_refused(source: str, reason: str, folder: Path) -> None:
    (folder / "mine.py").write_text(source)
    with pytest.raises(HooksRefused) as refused:
        load_hooks(str(folder / "mine.py"))
    assert reason in str(refused.value)


@pytest.mark.parametrize("written", ["no_such_policy", "no_such.policy", "json.no_such_policy"])
def test_a_name_that_nothing_has_is_refused(written: str, folder: Path) -> None:
    with pytest.raises(HooksRefused, match=f"^{written}: no such module, here or beside the configuration$"):
        load_hooks(written)


def test_a_path_that_leads_nowhere_is_refused(folder: Path) -> None:
    with pytest.raises(HooksRefused, match="no such file"):
        load_hooks(str(folder / "mine.py"))


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    word: str = "no"
    times: int = 1


class Wordy:
    """Hooks that say what their options tell them to."""

    def __init__(self, options: Options) -> None:
        self._answer = options.word * options.times

    def on_event(self, _event: object, _source: Source) -> str:
        return self._answer


def made(_relay: HookedRelay, options: Options) -> Wordy:
    return Wordy(options)


async def made_later(_relay: HookedRelay, options: Options) -> Wordy:
    await trio.sleep(1)
    return Wordy(options)


@asynccontextmanager
async def opened(_relay: HookedRelay, options: Options) -> AsyncIterator[Wordy]:
    await trio.sleep(1)
    yield Wordy(options)


@pytest.mark.parametrize("start", [made, made_later, opened])
async def test_what_starts_has_its_options(start: object, autojump_clock: MockClock) -> None:
    module = SimpleNamespace(start=start, Options=Options)
    assert await answer_of(module) == "no"
    assert await answer_of(module, word="never", times=2) == "nevernever"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"times": "x"}, "hooks_options.times: Expected `int`, got `str`"),
        ({"words": "x"}, "hooks_options: Object contains unknown field `words`"),
    ],
)
async def test_options_are_checked(options: dict[str, object], reason: str) -> None:
    with pytest.raises(HooksRefused) as refused:
        await answer_of(SimpleNamespace(start=made, Options=Options), **options)
    assert str(refused.value) == reason


async def test_options_without_a_struct_are_a_table() -> None:
    given: list[object] = []

    def start(_relay: HookedRelay, options: object) -> Wordy:
        given.append(options)
        return Wordy(Options())

    assert await answer_of(SimpleNamespace(start=start), word="x") == "no"
    assert given == [{"word": "x"}]


async def test_options_that_nothing_takes_are_refused() -> None:
    with pytest.raises(HooksRefused, match="has no start"):
        await answer_of(Wordy(Options()), word="x")


async def test_functions_of_a_module_can_have_a_start_beside_them(folder: Path) -> None:
    (folder / "mine.py").write_text(
        "words = []\n"
        "def start(relay, options):\n    words.extend(options['words'])\n"
        "def on_event(event, source):\n    return words[0]\n"
    )
    assert await answer_of(str(folder / "mine.py"), words=["first"]) == "first"


async def test_what_starts_without_hooks_is_refused() -> None:
    with pytest.raises(HooksRefused, match="SimpleNamespace: has none of"):
        await answer_of(SimpleNamespace(start=lambda _relay, _options: SimpleNamespace()))


class Counting:
    """Hooks with a task beside them."""

    def __init__(self) -> None:
        self.seconds = 0
        self.has_ended = False

    @asynccontextmanager
    async def start(self, _relay: HookedRelay, _options: object) -> AsyncIterator[Counting]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._count)
            yield self
            nursery.cancel_scope.cancel()
        self.has_ended = True

    async def _count(self) -> None:
        while True:
            await trio.sleep(1)
            self.seconds += 1

    def on_event(self, _event: object, _source: Source) -> str:
        return f"{self.seconds} s"


async def test_tasks_of_hooks_run_as_long_as_they_are_open(autojump_clock: MockClock) -> None:
    counting = Counting()
    async with open_hooks(counting, MemoryStore()) as judge:
        assert (await judge.judge_event(EVENT, SOMEBODY)).message == "0 s"
        await trio.sleep(10.5)
        assert (await judge.judge_event(EVENT, SOMEBODY)).message == "10 s"
    assert counting.has_ended


async def test_a_task_that_fails_ends_what_goes_by_it(autojump_clock: MockClock) -> None:
    """A relay that goes on with a policy that does not would look alive and not be."""

    class Failing(Counting):
        async def _count(self) -> None:
            raise ValueError("no more")

    with trio.fail_after(1), pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="no more")):
        async with open_hooks(Failing(), MemoryStore()):
            await trio.sleep_forever()


async def test_hooks_of_code_that_embeds_a_relay_need_no_module() -> None:
    judge = Hooks(Wordy(Options()))
    assert (await judge.judge_event(EVENT, SOMEBODY)).action is Action.REJECT
