"""TokenBuckets, their table, and how rates are written."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from trio_relay import KindRate, RateOptions
from trio_relay.policy import accounts, rate_limits
from trio_relay.policy.rates import WORDS, BucketTable, Rate, TokenBuckets, Word, most, parse_rate, wait

ADDRESS = "192.0.2.1"


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("3000/minute burst 20000", Rate(3000, 60, 20_000)),
        ("5/s", Rate(5, 1, 5)),
        ("5/second burst 1", Rate(5, 1, 1)),
        ("1_000.5/hour", Rate(1000.5, 3600, 1000.5)),
        ("0.1/s", Rate(0.1, 1, 1)),
        ("", None),
    ],
)
def test_a_rate_is_read(text: str, rate: Rate | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text",
    [
        "5",
        "5 / minute",
        "5/day",
        "5/minute burst",
        "-1/s",
        "0/s",
        "1e3/s",
        "5/s burst 0",
        "9" * 20 + "/s",
        "5/s ",
        "٣/s",
    ],
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no rate|above 0"):
        parse_rate(text)


def test_a_bad_rate_is_refused_with_the_name_of_its_setting() -> None:
    with pytest.raises(ValueError, match="events_per_address: 'much' is no rate"):
        rate_limits.check_rates(RateOptions(events_per_address="much", enabled=False))
    with pytest.raises(ValueError, match="kinds: per_key: 'much' is no rate"):
        rate_limits.check_rates(RateOptions(kinds=(KindRate(kinds=(1,), per_key="much"),)))


class Jar:
    """The obvious bucket: tokens that come back with time."""

    def __init__(self, rate: Rate) -> None:
        self.rate, self.tokens, self.time = rate, rate.burst, 0.0

    def most(self, wanted: int, now: float) -> int:
        self.tokens = min(self.rate.burst, self.tokens + (now - self.time) / self.rate.each)
        self.time = now
        return min(wanted, int(self.tokens + 1e-6))


@given(
    rate=st.builds(
        Rate, st.sampled_from([0.5, 1, 5, 3000]), st.sampled_from([1.0, 60.0, 3600.0]), st.sampled_from([1, 2, 7, 100])
    ),
    steps=st.lists(st.tuples(st.sampled_from([0, 0.25, 1, 12, 60, 7200]), st.integers(1, 20)), max_size=12),
)
def test_a_bucket_gives_what_the_obvious_one_gives(rate: Rate, steps: list[tuple[float, int]]) -> None:
    jar, bucket, now = Jar(rate), TokenBuckets(), 0.0
    for pause, wanted in steps:
        now += pause
        expected = jar.most(wanted, now)
        granted = most(bucket.full_at(1), now, rate.each, rate.tolerance, wanted)
        assert granted == expected
        jar.tokens -= granted
        bucket.take(1, granted * rate.each, now)
        if granted < wanted:
            seconds = wait(bucket.full_at(1), now, rate.each, rate.tolerance)
            assert seconds > 0
            assert most(bucket.full_at(1), now + seconds, rate.each, rate.tolerance, 1) == 1
            assert most(bucket.full_at(1), now + seconds * 0.99, rate.each, rate.tolerance, 1) == 0


def test_a_holder_finds_its_buckets_again_and_nobody_elses() -> None:
    table = BucketTable()
    TokenBuckets(table, ADDRESS).take(Word.EVENTS, 5.0, 100.0)
    assert TokenBuckets(table, ADDRESS).full_at(Word.EVENTS) == 105.0
    assert TokenBuckets(table, ADDRESS).full_at(Word.MESSAGES) == 0.0
    assert TokenBuckets(table, "192.0.2.2").full_at(Word.EVENTS) == 0.0


def test_who_is_full_again_first_is_forgotten_first() -> None:
    """A table of 8 words and 256 rows; what 1,500 holders have in it is no more than that, and nearly all of the last
    150 are known, who are full again last."""
    words = [0.0] * (8 + 256 * 12)
    table = BucketTable(words, b"fixed")
    for number in range(1_500):
        TokenBuckets(table, str(number)).take(Word.EVENTS, 10.0, float(number))
    known = [number for number in range(1_500) if table.find(str(number)) is not None]
    assert len(words) == 8 + 256 * 12
    assert len(known) == 256
    assert sum(number >= 1_350 for number in known) > 140
    assert known[-1] == 1_499


def test_the_memory_of_all_holders_is_bounded() -> None:
    table = BucketTable()
    assert len(table.words) == WORDS == 8 + 131_072 * 12
    tracemalloc.start()
    for number in range(500):
        table.row(str(number))
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 10_000
    assert all(table.find(str(number)) is not None for number in range(500))


def test_whose_row_was_taken_begins_anew() -> None:
    words = [0.0] * WORDS
    table = BucketTable(words)
    buckets = TokenBuckets(table, ADDRESS)
    buckets.take(Word.EVENTS, 5.0, 100.0)
    row = table.find(ADDRESS)
    assert row is not None
    words[row] = 7.0  # as another process would
    assert buckets.full_at(Word.EVENTS) == 0.0
    buckets.take(Word.EVENTS, 5.0, 200.0)
    assert TokenBuckets(table, ADDRESS).full_at(Word.EVENTS) == 205.0
    assert table.find(ADDRESS) != row


def test_a_bar_doubles_up_to_a_day_and_is_forgotten_after_a_day_without_fault() -> None:
    rates = accounts.Rates(RateOptions(faults_per_address="1/hour burst 1", bar_seconds=60), lambda _key: False)
    now, lengths = 0.0, []
    for _ in range(13):
        assert not rates.fault(ADDRESS, now)
        assert rates.fault(ADDRESS, now)
        lengths.append(rates.barred_seconds(ADDRESS, now))
        now += lengths[-1] + 1
    assert lengths == [min(60.0 * 2**times, 86_400.0) for times in range(13)]
    assert rates.barred(now) == 0
    now += 86_400
    assert [rates.fault(ADDRESS, now) for _ in range(2)] == [False, True]
    assert rates.barred_seconds(ADDRESS, now) == 60


def test_who_has_no_address_is_never_barred() -> None:
    rates = accounts.Rates(RateOptions(faults_per_address="1/hour burst 1"), lambda _key: False)
    assert not any(rates.fault(None, 1.0) for _ in range(10))


def test_work_is_told_to_the_buckets_late_and_whole() -> None:
    rates = accounts.Rates(RateOptions(work_per_address="60/minute burst 1"), lambda _key: False)
    account, other = rates.account(ADDRESS), rates.account(ADDRESS)
    for _ in range(10_000):
        account.charge(0.000_11, 5.0)
    assert other.refusal("REQ", 5.0) is not None
    assert account.refusal("REQ", 5.2) is None


def test_a_key_is_charged_for_work_on_all_of_its_connections_and_an_admins_for_none() -> None:
    rates = accounts.Rates(
        RateOptions(work_per_key="60/minute burst 1", work_per_address=""), lambda key: key == "admin"
    )
    of_three = [rates.account(f"192.0.2.{number}") for number in range(3)]
    for account, key in zip(of_three, ["key", "key", "admin"], strict=True):
        account.add_key(key)
    of_three[0].charge(2.0, 0.0)
    of_three[2].charge(1e6, 0.0)
    assert [account.refusal("REQ", 0.0) is None for account in of_three] == [False, False, True]
    assert of_three[2].is_exempt


def test_what_was_too_much_is_told_by_limit_and_address_once() -> None:
    rates = accounts.Rates(RateOptions(connections_per_address="1/hour"), lambda _key: False)
    for address in (ADDRESS, ADDRESS, ADDRESS, "192.0.2.2"):
        rates.refusal(Word.CONNECTIONS, address, 1.0)
    assert list(rates.excess.untold()) == [("connections_per_address", ADDRESS, 2)]
    assert list(rates.excess.untold()) == []


def test_what_clients_can_meet_is_published_while_it_holds() -> None:
    options = RateOptions(events_per_key="1/s", work_per_key="", kinds=(KindRate(kinds=(1, 7), per_address="2/s"),))
    told = rate_limits.published(options)
    assert told["events_per_key"] == "1/s"
    assert told["events_of_kind_7_per_address"] == "2/s"
    assert "work_per_key" not in told
    assert "faults_per_address" not in told
    assert rate_limits.published(replace(options, enabled=False)) == {}


def test_a_wide_limit_is_taken_in_lots_and_lets_no_more_through() -> None:
    rates = accounts.Rates(RateOptions(messages_per_connection="1/hour burst 90000"), lambda _key: False)
    account = rates.account(None)
    assert sum(account.take(Word.MESSAGES, 7, 0.0) for _ in range(20_000)) == 90_000
    assert account.take(Word.MESSAGES, 2, 3600.0) == 1
    assert account.take(Word.MESSAGES, 2, 3600.0, all_or_none=True) == 0
    assert account.take(Word.MESSAGES, 1, 7200.0, all_or_none=True) == 1
