"""One budget for memory: its shares, and that freed memory goes back to the system."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trio_relay import heap
from trio_relay.config import Config, check, settings
from trio_relay.config_checks import ConfigError
from trio_relay.memory_budget import (
    EACH_FURTHER,
    FIRST_PROCESS,
    MIB,
    PARTS,
    SHARES,
    MemoryOptions,
    divided,
    needed_bytes,
)


def value_of(config: Config, name: str) -> Any:
    section, _, key = name.partition(".")
    return getattr(getattr(config, section), key)


def test_all_shares_together_are_the_whole() -> None:
    assert sum(share.parts for share in SHARES.values()) == PARTS


@given(total=st.integers(needed_bytes(), 2**40), processes=st.integers(1, 257))
def test_what_is_divided_is_never_more_than_there_is(total: int, processes: int) -> None:
    total = max(total, needed_bytes(processes))
    taken = sum(number * SHARES[name].each for name, number in divided(total, processes).items())
    free = total - FIRST_PROCESS - (processes - 1) * EACH_FURTHER
    assert 0.6 * free - PARTS * SHARES["net.max_connections"].each < taken <= free


@given(total=st.integers(needed_bytes(), 2**40))
def test_a_larger_budget_leaves_nothing_smaller(total: int) -> None:
    less, more = divided(total), divided(total + 64 * MIB)
    assert all(less[name] <= more[name] for name in SHARES)


def test_a_setting_that_is_left_out_gets_its_share() -> None:
    config = check({"memory": {"total_bytes": 2**29}})
    assert {name: value_of(config, name) for name in SHARES} == divided(2**29)


def test_a_setting_that_is_set_keeps_what_it_says_and_changes_no_other() -> None:
    config = check(
        {"memory": {"total_bytes": 2**29}, "net": {"inbound_bytes": 2**23}, "store": {"event_cache_bytes": 0}}
    )
    expected = {**divided(2**29), "net.inbound_bytes": 2**23, "store.event_cache_bytes": 0}
    assert {name: value_of(config, name) for name in SHARES} == expected


def test_defaults_are_the_shares_of_the_default_budget() -> None:
    assert check({}) == Config()
    assert {name: value_of(Config(), name) for name in SHARES} == divided(MemoryOptions().total_bytes)
    assert {f"{one.section}.{one.key}" for one in settings() if one.is_share} == set(SHARES)


def test_workers_share_one_budget_of_which_each_takes_something_for_itself() -> None:
    config = check({"memory": {"total_bytes": 2**30}, "pipeline": {"workers": 3}})
    assert {name: value_of(config, name) for name in SHARES} == divided(2**30, 4)


@pytest.mark.parametrize("workers", [2, 14, 256])
def test_a_budget_that_is_left_out_grows_with_the_workers(workers: int) -> None:
    config = check({"pipeline": {"workers": workers}})
    assert config.memory.total_bytes == 2**30 + workers * EACH_FURTHER
    assert {name: value_of(config, name) for name in SHARES} == divided(2**30)


@pytest.mark.parametrize("workers", [2, 16])
def test_a_budget_that_is_too_small_for_so_many_processes_is_refused(workers: int) -> None:
    least = needed_bytes(workers + 1)
    asked = {"pipeline": {"workers": workers}}
    assert check({**asked, "memory": {"total_bytes": least}}).store.cache_bytes == MIB
    with pytest.raises(ConfigError, match=rf"^memory\.total_bytes: {workers + 1} processes need {least} at least$"):
        check({**asked, "memory": {"total_bytes": least - 1}})


async def test_what_was_freed_is_given_back_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    say, hear = trio.open_memory_channel[str](1)
    monkeypatch.setattr(heap, "SECONDS", 0.001)
    monkeypatch.setattr(heap, "give_back", lambda: trio.from_thread.run(say.send, "given back"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heap.give_back_regularly)
        assert [await hear.receive() for _ in range(3)] == 3 * ["given back"]
        nursery.cancel_scope.cancel()


def test_where_the_c_library_cannot_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "_LIBRARY", object())
    heap.tune()
    heap.give_back()
