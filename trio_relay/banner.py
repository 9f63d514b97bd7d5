"""What the operator sees first: the lines at the start."""

from __future__ import annotations

from collections.abc import Sequence
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
    """What the operator sees first."""
    limits = config.limits
    metrics = ", ".join(url_of("http", listener, "/metrics") for listener in metrics_listeners)
    lines = [
        f"trio-relay {__version__}",
        f"  code        {CODE}",
        f"  address     {relay.rules.relay_url or 'not named: NIPs 42, 62, 70 and 86 are off (relay.url)'}",
        f"  store       {store.description}",
        f"  signatures  {relay.stages.backend.name}, {relay.stages.width} verifiers",
        *([f"  workers     {workers} processes, and this one for the store"] if workers > 1 else []),
        f"  metrics     {metrics or 'off'}",
        f"  limits      message {limits.max_message_length} bytes, content {limits.max_content_length} characters,"
        f" {limits.max_event_tags} tags, {limits.max_subscriptions} subscriptions, {limits.max_filters} filters,"
        f" {limits.max_limit} events a filter ({limits.default_limit} by default)",
    ]
    if relay.stages.backend.name != "batch":
        lines.append(f"  WARNING     {_SLOW[relay.stages.backend.name]}")
    return lines


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


_SLOW: Final[dict[BackendName, str]] = {
    "coincurve": "no batch verifier, which needs a C compiler at installation: signatures are verified one by one",
    "python": "no native libsecp256k1: each signature takes some 75 ms; this relay is for trying out only",
}
