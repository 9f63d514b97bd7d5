"""The store in OpenSearch: for search, trends, and more events than one machine can hold.

All but its settings is loaded once it is asked for: with the HTTP client that it needs, it is a good
part of what would be loaded at each start, and most relays keep their events elsewhere.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trio_relay.store.opensearch.options import OpenSearchOptions

if TYPE_CHECKING:
    from trio_relay.store.opensearch.lifetime import open_opensearch
    from trio_relay.store.opensearch.store import OpenSearchStore
    from trio_relay.store.opensearch.upgrade import migrate

__all__ = ["OpenSearchOptions", "OpenSearchStore", "migrate", "open_opensearch"]

_MODULES = {"OpenSearchStore": "store", "migrate": "upgrade", "open_opensearch": "lifetime"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
