"""What can be seen of a running relay, and done to it, beside its lists: of one process, or of all workers together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final, Protocol, TypeAlias

import msgspec

from trio_relay.frozen import Frozen
from trio_relay.net.addresses import AddressEntry, AddressList
from trio_relay.net.clients import ClientRecord, Clients
from trio_relay.net.statistics import RefusalRecord
from trio_relay.net.vitals import VitalsSource
from trio_relay.nostr.event import Event
from trio_relay.pipeline.explaining import Explaining
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.slow_requests import SlowRequest
from trio_relay.pipeline.statistics import RelayStatistics

MOST_REFUSALS: Final = 200
"""Refusals that are listed at most, the newest ones."""
MOST_SHOWN: Final = 100
"""Items of a list that are shown; there may be a million of them."""


class WantedRefusals(Frozen, frozen=True, forbid_unknown_fields=True):
    """Which refusals are looked for: those of an event of this key, of clients at this address or in this network, of
    an event of this kind, with this text in the verb or the reason, whatever its case; None: any.
    """

    key: str | None = None
    address: str | None = None
    kind: int | None = None
    text: str | None = None

    def among(self, refusals: list[RefusalRecord]) -> list[RefusalRecord]:
        """The first `MOST_REFUSALS` of these that are wanted."""
        network = None if self.address is None else AddressList([AddressEntry(self.address)])
        text = "" if self.text is None else self.text.casefold()
        found = (
            one
            for one in refusals
            if (self.key is None or self.key == one.key)
            and (self.kind is None or self.kind == one.kind)
            and (text in one.reason.casefold() or text in one.verb.casefold())
            and (network is None or network.covers(one.address, 0))
        )
        return list(islice(found, MOST_REFUSALS))


BackUpNow: TypeAlias = Callable[[], Awaitable[dict[str, object]]]
"""Writes a backup, and tells which files it has made; raises `Rejected`."""


ReloadNow: TypeAlias = Callable[[], Awaitable[dict[str, object]]]
"""Has the configuration read again, and tells what that has changed; raises `Rejected`."""


class SettingRecord(Frozen, frozen=True):
    """One setting, with nothing secret in it.

    Attributes:
        section: the table.
        key: in it.
        value: in force, as JSON has it; of a list the first `MOST_SHOWN` items.
        more: items of the list beyond those.
        default: what holds where nobody has said otherwise.
        origin: default, file or variable.
        file: the file that says it; empty if none does.
        files: those that items of the list stand in.
        variable: of the environment, that overrides the file.
        text: what it is.
        unit: of the value, if it has one.
        bounds: of the value, in words.
        is_live: True if the running relay goes by another value once it reads its configuration again.
        waiting: the value that waits for the next start; None if none does.
    """

    section: str
    key: str
    value: object
    more: int
    default: object
    origin: str
    file: str
    files: tuple[str, ...]
    variable: str
    text: str
    unit: str
    bounds: str
    is_live: bool = True
    waiting: object = None


SettingsShown: TypeAlias = Callable[[], Sequence[SettingRecord]]
"""Tells all settings, in the order of the sample file."""


def no_settings() -> Sequence[SettingRecord]:
    """Of a relay that was started without a configuration."""
    return ()


def shown(value: object) -> tuple[object, int]:
    """A value as JSON has it, and how many items of a list are left out."""
    plain = msgspec.to_builtins(value)
    return (plain[:MOST_SHOWN], max(len(plain) - MOST_SHOWN, 0)) if isinstance(plain, list | tuple) else (plain, 0)


class Sight(Protocol):
    """What methods ask of a relay as it runs."""

    @property
    def vitals(self) -> VitalsSource | None:
        """How it did and does; None: nobody keeps that."""
        ...

    @property
    def back_up(self) -> BackUpNow | None:
        """Makes a backup; None: there is no way to."""
        ...

    @property
    def reload(self) -> ReloadNow | None:
        """Reads the configuration again; None: there is no way to."""
        ...

    @property
    def explaining(self) -> Explaining:
        """Answers questions why."""
        ...

    def statistics(self) -> RelayStatistics:
        """How all stages are."""
        ...

    async def wanting(self, event: Event) -> int:
        """How many open subscriptions would get an event."""
        ...

    async def clients(self) -> list[ClientRecord]:
        """Who is connected, at most `clients.MOST_LISTED`; who has made most work first."""
        ...

    async def hang_up(self, client: str, reason: str) -> bool:
        """End the connection of a client of this name, see `ClientRecord`; False if there is none."""
        ...

    async def refusals(self, wanted: WantedRefusals) -> list[RefusalRecord]:
        """What was refused last, at most `MOST_REFUSALS`; the newest first."""
        ...

    async def slow_requests(self) -> list[SlowRequest]:
        """What was slow in the last hour, at most `MOST_SLOW`; the slowest first."""
        ...


class OwnSight:
    """Of a relay that is this process alone.

    Args:
        relay: which one.
        clients: of its server; None: nobody is seen.
        vitals: how it did and does; None: nobody keeps that.
        back_up: makes a backup; None: there is no way to.
        reload: reads the configuration again; None: likewise.
    """

    def __init__(
        self,
        relay: Relay,
        clients: Clients | None = None,
        vitals: VitalsSource | None = None,
        back_up: BackUpNow | None = None,
        reload: ReloadNow | None = None,
    ) -> None:
        self.vitals = vitals
        self.back_up = back_up
        self.reload = reload
        self._relay = relay
        self._clients = clients or Clients(relay.now)
        self.explaining = relay.explaining

    def statistics(self) -> RelayStatistics:
        return self._relay.statistics()

    async def wanting(self, event: Event) -> int:
        return await self._relay.stages.broadcaster.wanted_by(event)

    async def clients(self) -> list[ClientRecord]:
        return await self._clients.listed()

    async def hang_up(self, client: str, reason: str) -> bool:
        return self._clients.hang_up(client, reason)

    async def refusals(self, wanted: WantedRefusals) -> list[RefusalRecord]:
        return wanted.among(self._clients.refusals.last.newest_first())

    async def slow_requests(self) -> list[SlowRequest]:
        return self._relay.slow_requests.slowest()
