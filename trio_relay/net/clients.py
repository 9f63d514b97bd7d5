"""Everyone who is connected: the table that the server fills, and what an operator may see of it, and do to one.

It stays interpreted, so that msgspec sees what its records hold.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from heapq import heappush, heappushpop
from typing import Final, TypeAlias

from trio_relay.frozen import Frozen
from trio_relay.net.budgets import FULL_OF_FILTERS, Direction, greediest
from trio_relay.net.close_reasons import CloseReason
from trio_relay.net.connection import Connection
from trio_relay.net.http import Request
from trio_relay.net.options import NetOptions
from trio_relay.net.refusals import Refusals
from trio_relay.nostr.filter_json import shown
from trio_relay.nostr.session import OpenRequest
from trio_relay.pipeline.filter_room import FilterRoom
from trio_relay.policy.accounts import Account
from trio_relay.turns import Turn

MOST_LISTED: Final = 500
"""Clients that are listed at most: those that have made most work."""
_MOST_REQUESTS: Final = 20
"""Open requests that are listed of one client, the oldest ones."""
_MOST_VALUES: Final = 100
"""Values of filters that are listed of one client."""
_MOST_VALUES_OF_ALL: Final = 10_000
_GLANCE: Final = 100
"""Clients that are looked at between two looks at the clock."""
_MOST_AGENT: Final = 200
"""Characters of what a client calls itself."""
_MOST_TEXT: Final = 123
"""Bytes of the reason in a close frame (RFC 6455, section 5.5)."""
_FILTERS_FREED: Final = 16
"""A sixteenth of the room for filters is made free at a time."""
_TIMES_OTHERS: Final = 4
"""Who has no more than this times the average of all stays."""
_BY_OPERATOR: Final = "by an operator"

Renew: TypeAlias = Callable[[Account, str, Collection[str]], None]
"""Has the account of a client at an address, which has authenticated these keys, go by the rates as they are now."""


class Introduction(Frozen, frozen=True):
    """What is known of a client from the beginning.

    Attributes:
        number: it counts all connections of a process; the log names clients by it.
        address: where it comes from.
        agent: what it calls itself, the User-Agent of its handshake; empty if it does not say.
        since: seconds since 1970.
    """

    number: int
    address: str
    agent: str
    since: int


def introduction(number: int, request: Request, now: int) -> Introduction:
    """That of a client that has just shaken hands.

    Args:
        number: of the connection.
        request: its handshake.
        now: seconds since 1970.
    """
    # Thousands of clients are of a few programs.
    agent = sys.intern(request.headers.get("user-agent", "")[:_MOST_AGENT])
    return Introduction(number, request.client, agent, now)


class RequestRecord(Frozen, frozen=True):
    """An open request: its id, its filters, see `filter_json.shown`, and how many of their values are left out."""

    id: str
    filters: list[dict[str, object]]
    left_out: int


class ClientRecord(Frozen, frozen=True):
    """A client as an operator sees it.

    Attributes:
        client: the number of its worker, 0 where there is one process, a hyphen, and its own number.
        address, agent, since: see `Introduction`.
        keys: that it has authenticated.
        subscriptions: what it has open, COUNTs that are on their way too; the first 20.
        open: how many those are in all.
        seconds: of work that its requests have made so far.
        outbox_bytes: that wait to be read by it.
        events: that it has sent so far, refused ones too.
    """

    client: str
    address: str
    agent: str
    keys: list[str]
    since: int
    subscriptions: list[RequestRecord]
    open: int
    seconds: float
    outbox_bytes: int
    events: int


class Clients:
    """The clients of one process, and what everybody was refused.

    Args:
        now: seconds since 1970.
        worker: the number of the process; 0: it is the only one.
    """

    def __init__(self, now: Callable[[], int], worker: int = 0) -> None:
        self.refusals = Refusals(now)
        self.connections: dict[Connection, Introduction] = {}
        """For the server, which puts each in and takes it out."""
        self._worker = worker

    async def listed(self) -> list[ClientRecord]:
        """The clients that have made most work so far, those first; others get their turns meanwhile."""
        turn = Turn()
        records, left = list[ClientRecord](), _MOST_VALUES_OF_ALL
        for seconds, _, client, who in await self._busiest(turn):
            requests, left = _listed(client.open_requests, left)
            records.append(
                ClientRecord(
                    f"{self._worker}-{who.number}",
                    who.address,
                    who.agent,
                    sorted(client.identity.keys),
                    who.since,
                    requests,
                    len(client.open_requests),
                    round(seconds, 6),
                    client.held_bytes(Direction.OUT),
                    client.events_sent,
                )
            )
            if turn.is_over:
                await turn.give()
        return records

    async def _busiest(self, turn: Turn) -> list[tuple[float, int, Connection, Introduction]]:
        """The clients that are to be listed, each behind its seconds of work and its number."""
        busiest: list[tuple[float, int, Connection, Introduction]] = []
        for place, (client, who) in enumerate(list(self.connections.items())):
            entry = (client.identity.account.worked, who.number, client, who)
            if len(busiest) < MOST_LISTED:
                heappush(busiest, entry)
            else:
                heappushpop(busiest, entry)
            if place % _GLANCE == 0 and turn.is_over:
                await turn.give()
        return sorted(busiest, reverse=True)

    def hang_up(self, name: str, reason: str) -> bool:
        """End the connection of a client; False if there is none of this name.

        Args:
            name: see `ClientRecord.client`.
            reason: what the client is told; empty: nothing but that an operator did it.
        """
        for client, who in self.connections.items():
            if f"{self._worker}-{who.number}" == name:
                client.hang_up(_ended(reason))
                return True
        return False

    def take_options(self, options: NetOptions, renew: Renew | None) -> None:
        """Have all who are here go by other options, and by the rules as they have become; sync.

        Args:
            options: bounds and deadlines.
            renew: has an account go by the rates as they are now; None: they have not changed.
        """
        self.refusals.look_again()
        for client, who in list(self.connections.items()):
            if renew is not None:
                renew(client.identity.account, who.address, client.identity.keys)
            client.take_options(options)

    def make_filter_room(self, room: FilterRoom) -> None:
        """Let go clients of addresses that have many times more filters than others, if somebody found no room."""
        if not room.was_full:
            return
        room.was_full = False
        sizes = [(size, client) for client in self.connections if (size := client.filter_values)]
        holders = len({client.origin or client for _, client in sizes})
        spared = _TIMES_OTHERS * room.held // max(holders, 1)
        for _, client in greediest(sizes, room.held // _FILTERS_FREED, spared):
            client.put_out(FULL_OF_FILTERS)


def _listed(requests: Sequence[OpenRequest], left: int) -> tuple[list[RequestRecord], int]:
    """Open requests of one client, and how many values others may show then."""
    records, room = list[RequestRecord](), min(_MOST_VALUES, left)
    for request in requests[:_MOST_REQUESTS]:
        filters, out = shown(request.filters, room)
        records.append(RequestRecord(request.sub_id, filters, out))
        taken = sum(filter_.size for filter_ in request.filters) - out
        room -= taken
        left -= taken
    return records, left


def _ended(reason: str) -> CloseReason:
    text = f"{_BY_OPERATOR}: {reason}" if reason else _BY_OPERATOR
    text = text.encode()[:_MOST_TEXT].decode(errors="ignore")
    return CloseReason(_BY_OPERATOR, 1008, text, seconds=1.0, forget=True)
