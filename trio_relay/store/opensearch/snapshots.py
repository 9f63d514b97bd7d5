"""Snapshots of a relay's indices in a repository of the cluster: taken, looked at, removed, and restored.

A snapshot is of the indices that the relay's aliases name, and of no other's. It is restored beside what is there, and
the aliases move in one step: whoever ends in between leaves them as they were.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import trio

from trio_relay.store.base import StoreError, StoreRefused
from trio_relay.store.opensearch.client import ClusterRefusal, OpenSearchClient
from trio_relay.store.opensearch.mapping import VERSION, alias_of, archive_alias_of, template
from trio_relay.store.opensearch.options import OpenSearchOptions

_POLL_SECONDS: Final = 0.5
_STALLED_SECONDS: Final = 120.0
"""How long a restore may bring nothing before it is given up: the cluster would show a part of an index for ever."""
_EVENTS: Final = {"query": {"exists": {"field": "kind"}}}
_LAYOUT: Final = re.compile(r"-events-v(\d+)")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot as the cluster tells of it.

    Attributes:
        name: in its repository.
        state: SUCCESS if it is whole; else IN_PROGRESS, PARTIAL or FAILED.
        indices: what is in it.
        size: bytes that it has added to the repository, if that was asked for.
        about: what was said of it when it was taken.
    """

    name: str
    state: str
    indices: tuple[str, ...]
    size: int
    about: Mapping[str, Any]


class SnapshotRepository:
    """A repository of the cluster, for the snapshots of one relay.

    Args:
        client: of the cluster.
        options: name the relay's indices.
        name: of the repository.
        say: called with a line about how far it is.
    """

    def __init__(
        self, client: OpenSearchClient, options: OpenSearchOptions, name: str, say: Callable[[str], None]
    ) -> None:
        self._client = client
        self._options = options
        self._path = f"/_snapshot/{name}"
        self._name = name
        self._say = say

    async def register(self, location: str) -> None:
        """Make sure that the repository exists, and that all nodes can write to it.

        Args:
            location: a folder that all nodes share, where it is made if it does not exist; empty: it has to exist.

        Raises:
            StoreRefused: it does not exist, or not all nodes can use it.
            StoreError: the cluster could not answer.
        """
        try:
            if await _found(self._client.decoded("GET", self._path)) is None:
                if not location:
                    raise StoreRefused(f"the cluster has no repository {self._name}: backup.location makes one")
                await self._client.ask("PUT", self._path, {"type": "fs", "settings": {"location": location}})
            await self._client.ask("POST", f"{self._path}/_verify")
        except ClusterRefusal as refusal:
            raise StoreRefused(f"the repository {self._name} cannot be used: {refusal}") from refusal

    async def take(self, name: str, about: Mapping[str, Any]) -> tuple[Snapshot, int]:
        """Take a snapshot of what the relay's aliases name; returns it with how many events searches find.

        Raises:
            StoreRefused: there is nothing to take one of, or the name is taken or no name.
            StoreError: the cluster could not answer, or it is not whole; then it is removed.
        """
        indices = [index for named in (await self._named()).values() for index in named]
        if not indices:
            raise StoreRefused(f"there is no alias {alias_of(self._options)} yet: `trio-relay migrate` makes it")
        counted = await self._client.decoded("POST", f"/{alias_of(self._options)}/_count", _EVENTS)
        events = int(counted["count"])
        body = {"indices": ",".join(indices), "include_global_state": False, "metadata": {**about, "events": events}}
        try:
            await self._client.ask("PUT", f"{self._path}/{name}", body)
        except ClusterRefusal as refusal:
            raise StoreRefused(f"no snapshot {self._name}/{name}: {refusal}") from refusal
        try:
            return await self._finished(name), events
        except BaseException:
            with trio.move_on_after(self._options.request_seconds, shield=True):
                await self.remove(name)
            raise

    async def _finished(self, name: str) -> Snapshot:
        told = -1
        while True:
            status = (await self._client.decoded("GET", f"{self._path}/{name}/_status"))["snapshots"][0]
            stats = status["shards_stats"]
            share = stats["done"] * 10 // max(stats["total"], 1)
            if share > told:
                told = share
                self._say(f"{self._name}/{name}: {stats['done']} of {stats['total']} shards")
            found = await self.look(name)
            if found is not None and found.state != "IN_PROGRESS":
                break
            await trio.sleep(_POLL_SECONDS)
        if found.state != "SUCCESS":
            raise StoreError(f"the snapshot {self._name}/{name} is not whole: {found.state}")
        size = int(status["stats"]["incremental"]["size_in_bytes"])
        return Snapshot(name, found.state, found.indices, size, found.about)

    async def look(self, name: str) -> Snapshot | None:
        """Return a snapshot; None if there is none of this name."""
        found = await _found(self._client.decoded("GET", f"{self._path}/{name}"))
        return None if found is None else _snapshot(found["snapshots"][0])

    async def all(self) -> list[Snapshot]:
        """Return all snapshots of the repository; none if there is no repository."""
        found = await _found(self._client.decoded("GET", f"{self._path}/_all"))
        return [] if found is None else [_snapshot(one) for one in found["snapshots"]]

    async def remove(self, name: str) -> None:
        """Remove a snapshot; one that is being taken is given up."""
        await _found(self._client.ask("DELETE", f"{self._path}/{name}"))

    async def whole(self, name: str) -> Snapshot:
        """Return a snapshot that can be restored.

        Raises:
            StoreRefused: there is none, it is not whole, not of this relay, or of a newer version.
            StoreError: the cluster could not answer.
        """
        found = await self.look(name)
        if found is None:
            raise StoreRefused(f"there is no snapshot {self._name}/{name}")
        if found.state != "SUCCESS":
            raise StoreRefused(f"the snapshot {self._name}/{name} is not whole: {found.state}")
        ours = [index for index in found.indices if index.startswith(f"{alias_of(self._options)}-v")]
        layout = _LAYOUT.search(ours[0]) if ours else None
        if layout is None:
            raise StoreRefused(f"the snapshot {self._name}/{name} has no index of {alias_of(self._options)} in it")
        if int(layout[1]) > VERSION:
            raise StoreRefused(
                f"{self._name}/{name} has layout {layout[1]}, this trio-relay knows layouts up to {VERSION}"
            )
        return found

    async def restore(self, snapshot: Snapshot, stamp: str, *, replaces: bool) -> list[str]:
        """Make indices of a snapshot, and have the relay's aliases name them; returns the indices that they did name.

        Args:
            snapshot: from `whole`.
            stamp: for the names of new indices, where those of the snapshot are taken.
            replaces: whether the aliases may name something already, which stays, under its name.

        Raises:
            StoreRefused: the aliases name something, and that is not to be replaced.
            StoreError: the cluster could not answer, or a part could not be restored; all is as it was then.
        """
        all_there = await self._named()
        names = {alias: index for alias in all_there if (index := self._index_for(alias, snapshot)) is not None}
        # What the snapshot knows nothing of, such as an archive that was begun later, stays.
        there = {alias: all_there[alias] for alias in names}
        before = [index for named in there.values() for index in named]
        if before and not replaces:
            raise StoreRefused(
                f"{' and '.join(before)} is there already; --replace puts another in its place, and keeps it"
            )
        made: dict[str, str] = {}
        try:
            for alias, index in names.items():
                made[alias] = await self._beside(snapshot, index, stamp)
            await self._client.ask("PUT", f"/_index_template/{alias_of(self._options)}", template(self._options))
            await self._point(there, made)
        except BaseException:
            with trio.move_on_after(self._options.request_seconds, shield=True):
                for index in made.values():
                    await _found(self._client.ask("DELETE", f"/{index}"))
            raise
        return before

    def _index_for(self, alias: str, snapshot: Snapshot) -> str | None:
        return next((index for index in snapshot.indices if index.startswith(f"{alias}-v")), None)

    async def _beside(self, snapshot: Snapshot, index: str, stamp: str) -> str:
        """Restore an index under a name that is free, and wait until it is whole."""
        plain = re.sub(r"-restored-.*", "", index)
        taken = await _found(self._client.decoded("GET", f"/{plain}")) is not None
        name = f"{plain}-restored-{stamp}" if taken else plain
        body = {
            "indices": index,
            "include_global_state": False,
            "include_aliases": False,
            "rename_pattern": "^.+$",
            "rename_replacement": name,
        }
        await self._client.ask("POST", f"{self._path}/{snapshot.name}/_restore", body)
        try:
            await self._recovered(name)
        except BaseException:
            with trio.move_on_after(self._options.request_seconds, shield=True):
                await _found(self._client.ask("DELETE", f"/{name}"))
            raise
        return name

    async def _recovered(self, index: str) -> None:
        """Wait until all shards of an index are there.

        Raises:
            StoreError: for two minutes nothing has come.
        """
        came, deadline = -1, trio.current_time() + _STALLED_SECONDS
        while (await self._client.decoded("GET", f"/_cluster/health/{index}"))["status"] == "red":
            shards = (await self._client.decoded("GET", f"/{index}/_recovery")).get(index, {"shards": []})["shards"]
            recovered = sum(one["index"]["size"]["recovered_in_bytes"] for one in shards)
            if recovered > came:
                came, deadline = recovered, trio.current_time() + _STALLED_SECONDS
                total = sum(one["index"]["size"]["total_in_bytes"] for one in shards)
                self._say(f"{index}: {recovered} of {total} bytes")
            if trio.current_time() > deadline:
                raise StoreError(f"{index} is not restored: nothing has come for {_STALLED_SECONDS:.0f} seconds")
            await trio.sleep(_POLL_SECONDS)

    async def _point(self, there: Mapping[str, list[str]], made: Mapping[str, str]) -> None:
        """Have the aliases name what was made, all in one step."""
        actions: list[dict[str, Any]] = [
            {"remove": {"index": index, "alias": alias}} for alias, named in there.items() for index in named
        ]
        actions += [{"add": {"index": index, "alias": alias, "is_write_index": True}} for alias, index in made.items()]
        await self._client.ask("POST", "/_aliases", {"actions": actions})

    async def _named(self) -> dict[str, list[str]]:
        """Return the indices that each alias of the relay names: of its events, and of its archive if it has one."""
        aliases = (alias_of(self._options), archive_alias_of(self._options))
        rows = await self._client.decoded("GET", f"/_cat/aliases/{','.join(aliases)}?format=json&h=alias,index")
        return {alias: sorted(row["index"] for row in rows if row["alias"] == alias) for alias in aliases}


def _snapshot(told: Mapping[str, Any]) -> Snapshot:
    return Snapshot(told["snapshot"], told["state"], tuple(told["indices"]), 0, told.get("metadata") or {})


async def _found(asking: Any) -> Any:
    """Return what the cluster answers; None if what is asked for does not exist."""
    try:
        return await asking
    except ClusterRefusal as refusal:
        if refusal.status == 404:
            return None
        raise
