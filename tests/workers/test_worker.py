"""One worker in this process: what it asks its keeper, how it begins, what it is told, and how it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trio.testing
import trio_websocket
from msgspec import structs
from trio.testing import MockClock

from tests.support.keys import ALICE, BOB, NOW
from tests.support.program import PATIENCE
from tests.support.server import Talker
from trio_relay import PolicyOptions, StoreError, open_sqlite
from trio_relay.config import Config, check
from trio_relay.link import Calls, Link, Refused
from trio_relay.net import http, http_responses, vitals, web
from trio_relay.net.handed_sockets import listening
from trio_relay.policy import lists, retention
from trio_relay.scoreboard import Scoreboard
from trio_relay.store import kept
from trio_relay.version import __version__
from trio_relay.workers import desk as desks
from trio_relay.workers import instructions, statistics, worker

BANNED = lists.Change(lists.ListName.BANNED_PUBKEYS, ALICE.pubkey, lists.ListEntry("spam", since=NOW))
REQUEST = http.Request("POST", "/", {}, [], "/", b"{}", "1.2.3.4")


@asynccontextmanager
async def desk(calls: Calls) -> AsyncIterator[tuple[desks.Desk, list[bytes], trio.CancelScope]]:
    """What a worker asks a keeper that answers so; the reports that come; and what ends the keeper."""
    near, far = map(Link, trio.testing.memory_stream_pair())
    reports: list[bytes] = []
    gone = trio.CancelScope()

    async def note(payload: bytes) -> None:
        reports.append(payload)

    async def keep() -> None:
        with gone:
            await far.run({"reports": note}, calls)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.run, {})
        nursery.start_soon(keep)
        yield desks.Desk(near), reports, gone
        nursery.cancel_scope.cancel()


async def refuse(_payload: bytes) -> bytes:
    raise Refused("the disk is full")


async def test_its_questions_are_the_keeper_s_to_answer() -> None:
    asked: list[Any] = []

    async def amend(payload: bytes) -> bytes:
        asked.append(instructions.changes_of(payload))
        return b""

    async def join(payload: bytes) -> bytes:
        asked.append(instructions.joining_of(payload))
        return instructions.encode(instructions.RequestAnswer(True, "info: welcome"))

    async def answer(payload: bytes) -> bytes:
        asked.append(instructions.request_of(payload))
        return instructions.encode(http_responses.Response(200, b"{}"))

    async def trouble(_payload: bytes) -> bytes:
        return instructions.encode(instructions.RelayHealth("the disk is full", "no backup"))

    request = ALICE.event(kind=28_934)
    async with desk({"amend": amend, "join": join, "admin": answer, "check": trouble}) as (asking, reports, _):
        await asking.amend([BANNED])
        assert await asking.join(request, "1.2.3.4") == (True, "info: welcome")
        assert (await asking.manage(REQUEST)).body == b"{}"
        assert (await asking.check(), asking.degraded()) == ("the disk is full", "no backup")
        assert asked == [[BANNED], instructions.Joining(request, "1.2.3.4"), REQUEST]
        asking.note_reports([request], {request.id: "1.2.3.4"})
        await trio.testing.wait_all_tasks_blocked()
        assert list(map(instructions.reported_of, reports)) == [
            instructions.Reported([request], {request.id: "1.2.3.4"})
        ]


async def test_who_is_not_logged_in_costs_the_keeper_nothing() -> None:
    asked: list[web.place.Place] = []

    async def answer(payload: bytes) -> bytes:
        asked.append(instructions.place_of(payload))
        return instructions.encode(http_responses.Response(200, b"from the keeper"))

    class Doorway:
        is_open = True

        async def answer(self, _place: web.place.Place) -> http_responses.Response:
            return http_responses.Response(200, b"come in")

    def at(method: str, **headers: str) -> web.place.Place:
        return web.place.Place(http.Request(method, "/admin", headers, [], "/admin"), "/admin", "", "http://memory")

    async with desk({"console": answer}) as (asking, _, gone):
        console = desks.RemoteConsole(asking, Doorway())  # type: ignore[arg-type] # all that it needs of a console
        cookie = f"{web.sessions.COOKIE}=x.y"
        for place in (at("GET"), at("GET", cookie="theme=dark")):
            assert (await console.answer(place)).body == b"come in"
        assert asked == []
        known = [at("GET", cookie=cookie), at("POST")]
        assert [(await console.answer(place)).body for place in known] == [b"from the keeper"] * 2
        assert asked == known
        gone.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert (await console.answer(at("POST"))).status == 503


async def test_how_the_whole_relay_does_is_asked_once_a_second(autojump_clock: MockClock) -> None:
    asked: list[bytes] = []

    async def tell(payload: bytes) -> bytes:
        asked.append(payload)
        return instructions.encode([vitals.Point(float(len(asked)), {"connections": 3.0})])

    async with desk({"vitals": tell}) as (asking, _, gone):
        remote = desks.RemoteVitals(asking)
        assert await remote.now() == await remote.now() == vitals.Point(1.0, {"connections": 3.0})
        assert await remote.over("hour") == [vitals.Point(2.0, {"connections": 3.0})]
        await trio.sleep(1)
        assert (await remote.now()).at == 3
        assert asked == [b"", b"hour", b""]
        gone.cancel()
        await trio.sleep(1)
        assert ((await remote.now()).values, await remote.over("day")) == ({}, [])


async def test_what_the_keeper_could_not_store_is_an_error_of_the_store() -> None:
    async with desk({"amend": refuse}) as (asking, _, _):
        with pytest.raises(StoreError, match=r"^the disk is full$"):
            await asking.amend([BANNED])


async def test_without_a_keeper_everything_fails_in_words() -> None:
    async with desk({}) as (asking, reports, gone):
        gone.cancel()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(StoreError, match=r"^the keeper is gone$"):
            await asking.amend([BANNED])
        assert await asking.join(ALICE.event(kind=28_934), None) == (False, "error: the keeper is gone")
        assert await asking.check() == "the keeper is gone"
        assert await asking.manage(REQUEST) == http_responses.Response(503, b"the keeper is gone\n")
        asking.note_reports([], {})
        assert reports == []


class Keeper:
    """A keeper of one worker, which runs in this process.

    Attributes:
        link: to the worker.
        ready: set once the worker serves.
        over: set once it has ended.
        gone: cancelled, it is the end of the keeper.
    """

    def __init__(self, link: Link, address: tuple[str, int]) -> None:
        self.link = link
        self.ready = trio.Event()
        self.over = trio.Event()
        self.gone = trio.CancelScope()
        self._address = address

    async def keep(self, member: kept.Member) -> None:
        """Answer the worker."""
        with self.gone:
            await self.link.run({**member.tells, "ready": self._note_ready}, {**member.calls, "check": self._check})

    async def _note_ready(self, _payload: bytes) -> None:
        self.ready.set()

    async def _check(self, _payload: bytes) -> bytes:
        return instructions.encode(instructions.RelayHealth((await self.link.call("check")).decode()))

    async def work(self, link: Link) -> None:
        """Be the worker."""
        await worker.ServingWorker(1, link).run()
        self.over.set()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Talker]:
        """A client of the worker, which it knows by a loopback address."""
        async with await trio.open_tcp_stream(*self._address) as stream, trio.open_nursery() as nursery:
            yield Talker(await trio_websocket.wrap_client_stream(nursery, stream, "relay.localhost", "/"))
            nursery.cancel_scope.cancel()

    async def health(self) -> httpx.Response:
        """What the worker says of the relay's health."""
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            return await client.get("http://{}:{}/health".format(*self._address))


def config_of(folder: Path) -> Config:
    return check({"store": {"path": str(folder / "relay.db")}, "net": {"listen": ["127.0.0.1:0"]}})


@asynccontextmanager
async def at_work(folder: Path, told: Sequence[tuple[str, bytes]] = ()) -> AsyncIterator[Keeper]:
    """A worker that serves; `told` is what it hears right after how to begin."""
    config = config_of(folder)
    with Scoreboard.create(1, 100) as scoreboard, trio.fail_after(PATIENCE):
        async with (
            open_sqlite(config.store, scoreboard=scoreboard) as file,
            listening(config.net.listen) as [listener],
            trio.open_nursery() as nursery,
        ):
            keeping = kept.Keeper(file, 100)
            nursery.start_soon(keeping.run)
            near, far = map(Link, trio.testing.memory_stream_pair())
            keeper = Keeper(near, listener.socket.getsockname())
            member = keeping.join(near)
            descriptors = os.dup(scoreboard.fd), [os.dup(listener.socket.fileno())]
            near.tell("version", __version__.encode())
            near.tell("begin", instructions.encode(instructions.Beginning(config, 1, member.newest, *descriptors)))
            for name, payload in told:
                near.tell(name, payload)
            nursery.start_soon(keeper.keep, member)
            nursery.start_soon(keeper.work, far)
            await keeper.ready.wait()
            yield keeper
            nursery.cancel_scope.cancel()


serving = pytest.mark.usefixtures("own_logging", "as_it_was")
"""Over a real file and a real listener."""


@pytest.fixture
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker tunes its process, which here is that of all tests."""
    monkeypatch.setattr(worker, "tune_process", lambda _config: None)


@serving
async def test_it_serves_tells_how_it_is_and_ends_when_it_is_told(tmp_path: Path) -> None:
    note = ALICE.event("a note")
    async with at_work(tmp_path) as keeper:
        async with keeper.client() as client:
            assert await client.publish(note) == ["OK", note.id, True, ""]
            assert [event["id"] for event in await client.ask("a", {})] == [note.id]
            told = statistics.decode(await keeper.link.call("statistics"))
            assert (told.net.connections, told.relay.broadcaster.subscriptions, told.position) == (1, 1, 1)
            assert await keeper.link.call("settle") == b""
            assert (await keeper.health()).json() == {"status": "ok"}
            keeper.link.tell("stop", b"")
            with pytest.raises(trio_websocket.ConnectionClosed) as closed:
                await client.receive()
        await keeper.over.wait()
    assert closed.value.reason is not None
    assert closed.value.reason.code == 1012


@serving
async def test_it_goes_by_lists_that_changed_before_it_served_and_after(tmp_path: Path) -> None:
    note = ALICE.event("a note")
    async with at_work(tmp_path, [("rules", instructions.encode([BANNED]))]) as keeper, keeper.client() as client:
        assert (await client.publish(note))[2:] == [False, "blocked: the author of this event is banned here"]
        allowed = lists.Change(BANNED.name, BANNED.item, None)
        keeper.link.tell("rules", instructions.encode([allowed]))
        await keeper.link.call("settle")
        assert (await client.publish(note))[2:] == [True, ""]


@serving
async def test_it_goes_by_another_configuration(tmp_path: Path) -> None:
    async with at_work(tmp_path) as keeper, keeper.client() as client:
        config = structs.replace(config_of(tmp_path), policy=PolicyOptions(denied_pubkeys=(ALICE.pubkey,)))
        keeper.link.tell("config", instructions.encode(config))
        await keeper.link.call("settle")
        assert (await client.publish(ALICE.event("a note")))[2] is False
        assert (await client.publish(BOB.event("a note")))[2] is True


@serving
@pytest.mark.parametrize("early", [True, False], ids=["before it served", "after"])
async def test_it_refuses_what_has_no_more_room(tmp_path: Path, early: bool) -> None:
    floors = instructions.encode(retention.Floors({}, {0: NOW}, "store.max_events"))
    async with at_work(tmp_path, [("floors", floors)] if early else []) as keeper, keeper.client() as client:
        if not early:
            keeper.link.tell("floors", floors)
        await keeper.link.call("settle")
        answer = await client.publish(ALICE.event("old", created_at=NOW - 1))
        assert answer[3] == "invalid: this relay has no more room for what is so old (store.max_events)"
        assert (await client.publish(ALICE.event("new")))[2] is True


@serving
async def test_one_that_is_told_to_end_before_it_serves_ends(tmp_path: Path) -> None:
    async with at_work(tmp_path, [("stop", b"")]) as keeper:
        await keeper.over.wait()


@serving
async def test_the_end_of_its_keeper_is_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with at_work(tmp_path) as keeper, keeper.client() as client:
        assert await client.ask("a", {}) == []
        keeper.gone.cancel()
        await keeper.over.wait()
        with pytest.raises(trio_websocket.ConnectionClosed):
            await client.receive()
    assert '"event": "the keeper is gone, so this worker ends"' in capfd.readouterr().err


@serving
async def test_sigterm_is_its_own(tmp_path: Path) -> None:
    async with at_work(tmp_path) as keeper:
        signal.raise_signal(signal.SIGTERM)
        await keeper.over.wait()


async def test_a_worker_of_another_version_says_so() -> None:
    near, far = map(Link, trio.testing.memory_stream_pair())
    near.tell("version", b"0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.run, {})
        with pytest.RaisesGroup(worker.OtherVersion, flatten_subgroups=True):
            await worker.ServingWorker(1, far).run()
