"""A worker that does not go on (SIGSTOP): the others serve, and it catches up or is replaced."""

from __future__ import annotations

import re
from pathlib import Path
from signal import SIGTERM

import pytest

from perf.soak.weather import standing_still
from tests.e2e.test_managing import SETTINGS, manage
from tests.support.crew import TWO, all_gone, client_of, everybody, figures, pids, successor
from tests.support.keys import ALICE, BOB, NOW
from tests.support.program import running
from trio_relay.store import kept

pytestmark = pytest.mark.slow

_LARGE = 200_000
_ROUNDS = 60
_LARGE_A_ROUND = 4


def own_memory(pid: int) -> int:
    """Bytes of memory that a process has for itself, those of files left out."""
    found = re.search(r"^RssAnon:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1_024


async def test_one_that_stood_still_costs_the_keeper_little_and_its_subscribers_nothing(tmp_path: Path) -> None:
    """Far more is published meanwhile than the keeper holds back for it, so it reads on in the file."""
    settings = {**TWO, "store.event_cache_bytes": "0", "store.cache_bytes": "1048576"}
    wanted = [ALICE.event(f"{number}", created_at=NOW + number, tags=[["t", "wanted"]]) for number in range(_ROUNDS)]
    last = ALICE.event("last", created_at=NOW + _ROUNDS, tags=[["t", "wanted"]])
    async with running(tmp_path, settings) as program, client_of(program, 1) as client:
        async with client_of(program, 2) as waits:
            assert await waits.ask("live", {"#t": ["wanted"]}) == []
            keeper = program.process.pid
            with standing_still([pids(program)[2]]):
                before = own_memory(keeper)
                published = 0
                for number, event in enumerate(wanted):
                    for part in range(_LARGE_A_ROUND):
                        large = BOB.event(f"{number} {part} {'x' * _LARGE}", created_at=NOW + number)
                        assert await client.publish(large) == ["OK", large.id, True, ""]
                        published += _LARGE
                    assert await client.publish(event) == ["OK", event.id, True, ""]
                grown = own_memory(keeper) - before
            assert await client.publish(last) == ["OK", last.id, True, ""]
            live = [await waits.receive() for _ in range(_ROUNDS + 1)]
            assert len(await waits.ask("all", {"limit": 10})) == 10  # nothing comes in between
            assert [message[:2] for message in live] == [["EVENT", "live"]] * (_ROUNDS + 1)
            assert [message[2]["id"] for message in live] == [event.id for event in [*wanted, last]]
            seen = await figures(program)
        program.signal(SIGTERM)
        assert await program.wait() == 0
    print(f"{published:,} bytes published, the keeper has grown by {grown:,}")
    assert published / 3 > kept.keeper.MOST_UNREAD
    assert grown < published / 2
    assert (seen["trio_relay_workers_crashed_total"], seen['trio_relay_worker_feed_behind{worker="2"}']) == (0, 0)


async def test_metrics_do_not_wait_for_one_that_stands_still(tmp_path: Path) -> None:
    async with running(tmp_path, TWO) as program, client_of(program, 2):
        with standing_still([pids(program)[2]]):
            seen = await figures(program)
            assert (await program.get("/health")).json() == {"status": "ok"}
        assert seen["trio_relay_workers"] == 2
        assert (await figures(program))['trio_relay_worker_connections{worker="2"}'] == 1


@pytest.mark.exhaustive  # for five seconds and more it is waited for
async def test_the_end_waits_for_it_for_the_time_of_grace_and_no_longer(tmp_path: Path) -> None:
    note = ALICE.event("a note")
    settings = {**TWO, "net.grace_seconds": "0.1", "pipeline.drain_seconds": "0.1"}
    async with running(tmp_path, settings) as program, client_of(program, 1) as client:
        processes = everybody(program)
        with standing_still([pids(program)[2]]):
            assert await client.publish(note) == ["OK", note.id, True, ""]
            program.signal(SIGTERM)
            assert await program.wait() == 0
            await all_gone(processes)
    assert program.out.splitlines()[-1] == "stopped"
    [crash] = [line for line in program.log if line["event"] == "worker has crashed"]
    assert (crash["worker"], crash["killed_for"]) == (2, "did not end within 5.2 seconds")
    async with running(tmp_path, TWO) as again, client_of(again, 1) as client:
        assert [event["id"] for event in await client.ask("a", {})] == [note.id]


@pytest.mark.exhaustive  # for ten seconds it is waited for
async def test_a_decision_waits_no_longer_for_it_than_it_takes_to_replace_it(tmp_path: Path) -> None:
    note = ALICE.event("a note")
    async with running(tmp_path, {**TWO, **SETTINGS}) as program:
        pid = pids(program)[2]
        with standing_still([pid]):
            assert (await manage(program, "banpubkey", ALICE.pubkey, "spam")).json() == {"result": True}
        await successor(program, 2, pid)
        async with client_of(program, 1) as one, client_of(program, 2) as other:
            for client in (one, other):
                refusal = ["OK", note.id, False, "blocked: the author of this event is banned here"]
                assert await client.publish(note) == refusal
        program.signal(SIGTERM)
        assert await program.wait() == 0
    [crash] = [line for line in program.log if line["event"] == "worker has crashed"]
    assert (crash["worker"], crash["pid"], crash["signal"]) == (2, pid, "SIGKILL")
    assert crash["killed_for"] == "did not answer for 10 seconds"
