"""What clients are refused: each in a line at debug, all of a minute by reason in one line at info, and in numbers.

The last ones are kept, for operators to look at. Neither lines nor labels nor records hold what a client has written:
events are named by id, key and kind, all else is in our own words.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter, deque
from collections.abc import Callable
from operator import itemgetter
from typing import Final, TypeAlias

import msgspec
import structlog

from trio_relay.net.addresses import group
from trio_relay.net.statistics import RefusalRecord, RefusalStatistics
from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.event import Event
from trio_relay.nostr.kinds import kind_label
from trio_relay.nostr.message import RefusedMessage

log = structlog.get_logger("trio_relay.net")

UNANSWERED: Final = 0
"""Instead of a status: the connection was closed without an answer."""
_TELL_SECONDS: Final = 60.0
_PREFIXES: Final = frozenset(Prefix)
_OTHER: Final = "other"
_VERB: Final = re.compile(rb'\s*\[\s*"(EVENT|REQ|COUNT|CLOSE|AUTH|NEG-OPEN|NEG-MSG|NEG-CLOSE)"')
_VERB_WITHIN: Final = 256
"""Bytes; a message may begin with a megabyte of blanks."""
_QUOTATION: Final = re.compile(r"[: ]*(?:bytearray\()?b?['\"]|(?<= header): ")
_decode_answer: Final = msgspec.json.Decoder(list[object]).decode
_ERROR: Final = '{"error":'
_decode_error: Final = msgspec.json.Decoder(dict[str, str]).decode
MOST_KEPT: Final = 2_000
"""Refusals that are kept."""
MOST_KEPT_OF_ONE: Final = MOST_KEPT // 10
"""Of one IPv4 address or one IPv6 /64 network, so that nobody floods away what others were refused."""
_MOST_REASON: Final = 200
"""Characters of a reason that is kept."""

_Noted: TypeAlias = "tuple[int, int, str, str, str, str | None, str | None, int | None]"
"""A number that counts them, then the fields of a `RefusalRecord`."""


def _unix_time() -> int:
    return int(time.time())


class LastRefusals:
    """Keeps the last refusals, each in a fraction of a microsecond.

    Each address has a line of its own, whose oldest record makes room for its next one once the address has its share.
    Where all is full, the address makes room that is longest due: who has had its share for long and goes on, goes on
    at its own cost.

    Args:
        now: seconds since 1970.
        most: refusals in all.
        most_of_one: of one address or /64.
    """

    def __init__(self, now: Callable[[], int], most: int = MOST_KEPT, most_of_one: int = MOST_KEPT_OF_ONE) -> None:
        self._now = now
        self._most = most
        self._most_of_one = most_of_one
        self._number = 0
        self._lines: dict[str, list[_Noted]] = {}
        self._due: deque[str] = deque()
        """For each record one name of a line that it may be taken from."""

    def note(self, line: str, address: str, verb: str, reason: str, event: Event | None) -> None:
        """Keep a refusal.

        Args:
            line: whose share it takes, see `addresses.group`.
            address, verb, reason: of the record.
            event: what was refused.
        """
        records = self._lines.get(line)
        if records is None:
            records = self._lines[line] = []
        if len(records) >= self._most_of_one:
            del records[0]
        else:
            if len(self._due) >= self._most:
                self._forget_one(line)
            self._due.append(line)
        if len(reason) > _MOST_REASON:
            reason = reason[:_MOST_REASON]
        self._number += 1
        if event is None:
            records.append((self._number, self._now(), address, verb, reason, None, None, None))
        else:
            records.append((self._number, self._now(), address, verb, reason, event.id, event.pubkey, event.kind))

    def _forget_one(self, newcomer: str) -> None:
        line = self._due.popleft()
        records = self._lines[line]
        del records[0]
        if not records and line != newcomer:
            del self._lines[line]

    def newest_first(self) -> list[RefusalRecord]:
        """All that are kept."""
        noted = [one for records in self._lines.values() for one in records]
        noted.sort(key=itemgetter(0), reverse=True)
        return [
            RefusalRecord(at, address, verb, reason, event_id, key, kind)
            for _, at, address, verb, reason, event_id, key, kind in noted
        ]


class Refusals:
    """Counts what all clients are refused.

    Args:
        now: seconds since 1970.
    """

    def __init__(self, now: Callable[[], int] = _unix_time) -> None:
        self.last = LastRefusals(now)
        self.tells_each = bool(log.is_enabled_for(logging.DEBUG))
        """True if each is to be logged; looked up seldom, so that the others cost no more than a number."""
        self._messages: Counter[tuple[str, str]] = Counter()
        self._events: Counter[tuple[str, str]] = Counter()
        self._requests: Counter[str] = Counter()
        self._untold: Counter[str] = Counter()
        self._told: float | None = None

    def look_again(self) -> None:
        """Go by the level of the log as it is now."""
        self.tells_each = bool(log.is_enabled_for(logging.DEBUG))

    def note_message(self, verb: str, reason: str, event: Event | None) -> None:
        """Count a refused message."""
        prefix = reason.partition(":")[0]
        if prefix not in _PREFIXES:
            prefix = _OTHER
        self._messages[verb, prefix] += 1
        self._untold[f"{verb} {prefix}"] += 1
        if event is not None:
            self._events[kind_label(event.kind), prefix] += 1

    def note_request(self, address: str, status: int, reason: str) -> None:
        """Count and tell that an HTTP request, or a whole connection (`UNANSWERED`), was refused.

        Args:
            address: of who has sent it.
            status: of the answer.
            reason: in words; quotations are left out.
        """
        told = "unanswered" if status == UNANSWERED else str(status)
        self._requests[told] += 1
        self._untold[f"HTTP {told}"] += 1
        in_words = _unquoted((_decode_error(reason)["error"] if reason.startswith(_ERROR) else reason).strip())
        self.last.note(group(address), address, f"HTTP {told}", in_words, None)
        if self.tells_each:
            log.debug("request refused", address=address, status=status, reason=in_words)

    def tell(self, now: float) -> None:
        """Tell what has been refused since the last line, if that is a minute ago; to be called about every second."""
        if self._told is None:
            self._told = now
        if now - self._told < _TELL_SECONDS:
            return
        self._told = now
        if self._untold:
            log.info("refusals", total=self._untold.total(), reasons=dict(self._untold.most_common()))
            self._untold.clear()

    def statistics(self) -> RefusalStatistics:
        """What has been refused so far."""
        return RefusalStatistics(dict(self._messages), dict(self._events), dict(self._requests))


class ClientRefusals:
    """Notes what one client is refused.

    Args:
        refusals: of all clients.
        client: its number in the log.
        address: where it comes from.
    """

    __slots__ = ("_all", "_client", "_last", "_line", "address")

    def __init__(self, refusals: Refusals, client: int, address: str) -> None:
        self._all = refusals
        self._last = refusals.last
        self._client = client
        self._line = group(address)
        self.address = address
        """Where the client is, as far as it is known."""

    def note(self, verb: str, reason: str, event: Event | None = None) -> None:
        """Note that a message was refused.

        Args:
            verb: of the message.
            reason: what the client was told, in our words alone.
            event: what it has sent or signed in with.
        """
        self._all.note_message(verb, reason, event)
        self._last.note(self._line, self.address, verb, reason, event)
        if self._all.tells_each:
            named = {} if event is None else {"event_id": event.id, "key": event.pubkey, "kind": event.kind}
            self._tell(verb, reason, named)

    def note_unreadable(self, data: bytes, refused: RefusedMessage) -> None:
        """Note that a message was refused before it was known to ask for anything.

        Args:
            data: the message.
            refused: its answer.
        """
        match = _VERB.match(data, 0, _VERB_WITHIN)
        verb = _OTHER if match is None else match[1].decode("ascii")
        answer, *named, reason = _decode_answer(refused.message)
        told = _unquoted(str(reason))
        self._all.note_message(verb, told, None)
        self._last.note(self._line, self.address, verb, told, None)
        if self._all.tells_each:
            self._tell(verb, told, {"event_id": named[0]} if answer == "OK" else {})

    def _tell(self, verb: str, reason: str, named: dict[str, object]) -> None:
        # Answers also come from the tasks of stages, which do not know whose they are.
        log.debug("refused", client=self._client, address=self.address, verb=verb, reason=reason, **named)


def _unquoted(text: str) -> str:
    """Return a reason up to what it quotes of a client."""
    return _QUOTATION.split(text, maxsplit=1)[0]
