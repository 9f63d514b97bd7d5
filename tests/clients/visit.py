"""What each client is asked to do on a relay, and what has to come out."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import trio

from tests.clients.driver import Client, Failed, Lacks, driven
from tests.clients.libraries import Library
from tests.clients.relays import (
    FIRST_PAGE,
    FOLLOW_SET,
    FOLLOWS,
    LIBRARIAN,
    LIST_SIZES,
    SYNCED,
    author_of,
    list_author,
    url_of,
)
from tests.support.keys import Author
from tests.support.program import Program
from tests.support.server import Talker

_SYNC_SECONDS: Final = 60.0
"""Libraries in JavaScript verify a few hundred signatures a second."""
_A_MOMENT: Final = 0.5
"""Seconds after which an authentication is over."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step.

    Attributes:
        works: whether it came out right; None if the library has nothing for it.
        detail: what went wrong.
        seconds: how long it took.
        size: of the largest list that came out whole, where that was the question.
    """

    works: bool | None
    detail: str = ""
    seconds: float = 0.0
    size: int | None = None


Outcomes = dict[str, Outcome]


@dataclass(slots=True)
class Visit:
    """One client on one relay, its key, and what has come out so far."""

    client: Client
    talker: Talker
    author: Author
    outcomes: Outcomes
    now: int = field(default_factory=lambda: int(time.time()) - 60)

    async def step(self, name: str, does: Step) -> None:
        """Take a step, and note what became of it."""
        start = trio.current_time()
        try:
            size = await does(self)
        except Lacks:
            self.outcomes[name] = Outcome(None)
        except Failed as failed:
            self.outcomes[name] = Outcome(False, str(failed), trio.current_time() - start)
        else:
            self.outcomes[name] = Outcome(True, "", trio.current_time() - start, size)

    def event(self, content: str, *, later: int = 0, **rest: Any) -> dict[str, Any]:
        """An event of this client's author, as JSON values."""
        event = self.author.event(content, created_at=self.now + later, **rest)
        built: dict[str, Any] = msgspec.to_builtins(event)
        return built

    def notes(self) -> list[dict[str, Any]]:
        """The client's own notes with a hashtag."""
        return [self.event(f"note {n}", later=n, tags=[["t", "nostr"]]) for n in (1, 2)]

    async def publish(self, *events: dict[str, Any]) -> None:
        """Let the client publish."""
        for event in events:
            await self.client.does("publish", event)

    async def finds(self, query: dict[str, Any], *expected: str) -> None:
        """The client's answer to a query has to be the events with these ids.

        Raises:
            Failed, Lacks
        """
        found = [event["id"] for event in await self.client.does("fetch", query)]
        if sorted(found) != sorted(expected):
            raise Failed(f"{len(found)} events, {len(expected)} expected")

    async def at_second_try(self, does: Callable[[], Awaitable[None]]) -> None:
        """Do something that has to wait for AUTH; once more if that was not over, as a person would.

        Raises:
            Failed, Lacks
        """
        try:
            await does()
        except Failed:
            await trio.sleep(_A_MOMENT)
            await does()


async def put(talker: Talker, event: object) -> None:
    """Store an event, by a client that nobody asks about."""
    await talker.send("EVENT", event)
    while (message := await talker.receive())[0] != "OK":
        pass
    assert message[2] is True, message


Step = Callable[[Visit], Awaitable[int | None]]
Steps = dict[str, Step]


async def _publish(visit: Visit) -> None:
    events = [visit.event("hello"), *visit.notes()]
    try:
        await visit.publish(*events)
    except Lacks:  # then somebody else does, and the client reads
        for event in events:
            await put(visit.talker, event)
        raise


async def _by_id(visit: Visit) -> None:
    hello = visit.event("hello")["id"]
    await visit.finds({"ids": [hello]}, hello)


async def _by_author(visit: Visit) -> None:
    ids = [event["id"] for event in (visit.event("hello"), *visit.notes())]
    await visit.finds({"authors": [visit.author.pubkey], "kinds": [1]}, *ids)


async def _by_tag(visit: Visit) -> None:
    await visit.finds({"authors": [visit.author.pubkey], "#t": ["nostr"]}, *(event["id"] for event in visit.notes()))


async def _no_such_kind(visit: Visit) -> None:
    await visit.finds({"kinds": [99_999], "limit": 1})


async def _probe(visit: Visit) -> None:
    await visit.client.does("probe")


async def _live(visit: Visit) -> None:
    await visit.client.does("subscribe", {"authors": [visit.author.pubkey], "kinds": [7]})
    event = visit.author.event("+", kind=7, created_at=int(time.time()))
    await put(visit.talker, event)
    await visit.client.brings(event.id)


async def _replace(visit: Visit) -> None:
    profiles = [visit.event(f'{{"name":"{n}"}}', kind=0, later=n) for n in (1, 2)]
    await visit.publish(*profiles)
    await visit.finds({"authors": [visit.author.pubkey], "kinds": [0]}, profiles[1]["id"])


async def _delete(visit: Visit) -> None:
    mistake = visit.event("a mistake", later=5)
    await visit.publish(mistake, visit.event("", kind=5, later=6, tags=[["e", mistake["id"]]]))
    await visit.finds({"ids": [mistake["id"]]})


async def _count(visit: Visit) -> None:
    found = await visit.client.does("count", {"authors": [visit.author.pubkey], "kinds": [1]})
    if found != 1 + len(visit.notes()):
        raise Failed(f"{found}")


async def _search(visit: Visit) -> None:
    await visit.finds({"search": "hello", "authors": [visit.author.pubkey]}, visit.event("hello")["id"])


async def _sync(visit: Visit) -> None:
    found = await visit.client.does("sync", {"authors": [LIBRARIAN.pubkey], "kinds": [1]}, seconds=_SYNC_SECONDS)
    if found != SYNCED:
        raise Failed(f"{found} events, {SYNCED} expected")


async def _largest(visit: Visit, kind: int) -> int:
    """How many tags the longest list of this kind has that the client reads back."""
    read = 0
    for size in LIST_SIZES:
        try:
            found = await visit.client.does("fetch", {"authors": [list_author(size).pubkey], "kinds": [kind]})
        except Failed:
            break
        if [event["tags"] for event in found] != [size]:
            break
        read = size
    return read


async def _largest_list(visit: Visit) -> int:
    return await _largest(visit, FOLLOWS)


async def _largest_set(visit: Visit) -> int:
    return await _largest(visit, FOLLOW_SET)


async def _wraps(visit: Visit) -> None:
    sender = Author(f"wrapper of {visit.author.pubkey}")
    wrap = sender.event("sealed", kind=1059, created_at=visit.now, tags=[["p", visit.author.pubkey]])
    await put(visit.talker, wrap)
    asked = {"kinds": [1059], "#p": [visit.author.pubkey]}
    await visit.at_second_try(lambda: visit.finds(asked, wrap.id))


async def _manage(visit: Visit) -> None:
    """The same reading call twice, as pages with panels send it, and one that changes something."""
    for _ in range(2):
        if "banpubkey" not in await visit.client.does("manage", ["supportedmethods", []]):
            raise Failed("supportedmethods names no banpubkey")
    banned = Author(f"banned by {visit.author.pubkey}").pubkey
    await visit.client.does("manage", ["banpubkey", [banned, "spam"]])
    if banned not in str(await visit.client.does("manage", ["listbannedpubkeys", []])):
        raise Failed("the banned key is not on the list")


async def _read(visit: Visit) -> None:
    await visit.at_second_try(lambda: visit.finds({"ids": [FIRST_PAGE.id]}, FIRST_PAGE.id))


async def _write(visit: Visit) -> None:
    await visit.at_second_try(lambda: visit.publish(visit.event("with a key")))


WITHOUT_KEY: Final[Steps] = {
    "publish": _publish,
    "by id": _by_id,
    "by author": _by_author,
    "by tag": _by_tag,
    "no such kind": _no_such_kind,
    "idle probe": _probe,
    "live": _live,
    "replace": _replace,
    "delete": _delete,
    "COUNT": _count,
    "search": _search,
    "sync": _sync,
    "list": _largest_list,
    "set": _largest_set,
}
"""On a relay that is open to all, by a client that has no key to authenticate with."""
WITH_KEY: Final[Steps] = {"wraps": _wraps, "NIP-86": _manage}
"""On the same relay, by a client that has one."""
CHALLENGED: Final[Steps] = {"wraps, challenged at connect": _wraps}
"""On a relay that sends the challenge to all."""
CLOSED: Final[Steps] = {"AUTH to read": _read, "AUTH to write": _write}
"""On a relay that serves authenticated clients only."""


async def visit(library: Library, program: Program, steps: Steps, outcomes: Outcomes, *, secret: str = "") -> None:
    """Let a client do these steps, one after the other, and note what became of each."""
    async with program.client() as talker, driven(library, url_of(program), secret) as client:
        here = Visit(client, talker, author_of(library), outcomes)
        for name, does in steps.items():
            await here.step(name, does)
