"""Settings of the table `rates`: how much anybody may do in a time, each limit in words such as `3000/minute`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from trio_relay.policy.options import Kind, Word

_SYNTAX = "such as 3000/minute burst 20000; empty: no limit"


class KindRate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of events of some kinds, all of them together, in addition to those of all events."""

    kinds: Annotated[tuple[Kind, ...], Meta(min_length=1)]
    per_connection: str = ""
    per_address: str = ""
    per_key: str = ""


def _limit(what: str, unit: str) -> Meta:
    return Meta(description=f"{what}, {_SYNTAX}.", extra={"unit": unit})


class RateOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much anybody may do in a time: so much a second, minute or hour, and so much at once after a rest.

    A limit of an address is that of an IPv4 address or of an IPv6 /64 network; trusted proxies and this machine have
    none. One of a key is that of each key that a connection has authenticated; of events, that of their author.
    """

    enabled: Annotated[bool, Meta(description="False: none of these limits holds, and nobody is barred.")] = True
    exempt_networks: Annotated[
        tuple[Word, ...],
        Meta(
            description=(
                "Addresses and networks that are held to no rate and never barred, such as 203.0.113.0/24; keys of"
                " admins are not, either."
            )
        ),
    ] = ()
    messages_per_connection: Annotated[str, _limit("Messages", "messages")] = ""
    messages_per_address: Annotated[str, _limit("Messages", "messages")] = "1200000/minute burst 3000000"
    messages_per_key: Annotated[str, _limit("Messages", "messages")] = ""
    bytes_per_connection: Annotated[str, _limit("Bytes that come in", "bytes")] = ""
    bytes_per_address: Annotated[str, _limit("Bytes that come in", "bytes")] = "3000000000/minute burst 6000000000"
    bytes_per_key: Annotated[str, _limit("Bytes that come in", "bytes")] = ""
    events_per_connection: Annotated[str, _limit("Events", "events")] = ""
    events_per_address: Annotated[str, _limit("Events", "events")] = "1200000/minute burst 3000000"
    events_per_key: Annotated[
        str,
        Meta(
            description=(
                "New events of one author, whoever brings them, counted once their signature is known to be good; gift"
                f" wraps have throwaway keys and do not count; {_SYNTAX}."
            ),
            extra={"unit": "events"},
        ),
    ] = ""
    work_per_connection: Annotated[
        str, _limit("What requests take of database and loop, and what is sent", "seconds")
    ] = "60/minute burst 300"
    work_per_address: Annotated[str, _limit("The same of all connections of an address", "seconds")] = (
        "60/minute burst 300"
    )
    work_per_key: Annotated[str, _limit("The same of all connections with a key", "seconds")] = "60/minute burst 300"
    connections_per_address: Annotated[str, _limit("WebSocket connections", "connections")] = "600/minute burst 3000"
    failed_auths_per_address: Annotated[
        str, _limit("AUTH events (NIP-42) and signed requests (NIP-98) that prove nothing", "failures")
    ] = "60/minute burst 600"
    calls_per_address: Annotated[str, _limit("Management calls (NIP-86), whoever signs them", "calls")] = (
        "600/minute burst 600"
    )
    calls_per_key: Annotated[str, _limit("Management calls (NIP-86) of a key that is no admin's", "calls")] = (
        "300/minute burst 300"
    )
    kinds: Annotated[
        tuple[KindRate, ...],
        Meta(
            description=(
                "Tables [[rates.kinds]], each with kinds and any of per_connection, per_address and per_key, which are"
                " rates such as 30/minute burst 100."
            )
        ),
    ] = ()
    faults_per_address: Annotated[
        str,
        _limit(
            "Broken rules (bad signatures, frames and messages that nobody can read, failed AUTHs) of an address; what"
            " is more bars it",
            "faults",
        ),
    ] = "600/minute burst 1000"
    bar_seconds: Annotated[
        int,
        Meta(
            ge=1,
            le=86_400,
            description=(
                "For how long an address is barred at first; each time that it has to be again within a day of its"
                " last fault, for twice as long, up to a day."
            ),
            extra={"unit": "seconds"},
        ),
    ] = 60
