"""A whole relay out of its store: its events and what its operators have decided.

The events are written first: what is banned in between is then banned in the state, and `importing.bring_in`, which
puts the state into a store before them, does not bring it back.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from gzip import GzipFile
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from trio_relay.compressed import open_zstd_writer
from trio_relay.config import Config
from trio_relay.state_file import (
    Decisions,
    StateRefused,
    from_json,
    kept_in,
    to_json,
    write_file,
)
from trio_relay.store import opensearch
from trio_relay.store.archive import Archive
from trio_relay.store.base import Insight, Queryable, ReadableMetadata, Scannable
from trio_relay.store.inspection import Inspectable
from trio_relay.store.sqlite import open_sqlite_for_reading
from trio_relay.store.surveyed import Surveyable
from trio_relay.transfer import export_lines

_LEVEL: Final = 6
"""Of gzip: a higher one takes several times as long for a few percent."""


class Readable(Scannable, Surveyable, ReadableMetadata, Queryable, Insight, Inspectable, Archive, Protocol):
    """The part of a store that is written out."""


def open_for_reading(config: Config) -> AbstractAsyncContextManager[Readable]:
    """Open the store that the configuration names for reading, also while relays use it.

    Raises:
        StoreRefused: on entering: it cannot be opened.
    """
    if config.store.backend == "sqlite":
        return open_sqlite_for_reading(config.store)
    return opensearch.open_opensearch(config.opensearch)


async def write_events(config: Config, file: BinaryIO, progress: Callable[[int], None], suffix: str = "") -> int:
    """Write all events to a file, one a line; returns their number. The same events give the same bytes.

    Args:
        config: names the store.
        file: it stays open.
        progress: see `transfer.export_lines`.
        suffix: of the file's name: .gz or .zst say how it is compressed; by any other it is not.

    Raises:
        OSError: it could not be written.
        StoreError: the store could not answer.
    """
    out = _compressing(file, suffix)
    async with open_for_reading(config) as store:
        total = await export_lines(store, out, progress)
    if out is not file:
        out.close()  # not before all is there: what breaks off is not to look whole
    file.flush()
    return total


def _compressing(file: BinaryIO, suffix: str) -> BinaryIO | GzipFile:
    if suffix == ".gz":
        return GzipFile(filename="", mode="wb", fileobj=file, compresslevel=_LEVEL, mtime=0)
    return open_zstd_writer(file) if suffix == ".zst" else file


async def write_state(config: Config, path: Path, *, with_key: bool) -> Decisions:
    """Write what operators have decided to a file, and with it the relay's own key if that is asked for; returns it.

    Raises:
        StateRefused: the store keeps something that this version does not know.
        OSError: it could not be written; a file that was there is as it was.
        StoreError: the store could not answer.
    """
    async with open_for_reading(config) as store:
        state = kept_in(await store.get_metadata())
    state = state if with_key else replace(state, secret=None)
    write_file(path, to_json(state))
    return state


def read_state(path: Path, *, with_key: bool) -> Decisions:
    """Read such a file; the key in it counts only if that is asked for.

    Raises:
        StateRefused: it cannot be used.
    """
    try:
        state = from_json(path.read_bytes())
    except OSError as error:
        raise StateRefused(f"{path}: {error.strerror}") from error
    except StateRefused as refused:
        raise StateRefused(f"{path}: {refused}") from None
    if with_key and state.secret is None:
        raise StateRefused(f"{path}: it was written without --with-key")
    return state if with_key else replace(state, secret=None)
