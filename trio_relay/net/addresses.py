"""Who a client is, as far as its address tells: behind which proxies it stands, what it counts as, what is shut out.

Addresses are texts as `ipaddress` writes them, never IPv4 wrapped in IPv6; `UNKNOWN` stands for a peer without one, and
`UNNAMED` for all clients of whom a trusted proxy tells none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from trio_relay.net.forwarded import forwarded_for
from trio_relay.policy.lists import ListName
from trio_relay.policy.rules import Rules

UNKNOWN: Final = "unknown"
"""The address of a peer that has none."""
UNIX: Final = "unix"
"""The address of a peer on a Unix socket that is listened on."""
UNNAMED: Final = "unnamed"
"""The address of every client of whom a trusted proxy tells something that is none: `unknown`, `_hidden` (RFC 7239,
section 6), or what nobody can read. A client may have chosen that itself, so they count as one address all together."""

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_IPV6_GROUP: Final = 64
"""Bits of an IPv6 address that tell one customer from another; customers choose the rest themselves."""
_LONGEST: Final = 45
"""Characters of an address without a zone, which a client may make as long as it likes."""
_KNOWN: Final = 1_024
"""Addresses of which it is remembered what they say: one connection asks a dozen times."""
_MAPPED: Final = 96
"""Bits before the IPv4 address in an IPv6 one (RFC 4291, section 2.5.5.2)."""
_FORWARDED: Final = "forwarded"
_PORT: Final = r":(?:[0-9]+|_[0-9A-Za-z._-]+)"
"""A number, or a name that hides it (RFC 7239, section 6)."""
_WITH_PORT: Final = re.compile(rf"\[(?P<bracketed>[^\]]+)\](?:{_PORT})?|(?P<plain>[^:]+){_PORT}")


def parse_address(text: str) -> Address:
    """An address as it counts here: without a zone, and as IPv4 if it is one wrapped in IPv6.

    Raises:
        ValueError: it is none; the message names it.
    """
    return _known(text)[0] if len(text) <= _LONGEST else _parsed(text)


def _parsed(text: str) -> Address:
    address = ip_address(text)
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


@lru_cache(_KNOWN)
def _known(text: str) -> tuple[Address, str]:
    """An address of no more than `_LONGEST` characters, and how it is written."""
    address = _parsed(text)
    return address, str(address)


def written(text: str) -> str:
    """An address as it is written here, see `parse_address`.

    Raises:
        ValueError: it is none; the message names it.
    """
    return _known(text)[1] if len(text) <= _LONGEST else str(_parsed(text))


def parse_network(text: str) -> Network:
    """A network such as `10.0.0.0/8`; a single address is a network of one.

    Raises:
        ValueError: it is none, or has bits set beyond its prefix; the message names it.
    """
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - _MAPPED))
    return network


def group(address: str) -> str:
    """Whom a cap or a ban on this address is meant for: an IPv4 address itself, of an IPv6 address its /64 network."""
    try:
        return _text(_grouped(parse_address(address))) if ":" in address else address
    except ValueError:
        return address


def as_listed(text: str) -> str:
    """An address or a network as an `AddressList` has it.

    Raises:
        ValueError: it is neither; the message names it.
    """
    return _text(_to_list(text))


class Proxies:
    """The proxies whose word is taken for who their clients are.

    Whoever may open the relay's own Unix socket is one of them: the file's mode says who that is, and only a proxy has
    a use for it.

    Args:
        trusted: addresses and networks; only from these is the header read.
        header: the header in which they write it: addresses with commas between them, or `Forwarded` (RFC 7239).

    Raises:
        ValueError: one of them is neither; the message names it.
    """

    def __init__(self, trusted: Iterable[str], header: str = "X-Forwarded-For") -> None:
        self.take(trusted, header)

    def take(self, trusted: Iterable[str], header: str = "X-Forwarded-For") -> None:
        """Take the word of these, and of no others, for who connects from now on.

        Raises:
            ValueError: as above; then all stays as it is.
        """
        addresses = AddressList()
        for text in trusted:
            addresses.add_exactly(parse_network(text))
        self._header = header.lower()
        self._trusted = addresses

    def is_trusted(self, address: str) -> bool:
        """True if a trusted proxy has this address."""
        return address == UNIX or self._trusted.covers(address, 0)

    def origin(self, address: str) -> str | None:
        """Whom a client at this address counts as: its address or network; None for those that count as nobody.

        Those are trusted proxies themselves, which have many clients, and peers without an address, which only a
        program that embeds the relay can have.
        """
        return None if address == UNKNOWN or self.is_trusted(address) else group(address)

    def client_address(self, peer: str, headers: Mapping[str, str]) -> str:
        """Where a request really comes from.

        The header is read from its end, which the nearest proxy wrote, up to the first address that is no trusted
        proxy's: what stands before it, anyone may have invented. If all are, it is the farthest of them. A trusted
        proxy that sends no such header speaks for itself.

        Args:
            peer: the address at the other end of the connection, or the one that a proxy has told by its own protocol.
            headers: of the request, names in lower case, repeated ones joined by commas.

        Returns:
            An address; the peer's, if it is no trusted proxy, or one that sends no header; `UNNAMED` if what a trusted
            proxy wrote names no address; `UNKNOWN` if the peer has none.
        """
        try:
            peer = peer if peer in (UNIX, UNNAMED) else written(peer)
        except ValueError:
            return UNKNOWN
        told = headers.get(self._header)
        return peer if told is None or not self.is_trusted(peer) else self._nearest(told)

    def _nearest(self, told: str) -> str:
        """The address nearest to the end of a trusted proxy's header that is no trusted proxy's."""
        client = UNNAMED
        hops = forwarded_for(told) if self._header == _FORWARDED else _listed(told)
        for hop in hops:
            try:
                client = written(_without_port(hop))
            except ValueError:
                return UNNAMED
            if not self.is_trusted(client):
                break
        return client


def _listed(told: str) -> Iterator[str]:
    """The items of a list with commas between them, from its end; empty ones do not count."""
    return (item for hop in reversed(told.split(",")) if (item := hop.strip()))


@dataclass(frozen=True, slots=True)
class AddressEntry:
    """One line of an `AddressList`.

    Attributes:
        address: an IPv4 address or a network.
        reason: for humans.
        expiry: seconds since 1970 from which it no longer holds; None: it holds until it is removed.
    """

    address: str
    reason: str = ""
    expiry: int | None = None


class AddressList:
    """Addresses and networks, some of them for a time; to look one up takes no longer for a long list.

    An IPv6 address stands for its /64 network, as in `group`.
    """

    def __init__(self, entries: Iterable[AddressEntry] = ()) -> None:
        self._entries: dict[tuple[int, int, int], AddressEntry] = {}
        self._prefixes: Counter[tuple[int, int]] = Counter()
        for entry in entries:
            self.add(entry.address, entry.reason, entry.expiry)

    def add(self, address: str, reason: str = "", expiry: int | None = None) -> None:
        """Take an address or a network in; if it is here already, it gets this reason and this expiry.

        Raises:
            ValueError: it is neither; the message names it.
        """
        self.add_exactly(_to_list(address), reason, expiry)

    def add_exactly(self, network: Network, reason: str = "", expiry: int | None = None) -> None:
        """Take this network in and nothing around it, even if it is of one IPv6 address."""
        self._forget(key := _key(network))
        self._entries[key] = AddressEntry(_text(network), reason, expiry)
        self._prefixes[key[:2]] += 1

    def remove(self, address: str) -> bool:
        """Take an entry out; True if there was one. An address that only a network covers has none.

        Raises:
            ValueError: it is neither an address nor a network; the message names it.
        """
        return self._forget(_key(_to_list(address)))

    def covers(self, address: str, now: int) -> bool:
        """True if an entry that holds at `now`, seconds since 1970, is this address, or a network that it is in."""
        if not self._entries:
            return False
        try:
            parsed = parse_address(address)
        except ValueError:
            return False
        bits = int(parsed)
        for version, prefix in self._prefixes:
            if version == parsed.version:
                entry = self._entries.get((version, prefix, bits >> (parsed.max_prefixlen - prefix)))
                if entry is not None and _holds(entry, now):
                    return True
        return False

    def entries(self, now: int) -> list[AddressEntry]:
        """What holds at `now`, seconds since 1970, in the order in which it came; the rest is forgotten."""
        for key in [key for key, entry in self._entries.items() if not _holds(entry, now)]:
            self._forget(key)
        return list(self._entries.values())

    def _forget(self, key: tuple[int, int, int]) -> bool:
        if self._entries.pop(key, None) is None:
            return False
        self._prefixes[key[:2]] -= 1
        if not self._prefixes[key[:2]]:
            del self._prefixes[key[:2]]
        return True


def _holds(entry: AddressEntry, now: int) -> bool:
    return entry.expiry is None or now < entry.expiry


def _key(network: Network) -> tuple[int, int, int]:
    """IP version, bits of the prefix, and the prefix as a number."""
    host_bits = network.max_prefixlen - network.prefixlen
    return network.version, network.prefixlen, int(network.network_address) >> host_bits


def _to_list(text: str) -> Network:
    return parse_network(text) if "/" in text else _grouped(parse_address(text))


def _grouped(address: Address) -> Network:
    if isinstance(address, IPv4Address):
        return IPv4Network(address)
    return IPv6Network((address, _IPV6_GROUP), strict=False)


def _text(network: Network) -> str:
    """A network of one IPv4 address is written as that address."""
    single = isinstance(network, IPv4Network) and network.prefixlen == network.max_prefixlen
    return str(network.network_address) if single else str(network)


def _without_port(hop: str) -> str:
    """Some proxies write `address:port`, which is `[address]:port` for IPv6."""
    match = _WITH_PORT.fullmatch(hop)
    return hop if match is None else match["bracketed"] or match["plain"]


class BlockedAddresses:
    """Looks up both lists, the operators' and the configuration's; `refresh` it when one has changed.

    Args:
        rules: have both.
        now: tells the time, seconds since 1970.

    Raises:
        ValueError: the configuration names what is neither an address nor a network.
    """

    def __init__(self, rules: Rules, now: Callable[[], int]) -> None:
        self._rules = rules
        self._now = now
        self.refresh()

    def refresh(self) -> None:
        """Be what both lists say now."""
        self._denied = AddressList(map(AddressEntry, self._rules.options.denied_addresses))
        entries = self._rules.lists.entries(ListName.BLOCKED_ADDRESSES, 0)
        self._listed = AddressList(
            AddressEntry(address, entry.reason, entry.until) for address, entry in entries.items()
        )

    def covers(self, address: str) -> bool:
        """True if nobody at this address is served."""
        return self._denied.covers(address, 0) or self._listed.covers(address, self._now())
