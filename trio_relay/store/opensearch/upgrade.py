"""Makes and upgrades what a relay needs in a cluster: template, index, alias. Every step can be repeated.

An upgrade fills an index of the new layout while relays go on writing to the old one, in passes that each copy what was
written since the pass before. Only during the last, short pass writing is blocked: relays retry for `retry_seconds`,
and go on with the new index as soon as the alias names it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Final, TypeAlias

import msgspec
import trio

from trio_relay.nostr.event import decode
from trio_relay.store.base import StoreError, StoreRefused
from trio_relay.store.opensearch.bulk_size import fitting_bytes
from trio_relay.store.opensearch.client import (
    Busy,
    ClusterRefusal,
    OpenSearchClient,
    Overloaded,
    RequestTooLarge,
    Unreachable,
    encode,
    open_client,
    read,
)
from trio_relay.store.opensearch.documents import Document, document, slot_of
from trio_relay.store.opensearch.mapping import (
    ARCHIVE_VERSION,
    VERSION,
    alias_of,
    archive_alias_of,
    archive_index_of,
    archive_layout,
    index_of,
    layout,
    template,
)
from trio_relay.store.opensearch.options import OpenSearchOptions
from trio_relay.store.opensearch.pages import Hit
from trio_relay.store.opensearch.query import Query
from trio_relay.store.opensearch.scan import scan

Say: TypeAlias = Callable[[str], None]

FEW_CHANGES: Final = 1_000
"""After a pass with at most so many changes the next one will be short, so writing is blocked for it."""
_BUSY_SECONDS: Final = 60.0
"""How long the cluster may refuse every document before the upgrade gives up."""
_MOST_PASSES: Final = 10
_OVERLAP_SECONDS: Final = 120
"""Seconds that passes overlap: clocks differ, and a write takes up to `retry_seconds`, at most 60."""
_PAUSE: Final = 0.5


async def check(client: OpenSearchClient, options: OpenSearchOptions, *, has_archive: bool = False) -> str | None:
    """Return why the index cannot be used, for the operator, or None; waits for a cluster that is away.

    Args:
        client: of the cluster.
        options: the names.
        has_archive: the archive's index is needed, too.

    Raises:
        StoreRefused: it stays away, or wants other credentials.
    """
    deadline = trio.current_time() + options.retry_seconds
    while True:
        try:
            return await look(client, options) or (await _look_at_archive(client, options) if has_archive else None)
        except (Unreachable, Busy) as error:
            if trio.current_time() > deadline:
                raise StoreRefused(f"no OpenSearch at {', '.join(options.urls)}: {error}") from error
        except StoreError as error:
            raise StoreRefused(str(error)) from error
        await trio.sleep(_PAUSE)


async def look(client: OpenSearchClient, options: OpenSearchOptions) -> str | None:
    """Return why the index cannot be used as it is now, for the operator, or None.

    Raises:
        StoreError: the cluster could not answer.
    """
    version = await _version(client, alias_of(options))
    if version is None:
        return f"there is no alias {alias_of(options)} yet: `trio-relay migrate` makes it"
    if version < VERSION:
        return f"{alias_of(options)} has layout {version}: `trio-relay migrate` brings it to {VERSION}"
    if version > VERSION:
        return f"{alias_of(options)} has layout {version}, this trio-relay knows layouts up to {VERSION}"
    return None


async def _look_at_archive(client: OpenSearchClient, options: OpenSearchOptions) -> str | None:
    alias = archive_alias_of(options)
    if (version := await _version(client, alias)) is None:
        return f"there is no alias {alias} yet, which store.archive needs: `trio-relay migrate` makes it"
    if version > ARCHIVE_VERSION:
        return f"{alias} has layout {version}, this trio-relay knows layouts up to {ARCHIVE_VERSION}"
    return None


async def migrate(options: OpenSearchOptions, say: Say, *, dry_run: bool = False, has_archive: bool = False) -> None:
    """Bring template, index and alias to this version, and say what was done, or would be.

    Args:
        options: the cluster and the names.
        say: told each step.
        dry_run: change nothing.
        has_archive: make the archive's index, too.

    Raises:
        StoreRefused: the index is of a newer version, or a step failed; everything can be run again.
    """
    async with open_client(options) as client:
        try:
            await _migrate(client, options, say, dry_run=dry_run)
            if has_archive:
                await _make_archive(client, options, say, dry_run=dry_run)
        except StoreError as error:
            raise StoreRefused(f"{error}; `trio-relay migrate` can be run again") from error


async def _migrate(client: OpenSearchClient, options: OpenSearchOptions, say: Say, *, dry_run: bool) -> None:
    would = "would " if dry_run else ""
    alias, new = alias_of(options), index_of(options)
    old = await _behind(client, alias)
    version = await _version(client, alias) if old is not None else None
    if version is not None and version > VERSION:
        raise StoreRefused(f"{old} has layout {version}, this trio-relay knows layouts up to {VERSION}")
    say(f"{would}put index template {alias} (layout {VERSION})")
    if not dry_run:
        await client.ask("PUT", f"/_index_template/{alias}", template(options))
    if version == VERSION:
        say(f"{alias} -> {old} has layout {VERSION}: nothing to do")
    elif old is None:
        say(f"{would}make index {new}, {options.shards} shards, {options.replicas} replicas")
        say(f"{would}let alias {alias} name {new}")
        if not dry_run:
            await _make(client, new, layout(options))
            await _point(client, alias, None, new)
    else:
        say(f"{would}copy {old} (layout {version}) to {new} (layout {VERSION}), while relays go on")
        say(f"{would}block writing for the last copy, and let alias {alias} name {new}")
        if not dry_run:
            await _upgrade(client, options, old, say)
        say(f"{old} stays as it was; once all is well: DELETE /{old}")


async def _make_archive(client: OpenSearchClient, options: OpenSearchOptions, say: Say, *, dry_run: bool) -> None:
    alias, index = archive_alias_of(options), archive_index_of(options)
    if await _version(client, alias) is not None:
        say(f"{alias} has layout {ARCHIVE_VERSION}: nothing to do")
        return
    say(f"{'would ' if dry_run else ''}make index {index}, which alias {alias} names")
    if not dry_run:
        await _make(client, index, archive_layout(options))


async def _behind(client: OpenSearchClient, alias: str) -> str | None:
    """Return the index that an alias names; None if there is no such alias."""
    try:
        answer = await client.decoded("GET", f"/_alias/{alias}")
    except ClusterRefusal as refusal:
        if refusal.status == 404:
            return None
        raise
    names = sorted(answer)
    if len(names) != 1:
        raise StoreRefused(f"alias {alias} names {', '.join(names)}: it must name one index")
    return str(names[0])


async def _version(client: OpenSearchClient, alias: str) -> int | None:
    """Return the version of the layout behind an alias; None if there is no index."""
    try:
        answer = await client.decoded("GET", f"/{alias}/_mapping")
    except ClusterRefusal as refusal:
        if refusal.status == 404:
            return None
        raise
    return max(int(index["mappings"].get("_meta", {}).get("version", 0)) for index in answer.values())


async def _make(client: OpenSearchClient, index: str, made: dict[str, Any]) -> None:
    """Make the index of this layout, unless an earlier run has made it."""
    try:
        await client.ask("PUT", f"/{index}", made)
    except ClusterRefusal:
        if await _version(client, index) is None:
            raise


async def _point(client: OpenSearchClient, alias: str, old: str | None, new: str) -> None:
    """Let the alias name the new index, in one atomic step."""
    actions: list[Query] = [{"add": {"index": new, "alias": alias, "is_write_index": True}}]
    if old is not None:
        actions.append({"remove": {"index": old, "alias": alias}})
    await client.ask("POST", "/_aliases", {"actions": actions})


async def _upgrade(client: OpenSearchClient, options: OpenSearchOptions, old: str, say: Say) -> None:
    new = index_of(options)
    await _make(client, new, layout(options))
    since = 0
    for _ in range(_MOST_PASSES):
        began = time.time_ns()
        copied = await _copy(client, old, new, since, options)
        say(f"copied {copied} documents")
        since = began - _OVERLAP_SECONDS * 10**9
        if copied <= FEW_CHANGES:
            break
    await _block(client, old, True)
    try:
        say(f"copied {await _copy(client, old, new, since, options)} documents, writing being blocked")
        await client.ask("POST", f"/{new}/_refresh")
        await _point(client, alias_of(options), old, new)
    except BaseException:
        with trio.move_on_after(options.request_seconds, shield=True):
            await _block(client, old, False)
        raise
    say(f"alias {alias_of(options)} names {new}")


async def _block(client: OpenSearchClient, index: str, is_blocked: bool) -> None:
    if is_blocked:
        await client.ask("PUT", f"/{index}/_block/write")  # waits for the writes that are under way
    else:
        await client.ask("PUT", f"/{index}/_settings", {"index.blocks.write": False})


async def _copy(client: OpenSearchClient, old: str, new: str, since: int, options: OpenSearchOptions) -> int:
    """Copy what was written since then, made again from the events; newer states overwrite older ones."""
    await client.ask("POST", f"/{old}/_refresh")
    copied = 0
    most = await fitting_bytes(client, options)
    written: Query = {"bool": {"should": [{"range": {field: {"gte": since}}} for field in ("arrived", "changed")]}}
    async with aclosing(scan(client, old, written)) as pages:
        async for hits in pages:
            for part in _parts([_copied(hit) for hit in hits], most):
                copied += await _write(client, new, part)
    return copied


async def _write(client: OpenSearchClient, index: str, lines: Sequence[bytes]) -> int:
    """Write documents, in smaller requests while the cluster refuses them; returns how many were not copied before.

    Raises:
        StoreError: it has taken none for a minute.
    """
    copied = 0
    deadline = trio.current_time() + _BUSY_SECONDS
    while lines:
        try:
            answer = await client.ask_lines(f"/{index}/_bulk?filter_path=items.*.status,items.*.error.type", lines)
        except (Overloaded, RequestTooLarge) as error:
            if len(lines) > 1:
                half = len(lines) // 2
                await trio.sleep(_PAUSE)
                return copied + sum([await _write(client, index, part) for part in (lines[:half], lines[half:])])
            if isinstance(error, RequestTooLarge) or trio.current_time() > deadline:
                raise
            await trio.sleep(_PAUSE)
            continue
        except Busy:
            if trio.current_time() > deadline:
                raise
            await trio.sleep(_PAUSE)
            continue
        again = []
        for line, item in zip(lines, read(msgspec.json.decode, answer)["items"], strict=True):
            (result,) = item.values()
            if result["status"] < 300:
                copied += 1
            elif result["status"] == 429:
                again.append(line)
            # A conflict: this state or a newer one was copied before.
            elif result["status"] != 409:
                raise StoreError(f"{index} has refused a document ({result['status']}: {result.get('error')})")
        if len(again) < len(lines):
            deadline = trio.current_time() + _BUSY_SECONDS
        elif trio.current_time() > deadline:
            raise StoreError("the relay's store is busy")
        lines = again
        await trio.sleep(_PAUSE if lines else 0)
    return copied


def _copied(hit: Hit) -> bytes:
    """Make the lines for a document, with its version, which goes on counting, and its `_id` in this layout."""
    arrived: int = hit.sort[0]
    source = hit.source
    event = decode(source.event) if source.event else None
    made = (
        document(event, arrived, source.until)
        if event is not None
        else Document(
            arrived,
            until=source.until,
            tombstone=source.tombstone,
            vanished=source.vanished,
            name=source.name,
            value=source.value,
        )
    )
    # The records of requests to vanish have another name since layout 2.
    slot = hit.slot if event is None else slot_of(event)
    action: dict[str, Any] = {"index": {"_id": slot, "version": hit.version, "version_type": "external"}}
    return encode(action) + b"\n" + encode(made)


def _parts(lines: Sequence[bytes], most: int) -> Iterable[list[bytes]]:
    part: list[bytes] = []
    filled = 0
    for line in lines:
        if filled + len(line) > most and part:
            yield part
            part, filled = [], 0
        part.append(line)
        filled += len(line)
    yield part
