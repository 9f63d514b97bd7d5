"""What the relay's user may do with files that others have made: told by owner, group and mode, whoever runs doctor.

Root may read everything, and would not see it by trying. Who has more rights than these tell (capabilities, ACLs) is
believed to have them.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trio_relay.doctor.findings import Ailment, Finding, Severity
from trio_relay.doctor.patient import Patient

UNREADABLE: Final = Ailment(
    "unreadable",
    Severity.FAULT,
    "The relay's user may not read a file that the relay goes by. What was read at the start stays in force; a reload"
    " is refused, and so is the next start. It comes of editing, copying or renewing the file as root.",
    "Give it to the relay's user or its group: chown, chgrp and chmod g+r; look at the folders that lead to it, too.",
)

READ: Final = stat.S_IROTH
"""To read a file."""
WRITE: Final = stat.S_IWOTH | stat.S_IXOTH
"""To make files in a folder."""
_REACH: Final = stat.S_IXOTH
"""To go through a folder."""
_OVERRIDING: Final = 0b110
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH (capabilities(7))."""
_ACL: Final = "system.posix_acl_access"


@dataclass(frozen=True, slots=True)
class Doer:
    """Who is to read and write.

    Attributes:
        user: the number of the user, not root's.
        groups: of the process; None: it does not run, and its unit may give it any.
    """

    user: int
    groups: frozenset[int] | None


@dataclass(frozen=True, slots=True)
class Held:
    """A file or a folder, and what its owner, its group and others may do with it."""

    path: Path
    owner: int
    group: int
    mode: int


def may(doer: Doer, held: Held, rights: int) -> bool:
    """Whether somebody has these rights, which are written as those of others.

    The first of owner, group and others that fits decides alone (path_resolution(7)).
    """
    if held.owner == doer.user:
        return held.mode >> 6 & rights == rights
    in_group = held.mode >> 3 & rights == rights
    if doer.groups is None:
        return in_group or held.mode & rights == rights
    return in_group if held.group in doer.groups else held.mode & rights == rights


def hindrance(doer: Doer, way: Sequence[Held], rights: int) -> Held | None:
    """What keeps somebody from a file or folder: it itself, or one of the folders that lead to it; None: nothing.

    Args:
        doer: who wants to.
        way: the folders, the outermost first, and in the end what they lead to.
        rights: that are wanted there.
    """
    wanted = [*((one, _REACH) for one in way[:-1]), *((one, rights) for one in way[-1:])]
    return next((one for one, needed in wanted if not may(doer, one, needed)), None)


def doer_of(patient: Patient) -> Doer | None:
    """As whom the relay reads and writes; None where that is root, who may, or is not known."""
    if not patient.user:
        return None
    if patient.pid is None:
        return Doer(patient.user, None)
    status = patient.of_process("status") or ""
    lines = dict(re.findall(r"^(CapEff|Gid|Groups):\s*(.*)$", status, re.MULTILINE))
    if "Gid" not in lines or int(lines.get("CapEff", "0"), 16) & _OVERRIDING:
        return None
    return Doer(patient.user, frozenset(map(int, f"{lines['Gid']} {lines.get('Groups', '')}".split())))


def way_to(path: Path) -> list[Held]:
    """The folders that lead to a path, and what lies there; empty where that cannot be told, or an ACL has a say."""
    real = Path(os.path.realpath(path))
    try:
        held = []
        for one in (*reversed(real.parents), real):
            if _ACL in os.listxattr(one):
                return []
            found = one.stat()
            held.append(Held(one, found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)))
    except OSError:  # it is not there, which is told elsewhere, or its file system has no attributes
        return []
    return held


def of_unreadable(patient: Patient, paths: Iterable[Path]) -> Iterator[Finding]:
    """Files that the relay's user may not read."""
    if (doer := doer_of(patient)) is None:
        return
    for path in paths:
        if (blocked := hindrance(doer, way_to(path), READ)) is not None:
            yield UNREADABLE.found(f"{path}: user {doer.user} may not, by {told(blocked)}.")


def told(held: Held) -> str:
    """What hinders, for people."""
    return f"{held.path}, user {held.owner}, group {held.group}, mode {held.mode:04o}"
