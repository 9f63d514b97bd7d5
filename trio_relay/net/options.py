"""Settings of the table `net`: addresses, and every deadline of a connection."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

Seconds: TypeAlias = Annotated[float, Meta(gt=0, extra={"unit": "seconds"})]


class NetOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the relay listens, and how long it waits for clients."""

    listen: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            description=(
                "Addresses to listen on. host:port; 0.0.0.0:7777 is all of IPv4 and nothing else, [::]:7777 all of IPv6"
                " and nothing else, *:7777 both; port 0 is any free one. unix:/path is a Unix socket for a proxy on"
                " this machine, which its owner and its group may open. tls:host:port is one for TLS (tls_certificate)."
                " With proxy: in front of any of these, proxies of trusted_proxies alone may connect, and tell whose"
                " connection it is by the PROXY protocol, version 2."
            ),
            extra={"unit": "host:port or unix:/path"},
        ),
    ] = ("127.0.0.1:7777",)
    tls_certificate: Annotated[
        str,
        Meta(
            description=(
                "File with the certificate for addresses with tls: in front, and behind it those that lead to an"
                " authority, in PEM. Read again when it or the key changes: who comes then gets the new"
                " one, and who is there stays connected."
            ),
            extra={"unit": "path"},
        ),
    ] = ""
    tls_key: Annotated[
        str,
        Meta(
            description="File with the private key of tls_certificate, in PEM, without a passphrase.",
            extra={"unit": "path"},
        ),
    ] = ""
    hosts: Annotated[
        tuple[str, ...],
        Meta(
            description=(
                "Names by which the relay may be called, such as relay.example.org or *.example.org, as clients write"
                " them into the header Host; ports make no difference. Requests for others get 421. Empty: any name"
                " will do. /health answers to every name."
            ),
        ),
    ] = ()
    origins: Annotated[
        tuple[str, ...],
        Meta(
            description=(
                "Hosts of web pages that may connect, such as app.example.org or *.example.org, as browsers write them"
                " into the header Origin; WebSockets of other pages get 403, and no other page may read what the relay"
                " answers. Programs that are no browsers send no such header, and may always connect. Empty: any page"
                " may."
            ),
        ),
    ] = ()
    paths: Annotated[
        tuple[Annotated[str, Meta(pattern="^/[!-~]*$")], ...],
        Meta(
            description=(
                "Paths that the relay answers at beside / and those of its own names (relay.url, relay.also_known_as),"
                " such as /nostr."
            ),
        ),
    ] = ()
    max_connections: Annotated[
        int,
        Meta(
            ge=1,
            description=(
                "Most WebSocket connections; further ones are answered 503, unless one makes room that has nothing open"
                " and has said nothing for a minute, or one of an address that has more than half of all."
            ),
            extra={"unit": "connections"},
        ),
    ] = 10_000
    max_connections_per_address: Annotated[
        int,
        Meta(
            ge=0,
            description=(
                "Most WebSocket connections of one IPv4 address or one IPv6 /64 network; further ones are answered 429."
                " 0: as many as max_connections."
            ),
            extra={"unit": "connections"},
        ),
    ] = 0
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description=(
                "Addresses and networks of proxies in front of the relay, such as 127.0.0.1 or 10.0.0.0/8;"
                " address_header is read only from these; they are never blocked, and their own connections are not"
                " counted. Whoever connects through a Unix socket of net.listen is such a proxy without being named."
            ),
        ),
    ] = ()
    address_header: Annotated[
        str,
        Meta(
            pattern="^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
            description=(
                "Header in which trusted proxies write whose request it is, such as CF-Connecting-IP, X-Real-IP or"
                " Forwarded (RFC 7239). They must set it themselves, or remove what a client has put there."
            ),
        ),
    ] = "X-Forwarded-For"
    unknown_clients: Annotated[
        Literal["share", "refuse"],
        Meta(
            description=(
                "What becomes of clients of whom a trusted proxy writes no address into address_header, but unknown,"
                " an obfuscated name, or what cannot be read: share: all of them count as one address; refuse: they get"
                " 403. Nobody can block them by address. A trusted proxy that sends no such header at all speaks for"
                " itself."
            )
        ),
    ] = "share"
    handshake_seconds: Annotated[
        Seconds,
        Meta(
            description=(
                "Time for one HTTP request to arrive, including the upgrade to WebSocket; as much before it for a"
                " handshake of TLS, and for a proxy's header."
            )
        ),
    ] = 10.0
    ping_seconds: Annotated[
        Seconds, Meta(description="How long a client may be silent before it is sent a ping; looked at once a second.")
    ] = 30.0
    pong_seconds: Annotated[
        Seconds,
        Meta(
            description=(
                "Time after a ping within which something must arrive, else the connection is aborted; looked at once a"
                " second."
            )
        ),
    ] = 20.0
    send_seconds: Annotated[
        Seconds,
        Meta(description="Time for a client to take 64 KiB, else the connection is aborted; looked at once a second."),
    ] = 20.0
    message_seconds: Annotated[
        Seconds,
        Meta(
            description=(
                "Time for a message to arrive, from its first byte to its last, fragments included, and so much more"
                " for each 64 KiB of it that have come; else the connection is closed. Time in which the relay does not"
                " read does not count; looked at once a second."
            )
        ),
    ] = 20.0
    close_seconds: Annotated[
        Seconds,
        Meta(
            description=(
                "Time for the closing handshake, after the relay has sent its last message; clients that are too slow,"
                " or blocked, get one second. When stopping, answers that have begun are finished as long as a client"
                " takes 64 KiB, and the store finds more, in this time."
            )
        ),
    ] = 5.0
    grace_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description="When stopping: time for clients to get their answers and disconnect.",
            extra={"unit": "seconds"},
        ),
    ] = 10.0
    deflate: Annotated[
        bool,
        Meta(
            description=(
                "Compress stored events of 1 to 64 KiB for clients that offer permessage-deflate: half of the bytes,"
                " for about 20 µs of CPU a kilobyte."
            )
        ),
    ] = True
    outbox_bytes: Annotated[
        int,
        Meta(
            ge=65_536,
            description=(
                "Most bytes that wait to be sent to one client, half of them stored events; beyond that it is"
                " disconnected."
            ),
            extra={"unit": "bytes"},
        ),
    ] = 8_388_608
    inbound_bytes: Annotated[
        int,
        Meta(
            ge=1_048_576,
            description=(
                "Most bytes that the relay holds of what all clients together have sent and it cannot work on yet:"
                " messages whose end has not come, and what waits for the pipeline. Beyond that, clients of the address"
                " that has most of it are disconnected."
            ),
            extra={"unit": "bytes"},
        ),
    ] = 58_720_256
    outbound_bytes: Annotated[
        int,
        Meta(
            ge=1_048_576,
            description=(
                "Most bytes that wait to be sent to all clients together; what many wait for is counted once. From half"
                " of it on, stored events are sent no further ahead than 64 KiB; beyond it, clients of the address for"
                " which most waits are disconnected."
            ),
            extra={"unit": "bytes"},
        ),
    ] = 205_520_896
