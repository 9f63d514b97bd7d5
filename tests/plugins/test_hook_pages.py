"""docs/plugins.md: its examples are loaded, run and judged by."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from docs.generate import ROOT
from tests.support.keys import ALICE, BOB, CAROL
from trio_relay import Filter, MemoryStore, Source, Verdict, open_hooks
from trio_relay.nostr import search

PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(# (\w+\.py)\n.*?)```", PAGE, re.DOTALL)
STRANGER = Source("198.51.100.7")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    for source, name in EXAMPLES:
        (tmp_path / name).write_text(source)
    return tmp_path


async def test_the_first_example(written: Path) -> None:
    async with open_hooks(str(written / "my_policy.py"), MemoryStore()) as judge:
        assert await judge.judge_event(ALICE.event("hello"), STRANGER) == Verdict()
        assert (await judge.judge_event(ALICE.event(tags=[["t", "x"]] * 51), STRANGER)).message.startswith("blocked:")
        assert (await judge.judge_event(ALICE.event("buy now"), STRANGER)).action.value == "shadowReject"
        asked = [Filter(limit=1), Filter(search=search.parse_search("x", 0))]
        assert (await judge.judge_filters(asked, STRANGER)).filters == (Filter(limit=1),)
        assert await judge.judge_filters(asked, Source(keys=frozenset({ALICE.pubkey}))) == Verdict()
        assert await judge.judge_connection(STRANGER) == Verdict()
        assert (await judge.judge_connection(Source("192.0.2.9"))).action.value == "reject"


async def test_the_example_with_a_task(written: Path, autojump_clock: MockClock) -> None:
    store = MemoryStore()
    await store.save_many([ALICE.event(kind=3, tags=[["p", BOB.pubkey]])])
    async with open_hooks(str(written / "invited.py"), store, options={"host": ALICE.pubkey}) as judge:
        await wait_all_tasks_blocked()
        assert await judge.judge_event(ALICE.event(), STRANGER) == Verdict()
        assert await judge.judge_event(BOB.event(), STRANGER) == Verdict()
        assert (await judge.judge_event(CAROL.event(), STRANGER)).message == "restricted: by invitation"


def test_the_example_of_a_program_runs(written: Path) -> None:
    runpy.run_path(str(written / "embedded.py"))
