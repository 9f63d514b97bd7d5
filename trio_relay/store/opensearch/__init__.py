"""The store in OpenSearch: for search, trends, and more events than one machine can hold."""

from trio_relay.store.opensearch.options import OpenSearchOptions
from trio_relay.store.opensearch.store import OpenSearchStore, open_opensearch
from trio_relay.store.opensearch.upgrade import migrate

__all__ = ["OpenSearchOptions", "OpenSearchStore", "migrate", "open_opensearch"]
