"""A real Redis that is killed, stopped, emptied, trimmed and failed over in the middle of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

from tests.bus.redis_server import RedisServer, is_here
from tests.support.local_bus import Ear
from trio_relay.bus import BusOptions, BusRefused, Note, StreamBus, open_redis_bus

pytestmark = pytest.mark.redis
MEMBERS = 3
NOTES = 40
"""That each member sends before something happens, while it does, and after it."""


@dataclass(slots=True)
class Member:
    """One that talks and listens."""

    name: int
    bus: StreamBus
    ear: Ear = field(default_factory=Ear)
    said: int = 0

    def say(self, count: int = 1) -> None:
        for _ in range(count):
            self.said += 1
            self.bus.send(self.last)

    @property
    def last(self) -> bytes:
        """What it said last; it counts from 1."""
        return b"%d %d" % (self.name, self.said)

    def numbers(self, name: int) -> list[int | None]:
        """What was heard of one member, and None for each gap."""
        found: list[int | None] = []
        for item in self.ear.heard:
            if isinstance(item, Note):
                speaker, number = map(int, item.payload.split())
                found += [number] if speaker == name else []
            else:
                found.append(None)
        return found


async def meet(join: Callable[[], StreamBus], nursery: trio.Nursery) -> list[Member]:
    """Members that have all heard one another."""
    members = [Member(name, join()) for name in range(MEMBERS)]
    for member in members:
        nursery.start_soon(member.bus.listen, member.ear.take)
        await member.ear.gap()
    for member in members:
        member.say(NOTES)
    for member in members:
        await member.ear.notes_are(NOTES * (MEMBERS - 1))
    return members


async def talk_on(members: list[Member]) -> None:
    """Say more until all have heard the last of everybody."""
    for member in members:
        member.say(NOTES)
    for member in members:
        others = {other.last for other in members if other is not member}
        while not others <= set(member.ear.notes):
            await member.ear.more()


async def say_until_trouble(member: Member) -> str:
    """Talk until something is wrong, and return what."""
    while (trouble := member.bus.trouble) is None:
        member.say()
        await trio.sleep(0.01)
    return trouble


def is_whole(member: Member, *, may_miss: bool) -> bool:
    """Whether what was heard is in order, nothing twice, and nothing missing that no gap has told of."""
    for name in {*range(MEMBERS)} - {member.name}:
        expected, is_told = 1, True
        for number in member.numbers(name):
            if number is None:
                is_told = may_miss
            elif number < expected or (number > expected and not is_told):
                return False
            else:
                expected, is_told = number + 1, False
    return True


async def until(condition: Callable[[], object]) -> None:
    """Look until it is so."""
    while not condition():  # noqa: ASYNC110 -- of another process nobody tells us
        await trio.sleep(0.01)


async def in_trouble(members: list[Member]) -> float:
    """Wait until all have noticed; return the seconds that this took."""
    since = trio.current_time()
    await until(lambda: all(member.bus.trouble for member in members))
    return trio.current_time() - since


async def at_ease(members: list[Member]) -> None:
    await until(lambda: not any(member.bus.trouble for member in members))


@pytest.fixture
async def members(server: RedisServer, nursery: trio.Nursery) -> list[Member]:
    """Three of them on one Redis."""
    with trio.fail_after(30):
        return await meet(server.join, nursery)


async def killed_while_they_speak(server: RedisServer, members: list[Member]) -> None:
    """Kill it while all have something to say, and go on once it was started anew."""
    for member in members:
        member.say(NOTES)
    server.kill()
    await in_trouble(members)
    for member in members:
        member.say(NOTES)
    server.start()
    await talk_on(members)


async def test_killed_and_started_anew_with_nothing(server: RedisServer, members: list[Member]) -> None:
    with trio.fail_after(60):
        await killed_while_they_speak(server, members)
        await at_ease(members)
    for member in members:
        assert is_whole(member, may_miss=True)
        assert len(member.ear.gaps) >= 2, "the stream is gone, and who knows with what"


@pytest.mark.slow
async def test_killed_and_started_anew_with_what_was_on_disk(tmp_path: Path, nursery: trio.Nursery) -> None:
    if not is_here():
        pytest.skip("redis-server is not installed")
    with (
        closing(RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always")) as server,
        trio.fail_after(60),
    ):
        server.start()
        members = await meet(server.join, nursery)
        for _ in range(3):
            await killed_while_they_speak(server, members)
        await at_ease(members)
        for member in members:
            assert is_whole(member, may_miss=False), "it was all on disk"
            assert member.ear.gaps == ["started"]
            assert len(member.ear.notes) == sum(other.said for other in members if other is not member)
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_stopped_and_resumed(server: RedisServer, members: list[Member]) -> None:
    with trio.fail_after(60):
        for member in members:
            member.say(NOTES)
        server.pause()
        assert await in_trouble(members) < 10
        for member in members:
            assert member.bus.trouble == "Redis does not answer"
            member.say(NOTES)
        server.resume()
        await talk_on(members)
        await at_ease(members)
    for member in members:
        assert is_whole(member, may_miss=False)
        assert member.ear.gaps == ["started"]
        assert len(member.ear.notes) == sum(other.said for other in members if other is not member)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["FLUSHALL", "DEL trio-relay:test:bus"])
async def test_emptied(server: RedisServer, members: list[Member], command: str) -> None:
    with trio.fail_after(60):
        for _ in range(3):
            for member in members:
                member.say(NOTES)
            await trio.lowlevel.checkpoint()
            server.ask(command)
            await talk_on(members)
    for member in members:
        assert is_whole(member, may_miss=True)


@pytest.mark.slow
async def test_trimmed_before_it_was_read(server: RedisServer, members: list[Member]) -> None:
    with trio.fail_after(60):
        server.pause()
        for member in members:
            member.say(NOTES)
        await in_trouble(members)
        server.resume()
        server.ask("XTRIM trio-relay:test:bus MAXLEN 0")
        await talk_on(members)
        for member in members:
            await member.ear.gap(2)
            assert is_whole(member, may_miss=True)


@pytest.mark.slow
async def test_what_is_no_stream_is_told_and_mended(server: RedisServer, members: list[Member]) -> None:
    with trio.fail_after(60):
        server.ask("SET trio-relay:test:bus strange")
        await in_trouble(members)
        assert "wrong kind of value" in str(members[0].bus.trouble)
        server.ask("DEL trio-relay:test:bus")
        await talk_on(members)


async def test_a_redis_without_room_is_told(server: RedisServer, members: list[Member]) -> None:
    with trio.fail_after(60):
        server.ask("CONFIG SET maxmemory 1")
        assert "maxmemory" in await say_until_trouble(members[0])
        server.ask("CONFIG SET maxmemory 0")
        await talk_on(members)
    assert all(is_whole(member, may_miss=False) for member in members)


@pytest.mark.slow
async def test_failed_over_to_a_replica_and_back(tmp_path: Path, nursery: trio.Nursery) -> None:
    """The address of the socket goes from one to the other, as a name or a proxy does."""
    if not is_here():
        pytest.skip("redis-server is not installed")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with ExitStack() as stack:
        stack.enter_context(trio.fail_after(60))
        first, second = (
            stack.enter_context(
                closing(RedisServer(tmp_path / name, "--repl-diskless-sync-delay", "0", option="--port"))
            )
            for name in ("a", "b")
        )
        address = tmp_path / "address"
        first.start()
        second.start()
        second.ask(f"REPLICAOF 127.0.0.1 {first.port}")
        point(address, first)
        members = await meet(lambda: open_redis_bus(BusOptions(url=f"unix://{address}"), "test"), nursery)
        for here, there in ((first, second), (second, first)):
            await until(partial(has_caught_up, there))
            for member in members:
                member.say(NOTES)
            await trio.lowlevel.checkpoint()
            here.kill()
            there.ask("REPLICAOF NO ONE")
            point(address, there)
            await talk_on(members)
            here.start()
            here.ask(f"REPLICAOF 127.0.0.1 {there.port}")
        for member in members:
            assert is_whole(member, may_miss=True)
        nursery.cancel_scope.cancel()


def has_caught_up(replica: RedisServer) -> bool:
    return b"master_link_status:up" in replica.ask("INFO replication")


def point(address: Path, server: RedisServer) -> None:
    address.unlink(missing_ok=True)
    address.symlink_to(server.socket)


@pytest.mark.slow
async def test_a_replica_that_may_not_be_written_is_no_bus(server: RedisServer, members: list[Member]) -> None:
    with trio.fail_after(60):
        server.ask("REPLICAOF 127.0.0.1 1")
        await until(lambda: "read only replica" in str(members[0].bus.trouble))
        server.ask("REPLICAOF NO ONE")
        await talk_on(members)


async def test_passwords(server: RedisServer, nursery: trio.Nursery) -> None:
    server.ask("CONFIG SET requirepass open%41sesame")
    right, wrong = (
        open_redis_bus(BusOptions(url=f"unix://:{password}@{server.socket}"), "test")
        for password in ("open%2541sesame", "open")
    )
    ear, deaf = Ear(), Ear()
    with trio.fail_after(30):
        nursery.start_soon(right.listen, ear.take)
        nursery.start_soon(wrong.listen, deaf.take)
        await ear.gap()
        await until(lambda: "password" in str(wrong.trouble))
    assert wrong.trouble == "invalid username-password pair or user is disabled."


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_tls(tmp_path: Path, nursery: trio.Nursery, is_trusted: bool) -> None:
    if not is_here():
        pytest.skip("redis-server is not installed")
    authority, other = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("localhost")
    (authority if is_trusted else other).cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    files = ("--tls-cert-file", str(tmp_path / "cert.pem"), "--tls-key-file", str(tmp_path / "key.pem"))
    with (
        closing(RedisServer(tmp_path, *files, "--tls-auth-clients", "no", option="--tls-port")) as server,
        trio.fail_after(30),
    ):
        server.start()
        options = BusOptions(url=f"rediss://localhost:{server.port}", ca_file=str(tmp_path / "ca.pem"))
        stranger = BusOptions(url=f"rediss://127.0.0.1:{server.port}", ca_file=str(tmp_path / "ca.pem"))
        bus, elsewhere, ear = open_redis_bus(options, "test"), open_redis_bus(stranger, "test"), Ear()
        nursery.start_soon(bus.listen, ear.take)
        nursery.start_soon(elsewhere.listen, Ear().take)
        if is_trusted:
            await ear.gap()
        else:
            await until(lambda: "certificate" in str(bus.trouble))
        await until(lambda: "certificate" in str(elsewhere.trouble))
        nursery.cancel_scope.cancel()


def test_certificates_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BusRefused, match=r"^bus\.ca_file: .*No such file"):
        open_redis_bus(BusOptions(url="rediss://localhost", ca_file=str(tmp_path / "none.pem")), "test")


async def test_relays_of_another_prefix_hear_nothing(server: RedisServer, nursery: trio.Nursery) -> None:
    here, there = (open_redis_bus(BusOptions(url=server.url), prefix) for prefix in ("here", "there"))
    near, far = Ear(), Ear()
    with trio.fail_after(30):
        for bus, ear in ((here, near), (there, far)):
            nursery.start_soon(bus.listen, ear.take)
            await ear.gap()
        here.send(b"note")
        there.send(b"other note")
        while here.statistics().notes_sent + there.statistics().notes_sent < 2:
            await trio.lowlevel.checkpoint()
    assert near.notes == far.notes == []


@pytest.mark.exhaustive
async def test_one_fault_after_another_under_load(server: RedisServer, members: list[Member]) -> None:
    async def talk() -> None:
        while True:
            for member in members:
                member.say()
            await trio.sleep(0.005)

    faults: list[Callable[[], object]] = [
        server.restart,
        partial(server.stall, 4.0),
        partial(server.ask, "FLUSHALL"),
        partial(server.ask, "XTRIM trio-relay:test:bus MAXLEN 0"),
        partial(server.ask, "CLIENT KILL TYPE normal"),
        partial(server.ask, "CLIENT PAUSE 5000 ALL"),
    ]
    with trio.fail_after(180):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            for fault in [*faults, *reversed(faults), *faults]:
                await trio.to_thread.run_sync(fault)
                await trio.sleep(1.5)
            nursery.cancel_scope.cancel()
        await at_ease(members)
        await talk_on(members)
    for member in members:
        assert is_whole(member, may_miss=True)


@pytest.mark.slow
async def test_the_stream_takes_no_more_memory_than_it_may(server: RedisServer, nursery: trio.Nursery) -> None:
    speaker, listener = (server.join(max_bytes=2**24) for _ in range(2))
    ear = Ear()
    with trio.fail_after(60):
        nursery.start_soon(speaker.listen, Ear().take)
        nursery.start_soon(listener.listen, ear.take)
        await ear.gap()
        for number in range(60):
            speaker.send(bytes([number]) * 1_000_000)
            await ear.notes_are(number + 1)
        used = int(server.ask("MEMORY USAGE trio-relay:test:bus SAMPLES 0").strip(b":\r\n"))
    assert 12_000_000 < used < 20_000_000
    assert ear.gaps == ["started"]
