"""The seven fields of an event, as msgspec decodes and encodes them; all else about events is in `event`.

This module stays interpreted: of a compiled class msgspec would see `list` where `list[list[str]]` is written, and take
tags that hold anything.
"""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, frozen=True, gc=False):
    """A signed event as NIP-01 defines it; its fields stand in the order in which they are sent.

    Decoding checks types only. `check_shape` looks at the values, `id_matches` at the id, `schnorr` at the signature.
    """

    id: str
    pubkey: str
    created_at: int
    kind: int
    tags: list[list[str]]
    content: str
    sig: str


encode = msgspec.json.Encoder().encode
"""An event to the JSON that is stored and sent: UTF-8, one line, `{"id":"` first. Never the bytes that came in."""
decode = msgspec.json.Decoder(Event).decode
"""JSON of one event to `Event`; raises `msgspec.DecodeError`."""
