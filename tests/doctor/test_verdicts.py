"""What is said of what was seen, in numbers: for what no test can make, and at the bounds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import NOW
from trio_relay.backup import BackupOptions
from trio_relay.doctor import (
    amounts,
    asking,
    bus_server,
    certificate,
    clock,
    cluster,
    disk,
    examination,
    findings,
    in_front,
    kept_backups,
    machine,
    naming,
    own_files,
    rights,
    round_trip,
    running,
    software,
    store_state,
)
from trio_relay.net import addresses, tls
from trio_relay.peers import dialing, messages
from trio_relay.store import sqlite

GIB = 2**30
HOME = Path("/var/lib/relay")


def codes(found: Iterable[findings.Finding]) -> list[str]:
    """The codes of what was found."""
    return [one.code for one in found]


def test_each_code_has_one_meaning_which_says_what_to_do() -> None:
    known = [ailment for _, group in examination.ailments() for ailment in group]
    names = [ailment.code for ailment in known]
    assert sorted(names) == sorted(set(names))
    assert len(names) > 60
    for ailment in known:
        assert ailment.code == ailment.code.lower().replace(" ", "-")
        assert ailment.meaning.endswith((".", ")")), ailment.code
        assert len(ailment.advice) > 10, ailment.code


def test_the_worst_of_findings() -> None:
    note, fault = software.INTERPRETED.found("a"), store_state.STORE_DAMAGED.found("b")
    assert findings.worst_of([]) is None
    assert findings.worst_of([note]) is findings.Severity.NOTE
    assert findings.worst_of([note, fault, note]) is findings.Severity.FAULT


SEEN = own_files.Seen(HOME / "relay.db", 500, 0o600)
FOLDER = own_files.Seen(HOME, 500, 0o700)


@pytest.mark.parametrize(
    ("folder", "file", "user", "found"),
    [
        (FOLDER, SEEN, 500, []),
        (FOLDER, SEEN, None, []),
        (FOLDER, SEEN, 501, ["store-owner"]),
        (FOLDER, replace(SEEN, mode=0o640), 500, ["store-exposed"]),
        (FOLDER, replace(SEEN, mode=0o400), 500, ["store-unwritable"]),
        (FOLDER, replace(SEEN, mode=0o400, owner=0), 0, []),
        (replace(FOLDER, mode=0o500), SEEN, 500, ["store-unwritable"]),
    ],
)
def test_who_may_do_what_with_the_store(
    folder: own_files.Seen, file: own_files.Seen, user: int | None, found: list[str]
) -> None:
    assert codes(own_files.of_store(folder, [file], user)) == found


ROOTS = rights.Held(HOME / "relay.toml", 0, 0, 0o600)
OWN = replace(ROOTS, owner=500)


@pytest.mark.parametrize(
    ("held", "groups", "may"),
    [
        (ROOTS, {500}, False),
        (ROOTS, None, False),
        (OWN, {500}, True),
        (replace(OWN, mode=0o377), {500}, False),  # the owner's rights are his, whatever others may
        (replace(ROOTS, mode=0o644), {500}, True),
        (replace(ROOTS, mode=0o640), {500}, False),
        (replace(ROOTS, mode=0o640, group=7), {500, 7}, True),
        (replace(ROOTS, mode=0o604, group=7), {500, 7}, False),
        (replace(ROOTS, mode=0o640), None, True),  # a unit may give it any group
        (replace(ROOTS, mode=0o604), None, True),
    ],
)
def test_who_may_read_a_file(held: rights.Held, groups: set[int] | None, may: bool) -> None:
    doer = rights.Doer(500, None if groups is None else frozenset(groups))
    assert rights.may(doer, held, rights.READ) == may


def test_a_folder_on_the_way_hinders_too() -> None:
    doer, shut = rights.Doer(500, frozenset({500})), rights.Held(HOME, 0, 0, 0o700)
    assert rights.hindrance(doer, [replace(shut, mode=0o711), OWN], rights.READ) is None
    assert rights.hindrance(doer, [shut, OWN], rights.READ) == shut
    assert rights.hindrance(doer, [replace(shut, mode=0o711), ROOTS], rights.READ) == ROOTS
    assert rights.hindrance(doer, [replace(shut, mode=0o755)], rights.WRITE) is not None
    assert rights.hindrance(doer, [replace(shut, owner=500)], rights.WRITE) is None
    assert rights.hindrance(doer, [], rights.READ) is None


VOLUME = disk.Volume(HOME, 50 * GIB, 1_000_000, False, "ext4")


@pytest.mark.parametrize(
    ("volume", "store_bytes", "found"),
    [
        (VOLUME, GIB, []),
        (replace(VOLUME, inodes=None, kind=""), GIB, []),
        (replace(VOLUME, free=2 * GIB), 3 * GIB, ["no-room-for-copy"]),
        (replace(VOLUME, free=GIB - 1), 3 * GIB, ["disk-low"]),
        (replace(VOLUME, free=1), 0, ["disk-full"]),
        (replace(VOLUME, free=1, inodes=0, is_read_only=True), 0, ["read-only-disk"]),
        (replace(VOLUME, inodes=12), 0, ["inodes-low"]),
        (replace(VOLUME, kind="nfs4"), 0, ["network-disk"]),
    ],
)
def test_what_a_volume_is_worth(volume: disk.Volume, store_bytes: int, found: list[str]) -> None:
    assert codes(disk.of_volume(volume, store_bytes)) == found


def test_a_disk_is_slow_by_its_median() -> None:
    assert codes(disk.of_speed([0.01, 0.01, 3.0])) == []
    (slow,) = disk.of_speed([0.06, 0.08, 0.1])
    assert slow.what == "fsync 80.0 ms median, 100.0 ms worst of 3: 12 commits a second at most."


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:40 / /var/lib rw - nfs4 server:/ rw
24 23 0:41 / /var/lib/my\\040relay rw - xfs /dev/vdb rw
25 22 0:42 / /var/library rw - tmpfs none rw
26 22 0:43 / /srv rw - ext4 /dev/vdc rw
27 22 0:44 / /srv rw - cifs //server/share rw
28 22 0:45 / /mnt/données rw - nfs4 server:/ rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/home/me", "ext4"),
        ("/var/lib", "nfs4"),
        ("/var/lib/relay", "nfs4"),
        ("/var/lib/my relay/data", "xfs"),
        ("/var/library", "tmpfs"),
        ("/srv/relay", "cifs"),
        ("/mnt/données/relay", "nfs4"),
    ],
)
def test_the_file_system_that_a_folder_is_on(folder: str, kind: str) -> None:
    assert disk.kind_of(folder, MOUNTS) == kind


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_500, "1.5 kB"),
        (999_600, "1 MB"),
        (2**30, "1.07 GB"),
        (10**15, "1e+03 TB"),
    ],
)
def test_sizes_as_people_read_them(size: int, text: str) -> None:
    assert amounts.sized(size) == text


def test_the_newest_backup_is_old_after_twice_the_time_and_ten_minutes() -> None:
    daily, none = BackupOptions(every_seconds=86_400), BackupOptions()

    def of(options: BackupOptions, newest: float | None, *, is_running: bool = True) -> list[str]:
        return codes(kept_backups.of_newest(options, newest, NOW, is_running=is_running))

    assert of(daily, NOW - 2 * 86_400 - 600) == []
    assert of(daily, NOW - 2 * 86_400 - 601) == ["backup-old"]
    assert of(daily, None) == ["backup-missing"]
    assert of(daily, None, is_running=False) == []
    assert of(none, None) == ["no-backups"]
    assert of(none, 1) == []


def test_limits_at_their_bounds() -> None:
    assert codes(machine.of_files(1_300, 200, is_running=True)) == []
    assert codes(machine.of_files(1_299, 200, is_running=False)) == ["open-files-few"]
    assert codes(machine.of_files(None, 200, is_running=True)) == []
    assert codes(machine.of_memory(GIB, GIB, GIB)) == []
    assert codes(machine.of_memory(GIB, GIB - 1, GIB - 1)) == ["memory-over-cgroup"]
    assert codes(machine.of_memory(GIB, None, GIB - 1)) == ["memory-over-machine"]
    assert codes(machine.of_memory(GIB, None, None)) == []
    assert codes(machine.of_backlog(128)) == ["backlog-cut"]
    assert codes(machine.of_backlog(1_024)) == codes(machine.of_backlog(None)) == []
    assert codes(machine.of_tasks(None, None, 5)) == codes(machine.of_tasks(10_000, 400, 5)) == []
    assert codes(machine.of_tasks(10_000, 300, 5)) == codes(machine.of_tasks(300, None, 5)) == ["processes-few"]


def test_the_cgroups_of_a_process_of_either_version() -> None:
    older = "9:name=systemd:/\n4:memory:/docker/ab\n3:cpu,cpuacct:/docker/ab\n0::/\n"
    assert list(machine.group_paths(older, "memory")) == [("memory", "/docker/ab"), ("", "/")]
    assert list(machine.group_paths("0::/system.slice/relay.service\n", "memory")) == [
        ("", "/system.slice/relay.service")
    ]


def test_how_a_program_was_built() -> None:
    assert codes(software.of_code("compiled", "batch")) == []
    assert codes(software.of_code("interpreted", "python")) == ["interpreted", "signatures-slow"]


@pytest.mark.parametrize(
    ("version", "found"),
    [
        ((3, 51, 2), ["sqlite-bug"]),
        ((3, 51, 3), []),
        ((3, 54, 1), []),
        ((3, 50, 6), ["sqlite-bug"]),
        ((3, 50, 7), []),
        ((3, 49, 9), ["sqlite-bug"]),
        ((3, 44, 6), []),
        ((3, 44, 5), ["sqlite-bug"]),
    ],
)
def test_versions_of_sqlite_with_a_bug(version: tuple[int, ...], found: list[str]) -> None:
    assert codes(software.of_sqlite(version)) == found


def test_a_clock_by_the_kernel_and_by_others() -> None:
    assert codes(clock.of_status(0x41)) == ["clock-free"]
    assert codes(clock.of_status(0x2001)) == codes(clock.of_status(None)) == []
    assert codes(clock.of_date(formatdate(NOW + 60, usegmt=True), NOW)) == []
    (off,) = clock.of_date(formatdate(NOW + 3_600, usegmt=True), NOW)
    assert off.what.startswith("It is 60 minutes behind the server's, which says ")
    assert "ahead of" in next(clock.of_date(formatdate(NOW - 3_600, usegmt=True), NOW)).what


@given(st.text())
def test_a_date_that_is_none_says_nothing_of_the_clock(text: str) -> None:
    assert set(codes(clock.of_date(text, NOW))) <= {"clock-off"}


@pytest.mark.parametrize(("days", "left"), [(90, 14), (6, 1)])
def test_a_certificate_ends_soon_when_little_of_its_term_is_left(days: int, left: int) -> None:
    term = tls.Term(NOW, NOW + days * 86_400)
    assert codes(certificate.of_end(term, term.ends - left * 86_400)) == []
    assert codes(certificate.of_end(term, term.ends - left * 86_400 + 1)) == ["certificate-ends"]
    assert codes(certificate.of_end(term, term.ends)) == ["certificate-ended"]


def test_where_a_name_leads() -> None:
    here, there = "192.0.2.1", "2001:db8::1"

    def of(own: list[str], refusing: list[str]) -> list[str]:
        return codes(naming.of_addresses("relay.example", [here, there], own, refusing))

    assert of([here], []) == []
    assert of([here], [there]) == ["name-partly-dead"]
    assert of([here], [here, there]) == []  # which the round trip tells
    assert of([], []) == ["name-elsewhere"]


@pytest.mark.parametrize(
    ("url", "is_for_others", "found"),
    [
        ("", False, []),
        ("", True, ["url-missing"]),
        ("wss://relay.example/", True, []),
        ("ws://relay.example/", True, ["url-plain"]),
        ("ws://abc.onion/", True, []),
        ("ws://localhost:7777/", False, []),
        ("ws://localhost:7777/", True, ["url-local"]),
    ],
)
def test_a_url_as_it_is_written(url: str, is_for_others: bool, found: list[str]) -> None:
    parsed = dialing.parse_url(url) if url else None
    assert codes(naming.of_url(parsed, is_for_others=is_for_others)) == found


DOCUMENT = asking.Answered(200, {}, b'{"name": "relay", "version": "1"}')
ACCEPTED = messages.Receipt("a" * 64, True)
WELL = round_trip.Talk(document=DOCUMENT, asked=0.1, receipt=ACCEPTED, delivered=0.1)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"unreached": "Connection refused"}, ["url-unreachable"]),
        ({"unread": "no answer"}, ["url-unreachable"]),
        ({"unreached": "expired", "is_untrusted": True}, ["url-untrusted"]),
        ({"document": asking.Answered(421, {}, b"")}, ["host-refused"]),
        ({"document": asking.Answered(200, {}, b"<html>")}, ["no-document"]),
        ({"document": asking.Answered(200, {}, b"[]")}, ["no-document"]),
        ({"document": asking.Answered(502, {}, b"{}")}, ["no-document"]),
        ({"asked": None, "lost": "status 200"}, ["no-websocket"]),
        ({"asked": None, "lost": "status 429"}, ["no-place"]),
        ({"asked": None, "lost": "status 503"}, ["no-place"]),
        ({"asked": None, "lost": "status 503", "document": asking.Answered(503, {}, b"")}, ["no-websocket"]),
        ({"asked": None}, ["request-failed"]),
        ({"asked": None, "closed": "error: the store is away"}, ["request-failed"]),
        ({"asked": None, "closed": "restricted: members only"}, []),
        ({"receipt": None}, ["event-failed"]),
        ({"receipt": messages.Receipt("a" * 64, False, "error: disk full")}, ["event-failed"]),
        ({"receipt": messages.Receipt("a" * 64, False, "restricted: members only")}, []),
        ({"delivered": None}, ["event-lost"]),
        ({"asked": 1.5}, ["answers-slow"]),
        ({"delivered": 1.5}, ["answers-slow"]),
    ],
)
def test_how_a_round_trip_went(changes: dict[str, object], found: list[str]) -> None:
    talk = replace(WELL, **changes)  # type: ignore[arg-type]  # each is of its field
    assert codes(round_trip.of_talk(talk, "wss://relay.example/", is_local=False)) == found


def test_two_relays_are_told_apart_by_what_they_say_of_themselves() -> None:
    newer = replace(WELL, document=asking.Answered(200, {}, b'{"name": "relay", "version": "2"}'))
    other = replace(WELL, document=asking.Answered(200, {}, b'{"name": "another", "version": "1"}'))
    nothing = replace(WELL, document=None)
    assert codes(round_trip.of_both(WELL, newer, "url")) == []
    assert codes(round_trip.of_both(WELL, nothing, "url")) == []
    assert codes(round_trip.of_both(WELL, other, "url")) == ["other-relay"]


@pytest.mark.parametrize(
    ("seen", "own", "found"),
    [
        ("203.0.113.5", "203.0.113.5", []),
        ("93.184.216.34", "10.0.0.5", []),  # as a router has it
        ("172.17.0.1", "203.0.113.5", ["proxy-untrusted"]),
        ("127.0.0.1", "203.0.113.5", ["proxy-untrusted"]),
        ("127.0.0.1", "127.0.0.1", []),
        ("10.9.9.9", "203.0.113.5", ["proxy-silent"]),
        ("unnamed", "203.0.113.5", ["proxy-silent"]),
        ("unix", "203.0.113.5", ["proxy-silent"]),
        ("192.0.2.77", "203.0.113.5", ["address-forged"]),
        ("192.0.2.77", "10.9.9.9", []),  # where we are a trusted proxy ourselves
        (None, "203.0.113.5", []),
    ],
)
def test_which_address_the_relay_takes_for_ours(seen: str | None, own: str, found: list[str]) -> None:
    assert codes(in_front.of_address(seen, own, addresses.Proxies(["10.9.9.9"]))) == found


def test_another_version_runs_than_is_installed() -> None:
    assert codes(in_front.of_version("0.0.1")) == ["version-differs"]
    assert codes(in_front.of_version(None)) == []


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"status": "ok"}', []),
        (b'{"status": "failing", "reason": "disk full"}', ["unhealthy"]),
        (b'{"status": "degraded", "reason": "no backup was made"}', ["degraded"]),
        (b"<html>", []),
        (b"[]", []),
    ],
)
def test_what_the_relay_says_of_its_health(body: bytes, found: list[str]) -> None:
    assert codes(running.of_health(asking.Answered(200, {}, body))) == found


def test_mirrors_that_are_away() -> None:
    mirrors: list[dict[str, object]] = [
        {"url": "wss://a/", "state": "live", "away_since": None},
        {"url": "wss://b/", "state": "connecting", "away_since": NOW - 600, "fault": "Connection refused"},
        {"url": "wss://c/", "state": "catching up", "away_since": NOW - 7_200},
    ]
    (away,) = running.of_mirrors(mirrors, NOW)
    assert away.what == "wss://b/ has been away for 10 minutes: Connection refused."


def test_connections_that_found_no_room() -> None:
    page = 'trio_relay_accepts_failed_total{error="EMFILE"} 3.0\ntrio_relay_accepts_failed_total{error="ENFILE"} 0.0\n'
    (failed,) = running.of_metrics(page)
    assert failed.what == "EMFILE 3 times."
    assert codes(running.of_metrics("trio_relay_connections 3.0\n")) == []


def test_a_service_without_a_watchdog() -> None:
    assert codes(running.of_service({"INVOCATION_ID": "a"})) == ["no-watchdog"]
    assert codes(running.of_service({"INVOCATION_ID": "a", "WATCHDOG_USEC": "30000000"})) == []
    assert codes(running.of_service({})) == []


def test_a_file_as_it_looks() -> None:
    well = sqlite.Glance(7, (), 0)
    assert codes(store_state.of_glance(well, HOME)) == []
    assert codes(store_state.of_glance(replace(well, damage=None), HOME)) == []
    worst = sqlite.Glance(6, ("row 1 missing from index",), 2**31)
    assert codes(store_state.of_glance(worst, HOME)) == ["store-damaged", "store-older", "log-large"]


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({}, []),
        ({"maxmemory": "0", "maxmemory_policy": "noeviction", "rdb_last_bgsave_status": "ok"}, []),
        ({"maxmemory": "1000", "maxmemory_policy": "volatile-lru"}, ["bus-small"]),
        ({"maxmemory": str(2**30), "maxmemory_policy": "allkeys-lru"}, ["bus-evicts"]),
        ({"rdb_last_bgsave_status": "err"}, ["bus-refuses"]),
    ],
)
def test_what_a_server_of_the_bus_says(facts: dict[str, str], found: list[str]) -> None:
    assert codes(bus_server.of_server(facts, 2**28)) == found


def test_a_cluster_by_its_answers() -> None:
    assert codes(cluster.of_version({"version": {"number": "2.19.0", "distribution": "opensearch"}})) == []
    assert codes(cluster.of_version({"version": {"number": "1.3.0", "distribution": "opensearch"}})) == [
        "cluster-strange"
    ]
    assert codes(cluster.of_version({"version": {"number": "8.1.0"}})) == ["cluster-strange"]
    assert codes(cluster.of_health({"status": "green"})) == []
    assert codes(cluster.of_health({"status": "yellow"})) == ["cluster-yellow"]
    assert codes(cluster.of_health({"status": "red"})) == ["cluster-red"]
