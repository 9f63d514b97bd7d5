"""The client's side of one connection to another relay: publish, subscribe, count, compare sets, authenticate.

One task reads and gives each message to whoever waits for it; one writes; one looks for silence. Nothing that comes is
trusted: it is bounded in bytes and in time, what was not asked for is dropped, and a peer that sends much that means
nothing is given up. A subscription that nobody reads from fills its queue, and then nothing is read from the network:
whoever waits for something else on the same connection waits as long, so a reader must not wait for that itself.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio

from trio_relay.nostr.event import Event
from trio_relay.nostr.signer import Signer
from trio_relay.peers import messages
from trio_relay.peers.authentication import PeerAuthentication, wants_key
from trio_relay.peers.dialing import Dial, Headers, RelayUrl, Wire, dial_tcp, open_wire, parse_url
from trio_relay.peers.messages import FilterJson, Receipt
from trio_relay.peers.open_questions import OpenQuestions
from trio_relay.peers.options import PeerOptions
from trio_relay.peers.questions import Negotiation, PeerSubscription
from trio_relay.peers.waiting import Expected, PeerLost, PeerRefused, tasks_beside

_TO_SEND: Final = 16
"""Messages that wait to be sent."""


class Peer:
    """Another relay; from `open_peer`. Every method raises `PeerLost` once it is gone."""

    def __init__(
        self, url: RelayUrl, wire: Wire, options: PeerOptions, signer: Signer | None, clock: Callable[[], float]
    ) -> None:
        self.url = url.text
        self.options = options
        self._wire = wire
        self._authentication = PeerAuthentication(url.text, signer, clock, self._prove)
        self._outgoing, self._to_send = trio.open_memory_channel[str](_TO_SEND)
        self._farewells = deque[str]()
        """For which there was no room among these: they go right behind the next one."""
        self._unanswered = trio.Semaphore(options.unanswered)
        self._open = OpenQuestions(options.patience, self._authentication.challenge)
        self._ids = 0
        self._lost: PeerLost | None = None
        self._gone = trio.Event()

    @property
    def sent_bytes(self) -> int:
        """That were sent to it so far, those of TLS left out."""
        return self._wire.stream.sent

    @property
    def received_bytes(self) -> int:
        """That came from it so far."""
        return self._wire.stream.received

    @property
    def is_gone(self) -> bool:
        """True once the connection is over."""
        return self._lost is not None

    @property
    def is_authenticated(self) -> bool:
        """True once it has accepted our key (NIP-42)."""
        return self._authentication.is_accepted

    @property
    def key_refused(self) -> str:
        """Why it has not accepted our key; empty if it has, or was not shown one."""
        return self._authentication.refusal

    @property
    def remarks(self) -> Sequence[str]:
        """What it said last for people to read (NOTICE)."""
        return self._open.remarks

    @property
    def unasked(self) -> int:
        """How many events it sent although nobody had asked for them."""
        return self._open.unasked

    async def until_lost(self) -> PeerLost:
        """Wait until it is gone; returns why."""
        await self._gone.wait()
        assert self._lost is not None
        return self._lost

    async def publish(self, event: Event) -> Receipt:
        """Send an event, and wait for what the other side says of it; many may be on their way.

        If it wants to know who sends it, it is told (NIP-42), and gets the event once more.

        Raises:
            PeerLost: it is gone, or did not answer (`Unanswered`).
        """
        async with self._unanswered:
            receipt = await self._published(event)
            if not receipt.accepted and wants_key(receipt.reason) and await self.authenticate():
                receipt = await self._published(event)
        return receipt

    async def _published(self, event: Event) -> Receipt:
        await self.send(messages.publish(event))
        return await self._receipt(event.id, "an event")

    async def _receipt(self, event_id: str, what: str) -> Receipt:
        expected = self._open.receipts.setdefault(event_id, Expected[Receipt]())
        try:
            return await expected.wait(self.options.answer_seconds, what)
        finally:
            self._open.receipts.pop(event_id, None)

    @asynccontextmanager
    async def subscribe(self, filters: Sequence[FilterJson]) -> AsyncIterator[PeerSubscription]:
        """Ask for events, stored ones and then live ones, for as long as the context lasts.

        Raises:
            PeerLost: see the class; `Rejected`: a filter is none that this relay can read.
        """
        subscription = PeerSubscription(self, self._new_id(), filters)
        self._open.subscriptions[subscription.sub_id] = subscription
        try:
            await subscription.ask()
            yield subscription
        finally:
            subscription.inbox.close()
            self._open.subscriptions.pop(subscription.sub_id, None)
            self._open.late.append(subscription.sub_id)
            if not subscription.is_closed_by_peer:
                await self._send_if_there(messages.unsubscribe(subscription.sub_id))

    async def count(self, filter_: FilterJson) -> int:
        """How many stored events match, as it says (NIP-45).

        Raises:
            PeerRefused: it does not count, or only estimates; PeerLost: see the class.
        """
        try:
            return await self._counted(filter_)
        except PeerRefused as refusal:
            if not (wants_key(refusal.reason) and await self.authenticate()):
                raise
            return await self._counted(filter_)

    async def _counted(self, filter_: FilterJson) -> int:
        sub_id = self._new_id()
        expected = self._open.totals[sub_id] = Expected[int]()
        try:
            await self.send(messages.count(sub_id, filter_))
            return await expected.wait(self.options.answer_seconds, "a COUNT")
        finally:
            del self._open.totals[sub_id]

    @asynccontextmanager
    async def negotiate(self, filter_: FilterJson, message: bytes) -> AsyncIterator[Negotiation]:
        """Begin to compare sets (NIP-77); the first answer is there when the context begins.

        Raises:
            PeerRefused: it does not do that, or not with this filter; PeerLost: see the class.
        """
        negotiation = Negotiation(self, self._new_id(), filter_)
        self._open.negotiations[negotiation.sync_id] = negotiation
        try:
            await negotiation.begin(message)
            yield negotiation
        finally:
            del self._open.negotiations[negotiation.sync_id]
            if not negotiation.is_refused:
                await self._send_if_there(messages.close_sync(negotiation.sync_id))

    async def authenticate(self) -> bool:
        """Prove who we are, if we have a key and were challenged; True if it is accepted, so that it may help."""
        return await self._authentication.prove()

    async def _prove(self, event: Event) -> Receipt:
        await self.send(messages.authenticate(event))
        return await self._receipt(event.id, "AUTH")

    async def greet(self) -> None:
        """Authenticate once challenged; for `open_peer`."""
        with contextlib.suppress(PeerLost):
            await self._authentication.greet()

    def _new_id(self) -> str:
        self._ids += 1
        return f"r{self._ids}"

    # What goes out.

    async def send(self, text: str) -> None:
        """Hand a message to the task that sends: whoever is cancelled must not leave half of one on the wire.

        Raises:
            PeerLost: see the class.
        """
        if self._lost is not None:
            raise self._lost
        try:
            with trio.fail_after(self.options.answer_seconds):
                await self._outgoing.send(text)
        except trio.TooSlowError:
            self.lose(f"it took nothing for {self.options.answer_seconds:g} seconds")
        except trio.BrokenResourceError:
            pass
        if self._lost is not None:
            raise self._lost

    async def _send_if_there(self, text: str) -> None:
        """The same for a farewell, which must neither fail nor be waited for."""
        try:
            self._outgoing.send_nowait(text)
        except trio.WouldBlock:
            self._farewells.append(text)
        except trio.BrokenResourceError:
            pass
        await trio.lowlevel.checkpoint_if_cancelled()

    async def write(self) -> None:
        """Send what is to be sent; for `open_peer`."""
        async with self._to_send:
            try:
                async for text in self._to_send:
                    await self._write_one(text)
                    while self._farewells:
                        await self._write_one(self._farewells.popleft())
            except PeerLost as lost:
                self.lose(str(lost))
            except trio.TooSlowError:
                self.lose(f"it took nothing for {self.options.answer_seconds:g} seconds")

    async def _write_one(self, text: str) -> None:
        self._open.note_sent()
        with trio.fail_after(self.options.answer_seconds):
            await self._wire.send(text)

    # What comes in.

    async def read(self) -> None:
        """Give each message to whoever waits for it; for `open_peer`."""
        try:
            while self._lost is None:
                data = await self._wire.receive()
                message = messages.read(data) if isinstance(data, str) else messages.Nonsense("a message of bytes")
                await self._open.take(message)
        except PeerLost as lost:
            self.lose(str(lost))

    # Its end.

    async def watch(self) -> None:
        """Look for silence; for `open_peer`. While nobody reads here, nothing can be heard."""
        stream, idle = self._wire.stream, self.options.idle_seconds
        while self._lost is None:
            quiet = trio.current_time() - stream.heard_at
            if quiet < idle or self._open.is_held_up:
                await trio.sleep(max(idle - quiet, idle / 10))
                continue
            with trio.move_on_after(idle):
                await self._ping()
            if trio.current_time() - stream.heard_at >= 2 * idle and not self._open.is_held_up:
                self.lose(f"nothing was heard of it for {2 * idle:g} seconds")

    async def _ping(self) -> None:
        try:
            await self._wire.ping()
        except PeerLost as lost:
            self.lose(str(lost))

    def lose(self, reason: str) -> None:
        """It is gone, or given up: tell everybody who waits."""
        if self._lost is not None:
            return
        lost = self._lost = PeerLost(reason)
        self._gone.set()
        self._open.end(lost)


@asynccontextmanager
async def open_peer(
    url: str,
    *,
    signer: Signer | None = None,
    options: PeerOptions | None = None,
    clock: Callable[[], float] = time.time,
    dial: Dial = dial_tcp,
    headers: Headers = (),
) -> AsyncIterator[Peer]:
    """Connect to another relay, and keep the connection while the context lasts; what the body raises comes out of it.

    Args:
        url: ws or wss.
        signer: has the key that is shown when the other side asks for one (NIP-42); None: there is none.
        options: the bounds.
        clock: seconds since 1970.
        dial: makes the stream.
        headers: of the handshake, beside those that it needs.

    Raises:
        PeerLost: no connection came about.
        ValueError: the URL is none of a relay.
    """
    options, parsed = options or PeerOptions(), parse_url(url)
    async with open_wire(parsed, options, dial, headers) as wire, tasks_beside() as tasks:
        peer = Peer(parsed, wire, options, signer, clock)
        for task in (peer.read, peer.write, peer.watch, peer.greet):
            tasks.start_soon(task)
        yield peer
