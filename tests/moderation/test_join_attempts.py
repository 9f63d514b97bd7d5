"""Codes to join cannot be found by trying, and whoever tries shuts out nobody else (NIP-43)."""

from __future__ import annotations

from itertools import count

import msgspec

from tests.nips.members_relay import ADMIN, NOW, member_rules
from tests.support.keys import BOB, made_up
from trio_relay import Event
from trio_relay.moderation import join_attempts
from trio_relay.policy import lists

JoinAttempts = join_attempts.JoinAttempts

OF_ONE = (
    "rate-limited: too many requests to join or to leave within a minute, of which a wrong code counts as 10;"
    " try again in a minute"
)
OF_ALL = "rate-limited: too many codes are being tried on this relay; try again in a minute"
CODE = "sesame"
TRIES_OF_KEY, TRIES_OF_ORIGIN, TRIES = 5, 10, 1_000

_numbers = count()


def new_attempts(*changes: lists.Change, trusted: frozenset[str] | None = None) -> JoinAttempts:
    rules = member_rules()
    rules.trusted = trusted
    rules.apply(changes)
    return JoinAttempts(rules)


def request(code: str | None = "wrong", by: str = BOB.pubkey) -> Event:
    """A request to join, or without a code to leave, that nobody has signed."""
    kind, tags = (28_936, [["-"]]) if code is None else (28_934, [["-"], ["claim", code]])
    return msgspec.structs.replace(made_up(), kind=kind, tags=tags, pubkey=by)


def key() -> str:
    """A key that nobody has seen yet."""
    return f"{next(_numbers):064x}"


def address() -> str:
    return f"origin {next(_numbers)}"


def told(attempts: JoinAttempts, one: Event, origin: str | None = "203.0.113.7", now: int = NOW) -> str | None:
    refusal = attempts.take(one, origin, now)
    return None if refusal is None else str(refusal)


def tries(attempts: JoinAttempts, most: int, by: str | None = None, origin: str | None = None) -> int:
    """How many of so many wrong codes are looked at: of one key, or of another each time, and so with addresses."""
    return [told(attempts, request(by=by or key()), origin or address()) for _ in range(most)].count(None)


def test_a_key_has_few_tries_a_minute_wherever_it_comes_from() -> None:
    attempts = new_attempts()
    assert tries(attempts, 100, by=BOB.pubkey) == TRIES_OF_KEY
    assert told(attempts, request(), address()) == OF_ONE
    assert told(attempts, request(CODE), address()) == OF_ONE, "a right code would be told by its answer"
    assert told(attempts, request(CODE), now=NOW + 59) == OF_ONE
    assert told(attempts, request(CODE), now=NOW + 60) is None


def test_an_address_has_few_tries_a_minute_whatever_keys_it_makes() -> None:
    attempts = new_attempts()
    assert tries(attempts, 100, origin="203.0.113.7") == TRIES_OF_ORIGIN
    assert told(attempts, request(CODE, key())) == OF_ONE
    assert told(attempts, request(CODE, key()), "203.0.113.8") is None
    assert told(attempts, request(CODE, key()), now=NOW + 60) is None


def test_all_together_have_a_thousand_and_who_comes_new_gets_in_meanwhile() -> None:
    attempts = new_attempts()
    origins = [address() for _ in range(200)]
    looked_at = sum(tries(attempts, 1, origin=origin) for _ in range(50) for origin in origins)
    assert looked_at == TRIES // 2, "the other half is for those who have tried nothing yet"
    assert told(attempts, request(by=key()), origins[0]) == OF_ALL
    assert told(attempts, request(CODE, key()), address()) is None
    assert looked_at + tries(attempts, 5_000) <= TRIES
    assert told(attempts, request(CODE, key()), address()) == OF_ALL
    assert told(attempts, request(CODE, key()), address(), NOW + 60) is None


def test_clients_without_an_address_leave_room_for_those_that_have_one() -> None:
    attempts = new_attempts()
    assert [told(attempts, request(by=key()), None) for _ in range(5_000)].count(None) == TRIES // 2
    assert told(attempts, request(CODE, key()), address()) is None


def test_keys_that_are_known_get_in_whatever_others_do() -> None:
    trusted, member, allowed = key(), key(), key()
    attempts = new_attempts(
        lists.Change(lists.ListName.MEMBERS, member, lists.ListEntry()),
        lists.Change(lists.ListName.ALLOWED_PUBKEYS, allowed, lists.ListEntry()),
        trusted=frozenset({trusted}),
    )
    tries(attempts, 5_000)
    tries(attempts, 100, origin="203.0.113.7")
    for known in (trusted, member, allowed, ADMIN.pubkey):
        assert told(attempts, request(CODE, known)) is None
        assert tries(attempts, 100, by=known, origin="203.0.113.7") == TRIES_OF_KEY - 1


def test_who_has_the_right_code_needs_no_luck() -> None:
    """A whole meeting behind one address."""
    attempts = new_attempts()
    assert [told(attempts, request(CODE, key())) for _ in range(91)] == [None] * 91
    assert told(attempts, request(CODE, key())) == OF_ONE


def test_who_joins_and_leaves_again_and_again_has_a_bound_too() -> None:
    attempts = new_attempts()
    rounds = [told(attempts, request(code)) for _ in range(50) for code in (CODE, None)]
    assert rounds.index(OF_ONE) == 42
    assert rounds.count(None) == 50


def test_nothing_is_kept_of_those_who_came_a_minute_ago_and_no_clock_locks_anybody_out() -> None:
    attempts = new_attempts()
    for now in (NOW, NOW + 60, NOW - 3_600):
        looked_at = [told(attempts, request(by=key()), address(), now) for _ in range(5_000)].count(None)
        assert looked_at <= TRIES
        assert told(attempts, request(CODE), now=now + 60) is None
