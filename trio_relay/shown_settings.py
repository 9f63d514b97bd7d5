"""The configuration as operators may see it: each setting with where it comes from, and nothing that is secret."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from trio_relay.config import SECRETS, Config, ConfigRead, Setting, settings
from trio_relay.live_settings import FIXED
from trio_relay.net.admin.sight import SettingRecord, shown

HIDDEN: Final = "(secret)"
"""What is shown in the stead of a secret."""
_SECRET: Final = {f"{section}.{key}" for section, key in SECRETS} - {"bus.url"} | {"plugins.hooks_options"}
"""What is hidden whole: what an operator tells his own hooks may be anything."""
_PASSWORD: Final = re.compile(r"(?<=://).*@", re.DOTALL)
"""What stands before the last @ of a URL: nobody knows where a password ends that is not written as it should be."""


def shown_settings(
    path: Path | None, environment: Mapping[str, str], whole: ConfigRead, running: Config | None = None
) -> Callable[[], tuple[SettingRecord, ...]]:
    """Return what tells all settings, in the order of the sample file; what takes long waits until somebody asks.

    Args:
        path: the file that the configuration was read from, if one was.
        environment: its variables.
        whole: what was read from both.
        running: what the relay goes by, if that is not all of it.
    """
    variables = frozenset(environment)

    @cache
    def records() -> tuple[SettingRecord, ...]:
        return tuple(_record(setting, path, variables, whole, running or whole.config) for setting in settings())

    return records


def _record(
    setting: Setting, path: Path | None, variables: AbstractSet[str], whole: ConfigRead, running: Config
) -> SettingRecord:
    name = f"{setting.section}.{setting.key}"
    value, more = shown(_value(setting, running))
    waiting, _ = shown(_value(setting, whole.config))
    origin, file = "default", ""
    if setting.environment in variables:
        origin = "variable"
    elif name in whole.written:
        origin, file = "file", str(path)
    named = whole.files.get(setting.key, []) if setting.section == "policy" else []
    return SettingRecord(
        setting.section,
        setting.key,
        masked(name, value),
        0 if name in _SECRET else more,
        None if setting.default is msgspec.NODEFAULT else msgspec.to_builtins(setting.default),
        origin,
        file,
        tuple(map(str, named)),
        setting.environment,
        setting.description,
        setting.unit,
        setting.bounds,
        name not in FIXED,
        None if _value(setting, running) == _value(setting, whole.config) else masked(name, waiting),
    )


def _value(setting: Setting, config: Config) -> object:
    """Of a key whose table may come several times, its value in each of them."""
    options = getattr(config, setting.section)
    return [getattr(one, setting.key) for one in options] if setting.is_listed else getattr(options, setting.key)


def masked(name: str, value: Any) -> object:
    """Return a value of a setting without what is secret in it.

    Args:
        name: of the setting, with its table.
        value: as JSON has it.
    """
    if name in _SECRET:
        return HIDDEN if value else value
    if isinstance(value, str):
        return _PASSWORD.sub(f"{HIDDEN}@", value)
    if isinstance(value, list | tuple):
        return [masked(name, item) for item in value]
    if isinstance(value, dict):
        return {masked(name, key): masked(name, item) for key, item in value.items()}
    return value
