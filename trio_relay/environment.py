"""Settings in variables of the environment: the type of a setting decides how the text of its variable is read.

Where a text is due, any text is one: a password of digits stays a text, and so do `true`, `1979-05-27`, `[a]` and
nothing at all. Where something else is due, the text is read as TOML; what is none is left as it is, for the check of
types to refuse.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import inspect

PREFIX: Final = "TRIO_RELAY_"
_TRUTHS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_QUOTES: Final = ('"', "'")
_OF_A_SERVICE: Final = re.compile(r"\w+_(service_(host|port(_\w+)?)|port_\d+_[a-z]+(_(proto|port|addr))?)")


class VariableError(ValueError):
    """A variable that cannot be read; the message names it."""


def override(source: dict[str, Any], environment: Mapping[str, str], config: type[msgspec.Struct]) -> dict[str, str]:
    """Put what variables say over what a file says; returns which variable has put another value over one of a file.

    Args:
        source: tables with their keys, as a file has them.
        environment: variables such as `TRIO_RELAY_LIMITS__MAX_FILTERS`; others are passed over.
        config: has a field for each table, whose type has one for each key.

    Returns:
        Variables by the names of the settings, or of all tables of a name.

    Raises:
        VariableError: a name is not well formed, or a text is empty where none is due.
    """
    overridden: dict[str, str] = {}
    types = _types(config)
    listed = {field.encode_name for field in _fields(inspect.type_info(config)) if _is_list(field.type)}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX):
            continue
        section, separator, key = variable.removeprefix(PREFIX).lower().partition("__")
        if section in listed:
            tables = _tables(variable, text, is_whole=not separator)
            if source.get(section, tables) != tables:
                overridden[section] = variable
            source[section] = tables
            continue
        if not separator and _is_of_a_service(section, text):
            continue
        if not separator and section.partition("_")[0] in config.__struct_fields__:
            raise VariableError(f"{variable}: two underscores must stand between table and key")
        table = source.setdefault(section, {}) if separator else None
        if isinstance(table, dict):
            value = _read(variable, text, types.get((section, key)))
            if table.get(key, value) != value:
                overridden[f"{section}.{key}"] = variable
            table[key] = value
    return overridden


def _is_of_a_service(name: str, text: str) -> bool:
    """True of what Kubernetes tells each container of its services: of one called trio-relay-metrics, and others."""
    return _OF_A_SERVICE.fullmatch(name) is not None or (name.endswith("_port") and "://" in text)


@cache  # 14 ms, and the variables are read twice at a start
def _types(config: type[msgspec.Struct]) -> Mapping[tuple[str, str], inspect.Type]:
    return {
        (section.encode_name, field.encode_name): _bare(field.type)
        for section in _fields(inspect.type_info(config))
        for field in _fields(section.type)
    }


def _is_list(found: inspect.Type) -> bool:
    return isinstance(_bare(found), inspect.VarTupleType)


def _tables(variable: str, text: str, *, is_whole: bool) -> object:
    """Return what a variable says in the stead of all tables of its name."""
    tables = _as_toml(text)
    if not (is_whole and isinstance(tables, list)):
        name = variable.partition("__")[0]
        raise VariableError(f"{variable}: is for a list of tables, as in {name}='[{{key = \"value\"}}]'")
    return tables


def _fields(table: inspect.Type) -> tuple[inspect.Field, ...]:
    bare = _bare(table)
    return bare.fields if isinstance(bare, inspect.StructType) else ()


def _bare(found: inspect.Type) -> inspect.Type:
    while isinstance(found, inspect.Metadata):
        found = found.type
    return found


def _read(variable: str, text: str, due: inspect.Type | None) -> object:
    """Return what a text says where a value of this type is due; None: there is no such setting."""
    if due is None:
        return text
    if isinstance(due, (inspect.StrType, inspect.LiteralType)):
        return _unquoted(text)
    if isinstance(due, inspect.UnionType):  # of a text and a list
        return _as_toml(text) if text.lstrip().startswith("[") else _unquoted(text)
    if not text.strip():
        raise VariableError(f"{variable}: is empty; unset it, or give it a value")
    if isinstance(due, inspect.BoolType):
        return _TRUTHS.get(text.strip().lower(), text)
    return _as_toml(text)


def _unquoted(text: str) -> str:
    """Return a text without the quotes of TOML, if it has any."""
    if text[:1] in _QUOTES and text[-1:] == text[:1]:
        value = _as_toml(text)
        return value if isinstance(value, str) else text
    return text


def _as_toml(text: str) -> object:
    """Return the one value that a text is in TOML, or the text itself."""
    try:
        match tomllib.loads(f"value = {text}"):
            case {"value": value, **others} if not others:
                return value
    except (ValueError, RecursionError):  # no TOML, more digits than Python reads, or too deep
        pass
    return text
