"""kill -9 in the middle of backups and restores: a backup is whole or not there, a store is the old or the new one."""

from __future__ import annotations

import random
import shutil
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from signal import SIGKILL

import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.store.files import exists, opened, opened_for_reading
from tests.support.backends import everything
from tests.support.keys import NOW, Author
from tests.support.program import Program, finished, killed_after, launcher, running
from tests.support.program_load import everything as all_stored
from trio_relay import Event
from trio_relay.backup import restoring
from trio_relay.nostr import event

pytestmark = pytest.mark.slow

each_number = pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.exhaustive)])

_MANY = 1_500
_WINDOW = 40


def events_of(name: str, number: int) -> list[Event]:
    author = Author(name)
    return [author.event(f"{name} {at}", created_at=NOW + at, tags=[["t", name]]) for at in range(number)]


class Publisher:
    """Publishes without end, and keeps what was acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()

    async def publish(self, program: Program) -> None:
        author = Author("publisher")
        async with program.client() as client:
            with suppress(ConnectionClosed):
                for start in count(step=_WINDOW):
                    events = [author.event(str(at), created_at=NOW + at) for at in range(start, start + _WINDOW)]
                    for one in events:
                        await client.send("EVENT", one)
                    for _ in events:
                        verb, event_id, accepted, _reason = await client.receive()
                        assert (verb, accepted) == ("OK", True)
                        self.acknowledged.add(event_id)


async def duration_of(folder: Path, *arguments: str) -> float:
    """Seconds that a command takes, which must succeed."""
    began = trio.current_time()
    ended = await finished(folder, *arguments)
    assert ended.returncode == 0, ended.stderr
    return trio.current_time() - began


async def ids_in(path: Path) -> set[str]:
    async with opened_for_reading(path) as store:
        return {one.id for one in await everything(store)}


@each_number
async def test_a_backup_killed_at_any_moment_is_whole_or_not_there(tmp_path: Path, kills: int) -> None:
    lines = b"\n".join(map(event.encode, events_of("alice", _MANY)))
    assert (await finished(tmp_path, "import", stdin=lines)).returncode == 0
    publisher, file = Publisher(), tmp_path / "copies" / "relay.backup"
    file.parent.mkdir()
    backing_up = partial(killed_after, folder=tmp_path, arguments=["backup", str(file)])
    async with running(tmp_path) as program, trio.open_nursery() as publishing:
        publishing.start_soon(publisher.publish, program)
        startup = await duration_of(tmp_path, "restore", "--help")
        longest = await duration_of(tmp_path, "backup", "first.backup")
        for number in range(kills):
            before = set(publisher.acknowledged)
            await backing_up(random.uniform(startup / 2, longest * 1.1))
            if exists(file):
                restoring.restore_file(file, tmp_path / f"{number}.db", replaces=False)
                assert await ids_in(tmp_path / f"{number}.db") >= before
                file.unlink()
        before = set(publisher.acknowledged)
        assert (await finished(tmp_path, "backup", str(file))).returncode == 0
        assert names_in(file.parent) == {"relay.backup"}  # what was left half written goes with the next try
        publishing.cancel_scope.cancel()
        program.process.kill()
    settings = {"store.path": "last.db"}
    assert (await finished(tmp_path, "restore", str(file), settings=settings)).returncode == 0
    async with running(tmp_path, settings) as again, again.client() as client:
        assert {one["id"] for one in await all_stored(client)} >= before


ASKED_TO_END = """
import os, signal
signal.signal(signal.{name}, signal.{kept})
from trio_relay.backup import making
pause = making.WorkPace.__call__
def asked(self):
    making.WorkPace.__call__ = pause
    os.kill(os.getpid(), signal.{name})
    while not self._stopped.wait(1):
        pass
    pause(self)
making.WorkPace.__call__ = asked
"""
"""The program gets this signal in the middle of its work, and goes on once it has heard of that; whoever runs the tests
may have it ignored, as nohup does."""


@pytest.mark.parametrize(
    ("name", "kept"), [("SIGTERM", "SIG_DFL"), ("SIGHUP", "SIG_DFL"), ("SIGINT", "default_int_handler")]
)
async def test_a_backup_that_is_asked_to_end_leaves_nothing_half_written(tmp_path: Path, name: str, kept: str) -> None:
    """By a service manager, a terminal that is closed, or Ctrl-C."""
    lines = b"\n".join(map(event.encode, events_of("alice", _MANY)))
    assert (await finished(tmp_path, "import", stdin=lines)).returncode == 0
    before = names_in(tmp_path)
    ended = await finished(
        tmp_path, "backup", "relay.backup", command=launcher(ASKED_TO_END.format(name=name, kept=kept))
    )
    assert (ended.returncode, ended.stderr.splitlines()[-1:]) == (130, [b"trio-relay: interrupted"])
    assert names_in(tmp_path) == before


async def test_a_command_that_is_to_outlive_its_terminal_goes_on(tmp_path: Path) -> None:
    ignoring = "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    hung_up = "from trio_relay.backup import making; make = making.copy_file\n"
    hung_up += "making.copy_file = lambda *given: (os.kill(os.getpid(), signal.SIGHUP), make(*given))[1]"
    assert (await finished(tmp_path, "import")).returncode == 0
    ended = await finished(tmp_path, "backup", "relay.backup", command=launcher(ignoring + hung_up))
    assert ended.returncode == 0, ended.stderr
    assert exists(tmp_path / "relay.backup")


def names_in(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir()}


def as_it_was(saved: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(saved, folder)


class Stores:
    """A backup, another store with the log of a killed relay beside it, and what each of them holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.new = events_of("alice", _MANY)
        self.old = events_of("bob", 300)

    async def prepare(self) -> None:
        lines = b"\n".join(map(event.encode, self.new))
        made = {"store.path": "made/relay.db"}
        assert (await finished(self.folder, "import", stdin=lines, settings=made)).returncode == 0
        assert (await finished(self.folder, "backup", "relay.backup", settings=made)).returncode == 0
        async with opened(self.folder / "data" / "relay.db") as store:
            await store.save_many(self.old[:200])
        async with opened(self.folder / "data" / "relay.db") as store:
            await store.save_many(self.old[200:])
            shutil.copytree(self.folder / "data", self.folder / "saved")
        self.reset()

    def reset(self) -> None:
        as_it_was(self.folder / "saved", self.folder / "data")

    async def look(self) -> bool:
        """Whether the store is the new one; else it must be the old one, whole."""
        as_it_was(self.folder / "data", self.folder / "looked at")
        async with opened(self.folder / "looked at" / "relay.db") as store:
            found = await everything(store)
        assert found in (self.old, self.new)
        return found == self.new

    async def finish(self) -> None:
        """Run it to its end after one that was killed, and see what is there then."""
        ended = await finished(self.folder, "restore", "--replace", "relay.backup")
        assert ended.returncode == 0, ended.stderr
        assert await self.look()
        assert names_in(self.folder / "data") == {"relay.db", "relay.db.before-restore", "relay.db.lock"}


@each_number
async def test_a_restore_killed_at_any_moment_leaves_the_old_store_or_the_new_one(tmp_path: Path, kills: int) -> None:
    stores = Stores(tmp_path)
    await stores.prepare()
    restoring_killed = partial(killed_after, folder=tmp_path, arguments=["restore", "--replace", "relay.backup"])
    startup = await duration_of(tmp_path, "restore", "--help")
    longest = await duration_of(tmp_path, "restore", "--replace", "relay.backup")
    for _ in range(kills):
        stores.reset()
        await restoring_killed(random.uniform(startup, longest * 1.05))
        if not await stores.look():
            await stores.finish()


KILLED_AT_A_STEP = """
import os, signal
left = {left}
def dying(step):
    def stepped(*arguments, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*arguments, **named)
    return stepped
for name in ("link", "unlink", "rename", "replace", "fsync"):
    setattr(os, name, dying(getattr(os, name)))
"""
"""The program ends right before its step of this number that changes a folder, or has it on the disk."""


@pytest.mark.exhaustive
async def test_a_restore_killed_before_any_of_its_steps_leaves_the_old_store_or_the_new_one(tmp_path: Path) -> None:
    stores = Stores(tmp_path)
    await stores.prepare()
    outcomes = []
    for left in count():
        stores.reset()
        command = launcher(KILLED_AT_A_STEP.format(left=left))
        code = (await finished(tmp_path, "restore", "--replace", "relay.backup", command=command)).returncode
        if code == 0:
            break
        assert code == -SIGKILL
        outcomes.append(is_new := await stores.look())
        if not is_new:
            await stores.finish()
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {False, True}
    assert len(outcomes) >= 5
