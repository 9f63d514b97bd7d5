"""What a keeper and its members say to each other over a `Link`, as msgpack: events travel as they are kept in memory.

member                          keeper
save      events             →
          ← changed             each commit, in order: what others added, which numbers end here
          ← saved               what became of the events
spread    ephemeral events   →
          ← ephemeral           those of others
follow    whether it follows →
          ← follows             from then on `changed` tells what was removed, too
          ← behind              it was not told of some commits: to be read from the file

remove, forget, sweep, put, probe   questions, see `Keeper.calls`
"""

from __future__ import annotations

from typing import Final

import msgspec

from trio_relay.nostr.event import Event
from trio_relay.store.base import Saved

OUTCOMES: Final = tuple(Saved)
"""An outcome is told by its place here."""
GONE: Final = "the relay stops"
"""What is said of events that were not stored since one side has gone."""


class Save(msgspec.Struct, array_like=True):
    """A batch to be saved; `number` is the member's own, and comes back."""

    number: int
    events: list[msgspec.Raw]


class SavedBatch(msgspec.Struct, array_like=True):
    """What became of a batch: a place in `OUTCOMES` for each event; or why none was stored."""

    number: int
    outcomes: bytes
    error: str = ""


class Follow(msgspec.Struct, array_like=True):
    """Whether a member follows; `number` is its own, and comes back."""

    number: int
    follows: bool


class Changed(msgspec.Struct, array_like=True):
    """One commit.

    Attributes:
        newest: the last number of an event up to this commit; a member has heard of all up to there.
        added: events of others, in the order of their numbers.
        own: ids of the member's own events that this commit added, where it follows.
        removed: (created_at, id) of what is gone, where it follows.
    """

    newest: int
    added: list[msgspec.Raw]
    own: list[str] = []
    removed: list[tuple[int, str]] = []


class Behind(msgspec.Struct, array_like=True):
    """Commits up to a number were not told; the member's own events among them had their outcomes."""

    newest: int
    own: list[str]


encode: Final = msgspec.msgpack.Encoder().encode
event_of: Final = msgspec.msgpack.Decoder(Event).decode
events_of: Final = msgspec.msgpack.Decoder(list[Event]).decode
raws_of: Final = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
save_of: Final = msgspec.msgpack.Decoder(Save).decode
saved_of: Final = msgspec.msgpack.Decoder(SavedBatch).decode
changed_of: Final = msgspec.msgpack.Decoder(Changed).decode
behind_of: Final = msgspec.msgpack.Decoder(Behind).decode
follow_of: Final = msgspec.msgpack.Decoder(Follow).decode
seqs_of: Final = msgspec.msgpack.Decoder(list[int]).decode
ids_of: Final = msgspec.msgpack.Decoder(list[str]).decode
metadata_of: Final = msgspec.msgpack.Decoder(dict[str, bytes | None]).decode
number_of: Final = msgspec.msgpack.Decoder(int).decode
