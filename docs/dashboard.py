"""The dashboard of Grafana, `deploy/grafana/trio-relay.json`: what `panels` says, in the form that Grafana reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from docs.panels import ROWS, Panel
from trio_relay.nostr.relay_info import SOFTWARE

_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS: Final = 24
"""Of Grafana's grid."""
_SIZE_OF_NUMBERS: Final = (3, 4)
_SIZE: Final = (8, 8)
"""Columns, and rows of some 30 pixels."""
_ALERTS: Final = 'ALERTS{alertname=~"TrioRelay.*", alertstate="firing", instance=~"$instance"}'


def dashboard_file() -> str:
    """`deploy/grafana/trio-relay.json`."""
    whole = {
        "title": "trio-relay",
        "uid": "trio-relay",
        "description": "A Nostr relay on Trio. Made by docs/dashboard.py; alerts are in deploy/prometheus.",
        "tags": ["nostr", "trio-relay"],
        "schemaVersion": 41,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [_alerts()]},
        "templating": {"list": [_choice_of_source(), _choice_of_relays()]},
        "links": [_link("What each alert means", "alerts.md"), _link("What each metric means", "metrics.md")],
        "panels": list(_placed()),
    }
    return json.dumps(whole, indent=2) + "\n"


def _link(title: str, page: str) -> dict[str, Any]:
    return {
        "type": "link",
        "title": title,
        "url": f"{SOFTWARE}/blob/main/docs/{page}",
        "icon": "doc",
        "tooltip": "",
        "tags": [],
        "asDropdown": False,
        "includeVars": False,
        "keepTime": False,
        "targetBlank": True,
    }


def _alerts() -> dict[str, Any]:
    """Marks where an alert fires."""
    return {
        "name": "Alerts",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": _ALERTS,
        "titleFormat": "{{alertname}}",
        "textFormat": "{{instance}}",
    }


def _choice_of_source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _choice_of_relays() -> dict[str, Any]:
    return {
        "name": "instance",
        "label": "Relay",
        "type": "query",
        "datasource": _SOURCE,
        "query": "label_values(trio_relay_info, instance)",
        "refresh": 2,  # when the time that is shown changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _placed() -> Iterator[dict[str, Any]]:
    """Rows and their panels with their places; a folded row has its panels inside."""
    top, numbers = 0, iter(range(1, 1_000))
    for row in ROWS:
        place = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
        head = {"id": next(numbers), "type": "row", "title": row.title, "collapsed": row.is_folded, "gridPos": place}
        width, height = _SIZE_OF_NUMBERS if all(panel.is_number for panel in row.panels) else _SIZE
        panels = []
        for place_in_row, panel in enumerate(row.panels):
            line, column = divmod(place_in_row * width, _COLUMNS)
            place = {"x": column, "y": top + 1 + line * height, "w": width, "h": height}
            panels.append({"id": next(numbers), "gridPos": place, **_formed(panel)})
        yield {**head, "panels": panels if row.is_folded else []}
        if not row.is_folded:
            yield from panels
        top += 1 + (0 if row.is_folded else height * -(-len(row.panels) * width // _COLUMNS))


def _formed(panel: Panel) -> dict[str, Any]:
    return {
        "type": "stat" if panel.is_number else "timeseries",
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "targets": [_target(number, *query) for number, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _NUMBER if panel.is_number else _LINES,
    }


def _target(number: int, query: str, name: str) -> dict[str, Any]:
    return {
        "refId": "ABCDEF"[number],
        "datasource": _SOURCE,
        "expr": with_choices(query),
        "legendFormat": name,
        "range": True,
    }


def with_choices(query: str) -> str:
    """A query of `panels` with Grafana's own variables."""
    return query.replace("$i", 'instance=~"$instance"').replace("$r", "$__rate_interval")


_LINES: Final = {
    "legend": {"showLegend": True, "displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
    "tooltip": {"mode": "multi", "sort": "desc"},
}
_NUMBER: Final = {
    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    "textMode": "auto",
    "colorMode": "value",
    "graphMode": "none",
    "justifyMode": "auto",
    "orientation": "auto",
}


def _field(panel: Panel) -> dict[str, Any]:
    """How values are shown; of one that is 0 or 1 the good one is green."""
    if not panel.is_number:
        stacking = {"mode": "normal" if panel.is_stacked else "none", "group": "A"}
        return {
            "unit": panel.unit,
            "min": 0,
            "custom": {"fillOpacity": 10, "showPoints": "never", "stacking": stacking},
        }
    if panel.good is None:
        return {"unit": panel.unit, "color": {"mode": "fixed", "fixedColor": "text"}}
    low, high = ("red", "green") if panel.good else ("green", "red")
    return {
        "unit": panel.unit,
        "mappings": [{"type": "value", "options": {"0": {"text": "no", "index": 0}, "1": {"text": "yes", "index": 1}}}],
        "color": {"mode": "thresholds"},
        "thresholds": {"mode": "absolute", "steps": [{"value": None, "color": low}, {"value": 1, "color": high}]},
    }
