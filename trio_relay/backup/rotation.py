"""Which backups go once there are more than are to be kept."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

log = structlog.get_logger("trio_relay.backup")


def beyond(moments: Mapping[str, float], keep: int, made: str, now: float) -> list[str]:
    """Return which backups are older than so many of the newest, oldest first; never the one that was just made.

    One of the future was made by a clock that was ahead, and so before all that tell their time rightly: it counts as
    the oldest.

    Args:
        moments: by the names of those that are there, when they say they were made, in seconds since 1970.
        keep: how many stay.
        made: the name of the one that was just made.
        now: seconds since 1970.
    """
    ahead = sorted(name for name, moment in moments.items() if moment > now and name != made)
    if ahead:
        log.warning("backups of the future, by a clock that was ahead, count as the oldest", names=ahead)
    others = sorted(moments.keys() - {made}, key=lambda name: (moments[name] <= now, moments[name], name))
    return others[: max(len(others) + 1 - keep, 0)]
