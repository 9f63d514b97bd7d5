"""What the keeper's process and a worker say to each other beside what `store.kept.feed` has, as msgpack.

keeper                            worker
begin     how to serve         →
          ← ready
rules     changes of the lists →
config    the whole, as it is now →
floors    what retention has no more room for →
certificate, with its key      →
obey      answered when all before it was taken (a question)
settle    answered when what was being saved is (a question)
statistics (a question)        →
check     why nothing is stored (a question) →
what `overview` asks for operators (questions) →
stop      end, with grace      →

          ← reports   stored reports, and whose they are
admin, console, vitals, check, join, amend      questions of the worker, see `Conversations.calls`
"""

from __future__ import annotations

from typing import Final

import msgspec

from trio_relay.config import Config
from trio_relay.net.http import Request
from trio_relay.net.http_responses import Response
from trio_relay.net.listeners import Preamble
from trio_relay.net.tls import CertifiedKey
from trio_relay.net.vitals import Point
from trio_relay.net.web.place import Place
from trio_relay.nostr.event import Event
from trio_relay.policy.lists import Change
from trio_relay.policy.retention import NO_FLOORS, Floors

MIRRORING: Final = 1
"""The number of the worker that runs the mirrors: one does, and one that is started in its place does again."""


class Beginning(msgspec.Struct, array_like=True):
    """What a worker needs to serve.

    Attributes:
        config: checked; the worker reads no file.
        workers: how many there are.
        newest: the last number of an event before those that it will be told of.
        scoreboard: the descriptor of the shared memory.
        listeners: descriptors of the sockets that it accepts from.
        preambles: what connections to each begin with; empty: all with HTTP.
        certified: what it shows to those that begin with TLS.
        floors: what retention has no more room for.
    """

    config: Config
    workers: int
    newest: int
    scoreboard: int
    listeners: list[int]
    preambles: list[Preamble] = []
    certified: CertifiedKey | None = None
    floors: Floors = NO_FLOORS


class Reported(msgspec.Struct, array_like=True):
    """Stored reports, and by their ids whose they are."""

    reports: list[Event]
    origins: dict[str, str | None]


class Joining(msgspec.Struct, array_like=True):
    """A request to join or to leave, and whose it is."""

    request: Event
    origin: str | None


class RelayHealth(msgspec.Struct, array_like=True):
    """How the keeper and all workers are."""

    trouble: str
    """Why one of them cannot store events now; empty if all can."""
    degraded: str = ""
    """What is worse than it should be beside that; empty if nothing is."""


class RequestAnswer(msgspec.Struct, array_like=True):
    """The last two items of an OK."""

    accepted: bool
    reason: str


encode: Final = msgspec.msgpack.Encoder().encode
beginning_of: Final = msgspec.msgpack.Decoder(Beginning).decode
changes_of: Final = msgspec.msgpack.Decoder(list[Change]).decode
certified_of: Final = msgspec.msgpack.Decoder(CertifiedKey).decode
config_of: Final = msgspec.msgpack.Decoder(Config).decode
reported_of: Final = msgspec.msgpack.Decoder(Reported).decode
request_of: Final = msgspec.msgpack.Decoder(Request).decode
place_of: Final = msgspec.msgpack.Decoder(Place).decode
points_of: Final = msgspec.msgpack.Decoder(list[Point]).decode
response_of: Final = msgspec.msgpack.Decoder(Response).decode
floors_of: Final = msgspec.msgpack.Decoder(Floors).decode
health_of: Final = msgspec.msgpack.Decoder(RelayHealth).decode
joining_of: Final = msgspec.msgpack.Decoder(Joining).decode
verdict_of: Final = msgspec.msgpack.Decoder(RequestAnswer).decode
