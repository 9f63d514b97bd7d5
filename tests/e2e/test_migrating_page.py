"""docs/migrating.md: its commands bring everything over, and its tables have every setting of the other relays."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import msgspec
import psycopg
import pytest
import trio

from docs.generate import ROOT
from tests.bus.redis_server import RedisServer
from tests.sources.original_relay_index import make
from tests.sources.postgres_server import INSERT, Postgres, row, running
from tests.sources.rust_relay_file import add, made_file
from tests.support.keys import ALICE, BOB, CAROL
from tests.support.page_blocks import give, shell, shell_blocks
from tests.support.program import PATIENCE, environment
from tests.support.program import running as running_relay
from tests.support.program_load import publish_all
from trio_relay.config import Config, load

PAGE = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")
EVENTS = [ALICE.event("first"), BOB.event("second", tags=[["t", "ü"]]), CAROL.event("third")]
LINES = "".join(msgspec.json.encode(event).decode() + "\n" for event in EVENTS)


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def theirs(title: str) -> set[str]:
    """All names in the first column of a section's table."""
    cells = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", section(title), re.MULTILINE)
    return {name for cell in cells for name in re.findall("`([^`]+)`", cell)}


def run(
    folder: Path,
    blocks: list[str],
    settings: Mapping[str, str],
    *,
    variables: Mapping[str, str] | None = None,
    changed: Mapping[str, str] | None = None,
) -> list[str]:
    """Run the commands of a page in a folder, texts in them changed for others; gives what each block said."""
    (folder / "relay.toml").write_text('[store]\npath = "relay.db"\n', encoding="utf-8")
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    said = []
    for block in blocks:
        for old, new in (changed or {}).items():
            block = block.replace(old, new)
        done = subprocess.run(
            shell(block),
            cwd=folder,
            env=environment(settings) | {"PATH": path} | dict(variables or {}),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, (block, done.stdout, done.stderr)
        said.append(done.stdout)
    return said


def stored(folder: Path, settings: Mapping[str, str]) -> set[str]:
    """The ids of what the store has."""
    return {json.loads(line)["id"] for line in finished(folder, settings, "export").splitlines()}


def finished(folder: Path, settings: Mapping[str, str], command: str, *arguments: str) -> bytes:
    """What a command of ours has said, which must end well."""
    words = [sys.executable, "-m", "trio_relay", command, "--config", "relay.toml", *arguments]
    done = subprocess.run(
        words, cwd=folder, env=environment(settings), capture_output=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


IDS = {event.id for event in EVENTS}


@pytest.mark.slow
def test_strfry(tmp_path: Path, store_settings: dict[str, str]) -> None:
    """Of strfry's there is what it writes: each line an event, with `--fried` one member more."""
    fried = LINES.replace("}\n", ',"fried":"00000000deadbeef"}\n')
    give(tmp_path, "strfry", f"#!/bin/sh\ncase $2 in --fried) cat <<'E'\n{fried}E\n;; *) cat <<'E'\n{LINES}E\nesac\n")
    first, second = run(tmp_path, shell_blocks("docs/migrating.md", "strfry"), store_settings)
    assert first.startswith("3 events: 3 stored, ")
    assert second.startswith("3 events: 0 stored, 3 known, ")
    assert stored(tmp_path, store_settings) == IDS


@pytest.mark.slow
def test_nostr_rs_relay(tmp_path: Path, store_settings: dict[str, str]) -> None:
    with made_file(tmp_path / "nostr.db") as database:
        add(database, EVENTS)
        add(database, [ALICE.event("deleted")], hidden=True)
        database.execute("CREATE TABLE account (pubkey TEXT PRIMARY KEY, is_admitted INTEGER)")
        database.execute("INSERT INTO account VALUES (?, 1), (?, 0)", (ALICE.pubkey, BOB.pubkey))
    reading = "import sqlite3, sys\nfor (item,) in sqlite3.connect(sys.argv[1]).execute(sys.argv[2]): print(item)\n"
    give(tmp_path, "sqlite3", f'#!/bin/sh\nexec {sys.executable} -c {shlex.quote(reading)} "$@"\n')
    first, _ = run(tmp_path, shell_blocks("docs/migrating.md", "nostr-rs-relay"), store_settings)
    assert first.startswith("3 events: 3 stored, ")
    assert "1 left out: deleted or replaced there" in first
    assert stored(tmp_path, store_settings) == IDS
    assert (tmp_path / "allowed.txt").read_text(encoding="utf-8") == f"{ALICE.pubkey}\n"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running() as server:
        yield server


@pytest.mark.slow
def test_nostream(tmp_path: Path, store_settings: dict[str, str], postgres: Postgres) -> None:
    url = postgres.database(name="nostr_ts_relay")
    with psycopg.connect(url) as database:
        for event in EVENTS:
            database.execute(INSERT, (*row(event), msgspec.json.encode(event.tags).decode()))
        database.execute("UPDATE users SET pubkey = %s, is_admitted = true", [bytes.fromhex(BOB.pubkey)])
    blocks = shell_blocks("docs/migrating.md", "nostream")
    dumped, read, _ = run(tmp_path, blocks, store_settings, variables=postgres.environment)
    assert dumped.startswith("3 events: 3 stored, ")
    assert read.startswith("3 events: 0 stored, 3 known, ")
    assert stored(tmp_path, store_settings) == IDS
    assert (tmp_path / "allowed.txt").read_text(encoding="utf-8") == f"{BOB.pubkey}\n"


@pytest.mark.slow
async def test_khatru(tmp_path: Path, store_settings: dict[str, str]) -> None:
    """A relay of ours has its place, which clients cannot tell from it here."""
    give(tmp_path, "nak", f"#!/bin/sh\ncat <<'E'\n{LINES}E\n")
    (tmp_path / "theirs").mkdir()
    async with running_relay(tmp_path / "theirs") as program, program.client() as client:
        await publish_all(client, EVENTS)
        url = "ws://{}:{}".format(*program.address)
        blocks = shell_blocks("docs/migrating.md", "khatru and what is built on it")
        commands = partial(run, tmp_path, blocks, store_settings, changed={"wss://old.example": url})
        synced, imported = await trio.to_thread.run_sync(commands)
    assert "3 stored" in synced
    assert imported.startswith("3 events: 0 stored, 3 known, ")
    assert stored(tmp_path, store_settings) == IDS


def test_the_table_of_a_mirror_is_one(tmp_path: Path) -> None:
    (tables,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "relay.toml").write_text(tables, encoding="utf-8")
    assert [mirror.direction for mirror in load(tmp_path / "relay.toml", {}).mirror] == ["both"]


@pytest.mark.slow
@pytest.mark.redis
def test_the_original_relay(tmp_path: Path, store_settings: dict[str, str], node: str, prefix: str) -> None:
    """What its operators have banned is on our lists, and its event goes."""
    url = make(node, f"{prefix}-theirs", EVENTS)
    redis = RedisServer(tmp_path)
    redis.start()
    try:
        asking = f"redis-cli -s {redis.socket}"
        for kept in (
            f"hset relay:banned:pubkeys {CAROL.pubkey} spam",
            f"hset relay:banned:events {'e' * 64} worse",
            "hset relay:blocked:ips 203.0.113.7 '' 2001:db8::1 scraper",
            "sadd relay:allowed:kinds 0 1 30023",
        ):
            subprocess.run([*shlex.split(asking), *shlex.split(kept)], check=True, capture_output=True)
        _, said = run(
            tmp_path,
            shell_blocks("docs/migrating.md", "The original relay"),
            store_settings,
            changed={"http://127.0.0.1:9200/nostr-events": url, "redis-cli": asking},
        )
    finally:
        redis.close()
    assert "3 events: 2 stored, 0 known, 0 superseded, 0 ephemeral, 1 gone, 0 refused\n" in said
    assert stored(tmp_path, store_settings) == IDS - {EVENTS[2].id}
    finished(tmp_path, store_settings, "export", "--state", "state.json")
    kept = json.loads((tmp_path / "state.json").read_bytes())["lists"]
    assert kept["banned-pubkeys"][CAROL.pubkey]["reason"] == "spam"
    assert set(kept["banned-events"]) == {"e" * 64}
    assert set(kept["allowed-kinds"]) == {"0", "1", "30023"}
    with (tmp_path / "relay.toml").open("a", encoding="utf-8") as config:
        config.write('[policy]\ndenied_addresses = "file:addresses.txt"\n')
    assert set((tmp_path / "addresses.txt").read_text(encoding="utf-8").split()) == {"203.0.113.7", "2001:db8::1"}
    finished(tmp_path, store_settings, "check-config")


STRFRY = """
db dbParams.maxreaders dbParams.mapsize dbParams.noReadAhead events.maxEventSize events.rejectEventsNewerThanSeconds
events.rejectEventsOlderThanSeconds events.rejectEphemeralEventsOlderThanSeconds events.ephemeralEventsLifetimeSeconds
events.maxNumTags events.maxTagValSize relay.bind relay.port relay.nofiles relay.realIpHeader relay.info.name
relay.info.description relay.info.pubkey relay.info.contact relay.info.icon relay.info.nips
relay.maxWebsocketPayloadSize relay.maxReqFilterSize relay.autoPingSeconds relay.enableTcpKeepalive
relay.queryTimesliceBudgetMicroseconds relay.maxFilterLimit relay.maxSubsPerConnection relay.writePolicy.plugin
relay.compression.enabled relay.compression.slidingWindow relay.logging.dumpInAll relay.logging.dumpInEvents
relay.logging.dumpInReqs relay.logging.dbScanPerf relay.logging.invalidEvents relay.numThreads.ingester
relay.numThreads.reqWorker relay.numThreads.reqMonitor relay.numThreads.negentropy relay.negentropy.enabled
relay.negentropy.maxSyncEvents
"""
NOSTR_RS_RELAY = """
info.relay_url info.name info.description info.pubkey info.contact info.favicon info.relay_icon diagnostics.tracing
database.engine database.data_directory database.in_memory database.min_conn database.max_conn database.connection
database.connection_write logging.folder_path logging.file_prefix grpc.event_admission_server network.address
network.port network.remote_ip_header network.ping_interval options.reject_future_seconds limits.messages_per_sec
limits.subscriptions_per_min limits.db_conns_per_client limits.max_blocking_threads limits.max_event_bytes
limits.max_ws_message_bytes limits.max_ws_frame_bytes limits.broadcast_buffer limits.event_persist_buffer
limits.event_kind_blacklist limits.event_kind_allowlist authorization.pubkey_whitelist authorization.nip42_auth
authorization.nip42_dms verified_users.mode pay_to_relay.enabled
"""
NOSTREAM = """
info.relay_url info.name info.description info.banner info.icon info.pubkey info.self info.contact
info.terms_of_service payments paymentsProcessors nip05 nip45.enabled nip50.enabled nip50.language
nip50.maxQueryLength nip66 wot.enabled wot.seedPubkey wot.minimumFollowers wot.refreshIntervalHours
network.maxPayloadSize network.remoteIpHeader network.trustedProxies workers.count mirroring.static
limits.rateLimiter.strategy limits.invoice limits.admissionCheck limits.admin limits.connection.rateLimits
limits.connection.ipWhitelist limits.event.retention limits.event.eventId.minLeadingZeroBits
limits.event.kind.whitelist limits.event.kind.blacklist limits.event.pubkey.minBalance
limits.event.pubkey.minLeadingZeroBits limits.event.pubkey.whitelist limits.event.pubkey.blacklist
limits.event.createdAt.maxPositiveDelta limits.event.createdAt.maxNegativeDelta limits.event.content
limits.event.rateLimits limits.event.whitelists.pubkeys limits.event.whitelists.ipAddresses
limits.client.subscription.maxSubscriptions limits.client.subscription.maxFilters
limits.client.subscription.maxFilterValues limits.client.subscription.maxSubscriptionIdLength
limits.client.subscription.maxLimit limits.client.subscription.minPrefixLength limits.message.rateLimits
limits.message.ipWhitelist admin.enabled admin.sessionTtlSeconds
"""
KHATRU = """
policies.PreventTooManyIndexableTags policies.PreventLargeTags policies.RestrictToSpecifiedKinds
policies.PreventTimestampsInThePast policies.PreventTimestampsInTheFuture policies.RejectEventsWithBase64Media
policies.NoComplexFilters policies.NoEmptyFilters policies.AntiSyncBots policies.NoSearchQueries
policies.RemoveSearchQueries policies.RemoveAllButKinds policies.RemoveAllButTags policies.RejectKind04Snoopers
policies.EventIPRateLimiter policies.EventPubKeyRateLimiter policies.ConnectionRateLimiter
policies.FilterIPRateLimiter policies.ApplySaneDefaults relay.RejectEvent relay.RejectFilter relay.RejectCountFilter
relay.RejectConnection relay.OverwriteFilter relay.OverwriteResponseEvent relay.OverwriteRelayInformation
relay.StoreEvent relay.DeleteEvent relay.QueryEvents relay.CountEvents relay.OnConnect relay.OnEventSaved
relay.ServiceURL relay.WriteWait relay.PongWait relay.PingPeriod relay.MaxMessageSize
"""
ORIGINAL = """
PORT OPENSEARCH_URL OPENSEARCH_USERNAME OPENSEARCH_PASSWORD REDIS_URL NUM_RELAY_WORKERS NUM_STORAGE_WORKERS
RESTART_DELAY_MS BROADCAST_MAX_AGE ADMIN_PUBKEYS RELAY_URL RELAY_NAME RELAY_DESCRIPTION RELAY_ICON RELAY_PUBKEY
RELAY_CONTACT RELAY_BANNER DEBUG
"""


@pytest.mark.parametrize(
    ("title", "settings"),
    [
        ("strfry", STRFRY),
        ("nostr-rs-relay", NOSTR_RS_RELAY),
        ("nostream", NOSTREAM),
        ("khatru and what is built on it", KHATRU),
        ("The original relay", ORIGINAL),
    ],
)
def test_every_setting_of_theirs_has_a_row(title: str, settings: str) -> None:
    assert set(settings.split()) - theirs(title) == set()


def test_each_row_names_a_setting_of_ours_or_says_why_there_is_none() -> None:
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|$", PAGE.partition("## strfry")[2], re.MULTILINE)
    answers = [row for row in rows if row != "ours"]
    ours = "|".join(Config.__struct_fields__)
    said = re.compile(rf"no counterpart|not needed|tables `\[\[\w+]]`|NIP-86|`({ours})(\.[a-z_]+)?( = [^`]+)?`")
    assert [answer for answer in answers if said.match(answer) is None] == []
    assert len(answers) > 150
