"""`python -m perf.soak`: a month of weather in an hour; `--help` tells how."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from pathlib import Path

import click
import msgspec

from perf.generator import open_many_files
from perf.plan import Failed
from perf.soak.plan import WEATHER
from perf.soak.report import lines
from perf.soak.run import Interrupted, Options, soak


@click.command()
@click.argument("minutes", default=10.0, type=click.FloatRange(0.1, 120))
@click.option("--seed", type=int, help="The same seed gives the same plan; by default one is drawn, and told.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 16), help="Of the relay.")
@click.option("--plugin", is_flag=True, help="A write policy plugin is asked about each event, and lets it in.")
@click.option("--opensearch", is_flag=True, help="OpenSearch is the store, a node of which is started; else SQLite is.")
@click.option(
    "--redis",
    is_flag=True,
    help="Two relays on one node of OpenSearch, and a bus between them, over a redis-server that is started.",
)
@click.option(
    "--weather", "weathers", multiple=True, type=click.Choice(list(WEATHER)), help="Only this; may be given again."
)
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path),
    help="An empty folder for the ledger, the log and the store; by default a temporary one, kept if a run fails.",
)  # fmt: skip
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all numbers into this file.")
def main(
    minutes: float,
    seed: int | None,
    workers: int,
    *,
    plugin: bool,
    opensearch: bool,
    redis: bool,
    weathers: tuple[str, ...],
    keep: Path | None,
    json_file: Path | None,
) -> None:
    """Run a relay for some MINUTES in all kinds of weather, and hold it to what it has acknowledged.

    The exit code is 1 if it did anything that it must not.
    """
    open_many_files()
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    click.echo(f"seed {seed}")
    options = Options(
        seed=seed,
        seconds=minutes * 60,
        workers=workers,
        has_plugin=plugin,
        has_opensearch=opensearch or redis,
        has_redis=redis,
        weathers=weathers,
    )
    folder = Path(tempfile.mkdtemp(prefix="soak-")) if keep is None else keep
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty")
    outcome = soak(options, folder, click.echo)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(outcome), indent=1) + b"\n")
    click.echo("\n".join(lines(outcome)))
    if outcome.faults:
        click.echo(f"the ledger, the log and the store are in {folder}")
        raise SystemExit(1)
    if keep is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    try:
        main(prog_name="python -m perf.soak")
    except Failed as failure:
        raise SystemExit(str(failure)) from None
    except Interrupted:
        raise SystemExit(130) from None
