"""Settings of connections: addresses to listen on, bounds, and every deadline of a connection."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

Seconds: TypeAlias = Annotated[float, Meta(gt=0, extra={"unit": "seconds"})]


class NetOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the relay listens, and how long it has patience with whom."""

    listen: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            description="Addresses to listen on, host:port; [::]:7777 for IPv6, port 0 for any free one.",
            extra={"unit": "host:port"},
        ),
    ] = ("127.0.0.1:7777",)
    max_connections: Annotated[
        int,
        Meta(
            ge=1,
            description="Most WebSocket connections; more are answered 503.",
            extra={"unit": "connections"},
        ),
    ] = 10_000
    max_connections_per_address: Annotated[
        int,
        Meta(
            ge=0,
            description=(
                "Most WebSocket connections of one IPv4 address or one IPv6 /64 network; more are answered 429. 0: as"
                " many as max_connections."
            ),
            extra={"unit": "connections"},
        ),
    ] = 0
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description=(
                "Addresses and networks of proxies in front of the relay, such as 127.0.0.1 or 10.0.0.0/8. Only from"
                " these is X-Forwarded-For read, and they themselves are never blocked, nor are their connections"
                " counted."
            ),
        ),
    ] = ()
    handshake_seconds: Annotated[
        Seconds, Meta(description="Time for one HTTP request to arrive, the upgrade to WebSocket too.")
    ] = 10.0
    ping_seconds: Annotated[Seconds, Meta(description="Silence of a client after which it is sent a ping.")] = 30.0
    pong_seconds: Annotated[
        Seconds,
        Meta(description="Time after a ping within which something must arrive, or the connection is aborted."),
    ] = 20.0
    send_seconds: Annotated[
        Seconds, Meta(description="Time for 64 KiB to leave for a client, or the connection is aborted.")
    ] = 20.0
    close_seconds: Annotated[
        Seconds, Meta(description="Time for the closing handshake, once the relay has said its last word.")
    ] = 5.0
    grace_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description="When stopping: time for clients to get their answers and leave.",
            extra={"unit": "seconds"},
        ),
    ] = 10.0
    deflate: Annotated[
        bool,
        Meta(
            description=(
                "Deflate stored events of 1 to 64 KiB for clients that offer permessage-deflate: half of the bytes, for"
                " some 20 µs a kilobyte."
            )
        ),
    ] = True
    outbox_bytes: Annotated[
        int,
        Meta(
            ge=65_536,
            description=(
                "What may wait to be sent to one client, half of it for stored events; with more, it is disconnected."
            ),
            extra={"unit": "bytes"},
        ),
    ] = 8_388_608
