"""All groups together: one that hangs or fails holds up no other, and what it has found is told."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_relay.config import load_whole
from trio_relay.doctor import clock, examination, findings, patient, software, telling

pytestmark = pytest.mark.usefixtures("inline_threads")
DEFAULTS = load_whole(None, {})


async def _hang(_patient: patient.Patient, chart: findings.Chart) -> None:
    chart.add([software.INTERPRETED.found("The code is interpreted.")])
    await trio.sleep_forever()


async def _fail(_patient: patient.Patient, _chart: findings.Chart) -> None:
    raise PermissionError("no\x1b[31m rights")


async def _see(_patient: patient.Patient, chart: findings.Chart) -> None:
    chart.facts.append("all is well")


async def test_a_group_that_hangs_or_fails_is_told(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    looks = {"one": _hang, "two": _fail, "three": _see}
    monkeypatch.setattr(examination, "GROUPS", {name: examination.Group(look, ()) for name, look in looks.items()})
    began = trio.current_time()
    charts = await examination.examine(DEFAULTS, None)
    assert trio.current_time() - began <= examination.SECONDS  # and a second or two before that, see `patient.meet`
    assert [[one.code for one in chart.findings] for chart in charts] == [
        ["interpreted", "too-long"],
        ["look-failed"],
        [],
    ]
    assert list(telling.lines(charts)) == [
        "one          WARNING",
        "  warning: too-long",
        "    one: more than 7.5 seconds.",
        "    -> Look again when the machine has less to do. A disk or a server of names",
        "       that hangs shows so, too.",
        "  note: interpreted",
        "    The code is interpreted.",
        "    -> Install a wheel, or a C compiler and Python's headers, then again; in a",
        "       checkout: make compiled.",
        "two          WARNING",
        "  warning: look-failed",
        r"    two: PermissionError: no\x1b[31m rights.",
        "    -> Run doctor as the relay's user, or as root; if it still fails, report it",
        "       as a fault of this program.",
        "three        ok       all is well",
        "",
        "Something is wrong: 2 warnings, 1 note.",
    ]


async def test_what_fails_side_by_side_is_told_by_what_it_is(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, tmp_path: Path
) -> None:
    async def look(patient: patient.Patient, chart: findings.Chart) -> None:
        async with trio.open_nursery() as looking:
            looking.start_soon(_fail, patient, chart)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(examination, "GROUPS", {"one": examination.Group(look, ())})
    [chart] = await examination.examine(DEFAULTS, None)
    assert [one.what for one in chart.findings] == ["one: PermissionError: no\x1b[31m rights."]


def test_where_nothing_is_wrong_there_may_be_notes() -> None:
    chart = findings.Chart("software")
    assert list(telling.lines([chart])) == ["", "Nothing is wrong."]
    chart.add([software.INTERPRETED.found("The code is interpreted.")])
    assert list(telling.lines([chart]))[-1] == "Nothing is wrong: 1 note."
    assert telling.is_well([chart])


class _Kernel:
    """Says what it is told of its clock; None: nothing."""

    def __init__(self, status: int | None) -> None:
        self._status = status

    def adjtimex(self, buffer: Any) -> int:
        if self._status is None:
            return -1
        struct.pack_into("@Illlli", buffer, 0, 0, 0, 0, 0, 0, self._status)
        return 0


@pytest.mark.parametrize(
    ("kernel", "facts", "codes"),
    [
        (_Kernel(0x2001), ["kept right"], []),
        (_Kernel(0x40), [], ["clock-free"]),
        (_Kernel(None), ["the kernel does not tell whether it is kept right"], []),
        (object(), ["the kernel does not tell whether it is kept right"], []),
    ],
    ids=["kept right", "free", "it does not say", "it cannot be asked"],
)
async def test_the_clock_as_the_kernel_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kernel: object, facts: list[str], codes: list[str]
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _name: kernel)
    chart = findings.Chart("clock")
    await clock.look_at_clock(await patient.meet(DEFAULTS, None, 0.0), chart)
    assert (chart.facts, [one.code for one in chart.findings]) == (facts, codes)
