"""The program with hooks beside its configuration, in one process and in several."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.keys import ALICE
from tests.support.program import MODULE, running

pytestmark = pytest.mark.slow

CONFIGURATION = """
[plugins]
hooks = "policies.mine"
hooks_options = { words = ["casino"] }
"""
POLICY = """
from contextlib import asynccontextmanager
from trio_relay import Filter, Shadow

class Mine:
    def __init__(self, words, known):
        self.words, self.known = words, known

    def on_event(self, event, source):
        if event.content == "fail":
            raise ValueError("as asked")
        if event.content == "shadow":
            return Shadow()
        return "no" if event.content in self.words else None

    async def on_filters(self, filters, source):
        return "profiles only" if any(one.kinds != frozenset({0}) for one in filters) else None

    def on_connect(self, source):
        return None if source.address and not self.known else "somebody is known already"

@asynccontextmanager
async def start(relay, options):
    yield Mine(options["words"], await relay.query(Filter(kinds=frozenset({0}))))
"""


async def test_hooks_judge_what_comes_to_the_program(tmp_path: Path, processes: dict[str, str]) -> None:
    profile = ALICE.event("{}", kind=0)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "mine.py").write_text(POLICY)
    (tmp_path / "relay.toml").write_text(CONFIGURATION)
    chosen = ("--config", str(tmp_path / "relay.toml"))
    async with running(tmp_path, processes, command=(*MODULE, *chosen)) as program, program.client() as client:
        assert await client.publish(profile) == ["OK", profile.id, True, ""]
        for content, answer in [("", [True, ""]), ("casino", [False, "blocked: no"]), ("shadow", [True, ""])]:
            note = ALICE.event(content)
            assert await client.publish(note) == ["OK", note.id, *answer]
        failed = ALICE.event("fail")
        assert (await client.publish(failed))[3].startswith("error: ")
        entry = await program.logs("a hook failed")
        assert "ValueError: as asked" in entry["exception"]
        assert [event["id"] for event in await client.ask("p", {"kinds": [0]})] == [profile.id]
        await client.send("REQ", "all", {})
        assert await client.receive() == ["CLOSED", "all", "blocked: profiles only"]
