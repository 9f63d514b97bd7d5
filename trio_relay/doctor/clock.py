"""The machine's clock: events are refused by their times, so that a clock that is wrong refuses right ones."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Final

import trio

from trio_relay.doctor.amounts import lasting
from trio_relay.doctor.findings import Ailment, Chart, Finding, Severity
from trio_relay.doctor.patient import Patient

CLOCK_FREE: Final = Ailment(
    "clock-free",
    Severity.NOTE,
    "The kernel says that nothing keeps its clock right. Clocks of machines go wrong by a second or so a day.",
    "Install chrony or systemd-timesyncd, and look: timedatectl. In a virtual machine the host may keep it right.",
)
CLOCK_OFF: Final = Ailment(
    "clock-off",
    Severity.FAULT,
    "This machine's clock differs from that of a proxy or server that answers for relay.url. Events of people whose"
    " clocks are right may be refused as too new or too old, and certificates as not yet or no longer good.",
    "Find out which of both is wrong (date -u), and have it kept right: timedatectl set-ntp true.",
)

_UNSYNCHRONIZED: Final = 0x40
"""STA_UNSYNC (adjtimex(2))."""
_BYTES: Final = 512
"""More than a `struct timex` has anywhere."""
_TIMEX: Final = struct.Struct("@Illlli")
"""Its beginning, the last of which is the status."""
_MOST_SECONDS: Final = 60
"""Between two machines whose clocks are right; an answer may have been on its way for some of it."""


# Verdicts.


def of_status(status: int | None) -> Iterator[Finding]:
    """What the kernel says of its clock; None: it says nothing."""
    if status is not None and status & _UNSYNCHRONIZED:
        yield CLOCK_FREE.found("The kernel's clock is not synchronized.")


def of_date(header: str, now: float) -> Iterator[Finding]:
    """How this machine's clock differs from a header Date (RFC 9110, section 6.6.1); one that is none says nothing."""
    try:
        there = parsedate_to_datetime(header).timestamp()
    except (ValueError, OverflowError):
        return
    if abs(there - now) > _MOST_SECONDS:
        side = "behind" if there > now else "ahead of"
        yield CLOCK_OFF.found(f"It is {lasting(abs(there - now))} {side} the server's, which says {header}.")


# Looks.


async def look_at_clock(_patient: Patient, chart: Chart) -> None:
    """Ask the kernel; what comes by the network is looked at on the round trip."""
    await trio.lowlevel.checkpoint()
    status = _status_of_kernel()
    chart.add(of_status(status))
    if status is None:
        chart.facts.append("the kernel does not tell whether it is kept right")
    elif not status & _UNSYNCHRONIZED:
        chart.facts.append("kept right")


def _status_of_kernel() -> int | None:
    """The status of the kernel's clock (adjtimex(2), which changes nothing when asked so); None if it is not told."""
    buffer = ctypes.create_string_buffer(_BYTES)
    try:
        said = ctypes.CDLL(None).adjtimex(buffer)
    except (AttributeError, OSError):
        return None
    status: int = _TIMEX.unpack_from(buffer)[-1]
    return None if said < 0 else status
