"""A page of metrics that has everything: records of statistics whose every number is one that the test chooses."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final, Literal, Union, get_args, get_origin

from trio_relay.backup import base as of_backups
from trio_relay.backup import regular
from trio_relay.metrics import MetricsPage, OperationCollector, WorkersFigures
from trio_relay.net import statistics as of_net
from trio_relay.pipeline import histogram
from trio_relay.pipeline import statistics as of_relay

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {"channels": ("intake", "verified"), "outcomes": ("stored", "failed")}
"""Keys of tables that are asked for by their values; all other tables have one."""


def filled(kind: Any, number: int, name: str = "") -> Any:
    """A value of a type, in which every number is this one; of a union the first that is not None.

    Args:
        kind: of which records are made: the record itself, or the type of one of its fields.
        number: at least 1.
        name: of the field.
    """
    if kind is of_relay.Distribution:
        return of_relay.Distribution(tuple(histogram.SECONDS), (number,) * (len(histogram.SECONDS) + 1), float(number))
    if is_dataclass(kind):
        types_of = typing.get_type_hints(kind)
        made: Callable[..., Any] = kind  # type: ignore[assignment]  # a class of records is called
        return made(**{one.name: filled(types_of[one.name], number, one.name) for one in fields(kind)})
    parts = get_args(kind)
    match get_origin(kind):
        case origin if origin in (types.UnionType, Union):
            return filled(next(part for part in parts if part is not type(None)), number, name)
        case origin if origin is Literal:
            return parts[0]
        case origin if origin is dict:
            keys = _NAMES.get(name, ("some",)) if parts[0] is str else [("some",) * len(get_args(parts[0]))]
            return {key: filled(parts[1], number) for key in keys}
        case origin if origin is tuple:
            return (filled(parts[0], number),)
        case _:
            return "some" if kind is str else kind(number)


def page_of(number: int) -> MetricsPage:
    """The page of a relay that has all that there is, as often as this number."""
    both = filled(of_relay.RelayStatistics, number), filled(of_net.NetStatistics, number)
    page = MetricsPage(lambda: both, lambda: filled(WorkersFigures, number))
    settings = {"net.max_connections": 10.0, "memory.total_bytes": 1e9, "backup.every_seconds": 60.0}
    page.add(OperationCollector(lambda: "some", lambda: settings))
    page.add(regular.BackupCollector(lambda: filled(of_backups.BackupStatistics, number)))
    return page


def labels_by_name() -> dict[str, set[str]]:
    """The labels of each sample that a page may have, by the sample's name."""
    return {sample.name: set(sample.labels) for family in page_of(1).families() for sample in family.samples} | {
        "up": set()
    }
