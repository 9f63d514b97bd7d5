"""`python -m perf.mirrors`: two relays that mirror each other both ways, under a random load and kill -9.

Each has a table `[[mirror]]` for the other. Clients of both publish notes, replaceable events, requests to delete and
ephemeral events; now and then one of the two is killed and started again. At the end both have to hold the same events,
none of those that were acknowledged may be missing unless it was replaced or deleted, and what one gave the other in
vain is counted.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
import httpx
import orjson
import trio

from perf.plan import Failed
from perf.servers import free_ports
from trio_relay.nostr.event import Event
from trio_relay.nostr.signer import Signer
from trio_relay.peers.peer import Peer, open_peer
from trio_relay.peers.waiting import PeerLost

_AUTHORS: Final = 20
_START_SECONDS: Final = 30.0
_EVEN_SECONDS: Final = 120.0
"""How long both may take to be equal once the load has ended."""
_KINDS: Final = ((1, 70), (0, 5), (10_002, 5), (30_023, 8), (5, 10), (20_001, 2))
"""Kinds of events, and how many of a hundred are of each."""


@dataclass(slots=True)
class MirrorsReport:
    """What came of it.

    Attributes:
        acknowledged: events that got their OK, by relay.
        kills: how often one was killed.
        stored: events that both hold at the end.
        even_seconds: from the end of the load until both held the same.
        outcomes: of the mirrors' events since the last kill, by relay and outcome.
        duplicates: events that each was sent, by whomever, and had, since its last kill.
        resident_bytes: of each process at the end.
    """

    acknowledged: list[int] = field(default_factory=lambda: [0, 0])
    kills: int = 0
    stored: int = 0
    even_seconds: float = 0.0
    outcomes: list[dict[str, int]] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    resident_bytes: list[int] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """The whole in words."""
        yield f"{sum(self.acknowledged)} events acknowledged, {self.kills} kills; both hold the same {self.stored}"
        yield f"equal {self.even_seconds:.1f} s after the load"
        for place, name in enumerate("AB"):
            moved = ", ".join(f"{number} {outcome}" for outcome, number in sorted(self.outcomes[place].items()))
            size = self.resident_bytes[place] / 2**20
            yield f"{name}: {moved}; {self.duplicates[place]} duplicates came in; {size:.0f} MiB"


class MirroredPair:
    """Two relays as processes, each with its folder.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.ports = free_ports(4)
        self.folders = [folder / name for name in "AB"]
        self._processes: list[subprocess.Popen[bytes] | None] = [None, None]
        for place, own in enumerate(self.folders):
            own.mkdir()
            (own / "relay.toml").write_text(
                f'[net]\nlisten = ["127.0.0.1:{self.ports[place]}"]\n'
                f'[metrics]\nlisten = "127.0.0.1:{self.ports[2 + place]}"\n[store]\npath = "relay.db"\n'
                f'[[mirror]]\nurl = "{self.url(1 - place)}"\ndirection = "both"\nretry_seconds = 2.0\n',
                encoding="utf-8",
            )

    def url(self, place: int) -> str:
        """Where one of the two is."""
        return f"ws://127.0.0.1:{self.ports[place]}/"

    def start(self, place: int) -> None:
        """Start one of the two; it may take a while until it listens."""
        with (self.folders[place] / "log").open("ab") as log:
            self._processes[place] = subprocess.Popen(
                [sys.executable, "-m", "trio_relay", "--config", "relay.toml"],
                cwd=self.folders[place],
                stdout=log,
                stderr=log,
            )

    def kill(self, place: int) -> None:
        """Kill one with SIGKILL, and wait until it is gone."""
        if (process := self._processes[place]) is not None:
            process.kill()
            process.wait()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start both; they are killed at the end."""
        try:
            for place in (0, 1):
                self.start(place)
            yield
        finally:
            for place in (0, 1):
                self.kill(place)

    async def stored(self, place: int) -> set[str]:
        """The ids of all that one of the two holds."""
        command = [sys.executable, "-m", "trio_relay", "export", "--config", "relay.toml"]
        done = await trio.run_process(command, cwd=self.folders[place], capture_stdout=True, capture_stderr=True)
        return {orjson.loads(line)["id"] for line in done.stdout.splitlines()}

    async def metrics(self, place: int) -> str:
        """The page of metrics of one of the two."""
        async with httpx.AsyncClient(timeout=10) as client:
            return (await client.get(f"http://127.0.0.1:{self.ports[2 + place]}/metrics")).text


class MirrorsLoad:
    """Clients of one relay, which publish at random until they are told to end.

    Args:
        url: of the relay.
        chance: decides.
        rate: events a second.
        acknowledged: gets the events that got their OK.
    """

    def __init__(self, url: str, chance: random.Random, rate: float, acknowledged: dict[str, Event]) -> None:
        self._url = url
        self._chance = chance
        self._rate = rate
        self._acknowledged = acknowledged
        self._authors = [Signer(chance.randbytes(32)) for _ in range(_AUTHORS)]
        self._own: dict[str, list[Event]] = {author.pubkey: [] for author in self._authors}

    async def run(self) -> None:
        """Publish; whenever the relay is gone, connect again."""
        while True:
            try:
                async with open_peer(self._url) as peer:
                    await self._publish(peer)
            except PeerLost:
                await trio.sleep(0.2)

    async def _publish(self, peer: Peer) -> None:
        while True:
            event = self._event()
            if (await peer.publish(event)).accepted and event.kind != 20_001:
                self._acknowledged[event.id] = event
                self._own[event.pubkey].append(event)
            await trio.sleep(self._chance.expovariate(self._rate))

    def _event(self) -> Event:
        chance, author = self._chance, self._chance.choice(self._authors)
        kind = chance.choices([kind for kind, _ in _KINDS], [weight for _, weight in _KINDS])[0]
        tags = [["d", str(chance.randrange(3))]] if kind == 30_023 else []
        if kind == 5:
            own = self._own[author.pubkey]
            kind, tags = (5, [["e", chance.choice(own).id]]) if own else (1, [])
        now = int(time.time()) - chance.choice([0, 0, 0, 1, 60])
        return author.sign(kind, now, tags, f"{chance.random()}")


async def run_mirrors(
    folder: Path, seconds: float, seed: int, *, kills: int, rate: float = 20.0, say: Callable[[str], None] = print
) -> MirrorsReport:
    """Run two relays that mirror each other, and hold them to being equal in the end.

    Args:
        folder: an empty one for both.
        seconds: of load.
        seed: of all that is decided by chance.
        kills: how often one of the two is killed meanwhile, evenly over time.
        rate: events a second for each of two clients of each.
        say: told what happens.

    Raises:
        Failed: they were not equal in time, or something acknowledged is missing.
    """
    chance, pair, report = random.Random(seed), MirroredPair(folder), MirrorsReport(kills=kills)
    acknowledged: list[dict[str, Event]] = [{}, {}]
    with pair.running():
        for place in (0, 1):
            await _listening(pair, place)
        async with trio.open_nursery() as clients:
            for place in (0, 0, 1, 1):
                own = random.Random(chance.random())
                clients.start_soon(MirrorsLoad(pair.url(place), own, rate, acknowledged[place]).run)
            for number in range(kills):
                await trio.sleep(seconds / (kills + 1))
                place = number % 2
                pair.kill(place)
                await trio.sleep(chance.uniform(0, 2))
                pair.start(place)
                say(f"{'AB'[place]} was killed")
            await trio.sleep(seconds / (kills + 1))
            clients.cancel_scope.cancel()
        began = trio.current_time()
        held = await _equal(pair)
        report.even_seconds = trio.current_time() - began
        report.stored, report.acknowledged = len(held), [len(events) for events in acknowledged]
        _check_kept(held, {**acknowledged[0], **acknowledged[1]})
        for place in (0, 1):
            page = await pair.metrics(place)
            report.outcomes.append(_outcomes(page))
            report.duplicates.append(int(_number(page, r'trio_relay_events_total{outcome="duplicate"}')))
            report.resident_bytes.append(int(_number(page, "trio_relay_process_resident_bytes")))
    return report


async def _listening(pair: MirroredPair, place: int) -> None:
    with trio.fail_after(_START_SECONDS):
        while True:
            try:
                async with open_peer(pair.url(place)):
                    return
            except PeerLost:
                await trio.sleep(0.1)


async def _equal(pair: MirroredPair) -> set[str]:
    """What both hold once it is the same."""
    deadline = trio.current_time() + _EVEN_SECONDS
    while True:
        one, other = await pair.stored(0), await pair.stored(1)
        if one == other:
            return one
        if trio.current_time() > deadline:
            raise Failed(f"A has {len(one - other)} events that B has not, and B {len(other - one)} that A has not")
        await trio.sleep(0.5)


def _check_kept(held: set[str], acknowledged: dict[str, Event]) -> None:
    """Raise if something is missing that nobody has deleted or replaced."""
    deleted = {tag[1] for event in acknowledged.values() if event.kind == 5 for tag in event.tags}
    lasting = {event.id for event in acknowledged.values() if event.kind in (1, 5)}
    # What was deleted before its own OK was heard is deleted all the same; requests to delete last.
    if missing := lasting - deleted - held:
        raise Failed(f"{len(missing)} events were acknowledged, and neither relay has them")


def _outcomes(page: str) -> dict[str, int]:
    found = re.findall(r'^trio_relay_mirror_events_total{.*outcome="(\w+)"} (\S+)$', page, re.MULTILINE)
    return dict(Counter({outcome: int(float(number)) for outcome, number in found if float(number)}))


def _number(page: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
    return 0.0 if found is None else float(found[1])


@click.command()
@click.argument("minutes", default=10.0, type=click.FloatRange(0.1, 120))
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same load and kills.")
@click.option("--kills", type=int, help="How often one of the two is killed; by default once a minute.")
def main(minutes: float, seed: int, kills: int | None) -> None:
    """Run two relays that mirror each other for some MINUTES; the exit code is 1 if they are not equal in the end."""
    folder = Path(tempfile.mkdtemp(prefix="mirrors-"))
    count = max(1, int(minutes)) if kills is None else kills

    async def run() -> MirrorsReport:
        return await run_mirrors(folder, minutes * 60, seed, kills=count, say=click.echo)

    try:
        report = trio.run(run)
    except Failed as failed:
        click.echo(f"{failed}; the stores and logs are in {folder}")
        raise SystemExit(1) from failed
    click.echo("\n".join(report.lines()))
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
