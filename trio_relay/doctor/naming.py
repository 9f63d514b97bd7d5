"""The relay's name: where `relay.url` leads, and whether somebody is there at each of its addresses."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Final

import trio

from trio_relay.config import is_private
from trio_relay.doctor.findings import Ailment, Chart, Finding, Severity
from trio_relay.doctor.patient import Patient
from trio_relay.nostr.urls import is_loopback
from trio_relay.peers.dialing import RelayUrl, parse_url

URL_MISSING: Final = Ailment(
    "url-missing",
    Severity.WARNING,
    "relay.url is empty, and others may connect. Clients cannot authenticate (NIP-42), so that private messages can be"
    " read by nobody, and nobody can manage the relay from afar.",
    "Set relay.url to what people type to reach the relay, such as wss://relay.example.org/.",
)
URL_LOCAL: Final = Ailment(
    "url-local",
    Severity.WARNING,
    "relay.url is an address that stays on this machine, and others may connect: what they authenticate for is not the"
    " URL that they know.",
    "Set relay.url to what people type to reach the relay.",
)
URL_PLAIN: Final = Ailment(
    "url-plain",
    Severity.NOTE,
    "relay.url is ws://, without TLS: all on the way can read and change what is said, and pages of browsers that came"
    " by https cannot connect.",
    "Put a proxy with a certificate in front, or have the relay speak TLS (net.tls_certificate), and write wss://. An"
    " onion service needs neither.",
)
NAME_UNKNOWN: Final = Ailment(
    "name-unknown",
    Severity.FAULT,
    "The host of relay.url has no address: no client finds the relay.",
    "Make an A record, and an AAAA record if the machine has IPv6, or correct relay.url.",
)
NAME_ELSEWHERE: Final = Ailment(
    "name-elsewhere",
    Severity.NOTE,
    "The host of relay.url has no address of this machine. That is as it should be behind a proxy on another machine,"
    " a content network, or a router that forwards (NAT); else the name leads to somebody else.",
    "Compare with the machine's addresses (ip addr); the round trip tells whether this relay answers there.",
)
NAME_PARTLY_DEAD: Final = Ailment(
    "name-partly-dead",
    Severity.WARNING,
    "The host of relay.url has several addresses, and one of them refuses connections, often the one of IPv6. Clients"
    " that try it first are slow, or give up.",
    'Listen there, too (net.listen = ["*:PORT"] is IPv4 and IPv6; so must the proxy), or remove the record.',
)

_CONNECT_SECONDS: Final = 3.0


# Verdicts.


def of_url(url: RelayUrl | None, *, is_for_others: bool) -> Iterator[Finding]:
    """What is wrong with the URL as it is written.

    Args:
        url: of `relay.url`; None: there is none.
        is_for_others: others than this machine may connect.
    """
    if url is None:
        if is_for_others:
            yield URL_MISSING.found("There is no relay.url.")
    elif is_loopback(url.host):
        if is_for_others:
            yield URL_LOCAL.found(f"relay.url is {url.text}.")
    elif not url.is_secure and not url.host.endswith(".onion"):
        yield URL_PLAIN.found(f"relay.url is {url.text}.")


def of_addresses(host: str, addresses: Iterable[str], own: Iterable[str], refusing: Iterable[str]) -> Iterator[Finding]:
    """What is wrong with where a name leads.

    Args:
        host: the name.
        addresses: that it has.
        own: those of them that are this machine's.
        refusing: those of them at which a connection is refused.
    """
    addresses, own, refusing = set(addresses), set(own), set(refusing)
    if not own:
        yield NAME_ELSEWHERE.found(f"{host} is {', '.join(sorted(addresses))}.")
    if refusing and refusing != addresses:
        yield NAME_PARTLY_DEAD.found(f"{host} is {', '.join(sorted(refusing))}, too, where nobody answers.")


# Looks.


async def look_at_name(patient: Patient, chart: Chart) -> None:
    """Look up the host of `relay.url`, and knock at each address."""
    text = patient.config.relay.url
    url = parse_url(text) if text else None
    chart.add(of_url(url, is_for_others=not is_private(patient.config)))
    if url is None:
        chart.facts.append("no relay.url")
        return
    try:
        found = await trio.socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except OSError as error:
        chart.add([NAME_UNKNOWN.found(f"{url.host}: {error.strerror or error}.")])
        return
    addresses = sorted({str(place[0]) for *_, place in found})
    chart.facts.append(f"{url.host} is {', '.join(addresses)}")
    refusing: list[str] = []
    if patient.is_running and len(addresses) > 1:
        async with trio.open_nursery() as knocking:
            for address in addresses:
                knocking.start_soon(_knock, address, url.port, refusing)
    chart.add(of_addresses(url.host, addresses, filter(_is_own, addresses), refusing))


async def _knock(address: str, port: int, refusing: list[str]) -> None:
    """Note an address that refuses; one to which there is no way from here tells nothing."""
    with trio.move_on_after(_CONNECT_SECONDS):
        try:
            await trio.aclose_forcefully(await trio.open_tcp_stream(address, port))
        except OSError as error:
            cause = error.__cause__
            if isinstance(cause, BaseExceptionGroup) and cause.subgroup(ConnectionRefusedError) is not None:
                refusing.append(address)


def _is_own(address: str) -> bool:
    """True if this machine has the address: only then a socket can be bound to it."""
    family = socket.AF_INET6 if ip_address(address.partition("%")[0]).version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
