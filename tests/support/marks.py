"""Which tests need what, told by what they use; how many examples their properties get; names for their parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, settings

from trio_relay.version import CODE

NODE_FIXTURES = frozenset({"node", "node_3", "index", "prefix", "mortal", "mortal_prefix", "opensearch"})
"""Each brings up a node of OpenSearch, or names on one."""
FEW_USE = frozenset({"node_3", "mortal"})
CLIENTS_FIXTURE = "installed_clients"
"""The client libraries that a test runs against the relay."""
replaces_what_is_compiled = pytest.mark.skipif(
    CODE == "compiled", reason="puts something else in the place of what compiled code calls directly"
)
looks_into_objects = pytest.mark.skipif(
    CODE == "compiled", reason="looks at what objects keep, which compiled ones do not show"
)
STORE_FIXTURES = ("backend", "store_settings", "serving_settings", "opening")
"""Their parameter is the name of a store."""
PROFILES = {"full": 100, "few": 20, "quick": 5}
"""Of hypothesis, with how many examples a property without settings of its own gets; the first unless another is asked
for with --hypothesis-profile."""


def register_profiles() -> None:
    """Make `PROFILES` known, and use the first."""
    for name, examples in PROFILES.items():
        settings.register_profile(
            name, max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        )
    settings.load_profile(next(iter(PROFILES)))


def examples(full: int) -> int:
    """How many examples a property gets in this run that gets so many in a full one."""
    return max(1, full * settings().max_examples // PROFILES["full"])


def mark_by_use(items: Iterable[pytest.Item]) -> None:
    """Mark tests by the store that they choose, by the node of OpenSearch that they need, and by clients that they run.

    Nodes that only a few tests need are for one worker, so that no two are started.
    """
    for item in items:
        if isinstance(item, pytest.Function):
            store = _store_of(item)
            if store.startswith("sqlite"):
                item.add_marker(pytest.mark.sqlite)
            if store == "kept":
                item.add_marker(pytest.mark.kept)
            if store.startswith("opensearch") or NODE_FIXTURES & set(item.fixturenames):
                item.add_marker(pytest.mark.opensearch)
            if CLIENTS_FIXTURE in item.fixturenames:
                item.add_marker(pytest.mark.clients)
            for name in FEW_USE & set(item.fixturenames):
                item.add_marker(pytest.mark.xdist_group(name))


def _store_of(item: pytest.Function) -> str:
    if not hasattr(item, "callspec"):
        return ""
    return "".join(str(item.callspec.params[name]) for name in STORE_FIXTURES if name in item.callspec.params)


def in_order(value: object) -> str:
    """The text of a parameter, its sets in order: workers that run tests side by side must agree on their names."""
    return re.sub(r"frozenset\(\{(.*?)\}\)", lambda found: f"{{{', '.join(sorted(found[1].split(', ')))}}}", str(value))
