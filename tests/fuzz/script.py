"""What a hostile client does on one connection, written as bytes: so one script serves examples, runs and the corpus.

A step is a byte that tells its kind, two bytes of length and its payload. Any bytes are a script: a kind is taken
modulo their number, and a payload may be cut short by the end. What steps make is sent at once, or, where the first
bit of the kind is set, together with what the next step makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from hypothesis import strategies as st

from tests.support.wire import CLOSE, CONT, PING, PONG, TEXT, deflated, frame

_HEAD: Final = 3
_JOINED: Final = 0x80
_DEFLATED: Final = 0x40
MOST_STEPS: Final = 60
"""More are passed over: a run with thousands of them would find no more, and take long."""


class Kind(IntEnum):
    """What a step does with its payload."""

    SAY = 0
    """A text message."""
    KNOWN = 1
    """A message of the vocabulary, by the payload's first byte; behind that its changes, see `changed`."""
    FRAGMENTS = 2
    """A text message in fragments of as many bytes as the payload's first byte says, with pings between them."""
    DEFLATED = 3
    """A text message, deflated."""
    CONTROL = 4
    """A ping, a pong or a close frame, by the payload's first byte."""
    ODD = 5
    """A frame whose first byte, mask and way of telling its length are those of the payload's first two bytes."""
    RAW = 6
    """Bytes as they are."""
    CUT = 7
    """No bytes: of what waits to be sent, the part before a place is sent now."""
    REST = 8
    """No bytes: the relay is given time to do what it has been asked."""
    PROVE = 9
    """Authenticate the stranger's own key, if there was a challenge."""
    KNOWN_DEFLATED = 10
    """As `KNOWN`, deflated."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step."""

    kind: Kind
    payload: bytes = b""
    is_joined: bool = False
    """What it makes is sent together with what comes after it."""


def written(steps: Iterable[Step]) -> bytes:
    """The script of these steps."""
    return b"".join(
        bytes([step.kind | _JOINED * step.is_joined]) + len(step.payload).to_bytes(2) + step.payload for step in steps
    )


def read(script: bytes) -> Iterator[Step]:
    """The steps of any bytes, `MOST_STEPS` at most."""
    at = 0
    for _ in range(MOST_STEPS):
        if at >= len(script):
            return
        first, length = script[at], int.from_bytes(script[at + 1 : at + _HEAD])
        payload = script[at + _HEAD : at + _HEAD + length]
        at += _HEAD + length
        yield Step(Kind((first & ~_JOINED) % len(Kind)), payload, bool(first & _JOINED))


def changed(text: bytes, changes: bytes) -> bytes:
    """The text with bytes cut out and put in: a change is two bytes of place, one that tells how many bytes go, one
    that tells how many come, and those."""
    at = 0
    while at + 4 <= len(changes):
        place = int.from_bytes(changes[at : at + 2]) % (len(text) + 1)
        gone, come = changes[at + 2], changes[at + 3]
        text = text[:place] + changes[at + 4 : at + 4 + come] + text[place + gone :]
        at += 4 + come
    return text


def plain_bytes_of(step: Step, vocabulary: Sequence[bytes]) -> bytes:
    """What a step says where there are no frames: words, whole or changed, and any bytes."""
    if step.kind in (Kind.KNOWN, Kind.KNOWN_DEFLATED):
        word = step.payload[0] if step.payload else 0
        return changed(vocabulary[word % len(vocabulary)], step.payload[1:])
    return b"" if step.kind in (Kind.CUT, Kind.REST, Kind.PROVE) else step.payload


def frame_of(step: Step, vocabulary: Sequence[bytes]) -> bytes:
    """The same in WebSocket frames, but for `Kind.RAW`."""
    payload = step.payload
    first, rest = payload[0] if payload else 0, payload[1:]
    match step.kind:
        case Kind.SAY:
            return frame(TEXT, payload)
        case Kind.KNOWN:
            return frame(TEXT, changed(vocabulary[first % len(vocabulary)], rest))
        case Kind.KNOWN_DEFLATED:
            return frame(_DEFLATED | TEXT, deflated(changed(vocabulary[first % len(vocabulary)], rest)))
        case Kind.FRAGMENTS:
            return _in_fragments(rest, max(1, first), with_pings=first % 2 == 1)
        case Kind.DEFLATED:
            return frame(_DEFLATED | TEXT, deflated(payload))
        case Kind.CONTROL:
            return frame((PING, PONG, CLOSE)[first % 3], rest)
        case Kind.ODD:
            return _odd(first, rest[0] if rest else 0, rest[1:])
        case Kind.RAW:
            return payload
        case _:
            return b""


def _in_fragments(text: bytes, size: int, *, with_pings: bool) -> bytes:
    pieces = [text[place : place + size] for place in range(0, len(text), size)] or [b""]
    last = len(pieces) - 1
    made = [frame(CONT if place else TEXT, piece, fin=place == last) for place, piece in enumerate(pieces)]
    return (frame(PING, b"?") if with_pings else b"").join(made)


def _odd(first: int, form: int, payload: bytes) -> bytes:
    """A frame that may break any rule; the bits of `form`: unmasked, 2 or 8 bytes of length, a length that is a lie."""
    mask_bit = 0 if form & 1 else 0x80
    length = len(payload) + (form >> 4 if form & 8 else 0)
    if form & 2:
        told = bytes([mask_bit | 126]) + length.to_bytes(2)
    elif form & 4:
        told = bytes([mask_bit | 127]) + length.to_bytes(8)
    else:
        told = bytes([mask_bit | length & 0x7F])
    return bytes([first]) + told + (b"" if form & 1 else bytes(4)) + payload


def pieces(
    script: bytes, vocabulary: Sequence[bytes], put: Callable[[Step, Sequence[bytes]], bytes] = plain_bytes_of
) -> list[bytes]:
    """What a script puts on the wire, as it is cut, where nothing depends on answers."""
    found, waiting = list[bytes](), b""
    for step in read(script):
        if step.kind is Kind.CUT:
            place = int.from_bytes(step.payload[:2]) % (len(waiting) + 1)
            found.append(waiting[:place])
            waiting = waiting[place:]
            continue
        waiting += put(step, vocabulary)
        if not step.is_joined:
            found.append(waiting)
            waiting = b""
    return [piece for piece in [*found, waiting] if piece]


def changes(most: int = 2) -> st.SearchStrategy[bytes]:
    """Changes of a text, see `changed`."""
    values = st.sampled_from(
        [
            b"",
            b"null",
            b"-1",
            b"1e400",
            b"9" * 25,
            b'"',
            b'"\\ud800"',
            b"\\",
            b"[",
            b"]",
            b"{}",
            b"\xff",
            b"\x00",
            b",,",
        ]
    ) | st.binary(max_size=4)
    one = st.builds(
        lambda place, gone, come: place.to_bytes(2) + bytes([gone, len(come)]) + come,
        st.integers(0, 600),
        st.integers(0, 12),
        values,
    )
    return st.lists(one, max_size=most).map(b"".join)


def whole_words(words: int) -> st.SearchStrategy[Step]:
    """Steps that say a word of the vocabulary, of so many, as it is."""
    kinds = st.sampled_from([Kind.KNOWN, Kind.KNOWN, Kind.KNOWN_DEFLATED])
    return st.builds(Step, kinds, st.integers(0, words - 1).map(lambda word: bytes([word])), st.booleans())


def scripts(words: int) -> st.SearchStrategy[bytes]:
    """Scripts that begin with some whole words, since much of what follows ends a connection."""
    begin = st.lists(whole_words(words), max_size=4)
    return st.builds(lambda first, rest: written([*first, *rest]), begin, st.lists(steps(words), max_size=30))


def steps(words: int, texts: st.SearchStrategy[bytes] | None = None) -> st.SearchStrategy[Step]:
    """Steps of all kinds, most of which say something.

    Args:
        words: how many messages there are in the vocabulary.
        texts: what else is said.
    """
    said = texts if texts is not None else st.binary(max_size=40)
    known = st.builds(lambda word, changes: bytes([word]) + changes, st.integers(0, words - 1), changes())
    size = st.integers(1, 60).map(lambda number: bytes([number]))
    bodies = {
        Kind.SAY: said,
        Kind.FRAGMENTS: st.builds(bytes.__add__, size, said),
        Kind.DEFLATED: said,
        Kind.CONTROL: st.builds(bytes.__add__, st.binary(min_size=1, max_size=1), st.binary(max_size=126)),
        Kind.ODD: st.builds(bytes.__add__, st.binary(min_size=2, max_size=2), st.binary(max_size=12)),
        Kind.RAW: st.binary(max_size=20),
        Kind.CUT: st.integers(0, 400).map(lambda place: place.to_bytes(2)),
        Kind.REST: st.just(b""),
        Kind.PROVE: st.just(b""),
    }
    others = [st.builds(Step, st.just(kind), body, st.booleans()) for kind, body in bodies.items()]
    kinds = st.sampled_from([Kind.KNOWN, Kind.KNOWN, Kind.KNOWN_DEFLATED])
    usual = whole_words(words)
    mutated = st.builds(Step, kinds, known, st.booleans())
    return st.one_of(*[usual] * 8, *[mutated] * 4, *others)
