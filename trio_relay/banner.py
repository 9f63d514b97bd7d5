"""What the operator sees first: the lines at the start."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from trio_relay.config import Config
from trio_relay.net.listeners import BoundListener, bound_address, preamble_of
from trio_relay.nostr.schnorr import BackendName
from trio_relay.pipeline.relay import Relay
from trio_relay.store.base import Store
from trio_relay.version import CODE, __version__


def banner(
    config: Config, store: Store, relay: Relay, metrics_listeners: Sequence[BoundListener], workers: int = 1
) -> list[str]:
    """What the operator sees first, in lines of 80 columns unless a path or a URL takes more."""
    facts = _facts(config, store, relay, metrics_listeners, workers)
    lines = [f"trio-relay {__version__}"]
    for name, fact in facts:
        lines += _LAID_OUT.wrap(f"  {name:<{_INDENT - 2}}{fact}")
    return lines


def _facts(
    config: Config, store: Store, relay: Relay, metrics_listeners: Sequence[BoundListener], workers: int
) -> Iterator[tuple[str, str]]:
    limits, backend = config.limits, relay.stages.backend.name
    yield "code", CODE
    yield "address", relay.rules.relay_url or "not named: NIPs 42, 62, 70 and 86 are off (relay.url)"
    yield "store", store.description
    yield "signatures", f"{backend}, {relay.stages.width} verifiers"
    if workers > 1:
        yield "workers", f"{workers} processes, and this one for the store"
    yield "metrics", ", ".join(url_of("http", listener, "/metrics") for listener in metrics_listeners) or "off"
    yield (
        "limits",
        f"message {limits.max_message_length} bytes, content {limits.max_content_length} characters,"
        f" {limits.max_event_tags} tags, {limits.max_subscriptions} subscriptions, {limits.max_filters} filters,"
        f" {limits.max_limit} events a filter ({limits.default_limit} by default)",
    )
    if backend != "batch":
        yield "WARNING", _SLOW[backend]


def url_of(scheme: str, listener: BoundListener, path: str = "") -> str:
    """Return what is listened on as an operator may copy it.

    Args:
        scheme: without TLS; an `s` follows it where there is.
        listener: open.
        path: behind the address.
    """
    address = bound_address(listener)
    secure = "s" if preamble_of(listener).tls else ""
    return address if address.startswith("unix:") else f"{scheme}{secure}://{address}{path}"


def place_of(listener: BoundListener) -> str:
    """Return a line that says where clients are listened for."""
    whom = " for proxies, by the PROXY protocol" if preamble_of(listener).proxy else ""
    return f"listening on {url_of('ws', listener)}{whom}"


_INDENT: Final = 14
_LAID_OUT: Final = textwrap.TextWrapper(
    width=80, subsequent_indent=" " * _INDENT, break_long_words=False, break_on_hyphens=False
)
_SLOW: Final[dict[BackendName, str]] = {
    "coincurve": "no batch verifier, which needs a C compiler at installation: signatures are verified one by one",
    "python": "no native libsecp256k1: each signature takes some 75 ms; this relay is for trying out only",
}
