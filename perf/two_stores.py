"""What it takes to bring two stores of a million events to the same: `python -m perf.two_stores [COUNT [DIFFERING]]`.

Both begin as copies of the store that other scenarios find (`perf.filled`). Each gets half of the events that differ,
signed, anywhere in its time. A relay runs on one of them; the command `sync` of another process brings over what the
other has, in both directions, and once more when nothing differs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Final

import click
import trio

from perf.filled import filled, filled_records
from perf.servers import free_port
from trio_relay.nostr.event import Event
from trio_relay.nostr.signer import Signer
from trio_relay.store.sqlite import SqliteOptions, open_sqlite

_TIME_BYTES: Final = 8
_RECORD: Final = 40
_LOOK_SECONDS: Final = 0.05


@click.command()
@click.argument("count", default=1_000_000, type=click.IntRange(1))
@click.argument("differing", default=1_000, type=click.IntRange(0))
def main(count: int, differing: int) -> None:
    """Make both stores, sync them twice, and print what each took."""
    folder = filled(count)
    records = filled_records(count)
    times = [int.from_bytes(records[place : place + _TIME_BYTES], "big") for place in range(0, len(records), _RECORD)]
    with tempfile.TemporaryDirectory(prefix="perf-") as name:
        here, there = Path(name) / "here", Path(name) / "there"
        for number, one in enumerate((here, there)):
            shutil.copytree(folder, one)
            trio.run(_add, one / "relay.db", _signed(differing // 2, number, min(times), max(times)))
        port = free_port()
        with _serving(there, port) as relay:
            for what in ("first", "again"):
                before = _cpu_seconds(relay)
                _sync(what, here, port)
                print(f"  the relay there: {_cpu_seconds(relay) - before:.1f} s of CPU, {_resident(relay)} MB resident")


def _signed(number: int, seed: int, first: int, last: int) -> list[Event]:
    random, signer = Random(seed), Signer(sha256(b"perf").digest())
    return [signer.sign(1, random.randint(first, last), [], f"differs {seed} {place}") for place in range(number)]


async def _add(path: Path, events: list[Event]) -> None:
    async with open_sqlite(SqliteOptions(path=str(path))) as store:
        await store.save_many(events)


@contextmanager
def _serving(folder: Path, port: int) -> Iterator[int]:
    """A relay on this store; gives its pid."""
    settings = {"NET__LISTEN": f'["127.0.0.1:{port}"]', "METRICS__LISTEN": f"127.0.0.1:{free_port()}"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(_COMMAND, env=_environment(folder, settings), stdout=log, stderr=log)
        try:
            while b"listening on" not in (folder / "log").read_bytes():
                time.sleep(0.1)
            yield process.pid
        finally:
            process.terminate()
            process.wait()


_COMMAND: Final = [sys.executable, "-m", "trio_relay"]


def _environment(folder: Path, settings: dict[str, str]) -> dict[str, str]:
    chosen = settings | {"STORE__PATH": str(folder / "relay.db")}
    return {**os.environ, **{f"TRIO_RELAY_{name}": value for name, value in chosen.items()}}


def _sync(what: str, folder: Path, port: int) -> None:
    began, most, cpu = time.perf_counter(), 0, 0.0
    process = subprocess.Popen([*_COMMAND, "sync", f"ws://127.0.0.1:{port}"], env=_environment(folder, {}))
    while process.poll() is None:
        with suppress(OSError, ValueError):  # it has just ended
            # What the system tells of an ended process counts its parent's memory, too.
            most, cpu = _most_resident(process.pid), _cpu_seconds(process.pid)
        time.sleep(_LOOK_SECONDS)
    took = f"{time.perf_counter() - began:.1f} s, {cpu:.1f} s of CPU, {most} MB at most"
    print(f"{what}: exit {process.returncode}, {took}")


def _most_resident(pid: int) -> int:
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(line) // 1024


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20


if __name__ == "__main__":
    main()
