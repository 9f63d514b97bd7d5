"""A first configuration: what five answers mean, what is wrong with one, and the file that they make. Pure.

The file has only what was answered, with a comment for each; all else has its default. What reads an answer raises
ValueError, whose message is a sentence for whoever has typed it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast, get_args
from urllib.parse import urlsplit

from trio_relay.config_checks import ConfigError, check_node, check_url
from trio_relay.net.addresses import Proxies
from trio_relay.nostr.nip19 import npub_of, pubkey_of
from trio_relay.nostr.urls import is_loopback

Writers: TypeAlias = Literal["everyone", "listed", "members", "trust"]
"""Who may write: everybody; listed keys; members (NIP-43); whom the admin follows, and whom those follow."""
TlsPlace: TypeAlias = Literal["proxy", "relay"]
"""Who speaks TLS with clients: a proxy in front of the relay, or the relay."""

LOCAL: Final = "local"
"""The answer that the relay is for this machine alone."""
NOBODY: Final = "none"
"""The answer that no key manages the relay."""
PORT: Final = 7777
MOST_NAME: Final = 29
"""Characters: NIP-11 asks for less than 30."""
FOLLOWS: Final = 2
"""How far from the admin the web of trust reaches."""
_PORTS: Final = {"ws": 80, "wss": 443}
_NO_NODE: Final = "{!r} is no URL of OpenSearch: http:// or https://, a host and a port"

_Settings: TypeAlias = Mapping[str, tuple[Any, str]]
"""Values by their keys, each with a comment; what is empty is left out."""


@dataclass(frozen=True, slots=True)
class RelayReach:
    """How clients reach the relay.

    Attributes:
        url: that clients type; empty: the relay is for this machine alone.
        tls: who speaks TLS, where the URL is a wss one.
        proxies: addresses and networks from which the proxy connects.
        certificate: file of the relay's own certificate.
        certificate_key: file of its private key.
    """

    url: str = ""
    tls: TlsPlace = "proxy"
    proxies: Sequence[str] = ()
    certificate: str = ""
    certificate_key: str = ""

    @property
    def speaks_tls(self) -> bool:
        """True if the relay does so itself."""
        return is_secure(self.url) and self.tls == "relay"

    @property
    def is_proxied(self) -> bool:
        """True if a proxy does so in front of it."""
        return is_secure(self.url) and self.tls == "proxy"

    @property
    def listen(self) -> str:
        """Where the relay listens: where a proxy or this machine alone can reach it, unless all are to."""
        if self.is_proxied:
            return f"{'127.0.0.1' if all(map(_is_here, self.proxies)) else '*'}:{PORT}"
        if not self.url:
            return f"127.0.0.1:{PORT}"
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        if self.speaks_tls:
            return f"tls:*:{port}"
        if host.endswith(".onion"):
            return f"127.0.0.1:{PORT}"
        return f"127.0.0.1:{port}" if is_loopback(host) else f"*:{port}"

    def settings(self) -> _Settings:
        """The table `net`."""
        if self.speaks_tls:
            return {
                "listen": ([self.listen], "TLS for everybody."),
                "tls_certificate": (
                    self.certificate,
                    "In PEM, with those that lead to an authority. It and the key are read again when they change.",
                ),
                "tls_key": (self.certificate_key, ""),
            }
        if not self.is_proxied:
            return {"listen": ([self.listen], "Plain HTTP and WebSocket.")}
        return {
            "listen": ([self.listen], "Plain HTTP and WebSocket, for a proxy that speaks TLS with clients."),
            "trusted_proxies": (list(self.proxies), "They alone are believed who a client is (X-Forwarded-For)."),
        }


@dataclass(frozen=True, slots=True)
class Writing:
    """Who may write.

    Attributes:
        writers: in a word.
        keys: of those, where they are listed, as hex.
        claim: a code with which members join.
    """

    writers: Writers = "everyone"
    keys: Sequence[str] = ()
    claim: str = ""

    def settings(self) -> _Settings:
        """What the table `policy` says of it."""
        if self.writers == "listed":
            return {"allowed_pubkeys": (_npubs(self.keys), "Only these may write, and admins.")}
        return {"trust_depth": (FOLLOWS, _TRUST)} if self.writers == "trust" else {}

    def members(self) -> _Settings:
        """The table `members`."""
        if self.writers != "members":
            return {}
        return {
            "enabled": (True, "Only members and admins may write (NIP-43)."),
            "claims": ([self.claim], "Whoever has this code can join, and be a member."),
        }


_TRUST: Final = """\
Whom admins follow may write, and whom those follow. Only admins may, until this relay has
the lists of follows (kind 3): publish or import those of admins, and of whom they follow."""


@dataclass(frozen=True, slots=True)
class FirstAnswers:
    """What somebody wants of a new relay; each answer is as its `read_…` gives it.

    Attributes:
        name: that clients show.
        reach: how clients get to it.
        writing: who may write.
        store: a path for SQLite, or a URL of OpenSearch.
        admin: the key that manages the relay, as hex; empty: none does.
    """

    name: str
    reach: RelayReach
    writing: Writing
    store: str
    admin: str

    @property
    def is_clustered(self) -> bool:
        """True if events go to OpenSearch."""
        return "://" in self.store

    def toml(self) -> str:
        """The configuration, as TOML with comments."""
        name, url = (self.name, "What clients show."), (self.reach.url, "What clients type.")
        admins = (_npubs([self.admin] if self.admin else []), "They manage the relay, and may always write.")
        tables = {
            "relay": {"name": name, "url": url},
            "net": self.reach.settings(),
            "policy": {"admins": admins, **self.writing.settings()},
            "members": self.writing.members(),
            **self._stores(),
        }
        lines = [_HEAD]
        for table, settings in tables.items():
            if written := list(_written(settings)):
                lines += ["", f"[{table}]", *written]
        return "\n".join(lines) + "\n"

    def _stores(self) -> Mapping[str, _Settings]:
        if not self.is_clustered:
            return {"store": {"path": (self.store, "A file of SQLite, seen from where the relay is started.")}}
        return {
            "store": {"backend": ("opensearch", "`trio-relay migrate` makes its index.")},
            "opensearch": {"urls": ([self.store], "A password is best set by TRIO_RELAY_OPENSEARCH__PASSWORD.")},
        }


_HEAD: Final = """\
# Made by `trio-relay init`. What is not here has its default; docs/configuration.md has every key.
# After a change `trio-relay check-config` says whether it is good."""


def _written(settings: _Settings) -> Iterator[str]:
    for key, (value, comment) in settings.items():
        if value:
            yield from (f"# {line}" for line in comment.splitlines())
            yield f"{key} = {toml_value(value)}"


def toml_value(value: bool | int | str | list[str]) -> str:
    """Write a value as TOML does (TOML 1.0, "String"): as JSON, but for the one character more that it escapes."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _npubs(keys: Sequence[str]) -> list[str]:
    return [npub_of(key) for key in keys]


def is_secure(url: str) -> bool:
    """True if somebody has to speak TLS for this URL."""
    return url.lower().startswith("wss:")


def _is_here(network: str) -> bool:
    return is_loopback(network.partition("/")[0])


def read_name(text: str) -> str:
    """Read the relay's name."""
    name = text.strip()
    if not name:
        raise ValueError("a relay needs a name, for clients to show")
    if len(name) > MOST_NAME:
        raise ValueError(f"that is {len(name)} characters: {MOST_NAME} at most, as NIP-11 asks")
    if not all(character.isprintable() for character in name):
        raise ValueError("a name has no characters that cannot be seen")
    return name


def read_address(text: str) -> str:
    """Read the relay's public address: a ws or wss URL, a bare host for a wss one; empty for this machine alone."""
    url = text.strip()
    if url == LOCAL:
        return ""
    if re.match("https?://", url, re.IGNORECASE):
        raise ValueError(f"clients type ws{url[4:]}: a relay is at wss://…")
    if url and "://" not in url:
        url = f"wss://{url}"
    try:
        check_url("", url)
    except ConfigError:
        raise ValueError(f"{text.strip()!r} is neither wss:// and a host, nor {LOCAL}") from None
    if urlsplit(url).query or urlsplit(url).fragment:
        raise ValueError("a relay's address has no ? and no #")
    scheme, _, rest = url.partition("://")
    return f"{scheme.lower()}://{rest}"


def read_tls(text: str) -> TlsPlace:
    """Read who speaks TLS."""
    return cast("TlsPlace", _one_of(text, get_args(TlsPlace)))


def read_proxies(text: str) -> list[str]:
    """Read the addresses from which proxies connect, with commas or spaces between them."""
    if not (addresses := _items(text)):
        raise ValueError("a proxy connects from somewhere: 127.0.0.1 where it is on this machine")
    Proxies(addresses)
    return addresses


def read_writers(text: str, url: str) -> Writers:
    """Read who may write, to a relay at this address."""
    writers = cast("Writers", _one_of(text, get_args(Writers)))
    if writers == "members" and not url:
        raise ValueError(f"members join by authentication (NIP-42), which needs a public address, not {LOCAL}")
    return writers


def read_keys(text: str) -> list[str]:
    """Read public keys with commas or spaces between them, as hex."""
    if not (keys := _items(text)):
        raise ValueError("name one key at least; more can be added later")
    return [pubkey_of(key) for key in keys]


def read_store(text: str) -> str:
    """Read where events are kept: the path of a SQLite file, or the URL of OpenSearch."""
    place = text.strip()
    if not place:
        raise ValueError("events need a place: the path of a file, or a URL")
    if "://" not in place:
        return place
    if not re.fullmatch("https?://[^/?#@\\s]+/?", place):
        if "@" in place:
            raise ValueError(
                "no user and no password in the URL: they are TRIO_RELAY_OPENSEARCH__USERNAME, …__PASSWORD"
            )
        raise ValueError(_NO_NODE.format(place))
    try:
        check_node(place)
    except ConfigError:
        raise ValueError(_NO_NODE.format(place)) from None
    return place


def read_admin(text: str, *, is_needed: bool) -> str:
    """Read the key that manages the relay, as hex; empty for none, where a web of trust does not need one."""
    key = text.strip()
    if key == NOBODY or not key:
        if is_needed:
            raise ValueError("the web of trust begins with the admin's follows, so it needs a key")
        return ""
    if "@" in key:
        raise ValueError("that is a name (NIP-05), not a key: give its npub")
    return pubkey_of(key)


def _items(text: str) -> list[str]:
    return [item for item in re.split(r"[,\s]+", text) if item]


def _one_of(text: str, choices: Sequence[str]) -> str:
    """Read one of these words, or the beginning of one alone."""
    typed = text.strip().lower()
    found = [choice for choice in choices if typed and choice.startswith(typed)]
    if len(found) != 1:
        raise ValueError(f"one of these: {', '.join(choices)}")
    return found[0]
