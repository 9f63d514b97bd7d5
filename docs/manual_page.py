"""The manual page, `man trio-relay`, made of what commands say of themselves; in the macros of man(7)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from textwrap import TextWrapper
from typing import Final

import click

from trio_relay.cli.leaving import EXITS, MEANINGS
from trio_relay.environment import PREFIX
from trio_relay.nostr.relay_info import SOFTWARE
from trio_relay.version import __version__

_NAME: Final = "trio-relay"
_ESCAPES: Final = str.maketrans({"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"})
_WRAPPED: Final = TextWrapper(width=66, break_long_words=False, break_on_hyphens=False)
_AS_IT_IS: Final = "\b"
"""By which click knows a paragraph whose lines stay as they are."""
_ENVIRONMENT: Final = {
    f"{PREFIX}TABLE__KEY": "Overrides a key of the configuration, such as"
    f" {PREFIX}LIMITS__MAX_FILTERS=10; written as in TOML, texts without quotes.",
    f"{PREFIX}PEER_KEY": "The secret key that `sync` shows to a relay which asks who we are.",
    "NO_COLOR": "If it is set, nothing is shown in colour.",
}
_FILES: Final = {
    "relay.toml": "The configuration as `init` writes it, in the folder where it is run.",
    "data/relay.db": "The store, seen from where the relay is started, unless store.path names another file; beside"
    " it lie its lock, its log, and the socket by which commands reach the running relay.",
}


def manual_page(command: click.Group, date: str) -> str:
    """The page of a program and all of its commands.

    Args:
        command: the program.
        date: of this version, YYYY-MM-DD.
    """
    with click.Context(command, info_name=_NAME) as context:
        lines = [
            f'.TH {_escaped(_NAME.upper())} 1 {date} "{_NAME} {__version__}"',
            ".nh",
            ".ad l",
            ".SH NAME",
            rf"{_escaped(_NAME)} \- a Nostr relay",
            ".SH SYNOPSIS",
            f".B {_escaped(_NAME)}",
            _escaped(" ".join(command.collect_usage_pieces(context))),
            ".SH DESCRIPTION",
            *_paragraphs(command.help),
            ".PP",
            *_paragraphs(
                "Without a configuration every setting has its default; `trio-relay init` writes a first one."
            ),
            ".SH OPTIONS",
            *_options(command, context),
            ".SH COMMANDS",
        ]
        for name in command.list_commands(context):
            lines += _command(command.commands[name], context)
    lines += [".SH EXIT STATUS", *_described({str(code): f"{told}." for code, told in MEANINGS.items()})]
    lines += [".SH ENVIRONMENT", *_described(_ENVIRONMENT), ".SH FILES", *_described(_FILES)]
    lines += [".SH SEE ALSO", *_paragraphs(f"{SOFTWARE}: every setting, and guides for operators.")]
    return "\n".join(lines) + "\n"


def _command(command: click.Command, parent: click.Context) -> Iterator[str]:
    with click.Context(command, parent, info_name=command.name) as context:
        yield f".SS {_escaped(' '.join([str(command.name), *command.collect_usage_pieces(context)]))}"
        yield from _paragraphs(command.help)
        yield from _options(command, context)
        if failed := EXITS[str(command.name)].failed:
            yield from [".PP", _text(f"Exit code 1: {failed}.")]


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    options = [param for param in command.params if isinstance(param, click.Option)]
    records = [option.get_help_record(context) for option in options]
    return _described({record[0]: record[1] for record in records if record is not None})


def _described(facts: dict[str, str]) -> Iterator[str]:
    """A list of names, each with what it is."""
    for name, what in facts.items():
        yield from [".TP", f".B {_escaped(name)}", _text(what)]


def _paragraphs(text: str | None) -> Iterator[str]:
    parts = cleandoc(text or "").split("\n\n")
    for number, part in enumerate(parts):
        if number:
            yield ".PP"
        if part.startswith(_AS_IT_IS):
            yield from [".nf", *map(_escaped, part.splitlines()[1:]), ".fi"]
        else:
            yield _text(" ".join(part.split()))


def _text(text: str) -> str:
    """Prose in lines: what stands between backquotes in it is what one types."""
    parts = re.split("`([^`]+)`", text)
    shown = "".join(rf"\fB{_escaped(part)}\fR" if number % 2 else _escaped(part) for number, part in enumerate(parts))
    lines = _WRAPPED.wrap(shown)
    return "\n".join(rf"\&{line}" if line.startswith(".") else line for line in lines)


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)
