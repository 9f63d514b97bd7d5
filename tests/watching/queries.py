"""The queries of the dashboard, as tests ask them."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from docs.dashboard import dashboard_file

PANELS: Final[list[dict[str, Any]]] = [
    panel
    for shown in json.loads(dashboard_file())["panels"]
    for panel in (shown["panels"] if shown["type"] == "row" else [shown])
]
QUERIES: Final = [(target["expr"], target["legendFormat"]) for panel in PANELS for target in panel["targets"]]
"""Each with the name of its lines."""


def on_all(query: str) -> str:
    """A query with Grafana's variables filled in: all relays, and rates of half a minute."""
    return query.replace("$instance", ".+").replace("$__rate_interval", "30s")


def labels_in(name: str) -> set[str]:
    """The labels that the name of a line is made of."""
    return set(re.findall(r"\{\{(\w+)\}\}", name))
