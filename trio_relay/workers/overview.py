"""What operators see of a relay of several workers: what all of them have told, and what each tells when asked.

The keeper asks all workers that serve, in bounded time, and joins what they answer; both sides of that are here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Final

import msgspec

from trio_relay.link import Calls
from trio_relay.net.admin.sight import MOST_REFUSALS, BackUpNow, ReloadNow, Sight, WantedRefusals
from trio_relay.net.clients import MOST_LISTED, ClientRecord
from trio_relay.net.statistics import RefusalRecord
from trio_relay.net.vitals import VitalsSource
from trio_relay.nostr.event import Event
from trio_relay.pipeline.explaining import Explaining
from trio_relay.pipeline.slow_requests import SlowRequest, slowest_of
from trio_relay.pipeline.statistics import RelayStatistics

_encode: Final = msgspec.msgpack.Encoder().encode
_clients_of: Final = msgspec.msgpack.Decoder(list[ClientRecord]).decode
_hanging_up_of: Final = msgspec.msgpack.Decoder(tuple[str, str]).decode
_wanted_of: Final = msgspec.msgpack.Decoder(WantedRefusals).decode
_refusals_of: Final = msgspec.msgpack.Decoder(list[RefusalRecord]).decode
_slow_requests_of: Final = msgspec.msgpack.Decoder(list[SlowRequest]).decode
_event_of: Final = msgspec.msgpack.Decoder(Event).decode
_number_of: Final = msgspec.msgpack.Decoder(int).decode
_truth_of: Final = msgspec.msgpack.Decoder(bool).decode


class WorkersSight:
    """A `Sight` of all workers, for the process that looks after them.

    Args:
        statistics: of the whole relay, as workers have told it last.
        ask_all: puts a question to all workers, and gives the answers of those that answer in time.
        explaining: reads the store of all.
        vitals, back_up, reload: as an `OwnSight` has them.
    """

    def __init__(
        self,
        statistics: Callable[[], RelayStatistics],
        ask_all: Callable[[str, bytes], Awaitable[list[bytes]]],
        explaining: Explaining,
        vitals: VitalsSource | None = None,
        back_up: BackUpNow | None = None,
        reload: ReloadNow | None = None,
    ) -> None:
        self.vitals = vitals
        self.back_up = back_up
        self.reload = reload
        self._statistics = statistics
        self._ask_all = ask_all
        self.explaining = explaining

    def statistics(self) -> RelayStatistics:
        return self._statistics()

    async def wanting(self, event: Event) -> int:
        return sum(map(_number_of, await self._ask_all("wanting", _encode(event))))

    async def clients(self) -> list[ClientRecord]:
        told = [one for answer in await self._ask_all("clients", b"") for one in _clients_of(answer)]
        return sorted(told, key=attrgetter("seconds"), reverse=True)[:MOST_LISTED]

    async def hang_up(self, client: str, reason: str) -> bool:
        return any(map(_truth_of, await self._ask_all("hang_up", _encode((client, reason)))))

    async def refusals(self, wanted: WantedRefusals) -> list[RefusalRecord]:
        told = [one for answer in await self._ask_all("refusals", _encode(wanted)) for one in _refusals_of(answer)]
        return sorted(told, key=attrgetter("at"), reverse=True)[:MOST_REFUSALS]

    async def slow_requests(self) -> list[SlowRequest]:
        return slowest_of(
            one for answer in await self._ask_all("slow_requests", b"") for one in _slow_requests_of(answer)
        )


def answering(sight: Sight) -> Calls:
    """What a worker answers to these questions, by what it sees itself."""

    async def wanting(payload: bytes) -> bytes:
        return _encode(await sight.wanting(_event_of(payload)))

    async def clients(_payload: bytes) -> bytes:
        return _encode(await sight.clients())

    async def hang_up(payload: bytes) -> bytes:
        return _encode(await sight.hang_up(*_hanging_up_of(payload)))

    async def refusals(payload: bytes) -> bytes:
        return _encode(await sight.refusals(_wanted_of(payload)))

    async def slow_requests(_payload: bytes) -> bytes:
        return _encode(await sight.slow_requests())

    asked = (wanting, clients, hang_up, refusals, slow_requests)
    return {answer.__name__: answer for answer in asked}
