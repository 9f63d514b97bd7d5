"""How the real program ends: asked once, asked twice, late, and while events are on their way."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, Signals

import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.support.keys import ALICE, NOW, Author
from tests.support.program import MODULE, Program, finished, launcher, running
from tests.support.program_load import everything, publish_all
from tests.support.server import Talker, plain
from tests.support.wire import closing, connected, message

pytestmark = pytest.mark.slow

_PATIENT = {"net.grace_seconds": "3600", "net.close_seconds": "3600"}


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
async def test_one_signal_closes_with_1012_and_exits_with_0(
    tmp_path: Path, processes: dict[str, str], number: Signals
) -> None:
    async with running(tmp_path, processes) as program:
        async with program.client() as client:
            assert await client.ask("a", {"limit": 1}) == []
            program.signal(number)
            with pytest.raises(ConnectionClosed) as closed:
                await client.receive()
        code = await program.wait()
    assert closed.value.reason is not None
    assert (closed.value.reason.code, closed.value.reason.reason) == (1012, "the relay is stopping")
    assert code == 0
    assert program.out.splitlines()[-1] == "stopped"


class Sender:
    """Publishes without waiting for answers, and notes those that come until the relay closes."""

    def __init__(self, name: str) -> None:
        self.accepted: set[str] = set()
        self.close_code: int | None = None
        self.answered = trio.Event()
        self._author = Author(name)

    async def publish(self, program: Program) -> None:
        async with program.client() as client, trio.open_nursery() as nursery:
            nursery.start_soon(self._send, client)
            try:
                while True:
                    answer = await client.receive()
                    assert answer == ["OK", answer[1], True, ""]
                    self.accepted.add(answer[1])
                    self.answered.set()
            except ConnectionClosed as closed:
                self.close_code = closed.reason.code if closed.reason else None
            nursery.cancel_scope.cancel()

    async def _send(self, client: Talker) -> None:
        try:
            for number in count():
                await client.send("EVENT", self._author.event(f"{number}", created_at=NOW + number))
        except ConnectionClosed:
            return


async def test_events_in_flight_at_the_signal_are_stored_and_answered_or_neither(
    tmp_path: Path, serving_settings: dict[str, str]
) -> None:
    senders = [Sender(name) for name in ("alice", "bob", "carol")]
    async with running(tmp_path, serving_settings) as program:
        async with trio.open_nursery() as clients:
            for sender in senders:
                clients.start_soon(sender.publish, program)
            for sender in senders:
                await sender.answered.wait()
            program.signal(SIGTERM)
        assert await program.wait() == 0
    async with running(tmp_path, serving_settings) as again, again.client() as client:
        stored = {event["id"] for event in await everything(client)}
    assert [sender.close_code for sender in senders] == [1012, 1012, 1012]
    assert stored == set.union(*[sender.accepted for sender in senders])


async def test_an_answer_that_has_begun_is_sent_to_its_end(tmp_path: Path) -> None:
    """Many times what the relay and the kernel hold for a client: most of it leaves after the signal."""
    events = [ALICE.event("x" * 60_000, created_at=NOW - age) for age in range(100)]
    narrow = {"limits.max_message_length": "131072", "net.outbox_bytes": "262144"}
    async with running(tmp_path, narrow) as program, program.client() as client:
        await publish_all(client, events)
    async with running(tmp_path, narrow) as again, connected(again.address) as reader:
        await reader.open()
        await reader.send(message("REQ", "all", {"limit": len(events)}))
        received = [await reader.receive()]
        again.signal(SIGTERM)
        await again.logs("listeners closed")
        received += [await reader.receive() for _ in events]
        assert await reader.receive_close() == (1012, "the relay is stopping")
        await reader.send(closing(1012))
        assert await again.wait() == 0
    assert received == [*(["EVENT", "all", plain(event)] for event in events), ["EOSE", "all"]]


async def test_what_was_acknowledged_before_a_stop_at_once_is_stored(
    tmp_path: Path, serving_settings: dict[str, str]
) -> None:
    senders = [Sender(name) for name in ("alice", "bob", "carol")]
    async with running(tmp_path, {**_PATIENT, **serving_settings}) as program:
        # Without a guest that stays, the relay might have left before the second signal.
        async with connected(program.address) as guest, trio.open_nursery() as clients:
            await guest.open()
            for sender in senders:
                clients.start_soon(sender.publish, program)
            for sender in senders:
                await sender.answered.wait()
            program.signal(SIGTERM)
            program.signal(SIGINT)
        assert await program.wait() == 130, program.err
    async with running(tmp_path, serving_settings) as again, again.client() as client:
        stored = {event["id"] for event in await everything(client)}
    assert set.union(*[sender.accepted for sender in senders]) - stored == set()


async def test_a_second_signal_ends_it_at_once_though_a_client_refuses_to_leave(
    tmp_path: Path, serving_settings: dict[str, str]
) -> None:
    async with running(tmp_path, {**_PATIENT, **serving_settings}) as program, connected(program.address) as client:
        await client.open()
        program.signal(SIGTERM)
        await client.receive_close()
        program.signal(SIGINT)
        code = await program.wait()
    assert code == 130
    assert program.err.splitlines()[-1] == "trio-relay: stopped at once"
    assert "stopped" not in program.out


async def test_a_client_that_refuses_to_leave_costs_its_grace_and_no_more(
    tmp_path: Path, processes: dict[str, str]
) -> None:
    hurried = {**processes, "net.grace_seconds": "0.05", "net.close_seconds": "3600.0"}
    async with running(tmp_path, hurried) as program, connected(program.address) as client:
        await client.open()
        program.signal(SIGTERM)
        code = await program.wait()
        await client.receive_close()
        assert await client.receive_end() == b""
    assert code == 0
    assert program.out.splitlines()[-1] == "stopped"


async def test_who_has_not_said_what_he_wants_does_not_delay_the_end(tmp_path: Path, processes: dict[str, str]) -> None:
    async with (
        running(tmp_path, {**processes, **_PATIENT, "net.handshake_seconds": "3600"}) as program,
        connected(program.address) as silent,
        connected(program.address) as hesitant,
    ):
        await hesitant.send(b"GET / HTTP/1.1\r\nHost: relay.localhost\r\n")
        async with program.client() as client:
            assert await client.ask("a", {"limit": 1}) == []
            program.signal(SIGTERM)
            with pytest.raises(ConnectionClosed):
                await client.receive()
        assert await program.wait() == 0
        assert [await silent.receive_end(), await hesitant.receive_end()] == [b"", b""]


async def test_who_is_told_to_read_again_while_it_stops_ends_as_if_it_were_not(
    tmp_path: Path, processes: dict[str, str]
) -> None:
    config = tmp_path / "relay.toml"
    config.write_text("")
    async with running(tmp_path, processes, command=[*MODULE, "--config", str(config)]) as program:
        for number in (*[SIGHUP] * 30, SIGTERM, *[SIGHUP] * 300):
            program.signal(number)
            await trio.sleep(0.003)
        code = await program.wait()
    assert (code, program.out.splitlines()[-1]) == (0, "stopped")


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
async def test_one_that_comes_while_the_interpreter_is_taken_down_does_not_kill(
    tmp_path: Path, number: Signals
) -> None:
    late = f"""
import os, sys
class Late:
    def __del__(self, say=os.write, kill=os.kill, own=os.getpid()):
        say(1, b"late")
        kill(own, {number:d})
sys.late = Late()
"""
    ended = await finished(tmp_path, "completion", "bash", command=launcher(late))
    assert (ended.returncode, ended.stdout[-4:]) == (0, b"late"), ended.stderr
