"""The dashboard and the alerts on the real program under a little load, as a real Prometheus sees it."""

from __future__ import annotations

import itertools
import re
import shlex
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import pytest
import trio

from docs.generate import ROOT
from tests.support.authority import certified, written
from tests.support.crew import TWO
from tests.support.keys import ALICE, BOB
from tests.support.program import MODULE, PATIENCE, Program, running
from tests.support.program_load import publish_all
from tests.support.server import Talker
from tests.support.wire import connected
from tests.watching.queries import PANELS, labels_in, on_all
from tests.watching.server import RULES, Prometheus, needs_prometheus, open_prometheus

pytestmark = [pytest.mark.slow, needs_prometheus]

JUDGE: Final = shlex.join([sys.executable, str(ROOT / "tests" / "plugins" / "programs" / "whitelist.py"), ALICE.pubkey])
HOOKS: Final = """
def on_event(event, source):
    return None

def on_filters(filters, source):
    return None
"""
TABLES: Final = """
[store]
readers = 1
max_events = 100
retention_seconds = 1

[backup]
every_seconds = 3600

[plugins]
hooks = "watched"
write = '{judge}'
timeout_seconds = 60 # a slow machine is no fault of a plugin

[rates]
kinds = [{{ kinds = [7], per_connection = "1/hour burst 1" }}]

[[mirror]]
url = "ws://{host}:{port}/"
"""
NOT_ON_SQLITE: Final = {
    "Requests that failed",
    "Events of other relays",
    "Last look for what others store",
    "The bus is connected",
    "Notes on the bus",
}
FAULTS: Final = {"No room for a connection", "What goes wrong"}
"""Of the system, and of plugins: there are none."""
OF_WORKERS: Final = {
    "CPU",
    "Connections",
    "Memory",
    "Events",
    "Behind the keeper's feed",
    "Started anew within an hour",
}
OF_THE_MACHINE: Final = {
    *(f"TrioRelay{name}" for name in ("LoopLag", "SlowStore", "SlowQueries", "QueueFull", "SlowSignatures")),
    *(f"TrioRelay{name}" for name in ("DiskFull", "DiskFilling", "Memory")),
}
"""Alerts that are up to how quick and how large it is, and what else runs there."""
NOT_HERE: Final = {'trio_relay_events_total{outcome="failed"}', 'trio_relay_info{signatures!="batch"}'}
"""What rules ask for that a relay tells only where it has that trouble."""


@asynccontextmanager
async def watched(folder: Path, settings: dict[str, str]) -> AsyncIterator[tuple[Program, Prometheus]]:
    """A relay that has whatever can be switched on, one that it mirrors, and a Prometheus that scrapes it."""
    for name in ("there", "here", "series"):
        (folder / name).mkdir()
    (folder / "here" / "watched.py").write_text(HOOKS)
    tls = {f"net.{key}": path for key, path in written(folder, certified()).items()}
    chosen = {**settings, **tls, "net.listen": '["127.0.0.1:0", "tls:127.0.0.1:0"]'}
    async with running(folder / "there") as there:
        host, port = there.address
        (folder / "here" / "relay.toml").write_text(TABLES.format(judge=JUDGE, host=host, port=port))
        command = (*MODULE, "--config", str(folder / "here" / "relay.toml"))
        async with running(folder / "here", chosen, command=command) as here:
            await here.says("listening on wss://")
            [metrics] = re.findall(r"http://(\S+)/metrics", here.out)
            async with open_prometheus(folder / "series", metrics) as prometheus:
                yield here, prometheus


async def use(program: Program) -> None:
    """Do a little of everything, again and again."""
    async with program.client() as listening, trio.open_nursery() as nursery:
        await listening.send("REQ", "live", {"kinds": [1], "limit": 0})
        nursery.start_soon(hear, listening)
        for number in itertools.count():
            async with program.client() as client:
                await speak(client, number)
            await program.get("/nowhere")
            await fail_at_tls(program)


async def hear(client: Talker) -> None:
    while True:
        await client.receive()


async def speak(client: Talker, number: int) -> None:
    """Events that are taken, and that are refused by each kind of judge; requests of each way."""
    now = int(time.time())
    notes = [ALICE.event(f"note {number} {one}", created_at=now) for one in range(20)]
    await publish_all(client, [*notes, BOB.event(f"{number}", created_at=now)])
    for reaction in range(2):
        await client.publish(ALICE.event(f"{number} {reaction}", kind=7, created_at=now))
    await client.ask("kind", {"kinds": [1], "limit": 5})
    await client.count("count", {"kinds": [1]})
    for one in range(8):
        await client.send("REQ", f"words {one}", {"search": "note"})
    for _ in range(8):
        while (await client.receive())[0] != "EOSE":
            pass


async def fail_at_tls(program: Program) -> None:
    """Speak without TLS where that is spoken."""
    [(host, port)] = re.findall(r"^listening on wss://(.+):(\d+)$", program.out, re.MULTILINE)
    async with connected((host, int(port))) as wire:
        with suppress(trio.BrokenResourceError):
            await wire.send(b"GET / HTTP/1.1\r\nHost: relay.localhost\r\n\r\n")
            await wire.receive_end()


async def without_data(prometheus: Prometheus) -> set[str]:
    """The panels of which a query finds nothing, after it has been asked again while others found more and more."""
    missing: set[str] = set()
    for panel in PANELS:
        for target in panel["targets"]:
            found = await prometheus.labels_of(on_all(target["expr"]))
            assert all(labels_in(target["legendFormat"]) <= labels.keys() for labels in found), target
            if not found:
                missing.add(panel["title"])
    return missing


@pytest.mark.parametrize(
    ("settings", "silent"),
    [({}, NOT_ON_SQLITE | FAULTS | OF_WORKERS), (TWO, NOT_ON_SQLITE | FAULTS)],
    ids=["one process", "two workers"],
)
async def test_every_panel_shows_something_and_nobody_is_alarmed(
    settings: dict[str, str], silent: set[str], tmp_path: Path
) -> None:
    async with watched(tmp_path, settings) as (relay, prometheus), trio.open_nursery() as nursery:
        nursery.start_soon(use, relay)
        with trio.fail_after(PATIENCE):
            while (missing := await without_data(prometheus)) - silent:  # noqa: ASYNC110  # scrapes tell nobody
                await trio.sleep(0.25)
        assert missing == silent
        alarms = {labels["alertname"] for labels in await prometheus.labels_of("ALERTS")}
        assert alarms <= OF_THE_MACHINE, "not even one that waits whether it goes on"
        for selector in re.findall(r"trio_relay\w+\{[^}]*\}", RULES.read_text()):
            assert bool(await prometheus.labels_of(selector)) or selector in NOT_HERE, selector
        nursery.cancel_scope.cancel()
