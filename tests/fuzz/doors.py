"""The doors by which foreign bytes come in, and what holds at each of them whatever comes.

`feed(door, data)` gives a door any bytes, and raises if what must hold does not. Properties call it with what
Hypothesis makes, `python -m tests.fuzz.atheris` with what a guided run makes, and `corpus` has what once was a fault.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st

from tests.fuzz import beside, frames, http, peers, plugins, preambles, stranger, texts
from tests.fuzz.script import Kind, Step, changed, changes, scripts, written
from trio_relay.nostr import event as events
from trio_relay.nostr.negentropy import protocol


@dataclass(frozen=True, slots=True)
class FuzzedDoor:
    """One door.

    Attributes:
        feed: gives it any bytes; raises if what must hold does not.
        words: valid inputs, or what scripts for it are made of.
        takes_script: whether its bytes are a script, see `script`.
        prefix: a number of bytes of options in front.
        examples: how many a property gets in a full run.
    """

    feed: Callable[[bytes], None]
    words: Sequence[bytes]
    takes_script: bool = False
    prefix: int = 0
    examples: int = 100

    def strategy(self) -> st.SearchStrategy[bytes]:
        """Bytes that are valid, damaged, or none of it."""
        if not self.takes_script:
            damaged = st.builds(changed, st.sampled_from(self.words), changes(3))
            lines = st.lists(damaged, min_size=1, max_size=8).map(b"\n".join)
            return st.binary(max_size=60) | damaged | lines
        options = st.binary(min_size=self.prefix, max_size=self.prefix)
        return st.builds(bytes.__add__, options, scripts(len(self.words)))

    def seeds(self) -> list[bytes]:
        """Where a guided run begins."""
        if not self.takes_script:
            return [*self.words, b"\n".join(self.words)]
        every = [Step(Kind.KNOWN, bytes([place])) for place in range(len(self.words))]
        return [bytes(self.prefix) + written([step]) for step in every] + [bytes(self.prefix) + written(every)]


_authorizing = events.encode(texts.AUTHORIZING)
_sync_words = [protocol.initiate(texts.SERVED), protocol.reply(texts.SERVED, protocol.initiate(texts.SERVED))]
DOORS: Final = {
    "beside": FuzzedDoor(beside.feed, stranger.VOCABULARY, takes_script=True),
    "http": FuzzedDoor(http.feed, http.VOCABULARY, takes_script=True),
    "proxy": FuzzedDoor(preambles.feed_proxy, preambles.PROXY_VOCABULARY, takes_script=True),
    "tls": FuzzedDoor(preambles.feed_tls, preambles.TLS_VOCABULARY, takes_script=True, examples=40),
    "frames": FuzzedDoor(frames.feed, frames.VOCABULARY, takes_script=True, prefix=1, examples=200),
    "messages": FuzzedDoor(texts.feed_messages, stranger.VOCABULARY, examples=300),
    "authorization": FuzzedDoor(
        texts.feed_authorization,
        [events.encode(texts.AUTHORIZING), b"Nostr " + b64encode(events.encode(texts.AUTHORIZING))],
    ),
    "addresses": FuzzedDoor(
        texts.feed_addresses,
        [
            b"203.0.113.9, 10.0.0.1",
            b'for="[2001:db8::1]:80";by=_hidden, for=192.0.2.3',
            b"::ffff:192.0.2.1%eth0",
            b"wss://relay.example:443/a%20b/?c\nhttps://RELAY.example./a b",
            "ws://bücher.example\nws://xn--bcher-kva.example".encode(),
        ],
        examples=200,
    ),
    "sync": FuzzedDoor(texts.feed_sync, _sync_words),
    "bus": FuzzedDoor(peers.feed_bus, peers.BUS_VOCABULARY, takes_script=True),
    "notes": FuzzedDoor(peers.feed_notes, peers.NOTES_VOCABULARY, takes_script=True, examples=40),
    "plugins": FuzzedDoor(plugins.feed, plugins.VOCABULARY, takes_script=True),
    "link": FuzzedDoor(peers.feed_link, peers.LINK_VOCABULARY, takes_script=True),
}


def feed(door: str, data: bytes) -> None:
    """Give a door any bytes.

    Raises:
        AssertionError: something has come of it that may not.
    """
    DOORS[door].feed(data)
