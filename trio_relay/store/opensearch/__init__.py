"""OpenSearch as the store: for search, for trends, and for more events than one machine holds."""

from trio_relay.store.opensearch.migrating import migrate
from trio_relay.store.opensearch.options import OpenSearchOptions
from trio_relay.store.opensearch.store import OpenSearchStore, open_opensearch

__all__ = ["OpenSearchOptions", "OpenSearchStore", "migrate", "open_opensearch"]
