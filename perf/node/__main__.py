"""`python -m perf.node`: an OpenSearch to try things out with; `--help` tells how."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from perf.node import OLD, Node, prepare, running
from perf.plan import Failed

_STOPPING: Final = 30.0

_version = click.option("--version", default=OLD, show_default=True, help="Of OpenSearch.")
_port = click.option("--port", default=9200, show_default=True, help="Of its HTTP, on 127.0.0.1; 0 for a free one.")
_heap = click.option("--heap", default="512m", show_default=True, help="Of its JVM.")
_folder = click.option(
    "--folder", default=Path("data/opensearch"), show_default=True, type=click.Path(path_type=Path),
    help="Where its data are.",
)  # fmt: skip


@click.group()
def main() -> None:
    """Run an OpenSearch of one node; it has no users, and nobody but this machine can reach it."""


@main.command(name="prepare")
@_version
def prepare_command(version: str) -> None:
    """Fetch what it needs."""
    click.echo(prepare(version))


@main.command()
@_version
@_port
@_heap
@_folder
def run(version: str, port: int, heap: str, folder: Path) -> None:
    """Run it until Ctrl-C."""
    with suppress(KeyboardInterrupt), running(version, folder, port=port, heap=heap, quick=False) as node:
        click.echo(f"OpenSearch {version} at {node.url}, its data in {folder}; Ctrl-C ends it")
        signal.pause()


@main.command()
@_version
@_port
@_heap
@_folder
def start(version: str, port: int, heap: str, folder: Path) -> None:
    """Start it, and print its address when it is ready; `stop` ends it."""
    if (pid := _running(folder)) is not None:
        raise Failed(f"process {pid} has {folder}")
    node = Node(version, folder, port=port, heap=heap, quick=False, held=False)
    node.start()
    click.echo(node.url)


@main.command()
@_folder
def stop(folder: Path) -> None:
    """End the one of this folder; the data stay."""
    if (pid := _running(folder)) is None:
        raise Failed(f"nothing runs in {folder}")
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + _STOPPING
    while _running(folder) is not None:
        if time.monotonic() > end:
            raise Failed(f"process {pid} doesn't end")
        time.sleep(0.1)


def _running(folder: Path) -> int | None:
    """The process that has the folder; it is asked for its arguments, since ids are used again."""
    try:
        pid = int((folder / "pid").read_text())
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if str(folder.resolve()).encode() in arguments else None


if __name__ == "__main__":
    try:
        main(prog_name="python -m perf.node")
    except Failed as failure:
        raise SystemExit(str(failure)) from None
