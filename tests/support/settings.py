"""All settings, each with a value that is not the default, and a configuration in which each of them counts."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any, Final

import msgspec

from tests.support.keys import ALICE, BOB, CAROL
from trio_relay.config import Config, check, settings
from trio_relay.config_tables import LISTED

_BASE: Final[dict[str, dict[str, Any]]] = {
    "relay": {"url": "wss://relay.example/", "pubkey": CAROL.pubkey},
    "net": {
        "listen": ["tls:127.0.0.1:0", "127.0.0.1:0"],
        "tls_certificate": "relay.pem",
        "tls_key": "relay.key",
        "trusted_proxies": ["10.0.0.1"],
        "max_connections": 100,
        "inbound_bytes": 50_000_000,
        "outbound_bytes": 60_000_000,
    },
    "limits": {"max_filter_values_of_all": 500_000, "created_at_behind": 1_000_000},
    "policy": {"admins": [ALICE.pubkey], "trust_depth": 1},
    "members": {"enabled": True},
    "sync": {"max_events_of_all": 400_000},
    "memory": {"total_bytes": 2**30},
    "store": {"cache_bytes": 2**24, "event_cache_bytes": 2**24},
    "backup": {"repository": "here"},
    "metrics": {"listen": ""},
}
_RATE: Final = "7/hour burst 9"
OTHERS: Final[dict[str, Any]] = {
    "relay.url": "wss://other.example/path",
    "relay.also_known_as": ["wss://another.example/"],
    "relay.name": "another",
    "relay.description": "what it is for",
    "relay.banner": "https://x.example/banner.png",
    "relay.icon": "https://x.example/icon.png",
    "relay.pubkey": BOB.pubkey,
    "relay.contact": "mailto:me@x.example",
    "relay.terms_of_service": "https://x.example/terms",
    "relay.eose_hints": True,
    "limits.max_message_length": 2_000_000,
    "limits.max_content_length": 7,
    "limits.max_event_tags": 7,
    "limits.max_subscriptions": 7,
    "limits.max_filters": 7,
    "limits.max_filter_values": 7,
    "limits.max_filter_values_per_address": 7,
    "limits.max_filter_values_of_all": 7,
    "limits.max_limit": 600,
    "limits.default_limit": 7,
    "limits.created_at_ahead": 7,
    "limits.created_at_behind": 2_000_000,
    "limits.max_tag_value_length": 7,
    "net.listen": ["tls:127.0.0.1:1", "127.0.0.1:2"],
    "net.tls_certificate": "other.pem",
    "net.tls_key": "other.key",
    "net.hosts": ["memory"],
    "net.origins": ["app.example"],
    "net.paths": ["/nostr"],
    "net.max_connections": 7,
    "net.max_connections_per_address": 7,
    "net.trusted_proxies": ["10.0.0.2"],
    "net.address_header": "X-Real-IP",
    "net.unknown_clients": "refuse",
    "net.handshake_seconds": 7.0,
    "net.ping_seconds": 7.0,
    "net.pong_seconds": 7.0,
    "net.send_seconds": 7.0,
    "net.message_seconds": 7.0,
    "net.close_seconds": 7.0,
    "net.grace_seconds": 7.0,
    "net.deflate": False,
    "net.outbox_bytes": 5_000_000,
    "net.inbound_bytes": 7_000_000,
    "net.outbound_bytes": 7_000_000,
    "policy.admins": [BOB.pubkey],
    "policy.challenge": "connect",
    "policy.auth_to_read": True,
    "policy.auth_to_write": True,
    "policy.min_pow_difficulty": 7,
    "policy.allowed_pubkeys": [BOB.pubkey],
    "policy.denied_pubkeys": [BOB.pubkey],
    "policy.allowed_kinds": [7],
    "policy.denied_kinds": [7],
    "policy.denied_words": ["tin"],
    "policy.denied_addresses": ["203.0.113.7"],
    "policy.files_seconds": 7.0,
    "policy.private_kinds": [4],
    "policy.rules": [{"kinds": [7], "max_age": 7}],
    "policy.and_tags": True,
    "policy.sweep_seconds": 7.0,
    "policy.trust_depth": 2,
    "policy.trust_seconds": 7.0,
    "members.enabled": False,
    "members.claims": ["a claim of ours"],
    "members.members_write": False,
    "members.members_read": True,
    "members.receive_kinds": [7],
    "members.max_members": 7,
    "members.invite_seconds": 77,
    "rates.enabled": False,
    "rates.exempt_networks": ["203.0.113.7"],
    "rates.kinds": [{"kinds": [7], "per_address": _RATE}],
    "rates.bar_seconds": 7,
    "plugins.write": "cat",
    "plugins.read": "cat",
    "plugins.hooks": "my_policy",
    "plugins.hooks_options": {"a": 7},
    "plugins.processes": 7,
    "plugins.in_flight": 7,
    "plugins.timeout_seconds": 7.0,
    "plugins.fail": "open",
    "plugins.only_kinds": [7],
    "plugins.skip_kinds": [7],
    "plugins.skip_networks": ["203.0.113.7"],
    "plugins.skip_pubkeys": [BOB.pubkey],
    "plugins.skip_admins": False,
    "plugins.skip_imports": True,
    "sync.enabled": False,
    "sync.max_events": 7,
    "sync.max_events_of_all": 7,
    "sync.max_sessions": 7,
    "sync.idle_seconds": 7.0,
    "sync.frame_bytes": 7_000,
    "mirror": [{"url": "wss://x.example/"}],
    "pipeline.signatures": "python",
    "pipeline.verifiers": 7,
    "pipeline.workers": 2,
    "pipeline.verify_batch": 7,
    "pipeline.write_batch": 7,
    "pipeline.write_linger_seconds": 7.0,
    "pipeline.channel_parcels": 7,
    "pipeline.query_seconds": 7.0,
    "pipeline.query_wait_seconds": 7.0,
    "pipeline.mute_unheard": True,
    "pipeline.drain_seconds": 7.0,
    "memory.total_bytes": 2**31,
    "store.backend": "memory",
    "store.path": "other.db",
    "store.synchronous": "normal",
    "store.readers": 7,
    "store.cache_bytes": 2**25,
    "store.event_cache_bytes": 2**25,
    "store.search": False,
    "store.search_prefix": 7,
    "store.archive": True,
    "store.archive_seconds": 7,
    "store.max_events": 7,
    "store.max_bytes": 7_000_000,
    "store.retention_seconds": 7.0,
    "retention": [{"max_age_seconds": 77}],
    "opensearch.urls": ["http://x.example:9200"],
    "opensearch.username": "me",
    "opensearch.password": "a password",
    "opensearch.api_key": "a key",
    "opensearch.ca_file": "ca.pem",
    "opensearch.prefix": "other",
    "opensearch.shards": 7,
    "opensearch.replicas": 7,
    "opensearch.durability": "async",
    "opensearch.refresh_seconds": 7.0,
    "opensearch.recent_events": 7,
    "opensearch.writers": 7,
    "opensearch.readers": 7,
    "opensearch.bulk_bytes": 70_000,
    "opensearch.gzip": True,
    "opensearch.request_seconds": 7.0,
    "opensearch.retry_seconds": 7.0,
    "bus.url": "redis://x.example/0",
    "bus.ca_file": "ca.pem",
    "bus.max_entries": 7_000,
    "bus.max_bytes": 2**25,
    "bus.waiting_bytes": 2**23,
    "backup.folder": "elsewhere",
    "backup.every_seconds": 77,
    "backup.keep": 3,
    "backup.with_key": True,
    "backup.repository": "there",
    "backup.location": "/somewhere",
    "web.enabled": False,
    "web.admin": True,
    "web.session_seconds": 77,
    "web.templates": "templates",
    "web.icon": "icon.png",
    "web.banner": "banner.png",
    "web.notes": 7,
    "web.noindex": True,
    "metrics.listen": "127.0.0.1:1",
    "metrics.max_connections": 7,
    "control.listen": "off",
    "log.level": "debug",
    "log.format": "text",
    **{f"rates.{key}": _RATE for key in Config().rates.__struct_fields__ if key.rpartition("_per_")[1]},
}
"""By name; of tables that may come several times, all of them."""


def names() -> list[str]:
    """The names of all settings; a list of tables is one."""
    found = (one.section if one.section in LISTED else f"{one.section}.{one.key}" for one in settings())
    return list(dict.fromkeys(found))


@cache
def configuration() -> Config:
    """In which each setting counts."""
    return check(copy.deepcopy(_BASE))


def changed(*which: str) -> Config:
    """The same with other values of these settings, whether all of it fits together or not."""
    source = msgspec.to_builtins(configuration())
    for name in which:
        section, _, key = name.partition(".")
        if key:
            source[section][key] = OTHERS[name]
        else:
            source[section] = OTHERS[name]
    return msgspec.convert(source, Config)


def value_of(config: Config, name: str) -> object:
    """What a configuration says of a setting."""
    section, _, key = name.partition(".")
    options = getattr(config, section)
    return getattr(options, key) if key else options
