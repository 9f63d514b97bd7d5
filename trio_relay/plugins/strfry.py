"""What is written to a program and read from it: JSON lines, as strfry has them (pure).

For events it is the protocol of strfry's write policy plugins (its docs/plugins.md); what is asked about requests is
this relay's own, in the same form (docs/plugins.md). Answers may come in any order: they name what they answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

import msgspec

from trio_relay.nostr.errors import Rejected
from trio_relay.nostr.event import Event, encode
from trio_relay.nostr.filter import Filter, parse_filter
from trio_relay.nostr.search import Search
from trio_relay.plugins.base import NOTHING, Action, Source, Verdict

MOST_LINE_BYTES: Final = 2**18
"""Of an answer: narrowed filters with some thousand values. A longer line is passed over."""
_WAYS: Final = {"import": "Import", "sync": "Sync"}

_to_json: Final = msgspec.json.Encoder().encode


class BadAnswer(ValueError):
    """A line that is no answer; the message is one of few words, to be counted by."""


class Answer(msgspec.Struct, frozen=True):
    """One line of a program.

    Attributes:
        id: what it answers: an event's id, or that of a question about a request.
        action: `accept`, `reject` or `shadowReject`; whatever the program wrote.
        msg: for the client; only a refusal's is used.
        filters: what is asked in the stead of what was asked; requests only.
    """

    id: str
    action: str
    msg: str | None = None
    filters: list[Any] | None = None


_answer_of: Final = msgspec.json.Decoder(Answer).decode


def event_line(event: Event, source: Source, received: int) -> bytes:
    """Ask about an event.

    Args:
        event: the event; its id is what the answer names.
        source: where it comes from.
        received: when it came, seconds since 1970.
    """
    return b"".join((b'{"type":"new","event":', encode(event), b",", _circumstances(event.pubkey, source, received)))


def request_line(number: str, filters: Sequence[Filter], source: Source, received: int) -> bytes:
    """Ask about a request, whose answer names this number."""
    asked = _to_json({"type": "req", "id": number, "filters": [as_json(filter_) for filter_ in filters]})
    return asked[:-1] + b"," + _circumstances("", source, received)


def _circumstances(author: str, source: Source, received: int) -> bytes:
    """The rest of a line: who asks, from where, and when. Of several keys the author's comes first."""
    address = plain_address(source.address)
    family = "IP6" if isinstance(address, IPv6Address) else "IP4"
    rest: dict[str, object] = {
        "receivedAt": received,
        "sourceType": _WAYS.get(source.way, family),
        "sourceInfo": source.address if address is None else str(address),
    }
    if source.keys:
        rest["authed"] = author if author in source.keys else min(source.keys)
    if len(source.keys) > 1:
        rest["allAuthed"] = sorted(source.keys)
    return _to_json(rest)[1:] + b"\n"


@lru_cache(1_024)
def plain_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address, as IPv4 if it is one wrapped in IPv6; None if it is none: a proxy has not told it, say."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address if isinstance(address, IPv4Address) else address.ipv4_mapped or address


def read_answer(line: bytes) -> Answer:
    """Read one line.

    Raises:
        BadAnswer: it is no JSON, or says nothing that could be an answer.
    """
    try:
        return _answer_of(line)
    except msgspec.ValidationError:
        raise BadAnswer("not an answer") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadAnswer("not JSON") from None


def action_of(answer: Answer) -> Action:
    """What an answer decides.

    Raises:
        BadAnswer: nothing that is known here.
    """
    try:
        return Action(answer.action)
    except ValueError:
        raise BadAnswer("unknown action") from None


def verdict_on_event(answer: Answer) -> Verdict:
    """What is decided of an event; raises as `action_of` does."""
    return Verdict(action_of(answer), answer.msg or "")


def verdict_on_request(answer: Answer, asked: Sequence[Filter]) -> Verdict:
    """What is decided of a request.

    A request that is refused silently finds nothing.

    Raises:
        BadAnswer: the action is unknown, or what is to be asked in its stead is no list of filters.
    """
    action = action_of(answer)
    if action is Action.SHADOW_REJECT:
        return Verdict(Action.ACCEPT, filters=NOTHING)
    if action is Action.REJECT or answer.filters is None:
        return Verdict(action, answer.msg or "")
    try:
        return Verdict(action, filters=tuple(_narrowed(answer.filters, asked)) or NOTHING)
    except Rejected:
        raise BadAnswer("not filters") from None


def _narrowed(written: Sequence[Any], asked: Sequence[Filter]) -> Iterator[Filter]:
    """The filters that a program has written; a search that it has left as it was stays what the client meant."""
    searches = {search_text(one.search): one.search for one in asked if one.search is not None}
    for source in written:
        search = source.get("search") if isinstance(source, dict) else None
        if isinstance(search, str) and search in searches:
            filter_ = parse_filter({key: value for key, value in source.items() if key != "search"}, all_of=True)
            yield msgspec.structs.replace(filter_, search=searches[search])
        else:
            yield parse_filter(source, all_of=True)


def as_json(filter_: Filter) -> dict[str, object]:
    """Return a filter as a client could have written it, its lists in order; without a limit that the relay has set."""
    written: dict[str, object] = {}
    for key in ("ids", "authors", "kinds"):
        if (values := getattr(filter_, key)) is not None:
            written[key] = sorted(values)
    for letter, texts in filter_.tags:
        key = f"#{letter}"
        if key in written:  # NIP-91: a value that all must have
            key = f"&{letter}"
            texts = texts | set(written.get(key, ()))  # type: ignore[call-overload]
        written[key] = sorted(texts)
    for key in ("since", "until"):
        if (time := getattr(filter_, key)) is not None:
            written[key] = time
    if filter_.limit is not None and not filter_.is_clamped:
        written["limit"] = filter_.limit
    if filter_.search is not None:
        written["search"] = search_text(filter_.search)
    return written


def search_text(search: Search) -> str:
    """Return a search as one could write it: its words as the relay compares them."""
    parts = [_phrase(phrase) for phrase in search.phrases]
    parts += [f"-{_phrase(phrase)}" for phrase in search.excluded]
    for name in ("sort", "language", "domain"):
        if (value := getattr(search, name)) is not None:
            parts.append(f"{name}:{value}")
    return " ".join(parts)


def _phrase(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f'"{" ".join(words)}"'


class Lines:
    """Takes bytes as they come, and gives whole lines; what is longer than it may be is passed over to its end.

    Args:
        most: bytes of a line.
    """

    def __init__(self, most: int = MOST_LINE_BYTES) -> None:
        self.left_out = 0
        """Lines that were too long."""
        self._most = most
        self._begun = bytearray()
        self._is_passing = False

    def take(self, data: bytes) -> list[bytes]:
        """Return the lines that end in what has come, without their ends; empty ones are none."""
        *ended, rest = data.split(b"\n")
        lines = []
        for part in ended:
            if not self._is_passing and len(self._begun) + len(part) <= self._most:
                if line := bytes(self._begun + part).strip():
                    lines.append(line)
            elif not self._is_passing:
                self.left_out += 1
            self._begun.clear()
            self._is_passing = False
        if not self._is_passing:
            if len(self._begun) + len(rest) > self._most:
                self._begun.clear()
                self._is_passing = True
                self.left_out += 1
            else:
                self._begun += rest
        return lines
