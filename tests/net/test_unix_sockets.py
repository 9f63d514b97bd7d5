"""Unix sockets: who may open them, what is left of them, and who is at the other end."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.support.server import open_door, served
from tests.support.wire import Wire, upgrade
from trio_relay import NetOptions, Server, bound_address, open_listeners
from trio_relay.net import listeners

PATIENCE = 10


@asynccontextmanager
async def open_socket(path: Path, net: NetOptions | None = None) -> AsyncIterator[Server]:
    """A relay that listens on a Unix socket."""
    async with open_door() as door, trio.open_nursery() as nursery:
        server, stop = served(door.relay, net), trio.Event()
        await nursery.start(server.serve, await open_listeners(f"unix:{path}"), stop)
        with trio.fail_after(PATIENCE):
            yield server
        stop.set()


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[Wire]:
    async with await trio.open_unix_socket(path) as stream:
        yield Wire(stream)


async def test_it_is_served_and_removed_at_a_clean_stop(tmp_path: Path) -> None:
    path = tmp_path / "relay.sock"
    async with open_socket(path) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        async with connected(path) as wire:
            await wire.open()
            assert server.statistics().connections == 1
    assert os.listdir(tmp_path) == []


async def test_whoever_may_open_it_is_a_trusted_proxy(tmp_path: Path) -> None:
    net = NetOptions(max_connections_per_address=1)
    path = tmp_path / "relay.sock"
    statuses = []
    async with open_socket(path, net), connected(path) as first, connected(path) as second, connected(path) as third:
        for wire, told in ((first, "203.0.113.7"), (second, "203.0.113.7"), (third, "203.0.113.8")):
            await wire.send(upgrade(X_Forwarded_For=told))
            statuses.append((await wire.reply()).status)
    assert statuses == [101, 429, 101]


async def test_a_proxy_that_tells_nobody_is_not_capped_itself(tmp_path: Path) -> None:
    path = tmp_path / "relay.sock"
    net = NetOptions(max_connections_per_address=1)
    async with open_socket(path, net) as server, connected(path) as first, connected(path) as second:
        await first.open()
        await second.open()
        assert server.statistics().connections == 2


async def test_what_a_dead_relay_has_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "relay.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with open_socket(path), connected(path) as wire:
        assert (await wire.ask()).status == 200


async def test_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "relay.sock"
    async with open_socket(path):
        with pytest.raises(listeners.AddressRefused, match=rf"^cannot listen on unix:{path}: somebody listens on it"):
            await open_listeners(f"unix:{path}")
        async with connected(path) as wire:
            assert (await wire.ask()).status == 200


async def test_nor_is_one_whose_queue_is_full(tmp_path: Path) -> None:
    path = tmp_path / "relay.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        with pytest.raises(listeners.AddressRefused, match="somebody listens on it already"):
            await open_listeners(f"unix:{path}")


async def test_nor_is_any_other_file(tmp_path: Path) -> None:
    path = tmp_path / "relay.sock"
    path.write_text("precious")
    with pytest.raises(listeners.AddressRefused, match="there is a file that is no socket"):
        await open_listeners(f"unix:{path}")
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("path", "reason"), [("nowhere/relay.sock", "No such file or directory"), ("a" * 200, "path too long")]
)
async def test_a_place_where_none_can_be_is_refused_by_its_name(tmp_path: Path, path: str, reason: str) -> None:
    with pytest.raises(listeners.AddressRefused, match=f"^cannot listen on unix:{tmp_path / path}: .*{reason}$"):
        await open_listeners(f"unix:{tmp_path / path}")


async def test_two_that_start_at_once_do_not_replace_each_other(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)  # as another relay does while it looks whether the old one is dead
    with pytest.raises(listeners.AddressRefused, match="another relay is opening a socket in the same folder"):
        await open_listeners(f"unix:{tmp_path}/relay.sock")
    os.close(folder)
    [listener] = await open_listeners(f"unix:{tmp_path}/relay.sock")
    assert bound_address(listener) == f"unix:{tmp_path}/relay.sock"
    await listener.aclose()


async def test_what_has_taken_its_place_stays(tmp_path: Path) -> None:
    path = tmp_path / "relay.sock"
    [old] = await open_listeners(f"unix:{path}")
    path.rename(tmp_path / "old.sock")
    [new] = await open_listeners(f"unix:{path}")
    await old.aclose()
    assert path.exists()
    await new.aclose()
    await new.aclose()
    assert not path.exists()
