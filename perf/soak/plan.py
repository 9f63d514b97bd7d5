"""What weather comes when: the same seed gives the same plan."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from random import Random
from typing import Final, NamedTuple

from perf.stalls.attackers import ATTACKS

BEFORE: Final = 4.0
"""Calm seconds at the beginning, in which the clients find each other."""
AFTER: Final = 4.0
"""Calm seconds at the end, before anything is judged."""
_BETWEEN: Final = 3.0
"""Seconds on average from the beginning of one spell to that of the next."""
_APART: Final = 20.0
"""Least seconds between two ends of workers: five within a minute end the whole relay, as they should."""
AT_ONCE: Final = 3
"""Spells that come together at most."""


class Spell(NamedTuple):
    """Some bad weather.

    Attributes:
        at: seconds from the beginning at which it comes.
        seconds: that it lasts.
        weather: a name out of `WEATHER`.
        dice: seeds what is left to chance within it.
    """

    at: float
    seconds: float
    weather: str
    dice: int


class Sort(NamedTuple):
    """How one weather comes.

    Attributes:
        least: seconds of a spell.
        most: seconds of a spell.
        weight: how often, beside the others.
        place: two spells of one place never come together: they would undo each other.
        needs: what must be there for it: "workers", "plugins", "opensearch", "redis"; empty: nothing.
    """

    least: float
    most: float
    weight: int
    place: str
    needs: str = ""


WEATHER: Final[dict[str, Sort]] = {
    "killed": Sort(0, 1.5, 4, "life"),
    "stopped and started": Sort(0, 1, 3, "life"),
    "standing still": Sort(0.5, 5, 3, "life"),
    "worker killed": Sort(0, 0, 4, "life", "workers"),
    "one process standing still": Sort(0.5, 5, 3, "life", "workers"),
    "full disk": Sort(2, 6, 3, "disk"),
    "no descriptors": Sort(2, 6, 3, "descriptors"),
    "clock": Sort(2, 10, 3, "clock"),
    "half-open": Sort(4, 12, 2, "half-open"),
    **{f"flood of {name}": Sort(4, 10, 1, "flood") for name in ATTACKS},
    "plugin killed": Sort(0, 0, 3, "plugin", "plugins"),
    "plugin standing still": Sort(0.5, 5, 3, "plugin", "plugins"),
    "OpenSearch killed": Sort(0, 2, 1, "opensearch", "opensearch"),
    "OpenSearch standing still": Sort(0.5, 6, 2, "opensearch", "opensearch"),
    "Redis killed": Sort(0, 3, 3, "redis", "redis"),
    "Redis standing still": Sort(0.5, 5, 3, "redis", "redis"),
}
"""Every weather. A client that does not read is the flood of "unread"; "dripped" and "bodies" never end a message."""
ENDS_A_WORKER: Final = frozenset({"worker killed"})


def names(has: Collection[str]) -> list[str]:
    """The weathers that can come where there are these: "workers", "plugins", "opensearch", "redis"."""
    can = [name for name, sort in WEATHER.items() if not sort.needs or sort.needs in has]
    # The store is a file only where it is SQLite's.
    return [name for name in can if "opensearch" not in has or name != "full disk"]


def make_plan(seed: int, seconds: float, weathers: Sequence[str]) -> list[Spell]:
    """Spells in the order in which they come, all of them over before the calm at the end.

    Args:
        seed: the same one gives the same plan.
        seconds: of the whole run.
        weathers: names, each of which comes if there is time for it.
    """
    dice = Random(seed)
    plan: list[Spell] = []
    missing = [*weathers]
    dice.shuffle(missing)
    now: list[Spell] = []
    ended = -_APART
    at = BEFORE
    while at < seconds - AFTER and weathers:
        now = [spell for spell in now if spell.at + spell.seconds > at]
        free = _free(weathers, now, is_end_too_near=at - ended < _APART)
        wanted = [name for name in missing if name in free]
        if free:
            # Twice in three times what has not come yet, so that a short run has seen as much as it can.
            weights = [WEATHER[name].weight for name in free]
            name = wanted[0] if wanted and dice.random() < 2 / 3 else dice.choices(free, weights)[0]
            sort = WEATHER[name]
            lasts = min(dice.uniform(sort.least, sort.most), seconds - AFTER - at)
            now.append(Spell(at, round(lasts, 3), name, dice.getrandbits(32)))
            plan.append(now[-1])
            missing = [one for one in missing if one != name]
            ended = at if name in ENDS_A_WORKER else ended
        at = round(at + dice.expovariate(1 / _BETWEEN), 3)  # as it is told, or what ends then might not have ended
    return plan


def _free(weathers: Sequence[str], now: Sequence[Spell], *, is_end_too_near: bool) -> list[str]:
    """Those that may come beside these spells."""
    if len(now) >= AT_ONCE:
        return []
    places = {WEATHER[spell.weather].place for spell in now}
    return [
        name
        for name in weathers
        if WEATHER[name].place not in places and not (is_end_too_near and name in ENDS_A_WORKER)
    ]
