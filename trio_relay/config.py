"""Configuration: reads TOML and environment into checked, frozen options.

The options types of the rooms are the only source (`config_tables`): their fields, defaults, bounds and descriptions
make the checks, the sample file and the documentation.
"""

from __future__ import annotations

import codecs
import difflib
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from trio_relay.config_checks import (
    ConfigError,
    check_apart,
    check_backup,
    check_bus,
    check_credentials,
    check_listen,
    check_mirrors,
    check_names,
    check_preambles,
    check_sockets,
    check_url,
    check_values,
)
from trio_relay.config_tables import LISTED, Config, Setting, StoreOptions, processes_of, settings
from trio_relay.environment import VariableError, override
from trio_relay.list_files import ListFileError, bytes_in, expand, files_of
from trio_relay.memory_budget import divided, needed_bytes
from trio_relay.net.addresses import AddressEntry, AddressList, Proxies
from trio_relay.net.listeners import split_preamble
from trio_relay.net.options import NetOptions
from trio_relay.nostr.nip19 import pubkey_of
from trio_relay.nostr.urls import is_loopback
from trio_relay.plugins.hook_modules import load_hooks, located, options_for
from trio_relay.plugins.hooks import HooksRefused
from trio_relay.plugins.options import check_options
from trio_relay.policy.options import PolicyOptions
from trio_relay.policy.rate_limits import check_rates
from trio_relay.policy.retention import LEAST_BYTES, fault_of

__all__ = ["Config", "ConfigError", "Setting", "StoreOptions", "settings"]


@dataclass(frozen=True, slots=True)
class ConfigRead:
    """All that one reading of the configuration gives.

    Attributes:
        config: checked.
        written: the names of the settings that stand in the file.
        lists: those of the table `policy` that stand in files, by key, as they name these.
        overridden: settings of which the file says something else than a variable, which counts; the variable of each.
    """

    config: Config
    written: frozenset[str]
    lists: Mapping[str, object]
    overridden: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> Mapping[str, list[Path]]:
        """Those that lists of the table `policy` stand in, by key."""
        return files_of(self.lists)


def load(path: Path | None, environment: Mapping[str, str], *, with_hooks: bool = False) -> Config:
    """Read and check the configuration; see `load_whole`."""
    return load_whole(path, environment, with_hooks=with_hooks).config


def load_whole(path: Path | None, environment: Mapping[str, str], *, with_hooks: bool = False) -> ConfigRead:
    """Read and check the configuration, each file of it once.

    Args:
        path: a TOML file; None for the defaults.
        environment: variables such as `TRIO_RELAY_LIMITS__MAX_FILTERS=10` override the file's keys.
        with_hooks: load the module that `plugins.hooks` names, too, and check all that can be told before it starts.

    Raises:
        ConfigError: what is wrong, for the operator.
    """
    source = {} if path is None else read_file(path)
    written = frozenset(_names_in(source))
    overridden = _override(source, environment)
    lists: dict[str, object] = {}
    if isinstance(policy := source.get("policy"), dict):
        lists = {key: policy[key] for key in files_of(policy)}
        _expand(policy)
    plugins = source.get("plugins")
    if isinstance(plugins, dict) and isinstance(hooks := plugins.get("hooks"), str) and hooks:
        plugins["hooks"] = located(hooks, Path() if path is None else path.parent)
    config = check(source)
    try:
        if with_hooks and config.plugins.hooks:
            options_for(load_hooks(config.plugins.hooks), config.plugins.hooks_options)
    except HooksRefused as refused:
        raise ConfigError(f"plugins.hooks: {refused}") from refused
    return ConfigRead(config, written, lists, overridden)


def read_lists(lists: Mapping[str, object]) -> PolicyOptions:
    """Read lists of the table `policy` again, and nothing else: no other file, and all other keys have their defaults.

    Args:
        lists: by key, as they name their files; see `ConfigRead`.

    Raises:
        ConfigError: what is wrong, for the operator.
    """
    policy = dict(lists)
    _expand(policy)
    return check({"policy": policy}).policy


def _expand(policy: dict[str, Any]) -> None:
    try:
        expand(policy)
    except ListFileError as error:
        raise ConfigError(str(error)) from error


def _names_in(source: Mapping[str, Any]) -> Iterator[str]:
    """The names of the settings that a decoded file has, whatever they are."""
    for section, found in source.items():
        for table in found if isinstance(found, list) else [found]:
            yield from (f"{section}.{key}" for key in (table if isinstance(table, dict) else ()))


def exposed(path: Path) -> list[str]:
    """Return the settings in a file that are secrets, if everybody on this machine may read it; raises as `load`."""
    try:
        is_open = path.stat().st_mode & stat.S_IROTH
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if not is_open:
        return []
    source = read_file(path)
    return [
        f"{section}.{key}"
        for section, key in SECRETS
        if any(_is_secret(key, table.get(key)) for table in tables_of(source, section))
    ]


SECRETS: Final = (("members", "claims"), ("opensearch", "password"), ("opensearch", "api_key"), ("bus", "url"))


def _is_secret(key: str, value: object) -> bool:
    """True if the setting says anything secret; a URL does if there is a password in it."""
    return bool(value) and (key != "url" or "@" in str(value))


def _override(source: dict[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    try:
        return override(source, environment, Config)
    except VariableError as error:
        raise ConfigError(str(error)) from error


def read_file(path: Path) -> dict[str, Any]:
    """Return a file as TOML has it; raises as `load` does."""
    try:
        data = bytes_in(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        return tomllib.loads(data.removeprefix(codecs.BOM_UTF8).decode())  # editors put it there, as in lists
    except ValueError as error:  # also of a number with more digits than Python reads
        raise ConfigError(f"{path} is not TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: lists or tables lie too deep in one another") from error


def check(source: dict[str, Any]) -> Config:
    """Turn decoded TOML into options.

    Raises:
        ConfigError: what is wrong, for the operator.
    """
    _check_keys(source)
    check_values(source)
    _spell_out_keys(source)
    try:
        config = msgspec.convert(source, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(_readable(error)) from None
    config = _with_shares(config, source)
    check_together(config)
    return config


def _with_shares(config: Config, source: Mapping[str, Mapping[str, Any]]) -> Config:
    """Give what is left out of the source its share of the memory."""
    processes = processes_of(config)
    if "total_bytes" not in source.get("memory", {}):
        config = msgspec.structs.replace(config, memory=config.memory.of(processes))
    total = config.memory.total_bytes
    if total < (least := needed_bytes(processes)):
        raise ConfigError(f"memory.total_bytes: {processes} processes need {least} at least")
    for name, number in divided(total, processes).items():
        section, _, key = name.partition(".")
        if key not in source.get(section, {}):
            options = msgspec.structs.replace(getattr(config, section), **{key: number})
            config = msgspec.structs.replace(config, **{section: options})
    return config


def is_private(config: Config) -> bool:
    """True if only this machine can reach the relay: it listens on loopback addresses alone, with no proxy in front.

    A Unix socket is for a proxy.
    """
    return not config.net.trusted_proxies and all(
        is_loopback(address.rpartition(":")[0].strip("[]")) for address in plain_addresses(config.net)
    )


def plain_addresses(options: NetOptions) -> list[str]:
    """Return the addresses to listen on without what connections to them begin with."""
    return [split_preamble(address)[1] for address in options.listen]


def _names(config: Config) -> list[str]:
    """Return the relay's URL; without one, what it can be called on this machine."""
    if config.relay.url:
        return [config.relay.url]
    return [f"{scheme}://{address}/" for address in plain_addresses(config.net) for scheme in ("ws", "wss")]


def _has_proxies(config: Config) -> bool:
    addresses = plain_addresses(config.net)
    return bool(config.net.trusted_proxies) or any(address.startswith("unix:") for address in addresses)


def _check_keys(source: dict[str, Any]) -> None:
    known = {setting.section: set[str]() for setting in settings()}
    for setting in settings():
        known[setting.section].add(setting.key)
    everything = [f"{section}.{key}" for section, keys in known.items() for key in sorted(keys)]
    for section, table in source.items():
        if section not in known:
            raise ConfigError(f"{section}: unknown table{_nearest(section, list(known))}")
        if section in LISTED and not (isinstance(table, list) and all(isinstance(one, dict) for one in table)):
            raise ConfigError(f"{section}: must be a list of tables, [[{section}]]")
        if section not in LISTED and not isinstance(table, dict):
            raise ConfigError(f"{section}: must be a table, [{section}]")
        for key in (key for one in tables_of(source, section) for key in one):
            if key not in known[section]:
                raise ConfigError(f"{section}.{key}: unknown key{_nearest(f'{section}.{key}', everything)}")


def tables_of(source: Mapping[str, Any], section: str) -> list[dict[str, Any]]:
    """Return the tables of a name in a decoded configuration; one, perhaps empty, if there can be only one."""
    found: list[dict[str, Any]] = source.get(section, []) if section in LISTED else [source.get(section, {})]
    return found


_PUBKEYS: Final = (
    ("relay", "pubkey"),
    ("policy", "admins"),
    ("policy", "allowed_pubkeys"),
    ("policy", "denied_pubkeys"),
    ("plugins", "skip_pubkeys"),
)
"""Settings that hold public keys, in any of their spellings."""


def _spell_out_keys(source: dict[str, Any]) -> None:
    """Write all public keys as hex; what is no text is left to the check of types."""
    for section, key in _PUBKEYS:
        value = source.get(section, {}).get(key)
        try:
            if isinstance(value, str) and value:
                source[section][key] = pubkey_of(value)
            elif isinstance(value, list):
                source[section][key] = [pubkey_of(item) if isinstance(item, str) else item for item in value]
        except ValueError as error:
            raise ConfigError(f"{section}.{key}: {error}") from None


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0)
    return f"; the nearest known is {close[0]}" if close else ""


def _readable(error: msgspec.ValidationError) -> str:
    """Rewrite msgspec's sentence (`Expected `int`… - at `$.limits.max_filters`) with the key in front."""
    reason, _, where = str(error).rpartition(" - at ")
    key = re.sub(r"\[[^]]*\]", "", where.strip("`").removeprefix("$."))
    hint = "; a text stands in quotes" if reason.startswith("Expected `str`, got ") else ""
    return f"{key}: {reason[:1].lower()}{reason[1:]}{hint}"


def check_together(config: Config) -> None:
    """Check what depends on more than one key.

    Raises:
        ConfigError: something does not fit; the message begins with a key of it.
    """
    if config.limits.default_limit > config.limits.max_limit:
        raise ConfigError("limits.default_limit: must not be above limits.max_limit")
    if config.net.outbox_bytes < 2 * config.limits.max_message_length:
        raise ConfigError("net.outbox_bytes: must be at least twice limits.max_message_length")
    try:
        Proxies(config.net.trusted_proxies)
    except ValueError as error:
        raise ConfigError(f"net.trusted_proxies: {error}") from None
    if config.net.address_header != NetOptions().address_header and not _has_proxies(config):
        raise ConfigError("net.address_header: needs net.trusted_proxies, or a Unix socket in net.listen")
    try:
        AddressList(map(AddressEntry, config.policy.denied_addresses))
    except ValueError as error:
        raise ConfigError(f"policy.denied_addresses: {error}") from None
    try:
        check_rates(config.rates)
    except ValueError as error:
        raise ConfigError(f"rates.{error}") from None
    try:
        AddressList(map(AddressEntry, config.rates.exempt_networks))
    except ValueError as error:
        raise ConfigError(f"rates.exempt_networks: {error}") from None
    if config.policy.trust_depth and not (config.policy.admins or config.relay.pubkey):
        raise ConfigError("policy.trust_depth: needs policy.admins or relay.pubkey, whose follows are trusted")
    if not config.relay.url and not is_private(config):
        _check_nameless(config)
    if config.relay.url:
        check_url("relay.url", config.relay.url)
    for url in config.relay.also_known_as:
        check_url("relay.also_known_as", url)
    for key in ("members_read", "claims", "receive_kinds"):
        if getattr(config.members, key) and not config.members.enabled:
            raise ConfigError(f"members.{key}: needs members.enabled")
    _check_retention(config)
    if config.pipeline.workers != 1 and config.store.backend == "memory":
        raise ConfigError("pipeline.workers: a store in memory is for one process")
    if config.pipeline.mute_unheard and (config.pipeline.workers != 1 or config.bus.url):
        raise ConfigError("pipeline.mute_unheard: no process knows who listens on another; needs pipeline.workers = 1")
    if config.store.backend == "opensearch":
        check_credentials(config.opensearch)
    check_backup(config.backup, config.store.backend)
    check_bus(config.bus, config.store.backend)
    if (fault := check_options(config.plugins)) is not None:
        raise ConfigError(f"plugins.{fault}")
    for address in config.net.listen:
        check_listen("net.listen", address)
    check_preambles(config.net)
    check_names(config.net)
    check_mirrors(config.mirror, [*_names(config), *config.relay.also_known_as], config.net.listen)
    if config.metrics.listen:
        check_listen("metrics.listen", config.metrics.listen)
        if split_preamble(config.metrics.listen)[1] != config.metrics.listen:
            raise ConfigError("metrics.listen: speaks plain HTTP alone")
    check_apart(config.net.listen, config.metrics.listen)
    store = config.store
    check_sockets(
        [*config.net.listen, config.metrics.listen],
        config.control.place(store.backend, store.path),
        Path(store.path) if store.backend == "sqlite" else None,
    )


def _check_retention(config: Config) -> None:
    """Check that each rule can govern something, and that what it names is there."""
    fault = fault_of(
        config.retention,
        has_members=config.members.enabled,
        has_trust=config.policy.trust_depth > 0,
        has_list=bool(config.policy.allowed_pubkeys or config.policy.admins or config.relay.pubkey),
    )
    if fault is not None:
        raise ConfigError(f"retention: {fault}")
    if 0 < config.store.max_bytes < LEAST_BYTES:
        raise ConfigError(f"store.max_bytes: is 0 or {LEAST_BYTES} at least")


def _check_nameless(config: Config) -> None:
    """Check that nothing needs authentication (NIP-42) where clients cannot authenticate."""
    if config.relay.also_known_as:
        raise ConfigError("relay.also_known_as: needs relay.url, the first of the relay's names")
    if config.members.enabled:
        raise ConfigError("members.enabled: needs relay.url, since joining needs authentication (NIP-42)")
    for key, value in (("auth_to_read", True), ("auth_to_write", True), ("challenge", "connect")):
        if getattr(config.policy, key) == value:
            raise ConfigError(f"policy.{key}: needs relay.url, without which no client can authenticate (NIP-42)")
