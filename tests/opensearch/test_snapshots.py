"""Backups on a real node: snapshots of the relay's indices alone, whole or not there, and indices of them again."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from random import uniform

import httpx
import msgspec
import pytest
import trio
from click.testing import CliRunner, Result

from docs.generate import ROOT
from perf.node import OLD, Node, running
from tests.support.backends import everything
from tests.support.indices import made, make, options_for
from tests.support.keys import ALICE, BOB, NOW
from tests.support.node import need, own_names
from tests.support.page_blocks import shell_blocks
from tests.support.program import PATIENCE, finished, killed_after
from trio_relay import StoreRefused
from trio_relay.backup import BackupOptions, BackupRefused, regular, repository
from trio_relay.cli import main
from trio_relay.store import opensearch

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_logging"), pytest.mark.xdist_group("keeping")]

EVENTS = [ALICE.event(f"note {number}", created_at=NOW + number) for number in range(30)]
LATER = BOB.event("later", created_at=NOW + 1_000)


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that has a folder for repositories."""
    need(OLD)
    folder = tmp_path_factory.mktemp("keeping")
    with running(OLD, folder, settings={"path.repo": str(folder / "repositories")}) as node:
        yield node


@pytest.fixture
def prefix(keeping: Node) -> Iterator[str]:
    with own_names(keeping.url) as name:
        yield name


@pytest.fixture
def index(keeping: Node, prefix: str) -> opensearch.OpenSearchOptions:
    return options_for(keeping.url, prefix)


@pytest.fixture
def backup(keeping: Node, prefix: str) -> BackupOptions:
    """A repository of the test's own."""
    location = str(keeping.folder / "repositories" / prefix)
    return BackupOptions(repository=prefix, location=location, with_key=True, keep=2)


@pytest.fixture
async def http(keeping: Node) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=keeping.url, timeout=60.0) as client:
        yield client


async def snapshots(http: httpx.AsyncClient, backup: BackupOptions) -> dict[str, list[str]]:
    """The snapshots of the repository, each with its indices."""
    found = (await http.get(f"/_snapshot/{backup.repository}/_all")).json()["snapshots"]
    return {one["snapshot"]: sorted(one["indices"]) for one in found}


async def aliases(http: httpx.AsyncClient, prefix: str) -> dict[str, list[str]]:
    found = (await http.get(f"/_cat/aliases/{prefix}-events,{prefix}-archive?format=json&s=alias,index")).json()
    return {row["alias"]: [one["index"] for one in found if one["alias"] == row["alias"]] for row in found}


async def test_a_snapshot_is_of_the_relays_indices_alone_and_brings_them_back(
    http: httpx.AsyncClient, index: opensearch.OpenSearchOptions, backup: BackupOptions, prefix: str
) -> None:
    await make(options_for(index.urls[0], f"{prefix}-two"))
    said: list[str] = []
    vault = repository.BackupRepository(backup, index, said.append)
    async with made(index) as store:
        await store.save_many(EVENTS)
        await store.put_metadata({"self": bytes(31) + b"\x01"})
        await store.refresh()
        taken = await vault.make(NOW)
        [(name, indices)] = (await snapshots(http, backup)).items()
        assert (taken.name, taken.events, taken.with_key) == (f"{prefix}/{name}", len(EVENTS), True)
        assert taken.size > 0
        assert indices == sorted(index for named in (await aliases(http, prefix)).values() for index in named)
        assert len(indices) == 2  # that of the archive, too
        assert re.fullmatch(rf"{prefix}-\d{{8}}t\d{{6}}z", name)
        await store.save_many([LATER])
        await store.refresh()
    assert said[-1].startswith(f"{prefix}/{name}: ")
    assert (await vault.newest(NOW), await vault.newest(NOW - 1)) == (NOW, None)
    assert (await vault.check(name)).startswith(f"{prefix}/{name} is whole: {len(EVENTS)} events as of 20")
    before = await aliases(http, prefix)
    with pytest.raises(StoreRefused, match=r"is there already; --replace puts another in its place, and keeps it"):
        await vault.restore(name, replaces=False)
    assert await aliases(http, prefix) == before
    told = await vault.restore(name, replaces=True)
    [old] = before[f"{prefix}-events"]
    assert f"{old}: what was there; once all is well: DELETE /{old}" in told.splitlines()[1:]
    after = await aliases(http, prefix)
    assert after.keys() == before.keys()
    assert re.fullmatch(rf"{old}-restored-\d{{8}}t\d{{6}}z", after[f"{prefix}-events"][0])
    async with opensearch.open_opensearch(index) as restored:
        assert await everything(restored) == EVENTS
        assert (await restored.get_metadata())["self"] == bytes(31) + b"\x01"
        await restored.save_many([LATER])
        await restored.refresh()
        assert await everything(restored) == [*EVENTS, LATER]
    assert (await http.head(f"/{old}")).status_code == 200


async def test_where_nothing_is_left_all_is_as_it_was(
    http: httpx.AsyncClient, index: opensearch.OpenSearchOptions, backup: BackupOptions, prefix: str
) -> None:
    vault = repository.BackupRepository(backup, index)
    async with made(index) as store:
        await store.save_many(EVENTS)
        await vault.make_named("mine", NOW)
    before = await aliases(http, prefix)
    for [name] in before.values():
        await http.delete(f"/{name}")
    await http.delete(f"/_index_template/{prefix}-events")
    await vault.restore("mine", replaces=False)
    assert await aliases(http, prefix) == before
    assert (await http.get(f"/_index_template/{prefix}-events")).status_code == 200
    async with opensearch.open_opensearch(index) as restored:
        assert await everything(restored) == EVENTS


async def test_an_archive_that_a_snapshot_knows_nothing_of_stays(
    http: httpx.AsyncClient, index: opensearch.OpenSearchOptions, backup: BackupOptions, prefix: str
) -> None:
    vault = repository.BackupRepository(backup, index)
    await opensearch.migrate(index, lambda _line: None)
    await vault.make_named("without", NOW)
    await make(index)
    before = await aliases(http, prefix)
    told = await vault.restore("without", replaces=True)
    after = await aliases(http, prefix)
    assert after[f"{prefix}-archive"] == before[f"{prefix}-archive"]
    assert after[f"{prefix}-events"] != before[f"{prefix}-events"]
    assert len(told.splitlines()) == 2


async def test_so_many_stay_and_those_of_others_are_not_touched(
    http: httpx.AsyncClient, index: opensearch.OpenSearchOptions, backup: BackupOptions, prefix: str
) -> None:
    await make(index)
    vault = repository.BackupRepository(backup, index)
    await vault.make_named("by-hand", NOW)
    await vault.make_named(f"{prefix}-two-20300101t000000z", NOW)
    now = float(NOW)
    backups = regular.Backups(backup, vault, lambda: now)
    names = []
    for _ in range(3):
        now += 60
        names.append((await backups.make()).name.partition("/")[2])
    assert (await snapshots(http, backup)).keys() == {"by-hand", f"{prefix}-two-20300101t000000z", *names[1:]}
    assert backups.statistics().last == now


async def test_what_cannot_be_done_is_said_and_nothing_is_touched(
    http: httpx.AsyncClient, index: opensearch.OpenSearchOptions, backup: BackupOptions, prefix: str
) -> None:
    vault = repository.BackupRepository(backup, index)
    bare = BackupOptions(repository=prefix, with_key=True)
    for options, why in (
        (bare, f"the cluster has no repository {prefix}: backup.location makes one"),
        (
            BackupOptions(repository=prefix, location="/elsewhere", with_key=True),
            f"the repository {prefix} cannot be used: the relay's store has refused a request",
        ),
        (backup, f"there is no alias {prefix}-events yet: `trio-relay migrate` makes it"),
    ):
        with pytest.raises(StoreRefused, match=f"^{re.escape(why)}"):
            await repository.BackupRepository(options, index).make(NOW)
    with pytest.raises(BackupRefused, match=r"backup\.repository says where snapshots of OpenSearch go; it is empty"):
        await repository.BackupRepository(BackupOptions(with_key=True), index).make(NOW)
    with pytest.raises(BackupRefused, match=r"backup\.with_key: a snapshot of OpenSearch has the relay's own keys"):
        await repository.BackupRepository(BackupOptions(repository=prefix), index).make(NOW)
    await make(index)
    for name in ("Capital", "*", "_all", "a/b", "a,b", ""):
        for attempt in (vault.make_named(name, NOW), vault.check(name), vault.restore(name, replaces=True)):
            with pytest.raises(BackupRefused, match="is no name of a snapshot"):
                await attempt
    await vault.make_named("mine", NOW)
    with pytest.raises(StoreRefused, match=f"^no snapshot {prefix}/mine: "):
        await vault.make_named("mine", NOW)
    other = repository.BackupRepository(backup, options_for(index.urls[0], f"{prefix}-two"))
    before = await aliases(http, prefix)
    for attempt, why in (
        (vault.restore("none", replaces=True), f"there is no snapshot {prefix}/none"),
        (other.restore("mine", replaces=True), f"the snapshot {prefix}/mine has no index of {prefix}-two-events in it"),
    ):
        with pytest.raises(StoreRefused, match=f"^{why}$"):
            await attempt
    assert await aliases(http, prefix) == before


async def test_who_is_cancelled_leaves_no_snapshot(
    http: httpx.AsyncClient, index: opensearch.OpenSearchOptions, backup: BackupOptions
) -> None:
    vault = repository.BackupRepository(backup, index, lambda _line: scope.cancel())
    async with made(index) as store:
        await store.save_many(EVENTS)
        with trio.CancelScope() as scope:
            await vault.make_named("mine", NOW)
    assert scope.cancelled_caught
    assert await snapshots(http, backup) == {}


def run(index: opensearch.OpenSearchOptions, backup: BackupOptions | None, *arguments: str) -> Result:
    environment = {
        "TRIO_RELAY_STORE__BACKEND": "opensearch",
        "TRIO_RELAY_OPENSEARCH__URLS": f'["{index.urls[0]}"]',
        "TRIO_RELAY_OPENSEARCH__PREFIX": index.prefix,
    }
    if backup is not None:
        environment["TRIO_RELAY_BACKUP__REPOSITORY"] = backup.repository
        environment["TRIO_RELAY_BACKUP__LOCATION"] = backup.location
    return CliRunner().invoke(main, arguments, env=environment)


def test_the_commands_do_the_same(index: opensearch.OpenSearchOptions, backup: BackupOptions) -> None:
    assert run(index, backup, "migrate").exit_code == 0
    ended = run(index, backup, "backup", "first")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith(
        "trio-relay: backup.with_key: a snapshot of OpenSearch has the relay's own keys in it"
    )
    ended = run(index, backup, "backup", "--with-key", "first")
    assert (ended.exit_code, ended.stdout.startswith(f"{backup.repository}/first: 0 events as of 20")) == (0, True)
    ended = run(index, backup, "backup", "--with-key")
    assert (ended.exit_code, ended.stdout.startswith(f"{backup.repository}/{index.prefix}-20")) == (0, True)
    assert run(index, backup, "restore", "--check", "first").stdout.startswith(f"{backup.repository}/first is whole: 0")
    assert run(index, backup, "restore", "first").exit_code == 3
    ended = run(index, backup, "restore", "--replace", "first")
    assert (ended.exit_code, ended.stdout.splitlines()[0].startswith(f"{index.prefix}: 0 events as of 20")) == (0, True)


def test_the_page_says_how(
    index: opensearch.OpenSearchOptions, backup: BackupOptions, tmp_path: Path, keeping: Node
) -> None:
    page = (ROOT / "docs" / "opensearch.md").read_text(encoding="utf-8")
    section = page.partition("\n## Snapshot and restore\n")[2].partition("\n## ")[0]
    [table] = re.findall(r"^```toml\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    config = tmp_path / "opensearch.toml"
    config.write_text(table.replace("/the/folder/of/path.repo", str(keeping.folder / "repositories")))
    assert run(index, None, "migrate").exit_code == 0
    making, replacing, looking = shell_blocks("docs/opensearch.md", "Snapshot and restore")
    for command in [*making.splitlines(), *replacing.splitlines()]:
        ended = run(index, None, *command.replace("config/opensearch.toml", str(config)).split()[1:])
        assert ended.exit_code == 0, ended.stderr
    looking = looking.replace("localhost:9200", keeping.url).replace("nostr-events-v", f"{index.prefix}-events-v")
    said = subprocess.run(["bash", "-c", looking], capture_output=True, check=True, timeout=PATIENCE).stdout
    [seen] = msgspec.json.decode(said)["snapshot"]["indices"]
    assert seen.startswith(f"seen-{index.prefix}-events-v")
    httpx.delete(f"{keeping.url}/{seen}")


def settings_of(index: opensearch.OpenSearchOptions, backup: BackupOptions) -> dict[str, str]:
    return {
        "store.backend": "opensearch",
        "opensearch.urls": f'["{index.urls[0]}"]',
        "opensearch.prefix": index.prefix,
        "backup.repository": backup.repository,
        "backup.with_key": "true",
    }


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.exhaustive)])
async def test_killed_commands_leave_a_whole_snapshot_or_none_and_the_old_index_or_the_new_one(
    http: httpx.AsyncClient,
    index: opensearch.OpenSearchOptions,
    backup: BackupOptions,
    prefix: str,
    tmp_path: Path,
    kills: int,
) -> None:
    vault = repository.BackupRepository(backup, index)
    async with made(index) as store:
        await store.save_many(EVENTS)
        await vault.make_named("first", NOW)
        await store.save_many([LATER])
    killed = partial(killed_after, folder=tmp_path, settings=settings_of(index, backup))
    began = trio.current_time()
    assert (await finished(tmp_path, "backup", "second", settings=settings_of(index, backup))).returncode == 0
    longest = trio.current_time() - began
    restored = False
    for number in range(kills):
        await killed(uniform(longest / 3, longest * 1.2), arguments=["backup", f"try-{number}"])
        await killed(uniform(longest / 3, longest * 1.2), arguments=["restore", "--replace", "first"])
        [named] = (await aliases(http, prefix))[f"{prefix}-events"]
        async with opensearch.open_opensearch(index) as store:
            found = await everything(store)
        restored = restored or "-restored-" in named
        assert found == (EVENTS if restored else [*EVENTS, LATER])
    with trio.fail_after(PATIENCE):
        for number in range(kills):
            assert await state_in_the_end(http, backup, f"try-{number}") in ("SUCCESS", "")


async def state_in_the_end(http: httpx.AsyncClient, backup: BackupOptions, name: str) -> str:
    """Of a snapshot, with which the cluster goes on by itself; empty if there is none."""
    while True:
        answer = await http.get(f"/_snapshot/{backup.repository}/{name}")
        state = "" if answer.status_code == 404 else str(answer.json()["snapshots"][0]["state"])
        if state != "IN_PROGRESS":
            return state
        await trio.sleep(0.1)
