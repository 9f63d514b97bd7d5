"""What objects keep, however deep: every plain value that is reached from them, by the way to it."""

from __future__ import annotations

import enum
import ipaddress
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from functools import partial
from types import FunctionType, MethodType
from typing import Any, Final

import msgspec
import trio

_NETWORKS: Final = (ipaddress.IPv4Network, ipaddress.IPv6Network)
_PLAIN: Final = (int, float, str, bytes, bool, type(None), frozenset, enum.Enum, msgspec.Struct, *_NETWORKS)
_MOST: Final = 100
"""Items of a collection that are looked at."""


def values_in(roots: Mapping[str, object]) -> dict[str, object]:
    """All plain values, by the names of the attributes that lead to them; each object is gone into once.

    Args:
        roots: by their names.
    """
    found: dict[str, object] = {}
    seen: set[int] = set()
    line = deque(roots.items())
    while line:
        way, value = line.popleft()
        if isinstance(value, _PLAIN):
            found[way] = value
        elif id(value) not in seen:
            seen.add(id(value))
            kept.append(value)
            line.extend((f"{way}.{name}", part) for name, part in _parts(value))
    return found


kept: list[object] = []
"""What was looked at, so that no other object gets its id meanwhile."""


def _parts(value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict | Counter):
        yield from ((f"[{key!r}]", part) for key, part in list(value.items())[:_MOST] if isinstance(key, _PLAIN))
    elif isinstance(value, list | tuple | deque):
        yield from ((f"[{place}]", part) for place, part in enumerate(list(value)[:_MOST]))
    elif isinstance(value, set):
        yield "set", frozenset(one for one in value if isinstance(one, str | int))
    elif isinstance(value, MethodType):
        yield "self", value.__self__
    elif isinstance(value, partial):
        yield from (("func", value.func), ("args", value.args), ("keywords", value.keywords))
    elif hasattr(value, "cache_info"):
        yield "wrapped", value.__wrapped__
    elif isinstance(value, FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                yield name, cell.cell_contents
            except ValueError:  # it is not assigned yet
                continue
    elif type(value).__module__.startswith("trio_relay"):
        names = [slot for kind in type(value).__mro__ for slot in _slots(kind)]
        for name in sorted({*names, *getattr(value, "__dict__", ())}):
            if hasattr(value, name):
                yield name, getattr(value, name)


def _slots(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def tasks_in(nursery: trio.Nursery) -> dict[str, object]:
    """What the tasks of a nursery, and of those within it, keep in the variables of our own functions."""
    found: dict[str, object] = {}
    numbers: Counter[str] = Counter()
    for task in sorted(_all(nursery), key=lambda task: task.name):
        numbers[task.name] += 1
        step: Any = task.coro
        while step is not None:
            frame = getattr(step, "cr_frame", None)
            if frame is not None and frame.f_globals.get("__name__", "").startswith("trio_relay"):
                way = f"{task.name} {numbers[task.name]} {step.__qualname__}"
                found |= {f"{way} {name}": value for name, value in frame.f_locals.items()}
            step = getattr(step, "cr_await", None)
    return found


def _all(nursery: trio.Nursery) -> Iterator[trio.lowlevel.Task]:
    for task in nursery.child_tasks:
        yield task
        for inner in task.child_nurseries:
            yield from _all(inner)
