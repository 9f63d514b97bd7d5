"""What each weather does to the relay, for as long as its spell lasts; afterwards all is as before."""

from __future__ import annotations

import math
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

import trio

from perf.node import Node
from perf.soak.behind import Redis
from perf.soak.ledger import Ledger
from perf.soak.plan import WEATHER, Spell
from perf.soak.program import Program
from perf.soak.tally import Tally
from perf.stalls.attackers import ATTACKS
from perf.wire import handshake

_ROOM: Final = 100_000
"""Bytes that a full disk still takes."""
_SPARE: Final = 3
"""Descriptors that are left to each process."""
_MOST_HALF_OPEN: Final = 60
_HOSTILE: Final = 4
"""Hostile clients of a flood."""
_ATTACKERS_END: Final = 10.0
_LATE: Final = 30.0
"""Seconds in which a start may still fail for what was away when it began."""
_FAR: Final = 3 * 86_400
"""Seconds that a clock is set by at most; by a second at least."""


@dataclass(frozen=True)
class Sky:
    """All that the weather touches.

    Attributes:
        programs: the relays, one of which each spell meets that is not of the store or the bus.
        tally: gets how often each weather came.
        ledger: is told how far the relay's clock was ahead.
        clock: the time of day that is right.
        node: of OpenSearch, if it is the store.
        redis: if there is a bus.
    """

    programs: Sequence[Program]
    tally: Tally
    ledger: Ledger
    clock: Callable[[], float]
    node: Node | None = None
    redis: Redis | None = None

    def struck(self, spell: Spell) -> Program:
        """The relay that a spell meets."""
        return Random(spell.dice).choice(self.programs)


Weather = Callable[[Sky, Spell], Awaitable[None]]


async def bring(sky: Sky, plan: Sequence[Spell], tell: Callable[[str], None]) -> None:
    """Have all spells of a plan come, each at its time, or once all is up again after the one before in its place."""
    places = {sort.place: trio.Lock() for sort in WEATHER.values()}
    async with trio.open_nursery() as spells:
        began = trio.current_time()
        for spell in plan:
            await trio.sleep_until(began + spell.at)
            tell(f"{spell.at:7.1f} s  {spell.weather}, {spell.seconds:.1f} s")
            spells.start_soon(_come, sky, spell, places[WEATHER[spell.weather].place])


async def _come(sky: Sky, spell: Spell, place: trio.Lock) -> None:
    async with place:
        sky.tally.counts[f"weather: {spell.weather}"] += 1
        await _WEATHERS[spell.weather](sky, spell)


async def _kill(sky: Sky, spell: Spell) -> None:
    await sky.struck(spell).kill(spell.seconds)


async def _restart(sky: Sky, spell: Spell) -> None:
    await sky.struck(spell).stop(spell.seconds)


async def _stand_still(sky: Sky, spell: Spell) -> None:
    with standing_still(sky.struck(spell).pids):
        await trio.sleep(spell.seconds)


async def _one_stands_still(sky: Sky, spell: Spell) -> None:
    pids = sky.struck(spell).pids
    with standing_still([Random(spell.dice).choice(pids)] if pids else []):
        await trio.sleep(spell.seconds)


async def _kill_worker(sky: Sky, spell: Spell) -> None:
    workers = sky.struck(spell).pids[1:]
    if workers:
        with suppress(ProcessLookupError):
            os.kill(Random(spell.dice).choice(workers), signal.SIGKILL)
    await trio.lowlevel.checkpoint()


async def _kill_plugin(sky: Sky, spell: Spell) -> None:
    if plugins := sky.struck(spell).plugins:
        with suppress(ProcessLookupError):
            os.kill(Random(spell.dice).choice(plugins), signal.SIGKILL)
    await trio.lowlevel.checkpoint()


async def _pause_plugin(sky: Sky, spell: Spell) -> None:
    plugins = sky.struck(spell).plugins
    with standing_still([Random(spell.dice).choice(plugins)] if plugins else []):
        await trio.sleep(spell.seconds)


async def _fill_disk(sky: Sky, spell: Spell) -> None:
    """No file may grow further, which to the relay is a disk without room."""
    program = sky.struck(spell)
    with trio.move_on_after(spell.seconds):
        await program.is_up()  # what its workers share is made before, in memory, to which the limit applies too
        files = [path.stat().st_size for path in program.folder.glob("relay.db*")]
        with limited(program, resource.RLIMIT_FSIZE, lambda _: max(files, default=0) + _ROOM):
            await trio.sleep_forever()


async def _take_descriptors(sky: Sky, spell: Spell) -> None:
    """No process may open more than a few files beyond those that it has open; then somebody connects."""
    program = sky.struck(spell)
    with trio.move_on_after(spell.seconds):
        await program.is_up()  # a start without descriptors fails, and need not do otherwise
        with (
            limited(program, resource.RLIMIT_NOFILE, lambda pid: _highest_descriptor(pid) + 1 + _SPARE),
            _half_open(program.port, 4 * _SPARE, Random(spell.dice)),
        ):
            await trio.sleep_forever()


async def _jump(sky: Sky, spell: Spell) -> None:
    """The clock is set, and some time later set right."""
    program, dice = sky.struck(spell), Random(spell.dice)
    ahead = dice.choice([-1, 1]) * _FAR ** dice.random()
    sky.ledger.latest_clock = max(sky.ledger.latest_clock, sky.clock() + spell.seconds + ahead + _LATE)
    program.set_clock(ahead)
    try:
        await trio.sleep(spell.seconds)
    finally:
        program.set_clock(0)


async def _leave_half_open(sky: Sky, spell: Spell) -> None:
    dice = Random(spell.dice)
    with _half_open(sky.struck(spell).port, dice.randint(10, _MOST_HALF_OPEN), dice):
        await trio.sleep(spell.seconds)


async def _flood(name: str, sky: Sky, spell: Spell) -> None:
    """Hostile clients of one kind, in a process of their own, which ends with its input."""
    port = sky.struck(spell).port
    command = [sys.executable, "-m", "perf.stalls.attackers", str(port), str(_HOSTILE), name]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await trio.sleep(spell.seconds)
        assert process.stdin is not None
        await process.stdin.aclose()
        with trio.move_on_after(_ATTACKERS_END):
            await process.wait()
    finally:
        process.kill()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _ATTACKERS_END):
            await process.wait()


async def _kill_node(sky: Sky, spell: Spell) -> None:
    assert sky.node is not None
    with _no_start(sky.programs):
        await _killed(sky.node, spell.seconds)


async def _pause_node(sky: Sky, spell: Spell) -> None:
    assert sky.node is not None
    with _no_start(sky.programs), standing_still([sky.node.pid]):
        await trio.sleep(spell.seconds)


@contextmanager
def _no_start(programs: Sequence[Program]) -> Iterator[None]:
    """Relays may say that they cannot start without their store, and some time after that is back."""
    for program in programs:
        program.may_refuse_until = math.inf
    yield
    for program in programs:
        program.may_refuse_until = trio.current_time() + _LATE


async def _kill_redis(sky: Sky, spell: Spell) -> None:
    assert sky.redis is not None
    await _killed(sky.redis, spell.seconds)


async def _killed(one: Node | Redis, seconds: float) -> None:
    """End it by SIGKILL, and start it again so much later, or when the weather is over."""
    await trio.to_thread.run_sync(one.kill)
    try:
        await trio.sleep(seconds)
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _LATE):
            await trio.to_thread.run_sync(one.start)


async def _pause_redis(sky: Sky, spell: Spell) -> None:
    assert sky.redis is not None
    with standing_still([sky.redis.pid]):
        await trio.sleep(spell.seconds)


_WEATHERS: Final[dict[str, Weather]] = {
    "killed": _kill,
    "stopped and started": _restart,
    "standing still": _stand_still,
    "worker killed": _kill_worker,
    "one process standing still": _one_stands_still,
    "full disk": _fill_disk,
    "no descriptors": _take_descriptors,
    "clock": _jump,
    "half-open": _leave_half_open,
    **{f"flood of {name}": partial(_flood, name) for name in ATTACKS},
    "plugin killed": _kill_plugin,
    "plugin standing still": _pause_plugin,
    "OpenSearch killed": _kill_node,
    "OpenSearch standing still": _pause_node,
    "Redis killed": _kill_redis,
    "Redis standing still": _pause_redis,
}


@contextmanager
def standing_still(pids: Iterable[int]) -> Iterator[None]:
    """Processes that do nothing meanwhile (SIGSTOP); those that have ended are none."""
    stopped = []
    try:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)
        yield
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextmanager
def limited(program: Program, kind: int, limit: Callable[[int], int]) -> Iterator[None]:
    """All processes of the relay have this soft limit meanwhile; those that it starts inherit it until then.

    Args:
        program: the relay.
        kind: one of `resource.RLIMIT_…`.
        limit: tells it by the pid.
    """
    before: list[tuple[int, int]] = []
    try:
        for pid in program.pids:
            with suppress(ProcessLookupError, FileNotFoundError):
                soft, hard = resource.prlimit(pid, kind)
                before.append((soft, hard))
                wanted = limit(pid) if hard == resource.RLIM_INFINITY else min(limit(pid), hard)
                resource.prlimit(pid, kind, (wanted, hard))
        yield
    finally:
        for pid in program.pids if before else ():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, kind, before[0])


def _highest_descriptor(pid: int) -> int:
    return max(map(int, os.listdir(f"/proc/{pid}/fd")), default=0)


@contextmanager
def _half_open(port: int, count: int, dice: Random) -> Iterator[None]:
    """Connections that say nothing, half of a handshake, or all of it and then nothing; half end by a reset."""
    sockets: list[socket.socket] = []
    request = handshake(address="198.51.100.200")
    try:
        for number in range(count):
            one = socket.socket()
            sockets.append(one)
            one.setblocking(False)
            if number % 2:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.connect_ex(("127.0.0.1", port))
            with suppress(OSError):  # it is not connected yet, or refused
                one.send(request[: dice.choice([0, len(request) // 2, len(request)])])
        yield
    finally:
        for one in sockets:
            one.close()
