"""Mirrors of the real program: two relays killed under a load are equal in the end, and tables change while it runs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGTERM

import pytest
import trio

from docs.generate import ROOT
from perf.mirrors import run_mirrors
from tests.support.crew import TWO, client_of, pids
from tests.support.keys import ALICE, BOB, NOW
from tests.support.program import MODULE, PATIENCE, Program, finished, running

pytestmark = pytest.mark.slow


async def test_two_relays_that_mirror_each_other_are_equal_after_kill_9_of_both(tmp_path: Path) -> None:
    report = await run_mirrors(tmp_path, 5.0, seed=7, kills=2, rate=15.0)
    assert report.stored > 100
    # What is on its way while one of the two is killed, or is being compared, may be sent twice; an echo would be all.
    assert sum(one.get("known_there", 0) for one in report.outcomes) < report.stored / 2


async def holds(program: Program, *ids: str) -> None:
    """Wait until a relay has these."""
    async with program.client() as client:
        with trio.fail_after(PATIENCE):
            while {event["id"] for event in await client.ask("a", {"ids": list(ids)})} != set(ids):
                await client.send("CLOSE", "a")
                await trio.sleep(0.1)


def following(*programs: Program) -> str:
    """Tables for these, as a file has them."""
    urls = ["ws://{}:{}/".format(*program.address) for program in programs]
    return "".join(f'[[mirror]]\nurl = "{url}"\nretry_seconds = 1.0\n' for url in urls)


@pytest.mark.parametrize("processes", [{}, TWO], ids=["one process", "two workers"])
async def test_tables_are_read_again_on_sighup_and_a_wrong_file_changes_nothing(
    processes: dict[str, str], tmp_path: Path
) -> None:
    for name in ("here", "one", "two"):
        (tmp_path / name).mkdir()
    tables = tmp_path / "here" / "relay.toml"
    command = (*MODULE, "--config", str(tables))
    async with running(tmp_path / "one") as one, running(tmp_path / "two") as two:
        tables.write_text(following(one))
        async with running(tmp_path / "here", processes, command=command) as here:
            async with one.client() as client:
                await client.publish(ALICE.event(created_at=NOW))
            await holds(here, ALICE.event(created_at=NOW).id)
            tables.write_text(following(one) + "[[mirror]]\nurl = 'wss://x.example'\ndirection = 'sideways'\n")
            here.signal(SIGHUP)
            assert "mirror.direction" in (await here.logs("the configuration stays as it is"))["error"]
            tables.write_text(following(one, two))
            here.signal(SIGHUP)
            assert (await here.logs("configuration read again"))["changed"] == ["mirror"]
            async with two.client() as client:
                await client.publish(BOB.event(created_at=NOW))
            await holds(here, BOB.event(created_at=NOW).id)


@pytest.mark.parametrize("processes", [{}, TWO], ids=["one process", "two workers"])
async def test_the_first_table_may_come_while_the_relay_runs(processes: dict[str, str], tmp_path: Path) -> None:
    for name in ("here", "one"):
        (tmp_path / name).mkdir()
    tables = tmp_path / "here" / "relay.toml"
    tables.write_text("")
    async with (
        running(tmp_path / "one") as one,
        running(tmp_path / "here", processes, command=(*MODULE, "--config", str(tables))) as here,
    ):
        here.signal(SIGHUP)
        assert (await here.logs("configuration read again"))["changed"] == []
        tables.write_text(following(one))
        here.signal(SIGHUP)
        assert (await here.logs("mirror is live"))["taken"] == 0


async def test_a_worker_that_is_killed_takes_the_mirrors_up_again(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    async with running(tmp_path / "there") as there:
        tables = "[{{url = 'ws://{}:{}/'}}]".format(*there.address)
        async with running(tmp_path / "here", {**TWO, "mirror": tables}) as here:
            await here.logs("mirror is live")
            os.kill(pids(here)[1], SIGKILL)
            await here.until(lambda log: sum(line["event"] == "mirror is live" for line in log) == 2)
            async with there.client() as client:
                await client.publish(ALICE.event(created_at=NOW))
            await holds(here, ALICE.event(created_at=NOW).id)


async def test_what_any_worker_takes_goes_up(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    async with running(tmp_path / "there") as there:
        tables = "[{{url = 'ws://{}:{}/', direction = 'up'}}]".format(*there.address)
        async with running(tmp_path / "here", {**TWO, "mirror": tables}) as here:
            await here.logs("mirror is live")
            notes = [ALICE.event(f"{number}", created_at=NOW) for number in (1, 2)]
            for worker, note in zip((1, 2), notes, strict=True):
                async with client_of(here, worker) as client:
                    assert (await client.publish(note))[2] is True
            await holds(there, *(note.id for note in notes))
            here.signal(SIGTERM)
            assert await here.wait() == 0


async def test_a_relay_that_is_away_makes_no_other_unhealthy(tmp_path: Path) -> None:
    async with running(tmp_path, {"mirror": "[{url = 'ws://127.0.0.1:9/'}]"}) as program:
        assert "no connection" in (await program.logs("mirror is away"))["reason"]
        assert (await program.get("/health")).json() == {"status": "ok"}
        program.signal(SIGTERM)
        assert await program.wait() == 0


async def test_each_table_of_the_page_is_one_that_the_program_takes(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "mirrors.md").read_text(encoding="utf-8")
    (tmp_path / "large.key").write_text("1" * 64)
    blocks = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    for number, block in enumerate([*blocks, "".join(blocks)]):
        (tmp_path / "relay.toml").write_text(block, encoding="utf-8")
        ended = await finished(tmp_path, "check-config", "--config", "relay.toml")
        assert ended.returncode == 0, (number, ended.stderr)
