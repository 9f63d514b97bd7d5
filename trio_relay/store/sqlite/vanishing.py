"""Requests to vanish that take much away (NIP-62): in portions, so that nobody waits for all of it in one commit.

First the tombstone is committed, which bars, with the request put by in a table of its own. Then its key's events go, a
portion a commit. The last commit stores the request. Whatever ends in between, the table tells what is still to do.
Runs in the writer's thread, inside of transactions of the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import apsw

from trio_relay.nostr.event import VANISH, Event, decode, encode
from trio_relay.store.judge import Ruling
from trio_relay.store.sqlite.deletes import belonging

AT_A_TIME: Final = 500
"""The next batch of events waits for no more than these."""


@dataclass(slots=True)
class Vanishing:
    """A request that is being carried out, and the numbers of what it still has to remove."""

    request: Event
    seqs: list[int]


def unfinished(connection: apsw.Connection) -> dict[str, Vanishing]:
    """By id: the requests that were put by and are not carried out yet."""
    requests = [decode(str(json)) for (json,) in connection.execute("SELECT json FROM vanishing").fetchall()]
    return {one.id: Vanishing(one, belonging(connection, one.pubkey, one.created_at)) for one in requests}


def part(connection: apsw.Connection, ruling: Ruling) -> tuple[list[int], dict[str, Vanishing]]:
    """The numbers of what vanishes at once, and, by id, the requests that take more away, which are put by.

    The latter are no longer among what the ruling inserts.
    """
    at_once: list[int] = []
    later: dict[str, Vanishing] = {}
    requests = {event.pubkey: event for event in ruling.insert.values() if event.kind == VANISH}
    for pubkey, until in ruling.vanish.items():
        seqs = belonging(connection, pubkey, until)
        if len(at_once) + len(seqs) <= AT_A_TIME:
            at_once += seqs
        else:
            request = ruling.insert.pop(requests[pubkey].id)
            later[request.id] = Vanishing(request, seqs)
            connection.execute(_PUT_BY, (request.id, encode(request).decode())).fetchall()
    return at_once, later


def finish(connection: apsw.Connection, request: Event) -> bool:
    """Put by no longer; true if the request is to be stored: a later one of its key would have removed it."""
    connection.execute("DELETE FROM vanishing WHERE id = ?", (request.id,)).fetchall()
    pubkey = bytes.fromhex(request.pubkey)
    return bool(connection.execute(_IS_LATEST, (pubkey, request.created_at)).get)


_PUT_BY: Final = "INSERT INTO vanishing (id, json) VALUES (?, ?)"
# See `records.vanish_tombstone`.
_IS_LATEST: Final = "SELECT 1 FROM tombstone WHERE target = ?1 AND pubkey = ?1 AND until = ?2 + 1"
