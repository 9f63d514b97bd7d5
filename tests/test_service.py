"""What a service tells its manager, and how it waits for the process before it."""

from __future__ import annotations

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE
from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import open_desk
from tests.support.service_manager import Manager, hearing
from trio_relay.config import Config, check
from trio_relay.service import Service, unless_stopped
from trio_relay.store import base
from trio_relay.systemd import HandedSocket, Notifier

HANDED = [HandedSocket(3)]
IN_USE = base.StoreInUse("relay.db is in use by the process with pid 7")


async def test_a_writer_that_does_not_come_back_is_no_sign_of_life(
    autojump_clock: MockClock, inline_threads: None
) -> None:
    store = ObedientStore()
    with hearing() as manager:
        async with open_desk(store) as (relay, replies), trio.open_nursery() as nursery:
            notifier = Notifier(manager.address, watchdog_seconds=20)
            nursery.start_soon(notifier.watch, relay.stages.writer.settled)
            await manager.until("WATCHDOG=1")
            store.block("save_many")
            await relay.publish(replies.batch(ALICE.event("is being written")))
            await wait_all_tasks_blocked()
            assert not await _is_alive(manager)
            store.release("save_many")
            assert await _is_alive(manager)
            nursery.cancel_scope.cancel()


async def _is_alive(manager: Manager) -> bool:
    with trio.move_on_after(25) as patience:
        await manager.until("WATCHDOG=1")
    return not patience.cancelled_caught


def configured(grace: float = 3.0, drain: float = 2.0) -> Config:
    return check({"net": {"grace_seconds": grace}, "pipeline": {"drain_seconds": drain}})


async def test_who_was_handed_nothing_waits_for_nobody() -> None:
    assert Service().turn(configured(), trio.Event()) is None


async def test_it_waits_as_long_as_the_process_before_it_may_take(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    with hearing() as manager:
        comes = Service(HANDED, Notifier(manager.address)).turn(configured(), trio.Event())
        assert comes is not None
        began = trio.current_time()
        while await comes(IN_USE):
            pass
        assert 25 <= trio.current_time() - began < 25.1
        assert await manager.next() == [f"STATUS=waiting: {IN_USE}", "EXTEND_TIMEOUT_USEC=25000000"]
    assert [(line["event"], line["reason"]) for line in logged] == [
        ("waiting for the process before this one", str(IN_USE))
    ]


async def test_it_looks_often_since_clients_wait(autojump_clock: MockClock) -> None:
    comes = Service(HANDED).turn(configured(), trio.Event())
    assert comes is not None
    began = trio.current_time()
    assert await comes(IN_USE)
    assert trio.current_time() - began <= 0.01


async def test_it_waits_no_longer_than_until_it_is_to_stop(autojump_clock: MockClock) -> None:
    stop = trio.Event()
    comes = Service(HANDED).turn(configured(), stop)
    assert comes is not None
    assert await comes(IN_USE)
    stop.set()
    began = trio.current_time()
    assert not await comes(IN_USE)
    assert trio.current_time() == began


def test_the_store_of_another_is_no_fault_of_who_was_to_stop() -> None:
    stop = trio.Event()
    with pytest.RaisesGroup(base.StoreInUse), unless_stopped(stop):
        raise IN_USE
    stop.set()
    with unless_stopped(stop):
        raise IN_USE
    with pytest.raises(base.StoreRefused), unless_stopped(stop):
        raise base.StoreRefused("of a newer version")
