"""The server: its listeners, the connections that they accept, and the order in which both close.

flushing nursery            the task that has what waits for clients sent
└─ connections nursery      every connection, and the watch over all of them
   └─ listeners nursery     listeners; cancelled first, when the relay stops
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from itertools import count
from struct import pack
from typing import Final

import structlog
import trio

from trio_relay.net import websocket
from trio_relay.net.addresses import UNNAMED, BlockedAddresses, Proxies
from trio_relay.net.budgets import OVER_BUDGET, Budgets
from trio_relay.net.clients import Clients, introduction
from trio_relay.net.close_reasons import BARRED, SILENT, STOPPING, STUCK, TOO_SLOW, CloseReason
from trio_relay.net.connection import Connection
from trio_relay.net.connection_limits import ConnectionLimits
from trio_relay.net.doorkeeper import Doorkeeper
from trio_relay.net.endpoints import HEALTH, Endpoints
from trio_relay.net.flush import Flushes
from trio_relay.net.http import Request, Upgrade, converse
from trio_relay.net.http_responses import Response, reason_of
from trio_relay.net.lane import Lane
from trio_relay.net.listeners import PatientListener, Preamble, Shortage, preamble_of
from trio_relay.net.lobby import Lobby, Visit
from trio_relay.net.options import NetOptions
from trio_relay.net.rate_gate import RateGate
from trio_relay.net.refusals import ClientRefusals
from trio_relay.net.statistics import NetStatistics
from trio_relay.net.tls import Tls, TlsStream
from trio_relay.net.transport import peer_address, transport
from trio_relay.net.welcome import Welcome
from trio_relay.pipeline.relay import Relay
from trio_relay.policy.lists import Change, ListName
from trio_relay.scoreboard import Scoreboard

log = structlog.get_logger("trio_relay.net")

_WATCH_SECONDS: Final = 1.0
MOST_VISITORS: Final = 1_000
"""Connections that have not become WebSockets; for one more, the one that was waited for longest makes room."""
MOST_VISITORS_OF_ONE: Final = 100
"""Of them, those from one IPv4 address or one IPv6 /64 network, unless that is a trusted proxy's or this machine's."""
_READERS: Final = frozenset({ListName.MEMBERS, ListName.BANNED_PUBKEYS})
"""Lists that say who may read."""
_LOOPBACK: Final = ("127.0.0.0/8", "::1")
_LINGER_NOT: Final = pack("ii", 1, 0)

BLOCKED: Final = CloseReason("blocked", 1008, "blocked: this address is blocked", seconds=1.0, forget=True)
_CLOSE: Final = ("Connection", "close")
_ABORTED: Final = OVER_BUDGET | {TOO_SLOW, STUCK, SILENT}
"""Who is left for one of these does not read, or not in time."""
_UNUSUAL: Final = (TOO_SLOW, STUCK)
"""Operators are told of each."""


class Server:
    """Everyone who is connected.

    Args:
        relay: whose verbs are called.
        front: answers what is not WebSocket.
        options: addresses and deadlines.
        is_blocked: tells whether nobody at this address is served; by default as the relay's rules have it. Never
            asked about a trusted proxy. When it has changed its mind, call `close_blocked`.
        scoreboard: of the workers that serve the same clients; None: this process serves all of them.
        tls: for listeners whose connections begin with it; None: there are none.
        clients: has everyone who is connected, for who looks at the relay; None: nobody does.
    """

    def __init__(
        self,
        relay: Relay,
        front: Endpoints,
        options: NetOptions,
        is_blocked: Callable[[str], bool] | None = None,
        scoreboard: Scoreboard | None = None,
        tls: Tls | None = None,
        clients: Clients | None = None,
    ) -> None:
        self._relay = relay
        self._front = front
        self._options = options
        self._blocked = BlockedAddresses(relay.rules, relay.now)
        self._is_blocked = is_blocked or self._blocked.covers
        self._proxies = Proxies(options.trusted_proxies, options.address_header)
        others, other_visitors = (scoreboard.connections, scoreboard.visitors) if scoreboard else (None, None)
        self._connection_limits = ConnectionLimits(
            options.max_connections, options.max_connections_per_address, self._proxies, others
        )
        self._clients = clients or Clients(relay.now)
        self._connections = self._clients.connections
        self._flushes = Flushes(relay.flush_collector)
        # Who comes from this machine counts under nobody: behind a proxy that was not named here, that is everybody.
        self._near = Proxies([*options.trusted_proxies, *_LOOPBACK])
        self._rates = RateGate(relay.rates, relay.rules, self._near.origin)
        self._lobby = Lobby(MOST_VISITORS, MOST_VISITORS_OF_ONE, self._near.origin, other_visitors)
        self._budgets = Budgets(options.inbound_bytes, options.outbound_bytes, self._connections.keys)
        self._lane = Lane()
        self._welcome = Welcome(options.hosts, options.origins)
        self._stopping = False
        self._numbers = count(1)
        self.shortage = Shortage()
        """What could not be accepted; listeners for other purposes may note theirs here."""
        self._accepted = 0
        self._refused = 0
        self._close_reasons: Counter[str] = Counter()
        self._refusals = self._clients.refusals
        self._doorkeeper = Doorkeeper(
            self._lobby, self._proxies, self._bars, self._refusals, options.handshake_seconds, tls
        )
        self.tls = tls
        """Can be given another certificate at any time."""
        relay.moderation.state.subscribe(self._follow)

    async def serve(
        self,
        listeners: Sequence[trio.abc.Listener[trio.abc.Stream]],
        stop: trio.Event,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `stop` is set: close the listeners, let clients have their answers, disconnect them, and return.

        Args:
            listeners: closed when this ends.
            stop: set by whoever decides that the relay stops.
            task_status: started once connections are accepted.
        """
        async with trio.open_nursery() as flushing:
            flushing.start_soon(self._flushes.run)
            flushing.start_soon(self._lane.run)
            await self._serve_clients(listeners, stop, task_status)
            flushing.cancel_scope.cancel(reason="all connections have ended")

    async def _serve_clients(
        self,
        listeners: Sequence[trio.abc.Listener[trio.abc.Stream]],
        stop: trio.Event,
        task_status: trio.TaskStatus[None],
    ) -> None:
        async with trio.open_nursery() as clients:
            async with trio.open_nursery() as listening:
                listening.start_soon(self._watch)
                for listener in listeners:
                    converse, patient = partial(self._converse, preamble_of(listener)), self._patient(listener)
                    await listening.start(partial(trio.serve_listeners, converse, [patient], handler_nursery=clients))
                task_status.started()
                await stop.wait()
                listening.cancel_scope.cancel(reason="the relay is stopping")
            log.info("listeners closed", clients=len(self._connections))
            clients.cancel_scope.deadline = trio.current_time() + self._options.grace_seconds
            self._see_off()
        if clients.cancel_scope.cancelled_caught:
            log.warning("clients left behind after their time of grace", seconds=self._options.grace_seconds)

    def _see_off(self) -> None:
        """Close every WebSocket with its reason; who has not said what they want may do so if they have just come."""
        self._stopping = True
        for client in self._connections:
            client.hang_up(STOPPING)
        self._lobby.close()

    def _follow(self, changes: Sequence[Change]) -> None:
        """Have a block hold for those who are here already, and have who is no reader any more read no more."""
        if any(change.name is ListName.BLOCKED_ADDRESSES for change in changes):
            self._blocked.refresh()
            self.close_blocked()
        members = self._relay.rules.members
        if members.enabled and members.members_read:
            keys = {change.item for change in changes if change.name in _READERS}
            for client in self._connections if keys else ():
                client.recheck(keys)

    def take_options(self, options: NetOptions) -> None:
        """Go by other options, and by the rules as they have become, for those who are here already, too; sync."""
        self._options = options
        self._proxies.take(options.trusted_proxies, options.address_header)
        self._near.take([*options.trusted_proxies, *_LOOPBACK])
        self._connection_limits.bound(options.max_connections, options.max_connections_per_address)
        self._budgets.take_most(options.inbound_bytes, options.outbound_bytes)
        self._welcome = Welcome(options.hosts, options.origins)
        self._doorkeeper.seconds = options.handshake_seconds
        self._blocked.refresh()
        self.close_blocked()
        is_renewing = self._rates.take_rules(self._relay.rules)
        self._clients.take_options(options, self._rates.renew if is_renewing else None)

    def close_blocked(self) -> None:
        """Hang up on every client whose address is blocked or barred by now; sync, from any task."""
        for client, who in self._connections.items():
            if (reason := self._bars(who.address)) is not None:
                client.hang_up(reason)

    def _bars(self, address: str) -> CloseReason | None:
        """Why nobody at this address is served; None if they are."""
        if not self._proxies.is_trusted(address) and self._is_blocked(address):
            return BLOCKED
        return BARRED if self._rates.barred_seconds(address, trio.current_time()) else None

    def _patient(self, listener: trio.abc.Listener[trio.abc.Stream]) -> PatientListener:
        return PatientListener(listener, self.shortage)

    async def _converse(self, preamble: Preamble, stream: trio.abc.Stream) -> None:
        """One connection, from its first byte to its last; what goes wrong in it stays in it."""
        peer = peer_address(stream)
        if not self._doorkeeper.lets_in(peer):
            return
        number = next(self._numbers)
        structlog.contextvars.bind_contextvars(client=number, **self._place(peer))
        try:
            if preamble.proxy:
                if (client := await self._doorkeeper.client_of(stream, peer)) is None:
                    return
                peer = client
                structlog.contextvars.bind_contextvars(**self._place(peer))
            await self._speak(stream, peer, number, speaks_tls=preamble.tls)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as group:
            log.debug("connection broken", address=peer, error=repr(group.exceptions[0]))
        except* Exception:
            log.exception("connection failed")

    async def _speak(self, stream: trio.abc.Stream, peer: str, number: int, *, speaks_tls: bool) -> None:
        conversation, upgrade = None, None
        client_of = partial(self._proxies.client_address, peer)
        with self._lobby.visit(stream, peer) as visit:
            if speaks_tls:
                if (secure := await self._doorkeeper.secured(stream, peer)) is None:
                    return
                visit.go_on(stream := secure)
            upgrade = await converse(
                visit,
                visit.served(self._answer),
                self._options.handshake_seconds,
                client_of,
                self._refusals.note_request,
                self._takes_body,
            )
            if upgrade is not None:
                conversation = await self._shake_hands(stream, visit, upgrade)
        self._doorkeeper.note_end(visit, peer)
        if upgrade is not None and conversation is not None:
            if self._refusals.tells_each:
                structlog.contextvars.bind_contextvars(**self._place(upgrade.request.client))
            await self._serve_client(stream, conversation, upgrade, number)

    async def _shake_hands(self, stream: trio.abc.Stream, visit: Visit, upgrade: Upgrade) -> websocket.WebSocket | None:
        """Answer the handshake; None if it was a bad one."""
        conversation: websocket.WebSocket | None = None
        try:
            conversation, response = websocket.accept(
                upgrade.request, self._relay.limits.max_message_length, deflate=self._options.deflate
            )
        except websocket.HandshakeRefused as refused:
            response = refused.response
            self._refusals.note_request(upgrade.request.client, refused.status, str(refused))
        sent = _send_nowait(stream, response)  # all of it, as long as the client has not filled its line with requests
        if sent < len(response):
            with self._connection_limits.taken(upgrade.request.client):  # it counts from now on
                with trio.fail_after(self._options.handshake_seconds):
                    await visit.send_all(response[sent:])
        return conversation

    def _takes_body(self, request: Request) -> bool:
        return self._front.takes_body(request) and self._turned_away(request) is None

    async def _answer(self, request: Request) -> Response | None:
        response = await self._admitted(request)
        if response is not None:
            response = self._welcome.answered(request, response)
            if self._stopping:
                response = replace(response, headers=[*response.headers, _CLOSE])
        if response is not None and response.status >= HTTPStatus.BAD_REQUEST and request.path != HEALTH:
            self._refusals.note_request(request.client, response.status, reason_of(response))
        return response

    def _turned_away(self, request: Request) -> Response | None:
        """Why a request is not even looked at; health is everybody's."""
        if request.path == HEALTH:
            return None
        if (bar := self._bars(request.client)) is not None:
            return Response(403, f"{bar.text}\n".encode(), headers=[_CLOSE])
        if request.client == UNNAMED and self._options.unknown_clients == "refuse":
            return Response(403, b"blocked: the proxy tells no address of this client\n", headers=[_CLOSE])
        return self._welcome.refusal(request)

    async def _admitted(self, request: Request) -> Response | None:
        if (turned_away := self._turned_away(request)) is not None:
            return turned_away
        response = await self._rates.answer(request, self._front)
        refusal = self._connection_limits.refusal(request.client, trio.current_time()) if response is None else None
        if refusal is not None:
            self._refused += 1
            return Response(*refusal, headers=[("Retry-After", "30"), _CLOSE])
        return response

    async def _serve_client(
        self,
        stream: trio.abc.Stream,
        conversation: websocket.WebSocket,
        upgrade: Upgrade,
        number: int,
    ) -> None:
        address = upgrade.request.client
        refusals, funds = ClientRefusals(self._refusals, number, address), self._rates.account(address)
        client = Connection(
            stream, conversation, self._relay, self._options, self._flushes, refusals, funds, self._budgets, self._lane
        )
        self._accepted += 1
        self._connections[client] = introduction(number, upgrade.request, self._relay.now())
        if self._stopping:
            client.hang_up(STOPPING)
        elif (bar := self._bars(address)) is not None:  # since it was accepted
            client.hang_up(bar)
        tells_each = self._refusals.tells_each  # for all others the log is not even asked
        if tells_each:
            log.debug("connected", address=address)
        close_reason = CloseReason("cancelled")
        try:
            with self._connection_limits.taken(address, client):
                close_reason = await client.run(upgrade.rest)
        finally:
            del self._connections[client]
            self._close_reasons[close_reason.reason] += 1
            if close_reason in _UNUSUAL:
                log.warning("disconnected", reason=close_reason.reason, **self._place(address))
            elif tells_each:
                log.debug("disconnected", reason=close_reason.reason, address=address)
            if close_reason in _ABORTED:
                _abort(stream)

    def _place(self, address: str) -> dict[str, str]:
        """What is told of where somebody is: nothing, above debug."""
        return {"address": address} if self._refusals.tells_each else {}

    async def _watch(self) -> None:
        """Ping and give up connections; one task for all of them."""
        while True:
            await trio.sleep(_WATCH_SECONDS)
            now = trio.current_time()
            for client in list(self._connections):
                client.watch(now)
            self.shortage.tell(now)
            self._refusals.tell(now)
            self._rates.tell(now)
            if self._rates.has_new_bars():
                self.close_blocked()
            self._budgets.watch(now)
            self._clients.make_filter_room(self._relay.filter_room)

    @property
    def connections(self) -> Collection[Connection]:
        """The WebSocket connections that are open now."""
        return self._connections.keys()

    def statistics(self) -> NetStatistics:
        """Who is here and who was."""
        return NetStatistics(
            len(self._connections),
            self._accepted,
            self._refused + self._doorkeeper.refused,
            dict(self._close_reasons),
            self._refusals.statistics(),
            dict(self.shortage.counts),
            self._budgets.held(),
            dict(self._relay.rates.excess.refused),
            self._relay.rates.barred(trio.current_time()),
            None if self.tls is None else dict(self.tls.failures),
            *((None, None) if self.tls is None else map(float, self.tls.term)),
        )


def _send_nowait(stream: trio.abc.Stream, data: bytes) -> int:
    try:
        return transport(stream).send_nowait(data)
    except OSError as error:
        raise trio.BrokenResourceError from error


def _abort(stream: trio.abc.Stream) -> None:
    """Let the coming close drop what the kernel still holds for this client, instead of trying on for minutes."""
    stream = stream.below if isinstance(stream, TlsStream) else stream
    if isinstance(stream, trio.SocketStream):
        with suppress(OSError):
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
