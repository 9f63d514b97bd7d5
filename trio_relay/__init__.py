"""A Nostr relay on Trio: `open_relay` runs the pipeline over a store, `Server` listens for clients."""

from typing import TYPE_CHECKING, Any

from trio_relay.net.admin.api import AdminApi
from trio_relay.net.endpoints import Endpoints
from trio_relay.net.listeners import bound_address, open_listeners
from trio_relay.net.options import NetOptions
from trio_relay.net.server import Server
from trio_relay.net.web.assembly import open_site
from trio_relay.net.web.options import WebOptions
from trio_relay.net.web.site import Site
from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.limits import Limits
from trio_relay.nostr.relay_info import RelayInfo, document
from trio_relay.pipeline.opening import open_relay
from trio_relay.pipeline.options import RelayOptions, SyncOptions
from trio_relay.pipeline.recipient import Recipient
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.submission import Submission
from trio_relay.pipeline.subscription import Subscription
from trio_relay.plugins import (
    Action,
    ConnectionJudge,
    EventJudge,
    FilterHookAnswer,
    FilterJudge,
    HookAnswer,
    HookedRelay,
    Hooks,
    HooksRefused,
    Judges,
    PluginOptions,
    Reject,
    Shadow,
    Source,
    Verdict,
    open_hooks,
    open_judges,
)
from trio_relay.policy.options import MemberOptions, PolicyOptions
from trio_relay.policy.rate_options import KindRate, RateOptions
from trio_relay.policy.rules import Rules
from trio_relay.store.base import Saved, Store, StoreError, StoreRefused
from trio_relay.store.memory import MemoryStore
from trio_relay.store.opensearch import OpenSearchOptions
from trio_relay.store.sqlite import SqliteOptions, open_sqlite
from trio_relay.version import __version__

if TYPE_CHECKING:
    from trio_relay.store.opensearch import open_opensearch

__all__ = [
    "Action",
    "AdminApi",
    "ConnectionJudge",
    "Endpoints",
    "Event",
    "EventJudge",
    "Filter",
    "FilterHookAnswer",
    "FilterJudge",
    "HookAnswer",
    "HookedRelay",
    "Hooks",
    "HooksRefused",
    "Judges",
    "KindRate",
    "Limits",
    "MemberOptions",
    "MemoryStore",
    "NetOptions",
    "OpenSearchOptions",
    "PluginOptions",
    "PolicyOptions",
    "RateOptions",
    "Recipient",
    "Reject",
    "Relay",
    "RelayInfo",
    "RelayOptions",
    "Rules",
    "Saved",
    "Server",
    "Shadow",
    "Site",
    "Source",
    "SqliteOptions",
    "Store",
    "StoreError",
    "StoreRefused",
    "Submission",
    "Subscription",
    "SyncOptions",
    "Verdict",
    "WebOptions",
    "__version__",
    "bound_address",
    "document",
    "open_hooks",
    "open_judges",
    "open_listeners",
    "open_opensearch",
    "open_relay",
    "open_site",
    "open_sqlite",
]


def __getattr__(name: str) -> Any:
    if name != "open_opensearch":  # which is loaded once it is asked for
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from trio_relay.store import opensearch

    return opensearch.open_opensearch
