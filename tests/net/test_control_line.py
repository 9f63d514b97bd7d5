"""The control line: who may call, what becomes of its socket, and of calls whose callers have gone."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from tests.support.keys import ALICE, NOW
from tests.support.named_relay import open_named
from tests.support.wire import Wire, request
from trio_relay import AdminApi, Filter, MemoryStore
from trio_relay.net import admin, control
from trio_relay.nostr import errors

PATIENCE = 10


class SlowStore(MemoryStore):
    """A store whose removals wait to be let go, and tell how they end."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go, self.begun, self.ended = trio.Event(), trio.Event(), trio.Event()

    async def remove(self, filters: Sequence[Filter]) -> int:
        self.begun.set()
        try:
            await self.let_go.wait()
        finally:
            self.ended.set()
        return await super().remove(filters)


@asynccontextmanager
async def line(path: Path, store: MemoryStore | None = None) -> AsyncIterator[None]:
    """A relay with a control line there, whose store has one note."""
    store = store or MemoryStore()
    await store.save_many([ALICE.event("a note", created_at=NOW)])
    with trio.fail_after(PATIENCE):
        async with open_named(store) as door, control.control_line(path, AdminApi(door.relay)):
            yield


@asynccontextmanager
async def caller(path: Path) -> AsyncIterator[Wire]:
    async with await trio.open_unix_socket(path) as stream:
        yield Wire(stream)


def called(method: str, *params: object) -> bytes:
    return request("POST", "/", {}, msgspec.json.encode({"method": method, "params": params}))


async def answer(path: Path, method: str, *params: object) -> tuple[int, Any]:
    async with caller(path) as wire:
        await wire.send(called(method, *params))
        reply = await wire.reply()
        return reply.status, json.loads(reply.body)


async def test_a_call_needs_no_signature_and_is_recorded_as_the_operators(tmp_path: Path) -> None:
    path = tmp_path / "relay.sock"
    async with line(path):
        assert await answer(path, "countevents", [{}]) == (200, {"result": 1})
        assert await answer(path, "removeevents", [{"kinds": [1]}]) == (
            200,
            {"result": {"events": 1, "kinds": {"1": 1}}},
        )
        _, acts = await answer(path, "listacts")
        [act] = acts["result"]
        assert (act["who"], act["method"], act["told"]) == ("operator", "removeevents", "1 events removed")
        assert act["can_undo"] is False
        assert (await answer(path, "blockip", "203.0.113.7"))[1] == {"result": True}


async def test_a_call_has_the_configuration_read_again_and_is_recorded_if_it_was(tmp_path: Path) -> None:
    path, fails = tmp_path / "relay.sock", True

    async def reload() -> dict[str, object]:
        if fails:
            raise errors.Rejected(errors.Prefix.INVALID, "limits.max_filters: expected `int` >= 1")
        return {"changed": ["relay.name"], "waiting": {}}

    async with open_named(MemoryStore()) as door:
        sight = admin.sight.OwnSight(door.relay, reload=reload)
        async with control.control_line(path, AdminApi(door.relay, sight)):
            refused = await answer(path, "reloadconfig")
            assert refused == (200, {"error": "invalid: limits.max_filters: expected `int` >= 1"})
            fails = False
            assert await answer(path, "reloadconfig") == (200, {"result": {"changed": ["relay.name"], "waiting": {}}})
            _, acts = await answer(path, "listacts")
            assert [(act["method"], act["told"]) for act in acts["result"]] == [("reloadconfig", "1 settings changed")]
    async with line(path):
        _, without = await answer(path, "reloadconfig")
        assert without["error"].startswith("unsupported: this relay was started without a configuration")


async def test_several_calls_follow_one_another_on_one_connection(tmp_path: Path) -> None:
    path = tmp_path / "relay.sock"
    async with line(path), caller(path) as wire:
        await wire.send(called("countevents", [{}]) + called("countevents", [{"kinds": [7]}]))
        assert [json.loads((await wire.reply()).body)["result"] for _ in range(2)] == [1, 0]


async def test_it_is_for_its_owner_alone_and_gone_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "relay.sock"
    async with line(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == []


async def test_processes_of_others_are_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "relay.sock"
    async with line(path):
        monkeypatch.setattr(control, "ROOT", -1)
        monkeypatch.setattr(os, "geteuid", lambda: -2)
        async with caller(path) as wire:
            assert await wire.stream.receive_some() == b""


async def test_a_socket_that_a_killed_relay_has_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "relay.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with line(path):
        assert (await answer(path, "countevents", [{}]))[0] == 200


async def test_a_living_one_is_left_to_whoever_listens_there(tmp_path: Path, logged: list[dict[str, Any]]) -> None:
    path = tmp_path / "relay.sock"
    async with line(path):
        async with line(path, MemoryStore()):
            pass
        assert [entry["event"] for entry in logged if entry["log_level"] == "warning"] == ["no control line"]
        assert (await answer(path, "countevents", [{}]))[0] == 200


async def test_a_path_that_no_socket_can_have_is_told_and_the_relay_does_without(
    tmp_path: Path, logged: list[dict[str, Any]]
) -> None:
    async with line(tmp_path / ("x" * 108)):
        assert os.listdir(tmp_path) == []
    [entry] = [entry for entry in logged if entry["log_level"] == "warning"]
    assert entry["event"] == "no control line: the path of its socket is too long"


async def test_what_is_no_call_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "relay.sock"
    async with line(path), caller(path) as wire:
        await wire.send(request("GET", "/", {}))
        assert (await wire.reply()).status == 405
        await wire.send(request("POST", "/", {}, b"[]"))
        assert (await wire.reply()).status == 400
        assert (await answer(path, "nothing"))[1] == {"error": "unsupported: there is no such method"}


async def test_what_nobody_waits_for_any_more_is_cancelled(tmp_path: Path) -> None:
    path, store = tmp_path / "relay.sock", SlowStore()
    async with line(path, store):
        async with caller(path) as wire:
            await wire.send(called("removeevents", [{"kinds": [1]}]))
            await store.begun.wait()
        await store.ended.wait()
        assert await store.count([Filter()]) == 1
        store.let_go.set()
        assert (await answer(path, "removeevents", [{"kinds": [1]}]))[1]["result"]["events"] == 1


async def test_one_work_on_the_store_goes_on_at_a_time(tmp_path: Path) -> None:
    path, store = tmp_path / "relay.sock", SlowStore()
    async with line(path, store), caller(path) as wire:
        await wire.send(called("removeevents", [{"kinds": [1]}]))
        await store.begun.wait()
        status, told = await answer(path, "removeevents", [{"kinds": [1]}])
        assert (status, told["error"]) == (503, "error: other work on the store goes on; try again when it is done")
        store.let_go.set()
        assert (await wire.reply()).status == 200


async def test_a_stop_does_not_wait_for_a_call(tmp_path: Path) -> None:
    path, store = tmp_path / "relay.sock", SlowStore()
    async with line(path, store):
        stream = await trio.open_unix_socket(path)
        await stream.send_all(called("removeevents", [{"kinds": [1]}]))
        await store.begun.wait()
    assert store.ended.is_set()
    assert await stream.receive_some() == b""
    await stream.aclose()


async def test_those_who_say_nothing_make_room_and_those_who_are_worked_for_do_not(tmp_path: Path) -> None:
    path, store = tmp_path / "relay.sock", SlowStore()
    async with line(path, store), trio.open_nursery() as nursery:
        busy = await trio.open_unix_socket(path)
        await busy.send_all(called("removeevents", [{"kinds": [1]}]))
        await store.begun.wait()
        silent = [await trio.open_unix_socket(path) for _ in range(20)]
        assert (await answer(path, "countevents", [{}]))[0] == 200
        store.let_go.set()
        assert (await Wire(busy).reply()).status == 200
        for stream in [busy, *silent]:
            nursery.start_soon(stream.aclose)


@pytest.mark.parametrize(
    ("listen", "backend", "place"),
    [
        ("", "sqlite", "data/relay.db.sock"),
        ("", "opensearch", None),
        ("off", "sqlite", None),
        ("unix:/run/relay.sock", "sqlite", "/run/relay.sock"),
        ("unix:/run/relay.sock", "opensearch", "/run/relay.sock"),
    ],
)
def test_it_lies_beside_the_file_unless_the_operator_says_otherwise(
    listen: str, backend: str, place: str | None
) -> None:
    found = control.ControlOptions(listen=listen).place(backend, "data/relay.db")
    assert found == (None if place is None else Path(place))


@pytest.mark.parametrize("path", ["data/relay.db/", "./data/relay.db", "data//relay.db"])
def test_it_lies_beside_the_file_however_its_path_is_written(path: str) -> None:
    assert control.ControlOptions().place("sqlite", path) == Path("data/relay.db.sock")
