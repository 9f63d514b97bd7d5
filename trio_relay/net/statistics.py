"""What the server tells of its clients when asked: frozen records, which travel between processes.

It stays interpreted, so that msgspec sees what its tables hold.
"""

from __future__ import annotations

from dataclasses import dataclass

from trio_relay.frozen import Frozen
from trio_relay.pipeline.statistics import Distribution


@dataclass(frozen=True, slots=True)
class RefusalStatistics:
    """Refusals so far: messages by verb and reason, events by kind and reason, requests by HTTP status."""

    messages: dict[tuple[str, str], int]
    events: dict[tuple[str, str], int]
    requests: dict[str, int]


class RefusalRecord(Frozen, frozen=True):
    """One refusal: when (seconds since 1970), where the client is, the verb of its message or `HTTP` and the status,
    why, in our own words; and of an event its id, key and kind.
    """

    at: int
    address: str
    verb: str
    reason: str
    id: str | None = None
    key: str | None = None
    kind: int | None = None


@dataclass(frozen=True, slots=True)
class NetStatistics:
    """Connections: open now, accepted so far, refused for their number, how they ended; then what clients were refused.

    `accepts_failed` is how often there was no room for a connection, by the name of the system's error; `held_bytes`
    what all clients make the relay hold now, by direction; `rate_limited` what was too much, by the limit, and `barred`
    how many addresses are barred now. `tls_failures` are handshakes that failed, by reason, and `certificate_start`
    and `certificate_expiry` are from when to when the certificate holds, in seconds since 1970; None where no TLS is
    spoken. `loop_lag` is how late the loop of the process was, in seconds; None where nobody looks.
    """

    connections: int
    accepted: int
    refused: int
    close_reasons: dict[str, int]
    refusals: RefusalStatistics
    accepts_failed: dict[str, int]
    held_bytes: dict[str, int]
    rate_limited: dict[str, int]
    barred: int
    tls_failures: dict[str, int] | None = None
    certificate_start: float | None = None
    certificate_expiry: float | None = None
    loop_lag: Distribution | None = None
