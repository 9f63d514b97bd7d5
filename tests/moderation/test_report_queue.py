"""Nobody can flush others' reports out of the moderation queue: not with many reports, nor with many keys."""

from __future__ import annotations

from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import NOW, made_up
from tests.support.named_relay import rules_for
from trio_relay import Event
from trio_relay.moderation import report_queue, reports
from trio_relay.policy import lists

MOST = lists.MOST_REPORTS
SHARE = report_queue.MOST_OF_ONE
QUEUE = lists.ListName.REPORTED_EVENTS

_numbers = count(1)


def hex64() -> str:
    """An event, or a key, that nobody has seen yet."""
    return f"{next(_numbers):064x}"


def report(by: str, *ids: str) -> Event:
    """A report that nobody has signed."""
    return msgspec.structs.replace(made_up(), kind=1_984, pubkey=by, tags=[["e", event_id, "spam"] for event_id in ids])


class Desk:
    """A queue, and those who report."""

    def __init__(self, *known: str) -> None:
        self.rules = rules_for(allowed_pubkeys=known)
        self.queue = report_queue.ReportQueue(self.rules)

    def take(self, by: str, *ids: str, origin: str | None = None) -> None:
        one = report(by, *ids)
        for changes in reports.queueing(one, self.queue, self.rules, NOW, origin):
            self.rules.apply(changes)
            self.queue.follow(changes)

    def flood(self, number: int, by: str | None = None, origin: str | None = None) -> None:
        """So many reports of as many events, by a key of their own each, unless one is named."""
        for _ in range(number):
            self.take(by or hex64(), hex64(), origin=origin)

    @property
    def there(self) -> dict[str, list[str]]:
        """What is on the queue, and who has reported it."""
        return {event_id: lists.reporters(entry) for event_id, entry in self.rules.lists.entries(QUEUE, NOW).items()}

    def count(self, by: str) -> int:
        return sum(by in names for names in self.there.values())


def test_two_keys_flush_nobody_out() -> None:
    desk, honest, event = Desk(), hex64(), hex64()
    desk.take(honest, event)
    one, other = hex64(), hex64()
    for _ in range(2 * MOST):
        fresh = hex64()
        desk.take(one, fresh)
        desk.take(other, fresh)
    assert desk.there[event] == [honest]
    assert (desk.count(one), desk.count(other), len(desk.there)) == (SHARE, 2 * SHARE, 2 * SHARE + 1)


def test_a_reporters_new_report_replaces_his_own_oldest() -> None:
    desk, reporter = Desk(), hex64()
    events = [hex64() for _ in range(SHARE + 2)]
    desk.flood(500)
    others = desk.there.keys()
    for event in events:
        desk.take(reporter, event)
    assert list(desk.there) == [*others, *events[2:]]


def test_what_others_have_reported_too_stays_when_a_share_is_full() -> None:
    desk, reporter, other = Desk(), hex64(), hex64()
    shared = hex64()
    desk.take(reporter, shared)
    desk.take(other, shared)
    desk.flood(SHARE, by=reporter)
    assert desk.there[shared] == [reporter, other], "it is the strongest of his"
    for event in list(desk.there):
        desk.take(other, event)
    desk.flood(SHARE, by=reporter)
    assert desk.there[shared] == [other]
    assert desk.count(reporter) == SHARE


def test_two_keys_an_event_do_not_make_the_queue_longer_than_it_may_be() -> None:
    """Each entry of a full share goes over to its second reporter, and stays."""
    desk = Desk()
    honest = hex64()
    desk.take(hex64(), honest, origin="192.0.2.7")
    for _ in range(MOST + SHARE):
        event = hex64()
        desk.take(hex64(), event, origin="198.51.100.1")
        desk.take(hex64(), event, origin="198.51.100.1")
    assert len(desk.there) == MOST
    assert honest in desk.there


@pytest.mark.parametrize("is_full", [False, True])
def test_however_many_keys_come_from_one_address_they_have_one_share(is_full: bool) -> None:
    desk, honest = Desk(), [hex64() for _ in range(MOST // 2)]
    for number, event in enumerate(honest):
        desk.take(hex64(), event, origin=f"origin {number}")
    if is_full:
        for number in range(MOST):
            desk.flood(1, origin=f"other {number // 20}")
    desk.flood(3 * MOST, origin="203.0.113.7")
    assert {*honest} <= desk.there.keys()
    assert len(desk.there) == (MOST if is_full else MOST // 2 + SHARE)


def test_keys_that_fill_the_queue_push_out_each_other_and_not_who_has_reported_little() -> None:
    """Where addresses are unknown, as behind a proxy that does not tell them."""
    desk, honest, event = Desk(), hex64(), hex64()
    desk.take(honest, event)
    for by in [hex64() for _ in range(50)]:
        desk.flood(SHARE, by=by)
    assert event in desk.there
    assert len(desk.there) == MOST
    second = hex64()
    desk.take(honest, second)
    assert {event, second} <= desk.there.keys()
    assert len(desk.there) == MOST


def test_in_a_queue_where_everybody_has_one_the_oldest_makes_room_for_who_has_none() -> None:
    desk, first, honest, event = Desk(), hex64(), hex64(), hex64()
    desk.take(hex64(), first)
    desk.flood(MOST - 1)
    desk.take(honest, event)
    assert (first in desk.there, event in desk.there) == (False, True)
    desk.take(honest, hex64())
    assert (desk.count(honest), event in desk.there) == (1, False), "for more than others have he makes room himself"


def test_what_a_known_key_has_reported_no_stranger_pushes_out() -> None:
    known = [hex64() for _ in range(MOST // SHARE)]
    desk, event = Desk(*known), hex64()
    desk.flood(MOST)
    desk.take(known[0], event)
    desk.flood(2 * MOST)
    assert desk.there[event] == [known[0]]
    for by in known:
        desk.flood(SHARE, by=by)
    assert (len(desk.there), all(names[0] in known for names in desk.there.values())) == (MOST, True)
    desk.flood(1)
    assert all(names[0] in known for names in desk.there.values()), "there is no room for strangers now"
    desk.take(known[0], hex64(), origin="203.0.113.7")
    assert desk.count(known[0]) == SHARE


def test_a_known_key_counts_though_a_hundred_strangers_were_first() -> None:
    known, event = hex64(), hex64()
    desk = Desk(known)
    for _ in range(reports.MOST_REPORTERS):
        desk.take(hex64(), event)
    desk.take(known, event)
    desk.take(hex64(), event)
    names = desk.there[event]
    assert (names[0], len(names)) == (known, reports.MOST_REPORTERS)


def test_who_becomes_known_later_counts_as_soon_as_it_matters() -> None:
    """At the start nobody knows yet whom the web of trust reaches."""
    desk, friend, event = Desk(), hex64(), hex64()
    desk.take(friend, event)
    desk.flood(MOST - 1)
    desk.rules.trusted = frozenset({friend})
    desk.flood(2 * MOST)
    assert desk.there[event] == [friend]


def test_a_queue_is_the_same_after_a_restart() -> None:
    desk, honest, event = Desk(), hex64(), hex64()
    desk.take(honest, event, origin="203.0.113.7")
    desk.flood(SHARE, by=(one := hex64()))
    desk.queue = report_queue.ReportQueue(desk.rules)
    desk.queue.load()
    desk.flood(MOST, by=one)
    assert (desk.count(one), event in desk.there) == (SHARE, True)


REPORTS = st.lists(
    st.tuples(
        st.integers(0, 7), st.lists(st.integers(0, 30), min_size=1, max_size=4), st.sampled_from([None, "a", "b"])
    ),
    max_size=60,
)


@given(REPORTS, st.integers(0, 3))
def test_whatever_is_reported_no_bound_is_exceeded_and_nothing_is_lost_below_it(
    steps: list[tuple[int, list[int], str | None]], known: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(report_queue, "MOST_REPORTS", 10)
        patched.setattr(report_queue, "MOST_OF_ONE", 4)
        desk = Desk(*(f"{number:064x}" for number in range(known)))
        named = set[str]()
        for by, events, origin in steps:
            ids = [f"{event:064x}" for event in events]
            named |= {*ids}
            desk.take(f"{by:064x}", *ids, origin=origin)
            assert len(desk.there) <= 10
            assert all(desk.there.values()), "an entry without a reporter"
        if len(named) <= 4:
            assert desk.there.keys() == named
        fresh = report_queue.ReportQueue(desk.rules)
        fresh.load()
        for event_id in list(desk.there):
            change = [lists.Change(QUEUE, event_id)]
            desk.rules.apply(change)
            desk.queue.follow(change)
            fresh.follow(change)
        assert desk.queue.making_room("f" * 64, None, NOW) == []
