"""The tables of the configuration: their keys with types, defaults, bounds and descriptions, for all who show them.

A table that may come several times, `[[mirror]]`, is a tuple of its options; each has defaults of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from trio_relay.backup.options import BackupOptions
from trio_relay.bus.options import BusOptions
from trio_relay.environment import PREFIX
from trio_relay.logs import LogOptions
from trio_relay.memory_budget import SHARES, MemoryOptions
from trio_relay.metrics import MetricsOptions
from trio_relay.net.control import ControlOptions
from trio_relay.net.options import NetOptions
from trio_relay.net.web.options import WebOptions
from trio_relay.nostr.limits import Limits
from trio_relay.nostr.relay_info import RelayInfo
from trio_relay.peers.mirror_options import MirrorOptions
from trio_relay.pipeline.options import RelayOptions, SyncOptions
from trio_relay.pipeline.stages import cores
from trio_relay.plugins.options import PluginOptions
from trio_relay.policy.options import MemberOptions, PolicyOptions
from trio_relay.policy.rate_options import RateOptions
from trio_relay.policy.retention import RetentionRule
from trio_relay.store.opensearch import OpenSearchOptions
from trio_relay.store.sqlite import SqliteOptions


class StoreOptions(SqliteOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where events are kept."""

    backend: Annotated[
        Literal["sqlite", "opensearch", "memory"],
        Meta(
            description=(
                "sqlite: events in one file; opensearch: in an index that `trio-relay migrate` makes (see"
                " [opensearch]); memory: events are lost when the relay stops. The other keys of this table are for"
                " sqlite, but search, search_prefix, archive, archive_seconds, max_events, max_bytes and"
                " retention_seconds are for all."
            )
        ),
    ] = "sqlite"
    max_events: Annotated[
        int,
        Meta(
            ge=0,
            description=(
                "Most events of the whole store; beyond it the least deserving go: those of others, then of trusted"
                " keys, then of members and listed ones, each the oldest first, but never those of admins, or what a"
                " rule of [[retention]] keeps for ever. 0: no bound."
            ),
            extra={"unit": "events"},
        ),
    ] = 0
    max_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="The same for all events together, as JSON; a store needs some two to three times as much.",
            extra={"unit": "bytes"},
        ),
    ] = 0
    retention_seconds: Annotated[
        float,
        Meta(
            ge=1,
            description="How often what [[retention]] and these bounds let go is removed.",
            extra={"unit": "seconds"},
        ),
    ] = 3_600.0


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All options of a relay, one field for each TOML table, or for all tables of a name."""

    relay: RelayInfo = RelayInfo()
    limits: Limits = Limits()
    net: NetOptions = NetOptions()
    policy: PolicyOptions = PolicyOptions()
    members: MemberOptions = MemberOptions()
    rates: RateOptions = RateOptions()
    plugins: PluginOptions = PluginOptions()
    sync: SyncOptions = SyncOptions()
    mirror: tuple[MirrorOptions, ...] = ()
    pipeline: RelayOptions = RelayOptions()
    memory: MemoryOptions = MemoryOptions()
    store: StoreOptions = StoreOptions()
    retention: tuple[RetentionRule, ...] = ()
    opensearch: OpenSearchOptions = OpenSearchOptions()
    bus: BusOptions = BusOptions()
    backup: BackupOptions = BackupOptions()
    web: WebOptions = WebOptions()
    metrics: MetricsOptions = MetricsOptions()
    control: ControlOptions = ControlOptions()
    log: LogOptions = LogOptions()


LISTED: Final = frozenset(field.name for field in msgspec.structs.fields(Config) if get_origin(field.type) is tuple)
"""Tables that may come several times."""


def processes_of(config: Config) -> int:
    """Of how many processes the relay is made: its workers, and one that keeps the file for them."""
    workers = config.pipeline.workers or cores()
    return workers + 1 if workers > 1 else 1


@dataclass(frozen=True, slots=True)
class Setting:
    """A key of the configuration, as the documentation shows it."""

    section: str
    key: str
    default: object
    """msgspec.NODEFAULT where it must be given."""
    unit: str
    description: str
    bounds: str
    is_listed: bool = False
    """True if its table may come several times."""

    @property
    def is_share(self) -> bool:
        """True if its default is a part of `memory.total_bytes`."""
        return f"{self.section}.{self.key}" in SHARES

    @property
    def left_out(self) -> str:
        """What else than its default a setting is that is left out; empty if it is that."""
        if self.is_share:
            return "a share of memory.total_bytes"
        grows = (self.section, self.key) == ("memory", "total_bytes")
        return "this, and 64 MiB for each process after the first" if grows else ""

    @property
    def environment(self) -> str:
        """The variable that overrides the key, or all tables of its name."""
        return f"{PREFIX}{self.section}{'' if self.is_listed else f'__{self.key}'}".upper()


def settings() -> Iterator[Setting]:
    """Yield every key, in the order of the sample file."""
    for section in msgspec.structs.fields(Config):
        is_listed = section.name in LISTED
        # The backend first: the other keys depend on it.
        for field in sorted(msgspec.structs.fields(options_of(section.name)), key=lambda one: one.name != "backend"):
            description, unit, bounds = _meta(field.type)
            made = field.default_factory is not msgspec.NODEFAULT
            default = field.default_factory() if made else field.default
            yield Setting(section.name, field.name, default, unit, description, bounds, is_listed)


def options_of(section: str) -> type[msgspec.Struct]:
    """Return the type of a table, or of each of them where it may come several times."""
    found = next(field.type for field in msgspec.structs.fields(Config) if field.name == section)
    kind: type[msgspec.Struct] = get_args(found)[0] if get_origin(found) is tuple else found
    return kind


def _meta(annotation: Any) -> tuple[str, str, str]:
    """Return description, unit and bounds of an `Annotated` type; an inner type's unless the outer one has its own."""
    description, unit, bounds = "", "", []
    while hasattr(annotation, "__metadata__"):
        for meta in reversed(annotation.__metadata__):  # the outermost comes last
            description = description or meta.description or ""
            unit = unit or (meta.extra or {}).get("unit", "")
            bounds += [f"{sign} {value}" for sign, value in _limits(meta) if value is not None]
        annotation = annotation.__origin__
    choices = getattr(annotation, "__args__", ()) if getattr(annotation, "__origin__", None) is Literal else ()
    return description, unit, ", ".join(bounds) or " | ".join(f'"{choice}"' for choice in choices)


def _limits(meta: Meta) -> list[tuple[str, float | None]]:
    return [("≥", meta.ge), (">", meta.gt), ("≤", meta.le), ("<", meta.lt)]
