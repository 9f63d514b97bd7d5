"""Three ways to verify a signature give one answer: that of the BIP-340 test vectors, and each other's."""

from __future__ import annotations

import csv
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.keys import ALICE, NOW, Author
from tests.support.marks import examples
from trio_relay import Event
from trio_relay.nostr.schnorr import BackendName, open_backend

NATIVE: Final[tuple[BackendName, ...]] = ("batch", "coincurve")
ALL: Final[tuple[BackendName, ...]] = (*NATIVE, "python")
SIGNED = ALICE.event("hello")
# https://github.com/bitcoin/bips/blob/master/bip-0340/test-vectors.csv, those with messages of 32 bytes
VECTORS = list(csv.DictReader(Path(__file__).with_name("bip340.csv").read_text().splitlines()))


def event_of(vector: dict[str, str]) -> Event:
    event_id, pubkey, sig = (vector[name].lower() for name in ("message", "pubkey", "signature"))
    return Event(event_id, pubkey, NOW, 1, [], "", sig)


@pytest.mark.parametrize("name", [*NATIVE, pytest.param("python", marks=pytest.mark.slow)])
def test_every_backend_gives_the_verdicts_of_bip340(name: BackendName) -> None:
    backend = open_backend(name)
    assert backend.name == name
    assert list(backend.verify([event_of(vector) for vector in VECTORS])) == [True] * 5 + [False] * 10
    assert [vector["valid"] for vector in VECTORS] == ["TRUE"] * 5 + ["FALSE"] * 10


flips = st.tuples(st.sampled_from(["id", "pubkey", "sig"]), st.integers(0, 511))


def flipped(event: Event, flip: tuple[str, int]) -> Event:
    """The same event with one bit of its id, key or signature turned."""
    name, place = flip
    text = str(getattr(event, name))
    turned = int(text, 16) ^ (1 << place % (4 * len(text)))
    return msgspec.structs.replace(event, **{name: f"{turned:0{len(text)}x}"})


def check_agreement(names: tuple[BackendName, ...], event: Event, turned: list[tuple[str, int]]) -> None:
    events = [event, *(flipped(event, flip) for flip in turned), event]
    expected = [True, *(False for _ in turned), True]
    assert {name: list(open_backend(name).verify(events)) for name in names} == dict.fromkeys(names, expected)


@pytest.mark.slow
@given(st.text("ab", max_size=3), st.lists(flips, max_size=8))
def test_the_native_backends_take_what_is_signed_and_refuse_a_single_wrong_bit(
    name: str, turned: list[tuple[str, int]]
) -> None:
    check_agreement(NATIVE, Author(name).event(name), turned)


@pytest.mark.slow
@settings(max_examples=examples(5))
@given(st.text("ab", max_size=3), st.lists(flips, min_size=1, max_size=2))
def test_all_backends_agree(name: str, turned: list[tuple[str, int]]) -> None:
    check_agreement(ALL, Author(name).event(name), turned)


@pytest.mark.parametrize("name", ALL)
def test_no_events_have_no_verdicts(name: BackendName) -> None:
    assert list(open_backend(name).verify([])) == []


@pytest.mark.parametrize("name", NATIVE)
def test_threads_may_share_a_backend(name: BackendName) -> None:
    backend = open_backend(name)
    events = [SIGNED, flipped(SIGNED, ("sig", 0))] * 20
    with ThreadPoolExecutor(4) as threads:
        verdicts = list(threads.map(backend.verify, [events] * 8))
    assert verdicts == [[True, False] * 20] * 8


# How each library is made to be missing: a None in `sys.modules` lets its import fail.
BATCH, PYTHON = ["trio_relay.nostr._batch"], ["pySecp256k1"]
COINCURVE = ["coincurve", "coincurve.context", "coincurve._libsecp256k1"]


def remove(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ([], "batch"),
        (PYTHON, "batch"),
        (BATCH, "coincurve"),
        (COINCURVE, "python"),
        ([*BATCH, *COINCURVE], "python"),
    ],
)
def test_the_fastest_backend_that_is_there_is_taken(
    monkeypatch: pytest.MonkeyPatch, missing: list[str], expected: str
) -> None:
    remove(monkeypatch, *missing)
    backend = open_backend()
    assert backend.name == expected
    assert list(backend.verify([SIGNED])) == [True]


@pytest.mark.parametrize(
    ("name", "missing", "named"),
    [
        ("batch", BATCH, "_batch"),
        ("batch", COINCURVE, "coincurve"),
        ("coincurve", COINCURVE, "coincurve"),
        ("python", PYTHON, "pySecp256k1"),
    ],
)
def test_a_forced_backend_has_no_substitute(
    monkeypatch: pytest.MonkeyPatch, name: BackendName, missing: list[str], named: str
) -> None:
    remove(monkeypatch, *missing)
    with pytest.raises(ImportError, match=named):
        open_backend(name)


def test_with_no_backend_at_all_each_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    remove(monkeypatch, *BATCH, "coincurve", *PYTHON)
    with pytest.raises(ImportError, match=r"no signature backend works: .*_batch.*; .*coincurve.*; .*pySecp256k1"):
        open_backend()


def test_the_extension_has_the_one_function_that_its_source_declares(tmp_path: Path) -> None:
    from trio_relay.nostr import _batch, batch_build

    batch_build.ffi.emit_c_code(str(tmp_path / "_batch.c"))
    assert dir(_batch.lib) == ["verify_batch"]
    assert "verify_batch" in (tmp_path / "_batch.c").read_text()


@pytest.mark.parametrize("field", ["id", "pubkey", "sig"])
def test_the_batch_refuses_events_of_the_wrong_shape(field: str) -> None:
    """C would read past their ends; `check_shape` keeps them from getting here."""
    event = ALICE.event("short")
    short = msgspec.structs.replace(event, **{field: getattr(event, field)[:-2]})
    with pytest.raises(ValueError, match="wrong shape"):
        open_backend("batch").verify([event, short])
