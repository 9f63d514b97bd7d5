"""Lists of the table `policy` that stand in files of their own, one item a line, and are read again when they change.

`denied_pubkeys = "file:denied.txt"` takes a whole list from a file; a list may name files among its items, too. Paths
are relative to the working directory, as `store.path` is. Empty lines and what follows `#` at the start of a line, or
behind a space, are left out.
"""

from __future__ import annotations

import codecs
import math
import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import structlog
import trio
from msgspec.structs import replace

from trio_relay.intervals import Interval
from trio_relay.net.addresses import AddressEntry, AddressList
from trio_relay.nostr.kinds import MAX_KIND
from trio_relay.nostr.nip19 import pubkey_of
from trio_relay.policy.options import PolicyOptions

log = structlog.get_logger("trio_relay.app")

ReadLists: TypeAlias = Callable[[Mapping[str, object]], PolicyOptions]
TakeLists: TypeAlias = Callable[[PolicyOptions], Awaitable[None]]

PREFIX: Final = "file:"
_MOST_BYTES: Final = 2**26
"""Of one file: a million keys."""


def _kind(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_KIND):
        raise ValueError(f"{text!r} is no kind: a kind is an integer from 0 to {MAX_KIND}")
    return int(text)


def _address(text: str) -> str:
    AddressList([AddressEntry(text)])
    return text


LISTS: Final[dict[str, Callable[[str], object]]] = {
    "admins": pubkey_of,
    "allowed_pubkeys": pubkey_of,
    "denied_pubkeys": pubkey_of,
    "allowed_kinds": _kind,
    "denied_kinds": _kind,
    "denied_words": str,
    "denied_addresses": _address,
}
"""The keys of `policy` whose lists may stand in files, with what reads an item; it raises ValueError."""


_OPENING: Final = frozenset({"allowed_pubkeys", "allowed_kinds"})
"""Lists that let in everybody where they are empty."""


class ListFileError(ValueError):
    """A file that cannot be read, or holds what cannot be; the message names the key, the file and the line."""


def files_of(policy: Mapping[str, Any]) -> dict[str, list[Path]]:
    """Return the files that the lists of a decoded table `policy` name, by key."""
    named = {key: [item[len(PREFIX) :] for item in _items(policy.get(key)) if _is_file(item)] for key in LISTS}
    return {key: list(map(Path, paths)) for key, paths in named.items() if paths}


def expand(policy: dict[str, Any]) -> None:
    """Replace, in a decoded table `policy`, each file by the items that it holds.

    Raises:
        ListFileError: a file is not there, or holds what its list cannot; or all files of a list are empty, and that
            would let in everybody. Who wants that leaves out the key.
    """
    for key in files_of(policy):
        items: list[object] = []
        for item in _items(policy[key]):
            items += _read(key, Path(item[len(PREFIX) :])) if _is_file(item) else [item]
        if key in _OPENING and not items:
            raise ListFileError(f"policy.{key}: would be empty, which would let in everybody")
        policy[key] = items


def _items(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    return [value] if _is_file(value) else []


def _is_file(item: object) -> bool:
    return isinstance(item, str) and item.startswith(PREFIX)


def _read(key: str, path: Path) -> list[object]:
    where = f"policy.{key}: {path}"
    try:
        data = bytes_in(path)
    except OSError as error:
        raise ListFileError(f"{where}: {error.strerror}") from error
    except ValueError as error:
        raise ListFileError(f"{where}: {error}") from error
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise ListFileError(f"{where} is not UTF-8") from error
    items: list[object] = []
    for number, line in enumerate(text.splitlines(), 1):
        item = "" if line.startswith("#") else line.partition(" #")[0].strip()
        if item:
            try:
                items.append(LISTS[key](item))
            except ValueError as error:
                raise ListFileError(f"{where}, line {number}: {error}") from None
    return items


def bytes_in(path: Path) -> bytes:
    """Read a regular file of not too many bytes; a pipe could wait for ever.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none, or too large.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("no regular file")
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES} bytes")
    return data


class ListFiles:
    """Sees when files of lists change, and hands on what they hold then.

    A change is taken when two looks in a row have seen it, since a file may be written in several steps. What cannot be
    read, or is not good, is tried again at each look.

    Args:
        lists: that name files, by key of `policy`, as the configuration had them when it was read last. It may be
            another by now, perhaps half edited, and nobody has asked for what it says.
        options: as they were read then.
        read: reads these lists again, in a thread; raises ValueError. Then they stay as they are.
    """

    def __init__(self, lists: Mapping[str, object], options: PolicyOptions, read: ReadLists) -> None:
        self._lists, self._files = lists, files_of(lists)
        self._options = options
        self._read = read
        self._rest = Interval(lambda: self._options.files_seconds if self._files else math.inf)
        self._taken: object = None
        self._complaint = ""
        """What was wrong at the last look, which is said once."""

    def go_by(self, lists: Mapping[str, object], options: PolicyOptions) -> None:
        """Look at the files of these lists from now on, which have just been read; sync."""
        self._lists, self._files, self._options = lists, files_of(lists), options
        self._taken = None  # they may have changed again since
        self._rest.changed()

    async def run(self, take: TakeLists, turn: trio.Lock) -> None:
        """Look at the files again and again; for ever.

        Args:
            take: gets the options of the moment with the lists that have changed; raises ValueError where it cannot
                have them.
            turn: who has it reads and changes what the relay goes by.
        """
        last: object = await self._look()
        while True:
            stamps = await self._look()
            async with turn:
                if stamps != self._taken and stamps == last and self._files:
                    await self._take(take, stamps)
            last = stamps
            await self._rest.wait()

    async def _look(self) -> object:
        if not self._files:
            return None
        return await trio.to_thread.run_sync(self._stamps, abandon_on_cancel=True)

    async def _take(self, take: TakeLists, stamps: object) -> None:
        try:
            changed = await self._changed(self._options)
            if changed:
                options = replace(self._options, **changed)
                await take(options)
                self._options = options
                log.info("lists read again", **{key: len(items) for key, items in changed.items()})
        except ValueError as error:
            self._complain(str(error))
        else:
            self._taken, self._complaint = stamps, ""

    async def _changed(self, options: PolicyOptions) -> dict[str, tuple[object, ...]]:
        read = await trio.to_thread.run_sync(self._read, self._lists, abandon_on_cancel=True)
        lists = {key: getattr(read, key) for key in self._files}
        return {key: items for key, items in lists.items() if items != getattr(options, key)}

    def _complain(self, reason: str) -> None:
        if reason != self._complaint:
            self._complaint = reason
            log.warning("lists stay as they are", error=reason)

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [stamp_of(path) for paths in self._files.values() for path in paths]


def stamp_of(path: Path) -> tuple[int, int, int] | None:
    """Return what is another once a file has changed; None if there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # the latter of a path with a NUL
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
