"""What is in archives, and how a source distribution is packed so that the same files always give the same bytes."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

Members = dict[str, tuple[object, bytes]]
"""By name, in the order of the archive: all that is said of a file in there but its content, and that."""


def pack_again(archive: Path, moment: int) -> None:
    """Pack a `.tar.gz` anew: in the order of names, and with nothing of the machine and the user that made it.

    Args:
        archive: it is overwritten.
        moment: seconds since 1970, which all of it gets for its time.
    """
    packed = io.BytesIO()
    with (
        tarfile.open(archive) as old,
        gzip.GzipFile("", "wb", mtime=moment, fileobj=packed) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            content = old.extractfile(member) if member.isfile() else None
            new.addfile(_anybody(member, moment), content)
    archive.write_bytes(packed.getvalue())


def _anybody(member: tarfile.TarInfo, moment: int) -> tarfile.TarInfo:
    """Return the entry without who made it when; of its mode only whether it may be run is kept."""
    entry = tarfile.TarInfo(member.name)
    entry.type, entry.size, entry.mtime = member.type, member.size, moment
    entry.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return entry


def members(archive: Path) -> Members:
    """Read a `.tar.gz` or a `.whl`; another file is one member."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {
                info.filename: ((info.date_time, info.external_attr, info.compress_type), wheel.read(info))
                for info in wheel.infolist()
            }
    if archive.name.endswith(".tar.gz"):
        with tarfile.open(archive) as tar:
            return {member.name: (member.get_info(), _content(tar, member)) for member in tar.getmembers()}
    return {archive.name: (None, archive.read_bytes())}


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member) if member.isfile() else None
    return stream.read() if stream else b""


def differences(first: Path, second: Path) -> list[str]:
    """Compare two folders of files, and archives among them member by member.

    Returns:
        a line for each difference, none where all bytes are the same.
    """
    names = [{path.name for path in folder.iterdir()} for folder in (first, second)]
    found = [f"{name}: only one of the two builds has it" for name in sorted(names[0] ^ names[1])]
    for name in sorted(names[0] & names[1]):
        if (first / name).read_bytes() != (second / name).read_bytes():
            found += [f"{name}: {what}" for what in _inside(members(first / name), members(second / name))]
    return found


def _inside(first: Members, second: Members) -> list[str]:
    found = [f"only one has {name}" for name in sorted(first.keys() ^ second.keys())]
    for name in sorted(first.keys() & second.keys()):
        if first[name][1] != second[name][1]:
            found.append(f"another content of {name}")
        elif first[name][0] != second[name][0]:
            found.append(f"{name} is said to be {first[name][0]} and {second[name][0]}")
    return found or ["the same members, packed in another way"]


def folders_named(folder: Path, names: list[str]) -> list[str]:
    """Look for names of folders in what is in the files of a folder.

    Returns:
        a line for each member that has one.
    """
    return [
        f"{path.name}: {name} is in {member}"
        for path in sorted(folder.iterdir())
        for member, (_, content) in members(path).items()
        for name in names
        if name.encode() in content
    ]
