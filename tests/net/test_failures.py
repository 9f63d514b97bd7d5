"""What goes wrong in one conversation stays in it."""

from __future__ import annotations

import pytest
import structlog
import trio
from trio.testing import MockClock, lockstep_stream_pair, wait_all_tasks_blocked

from tests.support.keys import ALICE
from tests.support.marks import replaces_what_is_compiled
from tests.support.obedient_store import ObedientStore
from tests.support.server import open_door, socket_pair
from tests.support.wire import TEXT, frame, message, open_stream, open_wire
from trio_relay import Saved
from trio_relay.nostr.message import ClientMessage
from trio_relay.nostr.session import Session

pytestmark = pytest.mark.usefixtures("inline_threads")

NOTE = ALICE.event("note")


class Bug(Exception):
    """What nobody expected."""


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the session fail on one word."""
    receive = Session.receive

    def fail(self: Session, data: bytes) -> ClientMessage:
        if data == b"boom":
            raise Bug
        return receive(self, data)

    monkeypatch.setattr(Session, "receive", fail)


@replaces_what_is_compiled
@pytest.mark.usefixtures("fragile")
async def test_a_bug_in_one_conversation_is_logged_with_its_traceback_and_hurts_nobody_else(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with open_door() as door, open_wire(door) as wire, door.client() as other:
        await wire.send(message("REQ", "live", {}))
        await wire.receive()
        await other.ask("live", {"limit": 0})
        await wire.send(frame(TEXT, b"boom"))
        await wire.receive_end()
        assert await other.publish(NOTE) in (["OK", NOTE.id, True, ""], ["EVENT", "live"])
        await wait_all_tasks_blocked()
        assert door.server.statistics().connections == 1
        assert door.relay.statistics().broadcaster.subscriptions == 1
        async with door.client() as newcomer:
            assert len(await newcomer.ask("all", {})) == 1
        errors = [entry for entry in logged if entry["log_level"] == "error"]
        assert [(entry["event"], entry["exc_info"]) for entry in errors] == [("connection failed", True)]


@replaces_what_is_compiled
@pytest.mark.usefixtures("fragile")
async def test_what_was_answered_before_a_bug_leaves() -> None:
    async with open_door() as door, open_wire(door, socket_pair) as wire:
        await wire.send(message("REQ", "a", {"limit": 0}) + message("REQ", "b", {"limit": 0}) + frame(TEXT, b"boom"))
        assert [await wire.receive(), await wire.receive()] == [["EOSE", "a"], ["EOSE", "b"]]
        await wire.receive_end()


async def test_a_stream_that_breaks_while_it_is_written_to_is_no_failure(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with open_door() as door, open_wire(door, lockstep_stream_pair) as wire, door.client() as speaker:
        await wire.send(message("REQ", "live", {"limit": 0}))
        await wire.receive()
        await speaker.publish(NOTE)
        await wait_all_tasks_blocked()
        await trio.aclose_forcefully(wire.stream)
        await wait_all_tasks_blocked()
        assert door.server.statistics().close_reasons == {"lost": 1}
    assert {entry["log_level"] for entry in logged} <= {"debug", "info"}


async def test_a_client_that_leaves_during_the_handshake_is_a_debug_line(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with open_door() as door, open_stream(door, lockstep_stream_pair) as wire:
        await wire.send(b"HELLO\r\n\r\n")
        await wait_all_tasks_blocked()
        await trio.aclose_forcefully(wire.stream)
        await wait_all_tasks_blocked()
        lines = [entry for entry in logged if entry["event"] == "connection broken"]
        assert [(line["log_level"], line["error"]) for line in lines] == [("debug", "BrokenResourceError()")]


async def test_answers_to_who_is_gone_go_nowhere_and_his_events_are_stored(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    store.block("save_many")
    async with open_door(store) as door:
        async with open_wire(door) as wire:
            await wire.send(message("EVENT", NOTE))
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert door.server.statistics().connections == 0
        store.release("save_many")
    assert store.contents() == {NOTE.id}


async def test_a_stage_that_fails_ends_the_server_with_its_exception(autojump_clock: MockClock) -> None:
    class Broken(ObedientStore):
        async def save_many(self, events: object) -> list[Saved]:
            raise Bug

    with pytest.RaisesGroup(Bug, flatten_subgroups=True):
        async with open_door(Broken()) as door, open_wire(door) as wire:
            await wire.send(message("EVENT", NOTE))
            await trio.sleep_forever()
    assert door.server.statistics().close_reasons == {"cancelled": 1}
