"""A client's round trip: a question, its answer, and an event that nobody stores, by each way to the relay.

The key is made for that one look, and the event is ephemeral (NIP-01): it goes through all that a stored one goes
through but the store. So nothing of it stays.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec
import trio

from trio_relay.doctor.asking import Answered, NoAnswer
from trio_relay.doctor.entrances import CONNECT_SECONDS, Entrance, Unreached
from trio_relay.doctor.findings import Ailment, Finding, Severity
from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.event import Event
from trio_relay.nostr.signer import Signer
from trio_relay.peers.messages import Ending, Receipt, StoredEnd, says
from trio_relay.peers.options import PeerOptions
from trio_relay.peers.peer import Peer, open_peer
from trio_relay.peers.waiting import PeerLost

LOCAL_SILENT: Final = Ailment(
    "local-silent",
    Severity.FAULT,
    "The relay runs, and nobody answers at an address of net.listen.",
    "Restart the relay if net.listen was changed since it has started. One that closes the connection at once may have"
    " banned this machine (policy.denied_addresses, listblockedips). Else look into its log, and with top whether it"
    " hangs.",
)
URL_UNREACHABLE: Final = Ailment(
    "url-unreachable",
    Severity.FAULT,
    "Nobody answers at relay.url, while the relay itself does: the proxy does not run, a firewall is in between, or"
    " the name leads elsewhere. From inside a network its own outer address cannot always be reached (NAT).",
    "Start the proxy, open the port, or correct relay.url; then try from outside, too.",
)
URL_UNTRUSTED: Final = Ailment(
    "url-untrusted",
    Severity.FAULT,
    "The certificate that is shown at relay.url is not taken by clients: it has ended, is for another name, or its"
    " chain is not whole.",
    "Renew it where TLS ends: at the proxy, or in net.tls_certificate. With the whole chain (fullchain.pem).",
)
NO_WEBSOCKET: Final = Ailment(
    "no-websocket",
    Severity.FAULT,
    "Requests over HTTP are answered, and a WebSocket is not opened: a proxy in front drops the header Upgrade.",
    'nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'
    " Apache: ProxyPass … upgrade=websocket. Content networks have a switch for WebSockets.",
)
NO_PLACE: Final = Ailment(
    "no-place",
    Severity.FAULT,
    "There is no place for one more client: of all (503, net.max_connections), or of this address (429,"
    " net.max_connections_per_address), which is everybody's behind a proxy that is not trusted.",
    "See with trio-relay top, or the console, who is connected; raise the limit, or name the proxy by"
    " net.trusted_proxies.",
)
HOST_REFUSED: Final = Ailment(
    "host-refused",
    Severity.FAULT,
    "The relay does not answer to the name that it is called by (421): net.hosts lacks it, or a proxy changes it.",
    "Add the name to net.hosts, or have the proxy pass on the header Host.",
)
NO_DOCUMENT: Final = Ailment(
    "no-document",
    Severity.WARNING,
    "What answers does not give the relay's own document (NIP-11): a proxy drops the header Accept, or answers from"
    " what it has kept for browsers.",
    "Have the proxy pass on Accept, and keep nothing of what comes from /, or keep it by Accept (Vary).",
)
OTHER_RELAY: Final = Ailment(
    "other-relay",
    Severity.FAULT,
    "Another relay answers at relay.url than at the address that this one listens on.",
    "Correct where the name leads, or where the proxy passes requests on to.",
)
REQUEST_FAILED: Final = Ailment(
    "request-failed",
    Severity.FAULT,
    "A question was not answered, or with an error.",
    "Look into the relay's log, and at what trio-relay top says of the store.",
)
EVENT_FAILED: Final = Ailment(
    "event-failed",
    Severity.FAULT,
    "An event that would not be stored was answered with an error, or not at all.",
    "Look into the relay's log: the disk may be full, the store away, or a plugin does not answer.",
)
EVENT_LOST: Final = Ailment(
    "event-lost",
    Severity.FAULT,
    "An event was acknowledged, and did not come to the subscription that asked for it.",
    "Look with trio-relay top for what waits. If only relay.url is concerned, the proxy keeps messages back"
    " (buffering).",
)
ANSWERS_SLOW: Final = Ailment(
    "answers-slow",
    Severity.WARNING,
    "A question to which nothing is stored, or an event that is not stored, takes more than a second.",
    "Look with trio-relay top for what waits, and at the console's slow requests; by relay.url alone, at the proxy.",
)

KIND: Final = 25_133
"""Ephemeral, and of no NIP."""
SECONDS: Final = 3.0
"""For each answer."""
_SLOW_SECONDS: Final = 1.0
_OPTIONS: Final = PeerOptions(connect_seconds=CONNECT_SECONDS, answer_seconds=SECONDS, close_seconds=0.5)
_DOCUMENT: Final = "application/nostr+json"
_WHO: Final = ("name", "pubkey", "self", "software")
"""Fields of a relay's document by which two of them are told apart."""
_MISDIRECTED: Final = 421
_FULL: Final = ("status 503", "status 429")
"""With which a handshake is refused where there is no place, as `talk.lost` ends then."""

Seen: TypeAlias = Callable[[str], Awaitable[str | None]]
"""Tells at which address the relay sees the client that asks for events of a key; None: nobody knows."""


@dataclass(slots=True)
class Talk:
    """What came of a round trip; what is None or empty did not happen.

    Attributes:
        unreached: why there was no connection.
        is_untrusted: the certificate was why.
        document: the answer to a request for the relay's document.
        unread: why there was none.
        lost: why no WebSocket came about, or how it ended.
        closed: why the question was refused.
        asked: seconds until all that is stored had come.
        receipt: what became of the event.
        delivered: seconds until that came back.
        seen_as: the address that the relay takes for ours.
    """

    unreached: str = ""
    is_untrusted: bool = False
    document: Answered | None = None
    unread: str = ""
    lost: str = ""
    closed: str | None = None
    asked: float | None = None
    receipt: Receipt | None = None
    delivered: float | None = None
    seen_as: str | None = None

    @property
    def told(self) -> dict[str, Any] | None:
        """The relay's document, decoded; None if there is none."""
        if self.document is None or self.document.status != 200:
            return None
        try:
            return msgspec.json.decode(self.document.body, type=dict[str, Any])
        except (msgspec.DecodeError, msgspec.ValidationError):
            return None


# Verdicts.


def of_talk(talk: Talk, title: str, *, is_local: bool) -> Iterator[Finding]:
    """What is wrong with a round trip.

    Args:
        talk: what came of it.
        title: by which way.
        is_local: it was to the relay's own address, with nothing in between.
    """
    if talk.is_untrusted:
        yield URL_UNTRUSTED.found(f"{title}: {talk.unreached}.")
    elif talk.unreached or talk.unread:
        ailment = LOCAL_SILENT if is_local else URL_UNREACHABLE
        yield ailment.found(f"{title}: {talk.unreached or talk.unread}.")
    elif talk.document is not None and talk.document.status == _MISDIRECTED:
        yield HOST_REFUSED.found(f"{title} answers 421.")
    elif talk.told is not None and talk.asked is None and talk.lost.endswith(_FULL):
        yield NO_PLACE.found(f"{title}: {talk.lost}.")
    elif talk.lost and talk.asked is None and talk.closed is None:
        yield NO_WEBSOCKET.found(f"{title}: {talk.lost}.")
    else:
        if talk.told is None:
            yield NO_DOCUMENT.found(f"{title} answers something else.")
        yield from _of_answers(talk, title)


def _of_answers(talk: Talk, title: str) -> Iterator[Finding]:
    if talk.closed is not None:
        if says(talk.closed, Prefix.ERROR):
            yield REQUEST_FAILED.found(f"{title}: {talk.closed}.")
    elif talk.asked is None:
        yield REQUEST_FAILED.found(f"{title}: {talk.lost or 'no answer'}.")
    elif talk.receipt is None:
        yield EVENT_FAILED.found(f"{title}: {talk.lost or 'no answer'}.")
    elif not talk.receipt.accepted:
        if says(talk.receipt.reason, Prefix.ERROR):
            yield EVENT_FAILED.found(f"{title}: {talk.receipt.reason}.")
    elif talk.delivered is None:
        yield EVENT_LOST.found(f"{title}: not within {SECONDS:g} seconds.")
    elif max(talk.asked, talk.delivered) > _SLOW_SECONDS:
        yield ANSWERS_SLOW.found(f"{title}: {facts_of(talk)}.")


def of_both(inner: Talk, outer: Talk, title: str) -> Iterator[Finding]:
    """Whether the same relay answers within and at `title`."""
    here, there = inner.told, outer.told
    if here is None or there is None:
        return
    if other := [name for name in _WHO if here.get(name) != there.get(name)]:
        told = f"its {other[0]} is {there.get(other[0])!r}, and not {here.get(other[0])!r}"
        yield OTHER_RELAY.found(f"{title}: {told}.")


def facts_of(talk: Talk) -> str:
    """How a round trip went, in a few words."""
    if talk.asked is None:
        return f"refused: {talk.closed}" if talk.closed else ""
    said = f"REQ {1_000 * talk.asked:.0f} ms"
    if talk.receipt is not None and not talk.receipt.accepted:
        return f"{said}, EVENT refused: {talk.receipt.reason}"
    return f"{said}, EVENT and back {1_000 * talk.delivered:.0f} ms" if talk.delivered is not None else said


# Looks.


async def talk_by(
    entrance: Entrance, talk: Talk, now: float, seen: Seen, headers: Sequence[tuple[bytes, bytes]]
) -> None:
    """Make a round trip.

    Args:
        entrance: by which way.
        talk: a new one, into which is written what comes of it; whoever is cancelled has a part of it.
        now: seconds since 1970.
        seen: asked while the connection stands.
        headers: of the handshake, beside those that it needs.
    """
    await _ask_for_document(entrance, talk)
    if talk.document is None or talk.document.status == _MISDIRECTED:
        return
    signer = Signer(os.urandom(32))
    try:
        peer = open_peer(entrance.url.text, signer=signer, options=_OPTIONS, dial=entrance.dial, headers=headers)
        async with peer as other:
            await _converse(other, signer, talk, now, seen)
    except PeerLost as lost:
        talk.lost = str(lost)


async def _ask_for_document(entrance: Entrance, talk: Talk) -> None:
    try:
        with trio.fail_after(SECONDS):
            talk.document = await entrance.ask(entrance.url.resource, _DOCUMENT)
    except Unreached as unreached:
        talk.unreached, talk.is_untrusted = str(unreached), unreached.is_untrusted
    except NoAnswer as no_answer:
        talk.unread = str(no_answer)
    except trio.TooSlowError:
        talk.unread = f"no answer within {SECONDS:g} seconds"


async def _converse(peer: Peer, signer: Signer, talk: Talk, now: float, seen: Seen) -> None:
    began = trio.current_time()
    async with peer.subscribe([{"authors": [signer.pubkey], "kinds": [KIND]}]) as subscription:
        async for heard in subscription:
            if isinstance(heard, Ending):
                talk.closed = heard.reason
                return
            if isinstance(heard, StoredEnd):
                talk.asked = trio.current_time() - began
                break
        talk.seen_as = await seen(signer.pubkey)
        event = signer.sign(KIND, int(now), [], "a look by trio-relay doctor")
        began = trio.current_time()
        talk.receipt = await peer.publish(event)
        if talk.receipt.accepted:
            with trio.move_on_after(SECONDS):
                async for heard in subscription:
                    if isinstance(heard, Event):
                        talk.delivered = trio.current_time() - began
                        break
