"""The real program for tests that are not Trio's: it runs in a thread, and is talked to as by any client."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, TypeVar

import httpx
import msgspec
import trio
from websockets.sync.client import ClientConnection, connect

from tests.support.keys import Author
from tests.support.operators import ADMIN, header, signed
from tests.support.program import MODULE, PATIENCE, Program, finished, running
from trio_relay import Event

CONTENT_TYPE: Final = "application/nostr+json+rpc"
COOKIE: Final = "trio-relay-console"

T = TypeVar("T")


@dataclass(frozen=True)
class Site:
    """A relay that runs."""

    program: Program
    folder: Path
    """Its working directory."""
    settings: Mapping[str, str]
    _token: trio.lowlevel.TrioToken

    @property
    def origin(self) -> str:
        """What its pages come from, without a slash at the end."""
        host, port = self.program.address
        return f"http://{host}:{port}"

    def call(self, step: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """What a coroutine function gives, run beside the program."""
        return trio.from_thread.run(step, *arguments, trio_token=self._token)

    def command(self, *arguments: str) -> str:
        """What the program prints with these arguments, and its settings, in its folder."""
        ended = self.call(partial(finished, settings=dict(self.settings)), self.folder, *arguments)
        assert ended.returncode == 0, ended.stderr.decode()
        return ended.stdout.decode()

    @contextmanager
    def client(self, agent: str = "tests") -> Iterator[Subscriber]:
        """A WebSocket client, which calls itself so."""
        url = self.origin.replace("http", "ws", 1)
        with connect(url, open_timeout=PATIENCE, user_agent_header=agent) as connection:
            yield Subscriber(connection)

    def link(self) -> str:
        """What `trio-relay admin-link` prints, with the port that the relay has got."""
        return self.command("admin-link").strip().replace("http://127.0.0.1:0/", f"{self.origin}/")

    def cookie(self, key: Author) -> str:
        """Log in to the console without a browser: what the cookie says of a new session of this key (NIP-98)."""
        url, body = f"{self.origin}/admin/login", b"login"
        headers = {"Authorization": self._signature(key, url, body)}
        reply = httpx.post(url, content=body, headers=headers, timeout=PATIENCE)
        assert reply.status_code == 200, reply.text
        return reply.cookies[COOKIE]

    def manage(self, method: str, *params: object, key: Author = ADMIN) -> Any:
        """The result of a call that succeeds (NIP-86)."""
        url, body = f"{self.origin}/", msgspec.json.encode({"method": method, "params": params})
        headers = {"Content-Type": CONTENT_TYPE, "Authorization": self._signature(key, url, body)}
        told = httpx.post(url, content=body, headers=headers, timeout=PATIENCE).json()
        assert told.keys() == {"result"}, told
        return told["result"]

    def _signature(self, key: Author, url: str, body: bytes) -> str:
        return header(signed(key, body, url=url, created_at=int(time.time())))

    def publish(self, *events: Event) -> None:
        """Have these events stored."""
        with self.client() as client:
            for event in events:
                assert client.publish(event) == ["OK", event.id, True, ""]


class Subscriber:
    """A client of the relay, by the websockets library; each wait has a deadline."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def receive(self) -> list[Any]:
        """The next message."""
        message: list[Any] = json.loads(self._connection.recv(timeout=PATIENCE))
        return message

    def send(self, *message: object) -> None:
        """Send one message."""
        self._connection.send(msgspec.json.encode(message).decode())

    def publish(self, event: Event) -> list[Any]:
        """Send an event, and give the next message: its OK, if nothing else is on its way."""
        self.send("EVENT", event)
        return self.receive()

    def ask(self, sub_id: str, *filters: dict[str, Any]) -> list[str]:
        """Send a REQ, and give the ids of its events up to EOSE."""
        self.send("REQ", sub_id, *filters)
        return [message[2]["id"] for message in iter(self.receive, ["EOSE", sub_id])]


@contextmanager
def serving(folder: Path, settings: Mapping[str, str] | None = None, command: Sequence[str] = MODULE) -> Iterator[Site]:
    """A relay in a thread, once it listens, that `ADMIN` may manage; it is killed at the end.

    Args:
        folder: its working directory.
        settings: `section.key` to its value, as `running` takes them.
        command: what starts it.
    """
    chosen = {"policy.admins": json.dumps([ADMIN.pubkey]), **(settings or {})}
    started: SimpleQueue[tuple[Site, Callable[[], None]] | BaseException] = SimpleQueue()

    async def run() -> None:
        async with running(folder, chosen, command=command) as program:
            over, token = trio.Event(), trio.lowlevel.current_trio_token()
            started.put((Site(program, folder, chosen, token), partial(token.run_sync_soon, over.set)))
            await over.wait()

    def run_in_thread() -> None:
        try:
            trio.run(run)
        except BaseException as error:
            started.put(error)

    thread = threading.Thread(target=run_in_thread, name="relay")
    thread.start()
    try:
        first = started.get()
        if isinstance(first, BaseException):
            raise first
        site, end = first
        try:
            yield site
        finally:
            end()
    finally:
        thread.join()
    wrong = [line for line in site.program.err.splitlines() if '"level":"error"' in line]
    assert not wrong, "\n".join(wrong).replace("\\n", "\n")
