"""All clients, through all that they are asked to do, and through restarts of a relay."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Final

import trio

from tests.clients.driver import Client, Failed, Lacks, driven
from tests.clients.libraries import LIBRARIES, Library
from tests.clients.relays import LIBRARIAN, made, secret_of, shelved, url_of
from tests.clients.visit import CHALLENGED, CLOSED, WITH_KEY, WITHOUT_KEY, Outcomes, put, visit
from tests.support.program import MODULE, Program, launcher, running

CUT: Final = "cut"
ENDINGS: Final = ("1012", "1001", CUT)
"""How a relay leaves its clients: with a close frame of this code, or without any."""
_AT_ONCE: Final = 4
"""Clients at work at the same time."""
_RETURN_SECONDS: Final = 40
"""For how long a relay that is back waits for its clients."""
_EVERY: Final = 0.5
"""Seconds between the events that it sends them."""


async def run_all(folder: Path, libraries: Sequence[Library] = LIBRARIES) -> dict[str, Outcomes]:
    """What became of each client's steps: each takes them in turn, a few clients at the same time."""
    outcomes: dict[str, Outcomes] = {library.name: {} for library in libraries}
    limiter = trio.CapacityLimiter(_AT_ONCE)

    async def run_one(library: Library) -> None:
        async with limiter:
            secret, own = secret_of(library), outcomes[library.name]
            if not library.variant:
                await visit(library, open_, WITHOUT_KEY, own)
            await visit(library, open_, WITH_KEY, own, secret=secret)
            await visit(library, challenging, CHALLENGED, own, secret=secret)
            await visit(library, closed, CLOSED, own, secret=secret)

    async with (
        shelved(folder / "open", {}) as open_,
        shelved(folder / "challenging", {"policy.challenge": "connect"}) as challenging,
        shelved(folder / "closed", {"policy.auth_to_read": "true", "policy.auth_to_write": "true"}) as closed,
        trio.open_nursery() as nursery,
    ):
        for library in libraries:
            nursery.start_soon(run_one, library)
    return outcomes


async def run_restart(folder: Path, ending: str, libraries: Sequence[Library] = LIBRARIES) -> dict[str, float | None]:
    """After how many seconds, from when the relay listens again, each client's subscription is alive again.

    None for those that don't come back. Clients that have no subscriptions are left out.
    """
    async with trio.open_nursery() as nursery:
        following = {}
        async with running(made(folder), command=_leaves(ending)) as program:
            port = program.address[1]
            for library in (it for it in libraries if not it.variant):
                client = await nursery.start(_held, library, url_of(program))
                if await _follows(client, program):
                    following[library.name] = client
            program.signal(SIGKILL if ending == CUT else SIGTERM)
            await program.wait()
        async with running(folder, {"net.listen": f'["127.0.0.1:{port}"]'}) as program:
            seconds = await _returns(list(following.values()), program)
        nursery.cancel_scope.cancel()
    return dict(zip(following, seconds, strict=True))


async def _held(library: Library, url: str, task_status: trio.TaskStatus[Client]) -> None:
    """A client that stays, whatever its relay does."""
    async with driven(library, url) as client:
        task_status.started(client)
        await trio.sleep_forever()


def _leaves(ending: str) -> Sequence[str]:
    """The program, with another code in its close frames when it stops."""
    if ending == CUT:
        return MODULE
    return launcher(
        f"from trio_relay.net import close_reasons\nobject.__setattr__(close_reasons.STOPPING, 'code', {ending})"
    )


async def _follows(client: Client, program: Program) -> bool:
    """Whether a client has subscribed, and has heard an event since."""
    try:
        await client.does("subscribe", {"authors": [LIBRARIAN.pubkey], "kinds": [7]})
    except Lacks:
        return False
    except Failed:
        pass  # without an EOSE that it understands; whether it hears is asked next
    event = LIBRARIAN.event(f"for client {id(client)}", kind=7, created_at=int(time.time()))
    async with program.client() as talker:
        await put(talker, event)
    await client.brings(event.id)
    return True


async def _returns(clients: Sequence[Client], program: Program) -> list[float | None]:
    """After how many seconds each client has heard one of the events that are sent from now on."""
    start = trio.current_time()
    ids: list[str] = []
    with trio.move_on_after(_RETURN_SECONDS):
        async with program.client() as talker:
            while not all(_heard(client, ids) for client in clients):
                event = LIBRARIAN.event(f"back {len(ids)}", kind=7, created_at=int(time.time()))
                await put(talker, event)
                ids.append(event.id)
                await trio.sleep(_EVERY)
    return [min(heard) - start if (heard := _heard(client, ids)) else None for client in clients]


def _heard(client: Client, ids: Sequence[str]) -> list[float]:
    """When a client heard which of these events."""
    return [client.arrived[event_id] for event_id in ids if event_id in client.arrived]
