"""What an event says of itself: its work, when it is over, whose it is alone; requests to vanish; words."""

from __future__ import annotations

import json
from itertools import count

import pytest
from msgspec.structs import replace

from tests.policy.verdicts import URL, identity, listed, rules_of, verdict
from tests.support.keys import ALICE, BOB, NOW
from trio_relay import PolicyOptions
from trio_relay.nostr.event import Event, compute_id
from trio_relay.nostr.pow import difficulty_of
from trio_relay.policy.identity import Identity
from trio_relay.policy.lists import Change, ListName

PROTECTED = ALICE.event(tags=[["t", "x"], ["-"]])
ALONE = "a protected event is accepted from its authenticated author only (NIP-70)"


def mined(committed: list[str]) -> Event:
    """An event of difficulty 6 exactly, whose nonce tag says this."""
    for number in count():
        tags = [["nonce", str(number), *committed]]
        event_id = compute_id(ALICE.pubkey, NOW, 1, tags, "")
        if difficulty_of(event_id) == 6:
            return Event(event_id, ALICE.pubkey, NOW, 1, tags, "", "5" * 128)
    raise AssertionError


COMMIT = "pow: the nonce tag must commit to a difficulty of {} at least (NIP-13)"


@pytest.mark.parametrize(
    ("committed", "least", "reason"),
    [
        (["6"], 0, None),
        (["6"], 6, None),
        (["6"], 7, "pow: the id has a difficulty of 6, 7 is needed (NIP-13)"),
        (["7"], 6, None),
        (["5"], 6, COMMIT.format(6)),
        (["5"], 5, None),
        (["-6"], 1, COMMIT.format(1)),
        (["0006"], 1, COMMIT.format(1)),
        ([], 1, COMMIT.format(1)),
    ],
)
def test_work_is_shown_and_committed_to(committed: list[str], least: int, reason: str | None) -> None:
    assert verdict(mined(committed), rules_of(min_pow_difficulty=least)) == reason


def test_an_event_without_a_nonce_tag_has_committed_to_nothing() -> None:
    lucky = replace(ALICE.event(), id="0" * 64)
    assert verdict(lucky, rules_of(min_pow_difficulty=1)) == COMMIT.format(1)


def test_admins_need_not_work() -> None:
    assert verdict(ALICE.event(), rules_of(min_pow_difficulty=256, admins=(ALICE.pubkey,))) is None
    assert verdict(ALICE.event(), rules_of(min_pow_difficulty=256, operator=ALICE.pubkey)) is None


@pytest.mark.parametrize(
    ("kind", "text", "is_over"),
    [
        (1, str(NOW), True),
        (1, str(NOW + 1), False),
        (1, "0", True),
        (20_000, str(NOW), False),
        (29_999, "0", False),
        (30_000, "0", True),
    ],
)
def test_an_event_that_is_over_is_refused(kind: int, text: str, is_over: bool) -> None:
    """NIP-40; ephemeral events are never over."""
    event = ALICE.event(kind=kind, tags=[["t", "x"], ["expiration", text], ["expiration", "1"]])
    assert verdict(event, rules_of()) == (f"invalid: the event has expired at {text} (NIP-40)" if is_over else None)


@pytest.mark.parametrize("kind", [1, 20_000, 30_000])
@pytest.mark.parametrize("tag", [["soon"], [f"-{NOW}"], [f"{NOW}.5"], []], ids=str)
def test_a_time_that_cannot_be_read_is_not_the_same_as_none(kind: int, tag: list[str]) -> None:
    """Its author meant it to end."""
    event = ALICE.event(kind=kind, tags=[["expiration", *tag], ["expiration", str(NOW + 1)]])
    refusal = "invalid: the expiration tag must hold an integer, seconds since 1970 (NIP-40)"
    assert verdict(event, rules_of()) == refusal


def test_a_protected_event_is_taken_of_its_author_alone() -> None:
    assert verdict(PROTECTED, rules_of()) == f"auth-required: {ALONE}"
    assert verdict(PROTECTED, rules_of(), identity(BOB)) == f"restricted: {ALONE}"
    assert verdict(PROTECTED, rules_of(), identity(BOB, ALICE)) is None
    assert verdict(PROTECTED, rules_of(), Identity(is_operator=True)) == f"auth-required: {ALONE}"


def test_where_nobody_can_authenticate_no_protected_event_is_taken() -> None:
    refused = "blocked: protected events are not accepted here: clients cannot authenticate (relay.url)"
    assert verdict(PROTECTED, rules_of(url="")) == refused


def test_a_tag_that_only_looks_like_it_protects_nothing() -> None:
    assert verdict(ALICE.event(tags=[["t", "-"], [], ["--"]]), rules_of()) is None


def test_that_it_is_over_is_said_first() -> None:
    over = ALICE.event(tags=[["-"], ["expiration", "1"]])
    assert verdict(over, rules_of()) == "invalid: the event has expired at 1 (NIP-40)"


QUOTED = json.dumps({"tags": [["t", "x"], ["-"]]})


REPOSTED = "blocked: what it reposts is protected (NIP-70)"
UNREADABLE = "blocked: what it reposts cannot be read, and may be protected (NIP-70)"


@pytest.mark.parametrize(
    ("kind", "content", "refused"),
    [
        (6, QUOTED, REPOSTED),
        (16, QUOTED, REPOSTED),
        (1, QUOTED, None),
        (6, r'{"tags":[["\u002d"]]}', REPOSTED),
        (6, r'{"tags":[["\u002D","x"]]}', REPOSTED),
        (6, r'{"content":"\ud800","tags":[["-"]]}', REPOSTED),
        (16, '{"created_at":' + "9" * 5_000 + ',"tags":[["-"]]}', REPOSTED),
        (6, r'{"content":"\ud800","tags":[["x","-"]]}', None),
        (6, r'{"content":"\ud800","tags":[["x","-"]]}' + " " * 65_536, UNREADABLE),
        (6, "", None),
        (6, '{"tags":[["t","-"]],"content":""}', None),
        (6, '{"tags":[],"content":"\\"-\\""}', None),
        (6, '{"content":"-","x":"-"}', None),
        (6, '{"tags":"-"}', UNREADABLE),
        (6, '{"tags":["-"]}', REPOSTED),
        (6, '["-"]', REPOSTED),
        (6, 'not JSON: "-"', UNREADABLE),
        (6, "not JSON: '-", None),
        (6, '{"tags":' + "[" * 3_000 + '"-"', REPOSTED),
        (6, '{"tags":' + "[" * 3_000 + '"x","-"', UNREADABLE),
    ],
)
@pytest.mark.parametrize("tags", [[], [["expiration", str(NOW + 9)]]])
def test_a_repost_of_a_protected_event_is_blocked(
    kind: int, content: str, refused: str | None, tags: list[list[str]]
) -> None:
    assert verdict(ALICE.event(content, kind=kind, tags=tags), rules_of()) == refused


NO_RELAY = "invalid: a request to vanish names a relay, or ALL_RELAYS, in a relay tag (NIP-62)"
OTHERS = "invalid: this request to vanish names other relays only (NIP-62)"


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ([["relay", "ALL_RELAYS"]], None),
        ([["relay", URL]], None),
        ([["relay", "WSS://Relay.Example:443"]], None),
        ([["relay", "wss://other.example/"], ["relay", URL]], None),
        ([["relay", "wss://other.example/"], ["relay", "ALL_RELAYS"]], None),
        ([], NO_RELAY),
        ([["relay"], ["r", URL]], NO_RELAY),
        ([["relay", "wss://other.example/"]], OTHERS),
        ([["relay", "all_relays"]], OTHERS),
        ([["relay", ""]], OTHERS),
    ],
)
def test_a_request_to_vanish_must_name_this_relay_or_all(tags: list[list[str]], reason: str | None) -> None:
    assert verdict(ALICE.event(kind=62, tags=tags), rules_of()) == reason


def test_of_a_request_to_vanish_so_many_urls_are_read_that_the_loop_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    rules = rules_of()

    def is_named(_rules: object, url: str) -> bool:
        read.append(url)
        return False

    monkeypatch.setattr(type(rules), "is_named", is_named)
    others = [[["relay", f"wss://{letter}{number}.example"] for number in range(1_000)] for letter in "aé"]
    assert verdict(ALICE.event(kind=62, tags=others[0] + others[1]), rules) == OTHERS
    assert len(read) <= 210
    assert sum(not url.isascii() for url in read) <= 10
    read.clear()
    assert verdict(ALICE.event(kind=62, tags=[*others[0], ["relay", "ALL_RELAYS"]]), rules) is None
    assert read == []


def test_a_relay_without_a_name_takes_no_request_to_vanish() -> None:
    refused = "blocked: requests to vanish are not accepted here: this relay has no name (relay.url)"
    assert verdict(ALICE.event(kind=62, tags=[["relay", "ALL_RELAYS"]]), rules_of(url="")) == refused


@pytest.mark.parametrize(
    ("content", "is_refused"),
    [
        ("", False),
        ("buy Coins now", True),
        ("buyCOINSnow", True),
        ("coin", False),
        ("STRASSE", True),
        ("strasse", True),
        ("stra\u00dfe", True),
        ("ÉTÉ", True),
        ("ete", False),
    ],
)
def test_a_denied_word_is_found_in_whatever_case(content: str, is_refused: bool) -> None:
    rules = rules_of(denied_words=("coins", "Straße", "été"))
    reason = "blocked: the content holds a word that is not allowed here" if is_refused else None
    assert verdict(ALICE.event(content), rules) == reason
    at_run_time = listed(rules_of(), ListName.DENIED_WORDS, *(word.casefold() for word in ("coins", "Straße", "été")))
    assert verdict(ALICE.event(content), at_run_time) == reason


@pytest.mark.parametrize(("until", "is_refused"), [(None, True), (NOW + 1, True), (NOW, False)])
def test_a_word_counts_until_its_end_also_before_it_leaves_the_list(until: int | None, is_refused: bool) -> None:
    rules = listed(rules_of(), ListName.DENIED_WORDS, "coins", until=until)
    assert (verdict(ALICE.event("free coins"), rules) is not None) is is_refused


def test_words_of_the_configuration_and_of_the_list_count_together_whichever_changes() -> None:
    rules = listed(rules_of(denied_words=("coins",)), ListName.DENIED_WORDS, "gold", "silver")

    def refused() -> list[str]:
        return [text for text in ("coins", "gold", "silver", "tin") if verdict(ALICE.event(text), rules)]

    assert refused() == ["coins", "gold", "silver"]
    rules.apply([Change(ListName.DENIED_WORDS, "gold")])
    rules.take_options(PolicyOptions(denied_words=("tin",)))
    assert refused() == ["silver", "tin"]
