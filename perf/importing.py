"""An import of a file by the relay's command, and what it is held to: the pipeline, given the same events from memory.

The command is measured whole, as people run it: its start, the reading, and the end of the process. The pipeline is the
relay's with its own settings, in a process of its own: `python -m perf.importing` decodes the events first, and tells
what it took to admit, verify and store them.
"""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec
import trio

from perf.corpus import signed_events
from perf.plan import Counted, Failed, Plan
from perf.results import Sample
from perf.scenarios import Scenario
from perf.servers import Command, filled_in
from trio_relay import Event, RelayOptions, SqliteOptions, open_relay, open_sqlite
from trio_relay.nostr.event import encode
from trio_relay.pipeline.submission import Submission

PIPELINE: Final = Command("pipeline", f"{shlex.quote(sys.executable)} -m perf.importing {{folder}}")
"""Stands among the servers of the scenario."""
_PARCEL: Final = 100
"""Events that are published together, as one read of a busy client brings them."""
_MOST_SECONDS: Final = 1_800


def imported(scenario: Scenario, command: Command) -> Sample:
    """The sample of an import by a relay's command, or of the pipeline's.

    Raises:
        Failed: it did not store all events.
    """
    plan = scenario.plan
    command = replace(command, environment={**command.environment, **scenario.settings})
    with tempfile.TemporaryDirectory(prefix="perf-") as folder:
        environment = os.environ | filled_in(command.environment, 0, folder)
        program = shlex.split(filled_in({"": command.command}, 0, folder)[""])
        if command.name == PIPELINE.name:
            told = _finished(program, environment, msgspec.json.encode(plan))[0]
            return msgspec.json.decode(told, type=Sample)
        file = Path(folder) / "events.jsonl"
        with file.open("wb") as out:
            out.writelines(encode(event) + b"\n" for event in _events(plan))
        return _by_command([*program, "import", "--quiet", str(file)], environment, plan, command.name)


def _by_command(program: Sequence[str], environment: dict[str, str], plan: Plan, name: str) -> Sample:
    began = time.perf_counter()
    told, used = _finished(program, environment)
    seconds = time.perf_counter() - began
    if not told.startswith(f"{plan.count} events: {plan.count} stored,".encode()):
        raise Failed(f"not all was stored: {told.decode().strip()}")
    return _sample(name, plan, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss)


def _finished(
    program: Sequence[str], environment: dict[str, str], stdin: bytes = b""
) -> tuple[bytes, resource.struct_rusage]:
    """What a program says, and what it used, its peak of memory included."""
    with subprocess.Popen(program, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(stdin)
        process.stdin.close()
        told = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failed(f"it has ended with code {process.returncode}")
    return told, used


def _sample(name: str, plan: Plan, seconds: float, cpu: float, most_kilobytes: int) -> Sample:
    counted = Counted(operations=plan.count, messages=plan.count, seconds=seconds, latencies={})
    return Sample(server=name, counted=counted, cpu=cpu, rss=(most_kilobytes * 1_024,) * 2)


def _events(plan: Plan) -> Sequence[Event]:
    return signed_events(plan.corpus, plan.seed)[plan.first : plan.first + plan.count]


def main() -> None:
    """The pipeline's process: a folder as its argument, a plan on its input; tells the sample."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    sample = trio.run(_through_the_pipeline, plan, Path(sys.argv[1]) / "relay.db")
    sys.stdout.buffer.write(msgspec.json.encode(sample))


async def _through_the_pipeline(plan: Plan, path: Path) -> Sample:
    events = _events(plan)
    sizes = [len(encode(event)) for event in events]
    stored = 0

    def reply(_event: Event, accepted: bool, reason: str) -> None:
        nonlocal stored
        stored += accepted and not reason

    began, before = time.perf_counter(), _used()
    async with (
        open_sqlite(SqliteOptions(path=str(path))) as store,
        open_relay(store, RelayOptions(drain_seconds=_MOST_SECONDS)) as relay,
    ):
        for start in range(0, len(events), _PARCEL):
            parcel = range(start, min(start + _PARCEL, len(events)))
            now = trio.current_time()
            refused = [number for number in parcel if relay.admission.admit(events[number], None, sizes[number])]
            if refused:
                raise Failed("the pipeline refuses an event of the corpus")
            await relay.publish([Submission(events[number], reply, now, sizes[number]) for number in parcel])
    seconds, cpu = time.perf_counter() - began, _used() - before
    if stored != plan.count:
        raise Failed(f"the pipeline has stored {stored} of {plan.count}")
    return _sample(PIPELINE.name, plan, seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _used() -> float:
    """Seconds of CPU."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
