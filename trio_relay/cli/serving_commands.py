"""The command itself: it serves until Ctrl-C; and the check of a configuration."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import click
import trio

from trio_relay import app
from trio_relay.cli.backup_commands import backups_of
from trio_relay.cli.leaving import CONFIG_ERROR, CommandGroup, exit_codes, leave
from trio_relay.cli.loading import config_option, group_config_option, loaded, loaded_whole
from trio_relay.config import Config, ConfigRead
from trio_relay.main_process import Origins
from trio_relay.net.web.assembly import pages_of
from trio_relay.process import ending_as_by_ctrl_c, outlive_hangups
from trio_relay.reloading import Reloading
from trio_relay.service import Service
from trio_relay.systemd import take_notifier, take_sockets
from trio_relay.tls_files import tls_files
from trio_relay.version import CODE, __version__


@click.group(cls=CommandGroup, invoke_without_command=True)
@group_config_option
@click.version_option(f"{__version__} ({CODE})", prog_name="trio-relay")
@click.pass_context
def main(context: click.Context, config_path: Path | None) -> None:
    """A Nostr relay. Without a command it serves until Ctrl-C."""
    context.obj = config_path
    if context.invoked_subcommand is None:
        serve(config_path)
    elif context.invoked_subcommand != serve_command.name:
        context.with_resource(ending_as_by_ctrl_c())


@main.command("serve")
@config_option
@click.pass_obj
def serve_command(group_path: Path | None, config_path: Path | None) -> None:
    """Run the relay, as without a command."""
    serve(config_path or group_path)


@main.command("check-config")
@config_option
@click.pass_obj
def check_config(group_path: Path | None, config_path: Path | None) -> None:
    """Read and check the configuration, and do nothing else."""
    path = config_path or group_path
    with exit_codes():
        config = loaded(path, with_hooks=True)
        tls_files(config.net)
        if config.web.enabled:
            pages_of(config.web).check()
    click.echo(f"{path or 'the default configuration'} is good")


def serve(path: Path | None) -> None:
    service = _service()  # before any code of others runs, such as hooks
    whole = loaded_whole(path, with_hooks=True)
    config = whole.config
    with exit_codes():
        trio.run(_main_of(config), config, partial(click.echo, nl=True), _origins(path, whole, service))
    click.echo("stopped")


def _service() -> Service:
    try:
        return Service(take_sockets(os.environ, os.getpid()), take_notifier(os.environ, os.getpid()))
    except ValueError as error:
        leave(CONFIG_ERROR, str(error))


def _origins(path: Path | None, whole: ConfigRead, service: Service) -> Origins:
    config = whole.config
    # A service is told by SIGHUP that its file has changed; to a relay on a terminal it says that this was closed.
    is_service = path is not None and not (sys.stdin is not None and sys.stdin.isatty())
    hears_hangups = is_service or bool(config.mirror) or bool(config.net.tls_certificate)
    if hears_hangups:
        outlive_hangups()
    reloading = Reloading(path, dict(os.environ), whole, hears_hangups=hears_hangups)
    reloading.telling = service.notifier.reloading
    return Origins(reloading, backups_of(config), service)


def _main_of(config: Config) -> Callable[..., Awaitable[None]]:
    """Return what serves; what several processes need is loaded only for them."""
    if config.pipeline.workers == 1:
        return app.main
    from trio_relay.workers.serving import main
    from trio_relay.workers.sharing import workers_of

    workers = workers_of(config)
    return app.main if workers == 1 else partial(main, workers=workers)
