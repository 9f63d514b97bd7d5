"""The configuration as commands read it: what is wrong with it ends them."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Final

import click
import structlog

from trio_relay import logs
from trio_relay.cli.leaving import CONFIG_ERROR, leave
from trio_relay.config import Config, ConfigRead, exposed, load_whole
from trio_relay.config_checks import ConfigError
from trio_relay.store.sqlite.lock import why_not_there

log = structlog.get_logger("trio_relay.cli")

_config_option: Final = partial(
    click.option,
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration, a TOML file. Without it every setting has its default.",
)
config_option: Final = _config_option()
group_config_option: Final = _config_option(envvar="TRIO_RELAY_CONFIG", show_envvar=True)
"""The same before the name of a command, whose own comes first; the variable comes last."""


def loaded(path: Path | None, *, with_hooks: bool = False) -> Config:
    """Read and check the configuration, and have the log go by it."""
    return loaded_whole(path, with_hooks=with_hooks).config


def loaded_whole(path: Path | None, *, with_hooks: bool = False) -> ConfigRead:
    """The same as `loaded`, with all that one reading gives."""
    try:
        whole = load_whole(path, os.environ, with_hooks=with_hooks)
        open_secrets = [] if path is None else exposed(path)
    except ConfigError as error:
        leave(CONFIG_ERROR, str(error))
    logs.configure(whole.config.log)
    if open_secrets:
        log.warning("everybody on this machine may read the configuration", path=str(path), secrets=open_secrets)
    return whole


def loaded_lasting(path: Path | None) -> Config:
    """The same as `loaded`, for commands that need a store that lasts."""
    config = loaded(path)
    if config.store.backend == "memory":
        leave(CONFIG_ERROR, "store.backend: a store in memory has nothing to export and keeps no import")
    return config


def check_writable(config: Config, *files: Path | None) -> None:
    """Refuse to write to files that belong to the store, before anything is done.

    Args:
        config: names the store.
        files: that are to be written, as they were named; None and `-` are none.

    Raises:
        click.UsageError: one does, by whatever name.
    """
    if config.store.backend != "sqlite":
        return
    for file in files:
        if file is not None and (reason := why_not_there(Path(config.store.path), file)) is not None:
            raise click.UsageError(reason)
