"""What of the machine each worker takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.marks import examples
from trio_relay.config import Config, check
from trio_relay.pipeline import stages
from trio_relay.workers import sharing


def config_of(**sections: Any) -> Config:
    return check({"net": {"listen": ["127.0.0.1:0"]}, **sections})


@pytest.mark.parametrize(("asked", "workers"), [(1, 1), (3, 3), (0, stages.cores())])
def test_there_are_as_many_as_asked_for_or_one_a_core(asked: int, workers: int) -> None:
    assert sharing.workers_of(config_of(pipeline={"workers": asked})) == workers


@settings(max_examples=examples(10))
@given(
    workers=st.integers(1, 64), readers=st.integers(1, 64), cache=st.integers(0, 2**30), verifiers=st.integers(0, 64)
)
def test_all_together_take_what_one_would_and_each_takes_some(
    workers: int, readers: int, cache: int, verifiers: int
) -> None:
    config = config_of(
        store={"readers": readers, "event_cache_bytes": cache}, pipeline={"verifiers": verifiers, "workers": workers}
    )
    share = sharing.share_of(config, workers)
    assert readers <= workers * share.store.readers < readers + workers
    wanted = verifiers or stages.cores()
    assert wanted <= workers * share.pipeline.verifiers < wanted + workers
    assert cache - workers < workers * share.store.event_cache_bytes <= cache


@settings(max_examples=examples(10))
@given(workers=st.integers(2, 64))
def test_all_together_hold_no_more_than_one_would(workers: int) -> None:
    config = config_of(memory={"total_bytes": 2**36})
    share, keeper = sharing.share_of(config, workers), sharing.share_of_keeper(config, workers)
    for key in ("inbound_bytes", "outbound_bytes"):
        whole = getattr(config.net, key)
        assert whole - workers < workers * getattr(share.net, key) <= whole
    whole, part = config.limits.max_filter_values_of_all, share.limits.max_filter_values_of_all
    assert whole <= workers * part < whole + workers
    pages = workers * share.store.cache_bytes + keeper.store.cache_bytes
    assert config.store.cache_bytes - workers - 1 < pages <= config.store.cache_bytes


def test_of_all_else_each_has_the_whole() -> None:
    config = config_of(store={"path": "x.db"}, net={"listen": ["127.0.0.1:0"], "max_connections": 10})
    share = sharing.share_of(config, 2)
    whole = replace(share, store=config.store, pipeline=config.pipeline, net=config.net, limits=config.limits)
    assert whole == config
    assert (share.store.path, share.net.max_connections, share.sync) == ("x.db", 10, config.sync)
