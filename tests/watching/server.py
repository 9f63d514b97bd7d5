"""A real Prometheus, on a free port of this machine, which scrapes every second; it is ended with its context."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import trio

from docs.generate import ROOT
from tests.support.program import PATIENCE

RULES: Final = ROOT / "deploy" / "prometheus" / "trio-relay.rules.yml"
_READY: Final = b"Server is ready to receive web requests"
_LISTENS: Final = re.compile(rb'"Listening on" address=(\S+)')
_BETWEEN_LOOKS: Final = 0.25

needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not on PATH")


class Prometheus:
    """What one asks a Prometheus by its API."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer."""
        answer = (await self._http.get(f"/api/v1/{path}", params=parameters)).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    async def labels_of(self, query: str) -> list[dict[str, str]]:
        """The labels of each number that a query finds; what is not a number is nothing found."""
        found = (await self.get("query", query=query))["result"]
        return [one["metric"] for one in found if not math.isnan(float(one["value"][1]))]

    async def until_found(self, query: str) -> list[dict[str, str]]:
        """Wait until a query finds something; scrapes tell nobody that they were made."""
        with trio.fail_after(PATIENCE):
            while not (found := await self.labels_of(query)):  # noqa: ASYNC110
                await trio.sleep(_BETWEEN_LOOKS)
            return found


@asynccontextmanager
async def open_prometheus(folder: Path, *targets: str) -> AsyncIterator[Prometheus]:
    """A Prometheus with the alert rules, once it answers.

    Args:
        folder: keeps its data.
        targets: host and port of each relay's metrics.
    """
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "trio-relay", "static_configs": [{"targets": list(targets)}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(configuration))  # JSON is YAML
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'series'}",
        "--web.listen-address=127.0.0.1:0",
    ]
    async with started(command, folder) as prometheus:
        yield prometheus


@asynccontextmanager
async def started(command: Sequence[str], folder: Path) -> AsyncIterator[Prometheus]:
    """What a command starts that serves on a free port, run in a folder, once it answers; killed at the end."""
    async with trio.open_nursery() as nursery:
        start = partial(trio.run_process, command, cwd=folder, stderr=subprocess.PIPE, check=False)
        process: trio.Process = await nursery.start(start)
        addresses, found = trio.open_memory_channel[str](1)
        nursery.start_soon(_read, process.stderr, addresses)
        with trio.fail_after(PATIENCE):
            address = await found.receive()
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=PATIENCE) as http:
            yield Prometheus(http)
        process.kill()


async def _read(log: trio.abc.ReceiveStream | None, addresses: trio.MemorySendChannel[str]) -> None:
    """Read its log to the end, and tell where it listens once it does not answer 503 any more."""
    assert log is not None
    said = b""
    async with log:
        async for chunk in log:
            said += chunk
            if _READY in said and (found := _LISTENS.search(said)) is not None:
                addresses.send_nowait(found[1].decode())
                said = b""


def promtool(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Prometheus' own tool, run to its end in a folder."""
    return subprocess.run(
        ["promtool", *arguments], cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def selectors(query: str) -> Sequence[tuple[str, set[str]]]:
    """The metrics in a query, each with the labels that are asked for there."""
    found = re.findall(r"\b(trio_relay\w*|up|ALERTS)\b(?:\{([^}]*)\})?", query)
    return [(name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside))) for name, inside in found]
