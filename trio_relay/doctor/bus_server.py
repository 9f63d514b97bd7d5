"""The server of the bus, Redis or Valkey: whether it answers, and whether it drops or refuses what it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import trio

from trio_relay import bus
from trio_relay.doctor.amounts import sized
from trio_relay.doctor.findings import Ailment, Chart, Finding, Severity
from trio_relay.doctor.patient import Patient

BUS_AWAY: Final = Ailment(
    "bus-away",
    Severity.WARNING,
    "The bus does not answer. Nothing is lost: relays find what others have stored in the index, seconds later; but"
    " ephemeral events of other relays do not come.",
    "Start Redis or Valkey, or correct bus.url or bus.ca_file.",
)
BUS_EVICTS: Final = Ailment(
    "bus-evicts",
    Severity.WARNING,
    "The server removes keys when its memory is full (maxmemory-policy), and so the whole stream of the bus.",
    "CONFIG SET maxmemory-policy noeviction, and a maxmemory well above bus.max_bytes; best for the bus alone.",
)
BUS_SMALL: Final = Ailment(
    "bus-small",
    Severity.WARNING,
    "The server may use less memory (maxmemory) than the stream of the bus may take (bus.max_bytes).",
    "Raise maxmemory, or lower bus.max_bytes.",
)
BUS_REFUSES: Final = Ailment(
    "bus-refuses",
    Severity.FAULT,
    "The server could not write its last copy to the disk, and takes no writes since (stop-writes-on-bgsave-error).",
    'Make room on its disk; or have it keep nothing, which the bus has no need of: CONFIG SET save "".',
)

_SECONDS: Final = 3.0


# Verdicts.


def of_server(facts: Mapping[str, str], needed: int) -> Iterator[Finding]:
    """What is wrong with a server.

    Args:
        facts: of its INFO.
        needed: bytes that the stream may take.
    """
    most = int(facts.get("maxmemory", 0))
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy.startswith("allkeys"):  # others remove what is to expire alone, which a stream is not
        yield BUS_EVICTS.found(f"maxmemory-policy is {policy}.")
    if 0 < most < needed:
        yield BUS_SMALL.found(f"maxmemory is {sized(most)}, and bus.max_bytes {sized(needed)}.")
    if facts.get("rdb_last_bgsave_status", "ok") != "ok":
        yield BUS_REFUSES.found("Its last copy to the disk has failed.")


# Looks.


async def look_at_bus(patient: Patient, chart: Chart) -> None:
    """Ask the server, if there is a bus."""
    options = patient.config.bus
    if not options.url:
        await trio.lowlevel.checkpoint()
        return
    try:
        with trio.fail_after(_SECONDS):
            facts = await bus.facts_of_server(options)
    except (bus.StreamAway, bus.BusRefused) as away:
        chart.add([BUS_AWAY.found(f"{away}.")])
    except trio.TooSlowError:
        chart.add([BUS_AWAY.found(f"No answer within {_SECONDS:g} seconds.")])
    else:
        chart.facts.append(f"Redis {facts.get('redis_version', 'of an unknown version')}")
        chart.add(of_server(facts, options.max_bytes))
