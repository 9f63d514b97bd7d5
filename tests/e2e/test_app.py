"""The whole relay in this process: what it opens, serves and closes."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest
import structlog
import trio
import trio.testing

from tests.support.program import PATIENCE
from tests.support.wire import connected
from trio_relay import RelayOptions, app, attending, main_process
from trio_relay.config import Config, check
from trio_relay.net.endpoints import MetricsEndpoint
from trio_relay.net.listeners import AddressRefused
from trio_relay.workers import serving


def _config(folder: Path, workers: int = 1, **net: object) -> Config:
    return check(
        {
            "store": {"path": str(folder / "relay.db")},
            "pipeline": {"workers": workers},
            "net": {"listen": ["127.0.0.1:0"], **net},
            "metrics": {"listen": "127.0.0.1:0"},
        }
    )


def _main_of(config: Config) -> Callable[..., Awaitable[None]]:
    """What serves as the configuration says."""
    workers = config.pipeline.workers
    return app.main if workers == 1 else partial(serving.main, workers=workers)


class Running:
    """The relay in a task of this test, and what it announced."""

    def __init__(self, config: Config) -> None:
        self.announced: list[str] = []
        self.listening = trio.Event()
        self._config = config

    async def run(self) -> None:
        await _main_of(self._config)(self._config, self._announce, main_process.Origins())

    def _announce(self, line: str) -> None:
        self.announced.append(line)
        if line.startswith("listening on "):
            self.listening.set()

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.announced[-1].removeprefix("listening on ws://").partition(":")
        return host, int(port)


@pytest.fixture(autouse=True)
def usual_interpreter() -> Iterator[None]:
    """The relay sets how its process collects garbage and switches threads; other tests have both as they were."""
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.slow)])
def workers(request: pytest.FixtureRequest) -> int:
    """How many processes serve; where it is one, it is this one, which keeps the store of several."""
    number: int = request.param
    return number


@asynccontextmanager
async def _running(config: Config) -> AsyncIterator[Running]:
    """The relay while it listens, seen off by a signal at the end."""
    relay = Running(config)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.run)
            await relay.listening.wait()
            yield relay
            signal.raise_signal(signal.SIGTERM)


async def _get(url: str, accept: str = "*/*") -> httpx.Response:
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        return await client.get(url, headers={"Accept": accept})


async def test_its_address_serves_the_document_health_and_a_greeting(tmp_path: Path, workers: int) -> None:
    async with _running(_config(tmp_path, workers)) as relay:
        url = f"http://{relay.address[0]}:{relay.address[1]}/"
        document = await _get(url, "application/nostr+json")
        assert document.json()["limitation"]["max_limit"] == 5_000
        assert (await _get(f"{url}health")).json() == {"status": "ok"}
        assert (await _get(url)).text == "trio-relay: a Nostr relay. Connect to it with a Nostr client.\n"
        assert (await _get(f"{url}metrics")).status_code == 404


async def test_the_metrics_have_a_listener_of_their_own(tmp_path: Path, workers: int) -> None:
    async with _running(_config(tmp_path, workers)) as relay:
        [line] = [line for line in relay.announced if line.startswith("  metrics ")]
        url = line.split()[-1]
        metrics = await _get(url)
        assert metrics.status_code == 200
        assert "trio_relay_connections 0.0" in metrics.text.splitlines()
        assert (await _get(url.removesuffix("metrics"))).status_code == 404


async def test_a_relay_may_keep_nothing_and_measure_nothing(tmp_path: Path) -> None:
    source = {"store": {"backend": "memory"}, "net": {"listen": ["127.0.0.1:0"]}, "metrics": {"listen": ""}}
    async with _running(check(source)) as relay:
        assert "  store       memory (forgets everything when it stops)" in relay.announced
        assert "  metrics     off" in relay.announced
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("backend", "warning"),
    [
        (
            "coincurve",
            "no batch verifier, which needs a C compiler at installation: signatures are verified one by one",
        ),
        ("python", "no native libsecp256k1: each signature takes some 75 ms; this relay is for trying out only"),
    ],
)
async def test_a_slower_backend_that_is_forced_is_named_with_a_warning(
    tmp_path: Path, backend: str, warning: str
) -> None:
    config = msgspec.structs.replace(
        _config(tmp_path),
        pipeline=RelayOptions(signatures=backend, verifiers=1),  # type: ignore[arg-type]
    )
    async with _running(config) as relay:
        assert f"  signatures  {backend}, 1 verifiers" in relay.announced
        folded = " ".join(line.strip() for line in relay.announced)
        assert f" WARNING     {warning} " in folded


async def test_every_address_gets_a_line(tmp_path: Path, workers: int) -> None:
    async with _running(_config(tmp_path, workers, listen=["127.0.0.1:0", "127.0.0.1:0"])) as relay:
        lines = relay.announced[-2:]
    assert [line.rpartition(":")[0] for line in lines] == ["listening on ws://127.0.0.1"] * 2
    assert lines[0] != lines[1]


async def test_a_stopped_relay_leaves_nothing_behind(tmp_path: Path, workers: int) -> None:
    config = _config(tmp_path, workers)
    for _ in range(2):  # the second finds store, lock and signals free
        async with _running(config):
            pass
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert sorted(os.listdir(tmp_path)) == ["relay.db", "relay.db.lock"]


async def test_a_relay_that_has_only_half_of_its_addresses_does_not_start(tmp_path: Path, workers: int) -> None:
    """The sockets that it had are closed, too; a warning about one left open would fail this test."""
    announced: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = _config(tmp_path, workers, listen=["127.0.0.1:0", f"127.0.0.1:{taken.getsockname()[1]}"])
        with pytest.RaisesGroup(AddressRefused, flatten_subgroups=True):
            await _main_of(config)(config, announced.append, main_process.Origins())
    assert announced == []


async def test_a_second_signal_cuts_the_stopping_short(tmp_path: Path, workers: int) -> None:
    config = _config(tmp_path, workers, grace_seconds=3600.0, close_seconds=3600.0)
    relay = Running(config)
    with pytest.RaisesGroup(main_process.StoppedNow, flatten_subgroups=True), trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.run)
            await relay.listening.wait()
            async with connected(relay.address) as guest:
                await guest.open()
                signal.raise_signal(signal.SIGINT)
                await guest.receive_close()
                signal.raise_signal(signal.SIGTERM)
                await trio.sleep_forever()


@pytest.mark.parametrize("failure", [RuntimeError("a bug"), trio.BrokenResourceError()])
async def test_what_goes_wrong_with_the_metrics_stays_there(
    failure: Exception, logged: list[structlog.typing.EventDict]
) -> None:
    def render() -> tuple[bytes, str]:
        raise failure

    near, far = trio.testing.memory_stream_pair()
    await near.send_all(b"GET /metrics HTTP/1.1\r\nHost: memory\r\n\r\n")
    await attending.Attending(Config(), MetricsEndpoint(render), (), None).show(far)
    assert [entry["event"] for entry in logged] == ["metrics failed"] * isinstance(failure, RuntimeError)


async def test_the_garbage_collector_is_rare_and_leaves_out_what_is_there_for_good(tmp_path: Path) -> None:
    gc.unfreeze()
    async with _running(_config(tmp_path)):
        assert gc.get_threshold() == (20_000, 20, 10)
        assert gc.isenabled()
        frozen = gc.get_freeze_count()
        assert frozen > len(gc.get_objects())  # all that was imported, against what a relay without clients needs


async def test_threads_that_come_back_from_c_wait_half_a_millisecond_for_their_turn(tmp_path: Path) -> None:
    async with _running(_config(tmp_path)):
        assert sys.getswitchinterval() == pytest.approx(0.0005)
