"""What stands in front of the relay: whether it tells whose connections it passes on, and whether that is believed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import trio

from trio_relay.config import Config
from trio_relay.doctor.asking import NoAnswer, call
from trio_relay.doctor.certificate import of_end, read
from trio_relay.doctor.clock import of_date
from trio_relay.doctor.entrances import Entrance, inner_entrances, outer_entrance
from trio_relay.doctor.findings import Ailment, Chart, Finding, Severity
from trio_relay.doctor.patient import Patient
from trio_relay.doctor.round_trip import (
    Seen,
    Talk,
    facts_of,
    of_both,
    of_talk,
    talk_by,
)
from trio_relay.net.addresses import UNIX, UNKNOWN, UNNAMED, Proxies
from trio_relay.net.tls import TlsRefused
from trio_relay.version import __version__

URL_CERTIFICATE_ENDS: Final = Ailment(
    "url-certificate-ends",
    Severity.WARNING,
    "The certificate that is shown at relay.url ends soon (14 days or a sixth of its term are left).",
    "Renew it where TLS ends, and have the proxy read it again; look why that was not done by itself.",
)
CERTIFICATE_NOT_TAKEN: Final = Ailment(
    "certificate-not-taken",
    Severity.WARNING,
    "The relay shows another certificate than the file holds.",
    "Look into its log for `the TLS certificate stays as it is`, and at who may read both files.",
)
PROXY_UNTRUSTED: Final = Ailment(
    "proxy-untrusted",
    Severity.WARNING,
    "The relay takes the proxy in front for its client: all clients have one address, which limits of an address"
    " (rates, net.max_connections_per_address) count together, and a ban of it shuts out everybody.",
    "Name the proxy by net.trusted_proxies, and have it write the client's address into net.address_header.",
)
PROXY_SILENT: Final = Ailment(
    "proxy-silent",
    Severity.WARNING,
    "A trusted proxy does not tell whose connections it passes on, or not so that it can be read: all clients count as"
    " one, and nobody can be shut out by address.",
    "Have it write the address into net.address_header. nginx: proxy_set_header X-Forwarded-For $remote_addr; HAProxy:"
    " option forwardfor; Caddy does by itself.",
)
ADDRESS_FORGED: Final = Ailment(
    "address-forged",
    Severity.FAULT,
    "Whatever a client writes into net.address_header is believed: it can get around every limit and ban, or have"
    " others shut out. A proxy passes the header on as it came, or net.trusted_proxies trusts clients themselves.",
    "Have the proxy set the header itself, or add to its end; and name nothing but proxies by net.trusted_proxies.",
)
VERSION_DIFFERS: Final = Ailment(
    "version-differs",
    Severity.NOTE,
    "The relay that runs is of another version than the one that is installed.",
    "Restart it, to have it run what is installed.",
)

_TALK_SECONDS: Final = 6.5
"""For a whole round trip, so that what came of it is told even where most of it hangs."""
_FORGED: Final = "192.0.2.77"
"""An address for documentation (RFC 5737), from which nobody comes."""
_FORWARDED: Final = "forwarded"


# Verdicts.


def of_address(seen: str | None, own: str, proxies: Proxies) -> Iterator[Finding]:
    """What is wrong with the address that the relay takes for ours, when we have come by `relay.url`.

    Args:
        seen: that address; None: nobody knows.
        own: ours, as this machine has it; empty where it has none.
        proxies: whose word is taken.
    """
    if seen is None or (own and proxies.is_trusted(own)):  # then we may speak for anybody
        return
    if seen == _FORGED:
        yield ADDRESS_FORGED.found(f"We wrote {_FORGED}, and the relay believed it.")
    elif seen in (UNNAMED, UNIX, UNKNOWN) or proxies.is_trusted(seen):
        yield PROXY_SILENT.found(f"The relay sees us at {seen}.")
    elif seen != own and not _is_from_afar(seen):
        yield PROXY_UNTRUSTED.found(f"The relay sees us at {seen}, and we are at {own or 'another address'}.")


def _is_from_afar(address: str) -> bool:
    """False for an address that only a proxy on this machine or in its network has."""
    found = ip_address(address)
    return not (found.is_loopback or found.is_private)


def of_version(told: object) -> Iterator[Finding]:
    """Whether the version that a relay tells is ours."""
    if isinstance(told, str) and told != __version__:
        yield VERSION_DIFFERS.found(f"{told} runs, and {__version__} is installed.")


# Looks.


async def look_by_clients(patient: Patient, chart: Chart) -> None:
    """Make a round trip by each way to the relay, and compare what was seen; nothing where it does not run."""
    if not patient.is_running:
        chart.facts.append("left out: the relay does not run")
        return
    inner, outer = list(inner_entrances(patient.config)), outer_entrance(patient.config)
    talks: dict[str, Talk] = {}
    net = patient.config.net
    # All at once, but no more than one address may have: else it would be our own round trips that fill the relay.
    places = trio.Semaphore(min(net.max_connections, net.max_connections_per_address or net.max_connections))
    async with trio.open_nursery() as talking:
        for entrance in [*inner, *([outer] if outer is not None else [])]:
            talking.start_soon(_talk, entrance, patient, talks, entrance is outer, places)
    for entrance in inner:
        _tell(chart, entrance, talks[entrance.title], is_local=True)
    first = next((talks[one.title] for one in inner if talks[one.title].told is not None), None)
    if first is not None and first.told is not None:
        chart.add(of_version(first.told.get("version")))
    chart.add(await _of_shown(patient.config, inner))
    if outer is not None:
        _tell(chart, outer, talks[outer.title], is_local=False)
        _compare(patient, chart, outer, first, talks[outer.title])


def _tell(chart: Chart, entrance: Entrance, talk: Talk, *, is_local: bool) -> None:
    chart.facts += [f"{entrance.title}: {said}"] if (said := facts_of(talk)) else []
    chart.add(of_talk(talk, entrance.title, is_local=is_local))


def _compare(patient: Patient, chart: Chart, outer: Entrance, inner: Talk | None, talk: Talk) -> None:
    net = patient.config.net
    if outer.term is not None:
        chart.add(URL_CERTIFICATE_ENDS.found(one.what) for one in of_end(outer.term, patient.now))
    if talk.document is not None and "date" in talk.document.headers:
        chart.add(of_date(talk.document.headers["date"], patient.now))
    if inner is not None:
        chart.add(of_both(inner, talk, outer.title))
    chart.add(of_address(talk.seen_as, outer.own, Proxies(net.trusted_proxies, net.address_header)))


async def _talk(
    entrance: Entrance, patient: Patient, talks: dict[str, Talk], is_outer: bool, places: trio.Semaphore
) -> None:
    header = patient.config.net.address_header
    forged = f"for={_FORGED}" if header.lower() == _FORWARDED else _FORGED
    headers = [(header.encode("ascii"), forged.encode("ascii"))] if is_outer else []
    seen: Seen = _unseen if patient.control is None or not patient.has_control else partial(_seen_as, patient.control)
    talk = talks[entrance.title] = Talk()
    with trio.move_on_after(_TALK_SECONDS):
        async with places:
            await talk_by(entrance, talk, patient.now, seen, headers)


async def _unseen(_key: str) -> None:
    await trio.lowlevel.checkpoint()


async def _seen_as(control: Path, key: str) -> str | None:
    """The address at which the relay sees who asks for events of a key."""
    try:
        for client in await call(control, "listclients"):
            filters = [one for request in client["subscriptions"] for one in request["filters"]]
            if any(key in one.get("authors", ()) for one in filters):
                return str(client["address"])
    except (NoAnswer, KeyError, TypeError):
        pass
    return None


async def _of_shown(config: Config, inner: list[Entrance]) -> list[Finding]:
    """Whether the relay shows the certificate that the file holds."""
    shown = [entrance for entrance in inner if entrance.shown is not None]
    if not shown:
        return []
    try:
        certified = await read(config.net)
    except TlsRefused:  # which is told elsewhere
        return []
    return [
        CERTIFICATE_NOT_TAKEN.found(f"{entrance.title} shows another one.")
        for entrance in shown
        if entrance.shown != certified.first
    ]
