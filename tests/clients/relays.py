"""The relays that clients visit: the real program, with something on the shelf before any client comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from tests.clients.libraries import LIBRARIES, Library
from tests.support.keys import Author
from tests.support.program import Program, finished, running

LIBRARIAN: Final = Author("librarian")
"""Who wrote the events that clients sync, and is heard after a restart."""
FIRST_PAGE: Final = LIBRARIAN.event("page 0", created_at=1_700_000_000)
SYNCED: Final = 1_500
"""How many events a sync has to bring."""
LIST_SIZES: Final = (500, 1_000, 2_000, 5_000, 10_000)
"""Of lists, in tags; a relay takes up to `limits.max_event_tags`."""
FOLLOWS: Final = 3
FOLLOW_SET: Final = 30_000
"""Kinds of lists."""


def list_author(size: int) -> Author:
    """Who follows so many."""
    return Author(f"follower of {size}")


def author_of(library: Library) -> Author:
    """The key of a client."""
    return Author(library.name)


def secret_of(library: Library) -> str:
    """The same, as its script takes it."""
    return sha256(library.name.encode()).hexdigest()


def url_of(program: Program) -> str:
    """Where clients find it."""
    host, port = program.address
    return f"ws://{host}:{port}"


def made(folder: Path) -> Path:
    """A folder, now there."""
    folder.mkdir()
    return folder


@asynccontextmanager
async def shelved(folder: Path, settings: dict[str, str]) -> AsyncIterator[Program]:
    """A relay on which the clients' shelf is, and whose admins they are."""
    admins = ", ".join(f'"{author_of(library).pubkey}"' for library in LIBRARIES)
    chosen = {"policy.admins": f"[{admins}]", **settings}
    imported = await finished(made(folder), "import", settings=chosen, stdin=_shelf())
    assert imported.returncode == 0, imported
    async with running(folder, chosen) as program:
        yield program


def _shelf() -> bytes:
    """Events to sync, and long lists, one a line."""
    pages = [LIBRARIAN.event(f"page {n}", created_at=FIRST_PAGE.created_at + n) for n in range(1, SYNCED)]
    tags = [["p", sha256(str(n).encode()).hexdigest()] for n in range(max(LIST_SIZES))]
    lists = [list_author(size).event("", kind=FOLLOWS, tags=tags[:size]) for size in LIST_SIZES]
    sets = [list_author(size).event("", kind=FOLLOW_SET, tags=[["d", "all"], *tags[1:size]]) for size in LIST_SIZES]
    return b"".join(msgspec.json.encode(event) + b"\n" for event in (FIRST_PAGE, *pages, *lists, *sets))
