"""Which settings a running relay can go by at once, and which wait for its next start (pure).

A setting is live unless `FIXED` names it. What is live and does not fit together with something that waits, waits, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from trio_relay.config_checks import ConfigError
from trio_relay.config_tables import LISTED, Config, processes_of
from trio_relay.memory_budget import MemoryOptions, divided

_IS_OPEN: Final = "the store is open"
_LISTENS: Final = "the relay listens already"
_STARTED: Final = "what judges was started with it"
_MADE: Final = "the stages were made for it"
_WAS_READ: Final = "it was read at the start"

FIXED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "net.listen": _LISTENS,
        "metrics.listen": _LISTENS,
        "control.listen": _LISTENS,
        "policy.private_kinds": "requests that are open, and sets that are kept, were made for it",
        "members.enabled": "the relay's own key, and what it says of members, begin with it",
        **{
            f"plugins.{key}": _STARTED
            for key in ("write", "read", "hooks", "hooks_options", "processes", "in_flight", "timeout_seconds", "fail")
        },
        **{
            f"pipeline.{key}": _MADE
            for key in ("signatures", "verifiers", "workers", "verify_batch", "write_batch", "write_linger_seconds")
        },
        "pipeline.channel_parcels": _MADE,
        **{
            f"store.{key}": _IS_OPEN
            for key in ("backend", "path", "synchronous", "readers", "cache_bytes", "event_cache_bytes", "search")
        },
        "store.archive": _IS_OPEN,
        "store.archive_seconds": _IS_OPEN,
        **{f"opensearch.{field.name}": _IS_OPEN for field in msgspec.structs.fields(Config().opensearch)},
        **{f"bus.{field.name}": _IS_OPEN for field in msgspec.structs.fields(Config().bus)},
        "web.templates": _WAS_READ,
        "web.icon": _WAS_READ,
        "web.banner": _WAS_READ,
    }
)
"""Settings that a running relay does not change, each with the reason."""
_WORKERS: Final = "pipeline.workers"
_TOGETHER: Final[Mapping[str, tuple[str, ...]]] = {
    "net.listen": ("net.tls_certificate", "net.tls_key"),
    "net.tls_certificate": ("net.tls_key",),
}
"""What has to wait where something else does."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What another configuration changes.

    Attributes:
        config: what the relay goes by from now on.
        changed: settings whose value is another there than before, by their names; a list of tables is one.
        waiting: settings that are other than those the relay goes by, and wait for its next start.
    """

    config: Config
    changed: tuple[str, ...]
    waiting: tuple[str, ...]


def compared(running: Config, read: Config, check: Callable[[Config], None]) -> Comparison:
    """Compare what a relay goes by with what it is to go by.

    Args:
        running: what it goes by.
        read: checked.
        check: sees that all of a configuration fits together.

    Raises:
        ConfigError: it does not, even where all waits that can.
    """
    differing = _differing(running, read)
    waiting = {name for name in differing if name in FIXED}
    if _WORKERS in waiting:
        waiting |= _by_processes(read).intersection(differing)
    while True:
        config = _with_own(running, read, waiting)
        try:
            check(config)
        except ConfigError as error:
            name, left = _named_by(error), [one for one in differing if one not in waiting]
            if not left:
                raise ConfigError(f"{error}; {', '.join(sorted(waiting))} would change with a restart") from error
            named = {name, *_TOGETHER.get(name, ())}.intersection(left)
            waiting |= named or _least(left, [_with_own(running, read, {*waiting, one}) for one in left], check)
        else:
            changed = tuple(name for name in differing if name not in waiting)
            return Comparison(config, changed, tuple(name for name in differing if name in waiting))


def _by_processes(read: Config) -> set[str]:
    """The settings that were left out, and are what they are by the number of processes that share the memory."""
    processes = processes_of(read)
    total = MemoryOptions().of(processes).total_bytes
    left_out = {"memory.total_bytes": total, **divided(read.memory.total_bytes, processes)}
    return {name for name, number in left_out.items() if attrgetter(name)(read) == number}


def _least(left: Sequence[str], without: Sequence[Config], check: Callable[[Config], None]) -> set[str]:
    """One of the settings that are left without which all fits; else all of them: the relay goes by what it did.

    The complaint names what waits already, and not what it does not go with.
    """
    return next(({one} for one, config in zip(left, without, strict=True) if _fits(check, config)), set(left))


def _fits(check: Callable[[Config], None], config: Config) -> bool:
    try:
        check(config)
    except ConfigError:
        return False
    return True


def _differing(one: Config, other: Config) -> list[str]:
    found: list[str] = []
    for section in one.__struct_fields__:
        mine, theirs = getattr(one, section), getattr(other, section)
        if section in LISTED:
            found += [section] if mine != theirs else []
        else:
            found += [
                f"{section}.{key}" for key in mine.__struct_fields__ if getattr(mine, key) != getattr(theirs, key)
            ]
    return found


def _with_own(running: Config, read: Config, waiting: set[str]) -> Config:
    """What is read, but for what waits."""
    sections: dict[str, Any] = {}
    for name in waiting:
        section, _, key = name.partition(".")
        own = getattr(running, section)
        sections[section] = (
            replace(sections.get(section, getattr(read, section)), **{key: getattr(own, key)}) if key else own
        )
    return replace(read, **sections)


def _named_by(error: ConfigError) -> str:
    """The setting that a complaint begins with; the name of a list of tables, where it is of one of them."""
    name = str(error).partition(":")[0]
    section = name.partition(".")[0]
    return section if section in LISTED else name
