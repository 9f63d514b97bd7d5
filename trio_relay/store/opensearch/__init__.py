"""OpenSearch as the store: for search, for trends, and for more events than one machine holds."""

from trio_relay.store.opensearch.options import OpenSearchOptions
from trio_relay.store.opensearch.store import OpenSearchStore, open_opensearch
from trio_relay.store.opensearch.upgrade import migrate

__all__ = ["OpenSearchOptions", "OpenSearchStore", "migrate", "open_opensearch"]
