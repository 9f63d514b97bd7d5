"""The disk that the store is on: its room, its file system, and how long it takes to have something safe on it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import trio

from trio_relay.doctor.amounts import sized
from trio_relay.doctor.findings import Ailment, Chart, Finding, Severity
from trio_relay.doctor.patient import Patient
from trio_relay.private_files import open_private, remove_unfinished, unfinished

DISK_FULL: Final = Ailment(
    "disk-full",
    Severity.FAULT,
    "There is hardly any room left where the store is. Once there is none, every event is answered `error:`.",
    "Make room: fewer backups (backup.keep) and other files first, since all that is done to the store needs some, too;"
    " then retention (docs/keeping.md), trio-relay compact, or a larger disk.",
)
DISK_LOW: Final = Ailment(
    "disk-low",
    Severity.WARNING,
    "There is little room left where the store is.",
    "Make room before it is needed: trio-relay compact, fewer backups, retention (docs/keeping.md), a larger disk.",
)
NO_ROOM_FOR_COPY: Final = Ailment(
    "no-room-for-copy",
    Severity.NOTE,
    "There is less room than the store itself takes. A backup, a repair and `compact` of a relay that is stopped make"
    " a copy, and would fail.",
    "Have backups go to another disk (backup.folder), or make room.",
)
INODES_LOW: Final = Ailment(
    "inodes-low",
    Severity.FAULT,
    "The file system has hardly any inodes left: no file can be made there, whatever room there is.",
    "Find the folder with very many small files, and remove them: df -i, du --inodes -s /*.",
)
READ_ONLY_DISK: Final = Ailment(
    "read-only-disk",
    Severity.FAULT,
    "The file system of the store can be read only: a container without a volume, a service that may not write there,"
    " or a disk with errors, after which the system lets nobody write.",
    "Look into dmesg for errors of the disk. In a container mount a volume at the folder; under systemd name it by"
    " StateDirectory or ReadWritePaths.",
)
NETWORK_DISK: Final = Ailment(
    "network-disk",
    Severity.FAULT,
    "The store is on a file system of the network. SQLite's WAL mode needs memory that processes share, and locks that"
    " hold; there are neither, and the file may be damaged.",
    "Move the store to a disk of this machine, or a block device of the network; backups may go to such a file system.",
)
DISK_SLOW: Final = Ailment(
    "disk-slow",
    Severity.WARNING,
    "It takes long until something is safe on the disk (fsync). Each commit waits for that before its events are"
    " acknowledged, so that this bounds how many there are a second.",
    'Look for what else writes to the disk (iostat -x 1), or take a faster one. store.synchronous = "normal" does not'
    " wait, and a power cut may then lose the last moments.",
)

_MIB: Final = 2**20
_FULL: Final = 128 * _MIB
_LOW: Final = 1_024 * _MIB
_FEW_INODES: Final = 1_000
_SLOW_SECONDS: Final = 0.05
"""A disk that turns takes up to 0.03; more is a burdened one."""
WRITES: Final = 20
_WRITE_SECONDS: Final = 2.0
"""After so long no further write is begun."""
_PAGE: Final = bytes(4_096)
_OF_NETWORK: Final = frozenset(
    {
        *("afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "glusterfs"),
        *("gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"),
    }
)
_MOUNTS: Final = Path("/proc/self/mountinfo")
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
"""How it writes a blank and its like."""


@dataclass(frozen=True, slots=True)
class Volume:
    """The file system that a folder is on.

    Attributes:
        folder: which one.
        free: bytes that the relay's user may still write.
        inodes: that are free; None: this file system counts none.
        is_read_only: nothing can be written.
        kind: its type, such as ext4; empty if that is not told.
    """

    folder: Path
    free: int
    inodes: int | None
    is_read_only: bool
    kind: str


# Verdicts.


def of_volume(volume: Volume, store_bytes: int) -> Iterator[Finding]:
    """What is wrong with the file system of a store that takes so many bytes."""
    room = f"{sized(volume.free)} are free at {volume.folder}"
    if volume.is_read_only:
        yield READ_ONLY_DISK.found(f"{volume.folder} cannot be written to.")
    elif volume.free < _FULL:
        yield DISK_FULL.found(f"{room}.")
    elif volume.free < _LOW:
        yield DISK_LOW.found(f"{room}.")
    elif volume.free < store_bytes:
        yield NO_ROOM_FOR_COPY.found(f"{room}, and the store has {sized(store_bytes)}.")
    if volume.inodes is not None and volume.inodes < _FEW_INODES and not volume.is_read_only:
        yield INODES_LOW.found(f"{volume.inodes} inodes are free at {volume.folder}.")
    if volume.kind in _OF_NETWORK:
        yield NETWORK_DISK.found(f"{volume.folder} is on {volume.kind}.")


def of_speed(seconds: list[float]) -> Iterator[Finding]:
    """What is wrong with a disk on which writes took so long each; at least one."""
    if median(seconds) > _SLOW_SECONDS:
        yield DISK_SLOW.found(f"{_speed(seconds)}: {1 / median(seconds):.0f} commits a second at most.")


def kind_of(folder: str, mounts: str) -> str:
    """The type of the file system that a folder is on.

    Args:
        folder: absolute, without links.
        mounts: as Linux has it in `mountinfo` (proc_pid_mountinfo(5)); the last of those at one place counts.
    """
    best, kind = "", ""
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        place = _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), fields.split()[4])
        if len(place) >= len(best) and f"{folder}/".startswith(f"{place.rstrip('/')}/"):
            best, kind = place, rest.split()[0]
    return kind


def _speed(seconds: list[float]) -> str:
    return f"fsync {1_000 * median(seconds):.1f} ms median, {1_000 * max(seconds):.1f} ms worst of {len(seconds)}"


# Looks.


async def look_at_disk(patient: Patient, chart: Chart) -> None:
    """Look at the file system of the store, and write a little beside it, of which nothing stays."""
    store = patient.store_path
    if store is None:
        chart.facts.append("the store is no file")
        return
    folder = _nearest(store.absolute().parent)
    volume = await trio.to_thread.run_sync(_volume, folder, abandon_on_cancel=True)
    size = store.stat().st_size if store.is_file() else 0
    chart.facts.append(f"{volume.kind}, {sized(volume.free)} free".removeprefix(", "))
    chart.add(of_volume(volume, size))
    if volume.is_read_only or folder != store.absolute().parent:
        return
    try:
        seconds = await trio.to_thread.run_sync(_time_writes, store, abandon_on_cancel=True)
    except OSError as error:
        chart.facts.append(f"nothing can be written there: {error.strerror}")
        return
    chart.facts.append(_speed(seconds))
    chart.add(of_speed(seconds))


def _nearest(folder: Path) -> Path:
    """The folder itself, or of those that lead to it the nearest that is there."""
    return next(one for one in (folder, *folder.parents) if one.is_dir())


def _volume(folder: Path) -> Volume:
    found = os.statvfs(folder)
    try:
        kind = kind_of(str(folder.resolve()), _MOUNTS.read_text(errors="replace"))
    except OSError:
        kind = ""
    inodes = found.f_favail if found.f_files else None
    return Volume(folder, found.f_bavail * found.f_frsize, inodes, bool(found.f_flag & os.ST_RDONLY), kind)


def _time_writes(store: Path) -> list[float]:
    """Seconds that each of a few writes of a page took until it was on the disk."""
    seconds: list[float] = []
    tried = store.with_name(f"{store.name}.doctor")
    remove_unfinished(tried)  # left by one that was interrupted, or took too long
    with unfinished(tried) as part:
        descriptor = open_private(part)
        try:
            while len(seconds) < WRITES and sum(seconds) < _WRITE_SECONDS:
                began = time.perf_counter()
                os.pwrite(descriptor, _PAGE, len(seconds) * len(_PAGE))
                os.fsync(descriptor)
                seconds.append(time.perf_counter() - began)
        finally:
            os.close(descriptor)
    return seconds
