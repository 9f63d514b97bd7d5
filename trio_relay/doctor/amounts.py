"""Times and sizes as a person reads them, for all that doctor tells (pure)."""

from __future__ import annotations


def lasting(seconds: float) -> str:
    """So many seconds, in the largest unit of which there are two."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def sized(size: float) -> str:
    """So many bytes, with three digits of the unit that fits."""
    if size < 1_000:
        return f"{size:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        size /= 1_000
        if size < 999.5:  # what is more is rounded to four digits
            return f"{size:.3g} {unit}"
    size /= 1_000
    return f"{size:.3g} TB"
