"""What any value of the configuration must be, and what must fit together within one of its tables.

What concerns several tables is checked in `config`. Each check raises `ConfigError`, whose message begins with the key.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from trio_relay.backup.options import WITH_KEY, BackupOptions
from trio_relay.bus.options import BusOptions
from trio_relay.net.control import ControlOptions
from trio_relay.net.endpoints import HEALTH
from trio_relay.net.listeners import check_address, split_preamble
from trio_relay.net.options import NetOptions
from trio_relay.net.welcome import Names
from trio_relay.nostr.errors import Rejected
from trio_relay.nostr.urls import UNREADABLE, bare_url, is_ambiguous, is_this_machine, plain_path, same_relay
from trio_relay.peers.authentication import read_signer
from trio_relay.peers.mirror_options import MirrorOptions
from trio_relay.peers.mirrored import read_filters
from trio_relay.store.opensearch import OpenSearchOptions
from trio_relay.store.sqlite.lock import why_not_there

_UNIX: Final = "unix:"
_EVERYWHERE: Final = "*"
_MOST_DEPTH: Final = 32
"""Of lists and tables in one another: far below what Python compares and encodes."""
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


class ConfigError(ValueError):
    """An error in the configuration; the message names the key, the reason, and the nearest known key."""


def check_values(source: Mapping[str, object]) -> None:
    """Check that each value of a decoded configuration can be reckoned with, stored, and told to other processes.

    TOML has infinite numbers and Python has longer ones than TOML, and no setting means either. A variable may hold
    bytes that are no UTF-8, which Python keeps as lone surrogates.
    """
    left: list[tuple[str, int, object]] = [("", 0, source)]
    while left:  # no recursion: a dotted key can lie deeper than that goes
        name, depth, value = left.pop()
        if (fault := _fault_of(value, depth)) is not None:
            raise ConfigError(f"{name}: {fault}")
        if isinstance(value, dict):
            left += [(name, depth + 1, key) for key in value]
            left += [(f"{name}.{key}".strip("."), depth + 1, inner) for key, inner in value.items()]
        elif isinstance(value, list):
            left += [(name, depth + 1, inner) for inner in value]


def _fault_of(value: object, depth: int) -> str | None:
    match value:
        case int() if not -(2**63) <= value < 2**63:
            return "must be an integer of 64 bits"
        case float() if not math.isfinite(value):
            return "must be a finite number"
        case str() if "\0" in value:
            return "must not hold a NUL"
        case str() if not value.isascii() and _SURROGATE.search(value):
            return "is not UTF-8"
        case dict() | list() if depth > _MOST_DEPTH:
            return "lists or tables lie too deep in one another"
    return None


def check_backup(options: BackupOptions, backend: str) -> None:
    """Check that backups which are to be made regularly can be."""
    if options.every_seconds and backend == "memory":
        raise ConfigError("backup.every_seconds: a store in memory has nothing to back up")
    if options.every_seconds and backend == "opensearch":
        if not options.repository:
            raise ConfigError("backup.every_seconds: needs backup.repository, where snapshots of OpenSearch go")
        if not options.with_key:
            raise ConfigError(f"backup.with_key: {WITH_KEY}")
    if options.location and not options.repository:
        raise ConfigError("backup.location: needs backup.repository, the name of what is there")


def check_preambles(options: NetOptions) -> None:
    """Check that there is what addresses with `tls:` and `proxy:` in front need, and that nothing is passed over."""
    if bool(options.tls_certificate) != bool(options.tls_key):
        raise ConfigError("net.tls_certificate: needs net.tls_key, and the other way round")
    preambles = [split_preamble(address) for address in options.listen]
    speaks_tls = any(preamble.tls for preamble, _ in preambles)
    if speaks_tls and not options.tls_certificate:
        raise ConfigError("net.listen: tls: needs net.tls_certificate")
    if options.tls_certificate and not speaks_tls:
        raise ConfigError("net.tls_certificate: needs an address in net.listen with tls: in front")
    for preamble, address in preambles:
        if preamble.proxy and not (options.trusted_proxies or address.startswith("unix:")):
            raise ConfigError("net.listen: proxy: needs net.trusted_proxies, since nobody else may connect there")


def check_names(options: NetOptions) -> None:
    """Check that the names of hosts and origins can be read, and that no path is taken."""
    for key in ("hosts", "origins"):
        try:
            Names(getattr(options, key))
        except ValueError as error:
            raise ConfigError(f"net.{key}: {error}") from None
    if any(plain_path(path) == HEALTH for path in options.paths):
        raise ConfigError(f"net.paths: the path {HEALTH} is taken by the relay's answer to health checks")


def check_credentials(options: OpenSearchOptions) -> None:
    """Check that all nodes can be asked for, and that none of the credentials would be passed over."""
    for url in options.urls:
        check_node(url)
    if options.api_key and options.username:
        raise ConfigError("opensearch.api_key: cannot be sent together with opensearch.username")
    if options.password and not options.username:
        raise ConfigError("opensearch.password: needs opensearch.username")
    if options.ca_file and not any(url.startswith("https:") for url in options.urls):
        raise ConfigError("opensearch.ca_file: needs an https URL in opensearch.urls")


def check_node(url: str) -> None:
    """Check that a node of a cluster has a host and a port."""
    try:
        parts = urlsplit(url)
        if parts.port == 0 or not (parts.hostname or "").encode("idna"):
            raise ValueError
    except ValueError:
        raise ConfigError("opensearch.urls: needs a host and a valid port") from None


def check_bus(options: BusOptions, backend: str) -> None:
    """Check that there is something for a bus to connect, and what it needs."""
    url = options.url
    if options.ca_file and not url.startswith("rediss:"):
        raise ConfigError("bus.ca_file: needs a rediss URL in bus.url")
    if not url:
        return
    if backend != "opensearch":
        raise ConfigError('bus.url: needs store.backend = "opensearch", a store that several relays share')
    try:
        parts = urlsplit(url)
        if parts.scheme != "unix" and not (parts.hostname and parts.port != 0):
            raise ValueError
    except ValueError:
        raise ConfigError("bus.url: needs a host and a valid port") from None
    if find_spec("coredis") is None:
        raise ConfigError("bus.url: needs the package coredis: pip install 'trio-relay[bus]'")


def check_url(key: str, url: str) -> None:
    """Check that a name of the relay is one that clients can connect to, and that all of it counts."""
    if not _is_reachable(url):
        raise ConfigError(f"{key}: must be a ws or wss URL with a host and a valid port")
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ConfigError(f"{key}: must not hold a user or a password, since the relay asks for none")
    if plain_path(parts.path) == HEALTH:
        raise ConfigError(f"{key}: the path {HEALTH} is taken by the relay's answer to health checks")


def _is_reachable(url: str) -> bool:
    """True if it names a relay, with a port that can be connected to and a host that can be asked for (RFC 1035)."""
    if not same_relay(url, url) or re.search(r"\s", url) or (parts := urlsplit(url)).port == 0:
        return False
    try:
        return bool((parts.hostname or "").encode("idna"))
    except UnicodeError:  # a part between two dots that is empty, or longer than 63 bytes
        return False


def check_listen(key: str, address: str) -> None:
    """Check that an address can be listened on."""
    try:
        check_address(address)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None


def check_apart(clients: Sequence[str], metrics: str) -> None:
    """Check that no address is listened on twice: the start would be told that somebody else has it.

    Args:
        clients: the addresses of `net.listen`.
        metrics: that of `metrics.listen`; empty: there is none.
    """
    taken: list[tuple[str, str, str]] = []
    for setting, text in [
        *(("net.listen", one) for one in clients),
        *([("metrics.listen", metrics)] if metrics else []),
    ]:
        address = split_preamble(text)[1]
        host, _, port = (address, "", "") if address.startswith(_UNIX) else address.rpartition(":")
        for other, its_host, its_port in taken:
            if port == its_port != "0" and (host == its_host or _EVERYWHERE in (host, its_host)):
                raise ConfigError(f"{setting}: {text} is listened on already, by {other}")
        taken.append((setting, host, port))


def check_sockets(listen: Sequence[str], control: Path | None, store: Path | None) -> None:
    """Check that no Unix socket lies where the store has a file, and that the control line has one of its own.

    Args:
        listen: the addresses of `net.listen` and `metrics.listen`.
        control: where the control line is; None: there is none.
        store: the file of the store; None: it has none.
    """
    try:
        _check_places(listen, control, store)
    except FileNotFoundError:
        raise ConfigError(
            "store.path: the working directory, where relative paths begin, is not there any more"
        ) from None


def _check_places(listen: Sequence[str], control: Path | None, store: Path | None) -> None:
    addresses = [split_preamble(address)[1] for address in listen]
    taken = [Path(address.removeprefix(_UNIX)) for address in addresses if address.startswith(_UNIX)]
    if control is not None and os.path.realpath(control) in map(os.path.realpath, taken):
        raise ConfigError(f"control.listen: {control} is an address of net.listen or metrics.listen, too")
    if store is None:
        return
    places = [("net.listen", place) for place in taken]
    if control is not None and control != ControlOptions().place("sqlite", str(store)):  # which lies beside it
        places.append(("control.listen", control))
    for key, place in places:
        if (reason := why_not_there(store, place)) is not None:
            raise ConfigError(f"{key}: {reason}")


def _leads_to(url: str, address: str) -> bool:
    """Return True if a connection to a URL surely comes in on an address to listen on."""
    parts, (_, place) = urlsplit(url.strip()), split_preamble(address)
    host, _, port = place.rpartition(":")
    if port != str(parts.port if parts.port is not None else 443 if parts.scheme == "wss" else 80):
        return False
    here, there = host.strip("[]").lower(), parts.hostname or ""
    return here == there or (is_this_machine(here) and is_this_machine(there))


def check_mirrors(mirrors: Sequence[MirrorOptions], names: Sequence[str], listen: Sequence[str] = ()) -> None:
    """Check that each mirror is of another relay, that it can be read, and that no two do the same.

    Args:
        mirrors: in the order of the file.
        names: URLs of this relay.
        listen: addresses that it listens on.
    """
    for number, mirror in enumerate(mirrors, 1):
        what = f"{bare_url(mirror.url)} (table {number})"
        if is_ambiguous(mirror.url):
            raise ConfigError(f"mirror.url: {what}: {UNREADABLE}")
        if not _is_reachable(mirror.url):
            raise ConfigError(f"mirror.url: {what} must be a ws or wss URL with a host and a valid port")
        if any(same_relay(mirror.url, name) for name in names) or any(_leads_to(mirror.url, one) for one in listen):
            raise ConfigError(f"mirror.url: {what} is this relay itself")
        try:
            read_filters(mirror)
        except Rejected as refusal:
            raise ConfigError(f"mirror.filters: {what}: {refusal.reason}") from None
        if mirror.key_file:
            try:
                read_signer(Path(mirror.key_file))
            except ValueError as error:
                raise ConfigError(f"mirror.key_file: {what}: {error}") from None
    for one, other in combinations(mirrors, 2):
        overlap = one.direction == other.direction or "both" in (one.direction, other.direction)
        if overlap and same_relay(one.url, other.url):
            raise ConfigError(f"mirror.url: two tables have {bare_url(one.url)} in the same direction")
