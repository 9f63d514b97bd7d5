"""Import and export of JSONL; an import goes through the same pipeline as a client's events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import BinaryIO, Final

import msgspec
import trio

from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.event import Event
from trio_relay.nostr.kinds import is_ephemeral
from trio_relay.nostr.message import Publish, RefusedMessage, parse
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.submission import Submission
from trio_relay.policy.identity import Identity
from trio_relay.store.base import Scannable

_PARCEL: Final = 100


@dataclass(slots=True)
class ImportSummary:
    """The outcomes of an import's lines.

    Attributes:
        counts: by outcome: stored, known, superseded, ephemeral, refused.
        reasons: why lines were refused, and how many for each reason.
    """

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def reply(self, event: Event, accepted: bool, reason: str) -> None:
        """Count one answer of the pipeline."""
        if accepted and not reason:
            self.counts["ephemeral" if is_ephemeral(event.kind) else "stored"] += 1
        elif accepted:
            self.counts["known"] += 1
        elif reason.startswith("duplicate:"):
            self.counts["superseded"] += 1
        else:
            self.refuse(reason)

    def refuse(self, reason: str) -> None:
        """Count a line that was refused."""
        self.counts["refused"] += 1
        self.reasons[reason] += 1

    @property
    def store_failed(self) -> bool:
        """True if a line was refused because the store failed."""
        return any(reason.startswith(f"{Prefix.ERROR}:") for reason in self.reasons)

    @property
    def total(self) -> int:
        """The number of lines that have been answered."""
        return self.counts.total()


async def import_lines(
    relay: Relay,
    lines: Iterable[bytes],
    summary: ImportSummary,
    progress: Callable[[int], None],
    *,
    is_backup: bool = False,
) -> None:
    """Publish one event a line, as fast as the pipeline takes them; all are answered when the relay's context ends.

    Args:
        relay: the relay to publish to.
        lines: JSON objects; blank lines are passed over.
        summary: filled as answers come.
        progress: called with the bytes that were read, after each batch.
        is_backup: True if this relay exported them, so that protected events came from their authors (NIP-70).
    """
    operator = Identity(is_operator=True, brings_backup=is_backup)
    batch: list[Submission] = []
    read = 0
    for line in lines:
        read += len(line)
        if not line.strip():
            continue
        match parse(b'["EVENT",%b]' % line.strip(), max_filters=1):
            case Publish(event):
                if (refusal := relay.admission.admit(event, operator, len(line))) is None:
                    batch.append(Submission(event, summary.reply, trio.current_time(), len(line)))
                else:
                    summary.refuse(str(refusal))
            case RefusedMessage(message):  # pragma: no branch (an EVENT gives one of these two)
                summary.refuse(_reason(message))
        if len(batch) >= _PARCEL:
            await relay.publish(batch)
            batch = []
            progress(read)
            read = 0
    if batch:
        await relay.publish(batch)
    progress(read)


async def export_lines(store: Scannable, out: BinaryIO, progress: Callable[[int], None]) -> int:
    """Write every stored event as a line, in the order in which they came; returns their number.

    Args:
        store: what to export, open for reading.
        out: a binary file.
        progress: called with the number of events that were written, after each page.
    """
    total = 0
    async with aclosing(store.scan()) as pages:
        async for page in pages:
            await trio.to_thread.run_sync(out.write, b"\n".join(page) + b"\n")
            total += len(page)
            progress(len(page))
    return total


def _reason(answer: bytes) -> str:
    """Return the text of an OK or NOTICE, its last item."""
    items: list[str] = msgspec.json.decode(answer)
    return items[-1]
