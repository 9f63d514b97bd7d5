"""Settings of the table `plugins`: which programs and hooks are asked, about what, and what holds when they fail."""

from __future__ import annotations

import shlex
from ipaddress import ip_network
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

Command: TypeAlias = str | tuple[str, ...]


class PluginOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Programs and hooks that judge events and requests (docs/plugins.md)."""

    write: Annotated[
        Command,
        Meta(
            description=(
                "Program that is asked about each new event, a write policy plugin of strfry's protocol: a command"
                " line, or a list of its words; empty: none."
            )
        ),
    ] = ""
    read: Annotated[
        Command,
        Meta(description="Program that is asked before a REQ, a COUNT or a sync is answered; empty: none."),
    ] = ""
    hooks: Annotated[
        str,
        Meta(
            description=(
                "Python module whose functions are asked, before the programs: its name, looked for beside this file"
                " too, or a path; empty: none."
            )
        ),
    ] = ""
    hooks_options: Annotated[
        dict[str, Any], Meta(description="What the module of hooks is given when it starts; a table.")
    ] = {}
    processes: Annotated[
        int,
        Meta(ge=1, le=64, description="Processes of each program, in each worker.", extra={"unit": "processes"}),
    ] = 1
    in_flight: Annotated[
        int,
        Meta(
            ge=1,
            le=1_024,
            description=(
                "Questions that a process may have before it; 1 for a program that cannot take a line while it answers"
                " another."
            ),
            extra={"unit": "questions"},
        ),
    ] = 16
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=300, description="How long an answer may take.", extra={"unit": "seconds"})
    ] = 10.0
    fail: Annotated[
        Literal["open", "closed"],
        Meta(description="What holds where no answer comes: open: it is let in; closed: it is refused."),
    ] = "closed"
    only_kinds: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=65_535)], ...],
        Meta(description="Kinds of events that are judged; empty: all.", extra={"unit": "kinds"}),
    ] = ()
    skip_kinds: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=65_535)], ...],
        Meta(description="Kinds of events that are not judged.", extra={"unit": "kinds"}),
    ] = ()
    skip_networks: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses and networks whose clients are not judged.", extra={"unit": "addresses or networks"}
        ),
    ] = ()
    skip_pubkeys: Annotated[
        tuple[str, ...],
        Meta(
            description="Keys that are not judged: clients that have authenticated one of them.",
            extra={"unit": "pubkeys"},
        ),
    ] = ()
    skip_admins: Annotated[
        bool, Meta(description="Do not judge clients that have authenticated a key of policy.admins.")
    ] = True
    skip_imports: Annotated[bool, Meta(description="Do not judge what `trio-relay import` brings.")] = False


def words_of(command: Command) -> tuple[str, ...]:
    """Return the words of a command line, split as a shell would; empty if there is none.

    Raises:
        ValueError: a quote is not closed.
    """
    return tuple(shlex.split(command)) if isinstance(command, str) else command


def check_options(options: PluginOptions) -> str | None:
    """Return the key that holds what cannot be, with the reason, or None."""
    for key in ("write", "read"):
        try:
            words_of(getattr(options, key))
        except ValueError as error:
            return f"{key}: {error}"
    for network in options.skip_networks:
        try:
            ip_network(network)
        except ValueError as error:
            return f"skip_networks: {error}"
    return None
