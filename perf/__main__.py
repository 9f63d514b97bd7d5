"""`python -m perf`: measure the relay and its peers; `--help` tells how."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import click

from perf import node
from perf import results as kept
from perf.cluster import Cluster
from perf.comparing import compare
from perf.filling import Stores
from perf.generator import open_many_files
from perf.report import summary, table
from perf.results import Results
from perf.scenarios import SCENARIOS, Scenario
from perf.servers import INTERPRETED, OURS, PEERS, Command, peers, relay_of
from perf.versions import versions


@click.command()
@click.argument(
    "names",
    nargs=-1,
    metavar=(
        "[SCENARIO]... | list | micro [NAME]... | stalls [NAME]... | hostile [NAME]... | neighbours [KIND]... | siege"
        " | scaling [PART]... | promises | backup [EVENTS] | restarts [COUNT]"
    ),
)  # fmt: skip
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Of each scenario.")
@click.option(
    "--peers", "file", default=PEERS, show_default=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML that describes the servers to compare with.",
)  # fmt: skip
@click.option("--no-peers", is_flag=True, help="The relay alone.")
@click.option(
    "--scale", default=1.0, show_default=True, type=click.FloatRange(0, 1, min_open=True),
    help="Shrink all counts, for a trial.",
)  # fmt: skip
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all numbers into this file.")
@click.option(
    "--relay", "python", default=sys.executable, type=click.Path(exists=True, dir_okay=False),
    help="For stalls, hostile, neighbours, siege: the Python of another checkout, whose relay is measured instead.",
)  # fmt: skip
@click.option(
    "--hostile", default=20, show_default=True, type=click.IntRange(1, 500), help="For neighbours: hostile clients."
)
@click.option("--interpreted", is_flag=True, help="The sources as they are take turns too, as `interpreted`.")
@click.option("--workers", type=click.IntRange(2), help="The relay in so many workers takes turns too.")
@click.option("--browsers", type=click.IntRange(1), help="The relay with its console open in so many takes turns too.")
@click.option(
    "--retention", is_flag=True, help="The relay takes turns too while it makes one round of retention after the other."
)
@click.option(
    "--beside", type=click.Path(exists=True, dir_okay=False),
    help="The Python of another checkout, whose relay takes turns with this one's, as `beside`.",
)  # fmt: skip
@click.option(
    "--before", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="For stalls: what --json wrote for another state, to be set beside this one.",
)  # fmt: skip
@click.option("--picture", type=click.Path(path_type=Path), help="Draw the comparison: .svg, .png or .pdf.")
def main(
    names: tuple[str, ...],
    rounds: int,
    file: Path,
    *,
    no_peers: bool,
    scale: float,
    json_file: Path | None,
    python: str,
    hostile: int,
    interpreted: bool,
    workers: int | None,
    browsers: int | None,
    retention: bool,
    beside: str | None,
    before: Path | None,
    picture: Path | None,
) -> None:
    """Measure the relay and its peers; without names, in all scenarios.

    stalls: how long each kind of message holds the relay's loop, and what it costs; names choose the cases in which
    they occur. hostile: what 200 hostile clients do to memory and to honest clients; names choose among the attacks.
    neighbours: how long honest clients wait beside hostile ones of each of eleven kinds; pushed: churn beside much that
    is unanswered; memory: what all of them leave behind. siege: what ten thousand connections that say next to nothing
    do to honest clients, and what they leave behind.
    scaling: latency and load drawn against machines, from measured costs; names choose its parts. promises: what the
    original relay promised, of this one, as docs/comparison.md has it.
    backup: what ingest keeps of its rate while backups of a store of so many events are made, and how fast these are.
    restarts: how long a new client waits while the relay is restarted so often behind a socket that stays open.
    """
    if names[:1] == ("list",):
        click.echo("\n".join(f"{one.name:20} {one.title}" for one in SCENARIOS.values()))
        return
    if names[:1] == ("micro",):
        from perf import micro

        micro.main(names[1:])
        return
    if names[:1] == ("scaling",):
        from perf.scaling import run as scaling

        scaling.main(names[1:])
        return
    if names[:1] == ("promises",):
        from perf import promises

        promises.main(scale)
        return
    if names[:1] == ("backup",):
        from perf import backing_up

        backing_up.main(names[1:], rounds, click.echo)
        return
    if names[:1] == ("restarts",):
        from perf.restarts import run as restarts

        restarts.main(names[1:], workers, click.echo)
        return
    if names[:1] in (("stalls",), ("hostile",), ("neighbours",), ("siege",)):
        _withstand(names, python, json_file, before, hostile)
        return
    if unknown := [name for name in names if name not in SCENARIOS]:
        raise click.UsageError(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    if picture is not None:
        from perf.picture import draw  # now, rather than after an hour, it is told if matplotlib is missing
    scenarios = [SCENARIOS[name].scaled(scale) for name in names or SCENARIOS]
    others = [INTERPRETED] if interpreted else []
    others += [] if workers is None else [relay_of(sys.executable, f"{workers} workers", None, workers)]
    watched = [] if browsers is None else [relay_of(sys.executable, f"{browsers} browsers", None, browsers=browsers)]
    others += watched
    others += [relay_of(sys.executable, "retention", None, forgets=True)] if retention else []
    others += [] if beside is None else [relay_of(beside, "beside")]
    others += [] if no_peers else peers(file)
    found = measure_all(scenarios, _servers(others), rounds, scale, json_file)
    click.echo(summary(found))
    if picture is not None:
        draw(found, picture)


def _withstand(names: tuple[str, ...], python: str, json_file: Path | None, before: Path | None, most: int) -> None:
    """Measure what hostile clients can do; where they come in any number, so many of them."""
    from perf import siege
    from perf.neighbours import run as neighbours
    from perf.stalls import hostile, run

    open_many_files()
    for name, version in versions([], python).items():
        click.echo(f"{name} {version}")
    if names[0] == "stalls":
        run.main(names[1:], python, json_file, before)
    elif names[0] == "siege":
        siege.main(python, json_file)
    elif names[0] == "hostile":
        hostile.main(names[1:], python, json_file)
    else:
        neighbours.main(names[1:], python, json_file, most)


def _servers(wanted: Sequence[Command]) -> list[Command]:
    """Ours, and those of the peers that are here."""
    for peer in wanted:
        if not peer.is_here:
            click.echo(f"{peer.name}: skipped, it is not installed")
    return [OURS, *(peer for peer in wanted if peer.is_here)]


def measure_all(
    scenarios: Sequence[Scenario], servers: Sequence[Command], rounds: int, scale: float, json_file: Path | None
) -> Results:
    """Measure, telling the numbers as they come; the file is written after each scenario."""
    open_many_files()
    found = Results(versions=versions(servers), scale=scale, rounds=rounds, runs=[])
    click.echo("\n".join(f"{name} {version}" for name, version in found.versions.items()))
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="perf-")))
        stores = Stores(folder, click.echo, lambda: _cluster(folder / "opensearch", ends))
        for scenario in scenarios:
            click.echo(f"\n{scenario.name}: {scenario.title}")
            others = {run.scenario: row.v for run in found.runs for row in run.figures if row.server == OURS.name}
            run = compare(scenario, servers, rounds, stores, others, click.echo)
            found.runs.append(run)
            click.echo(table(run))
            if json_file is not None:
                kept.save(found, json_file)
    return found


def _cluster(folder: Path, ends: ExitStack) -> Cluster:
    """A node for the rest of the run."""
    click.echo(f"OpenSearch {node.OLD}, 1 GB of heap")
    one = ends.enter_context(node.running(node.OLD, folder, heap="1g", quick=False))
    return ends.enter_context(closing(Cluster(one.url, one.pid)))


if __name__ == "__main__":
    # A relay that is installed has its modules as bytecode. With this, each start would compile them all anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    main(prog_name="python -m perf")
