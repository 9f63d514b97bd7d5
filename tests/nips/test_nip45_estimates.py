"""NIP-45, what the registers are good for: an estimate of how many keys there are, as near as HyperLogLog gets."""

from __future__ import annotations

from math import log, sqrt
from random import Random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.marks import examples
from tests.support.oracles import naive_registers
from trio_relay.nostr.hyperloglog import REGISTERS, offset_of, registers_of

ERROR: Final = 1.04 / sqrt(256)
"""The standard error of 256 registers, as a part of the number."""
SEEDS: Final = st.integers(0, 2**32 - 1)
OFFSETS: Final = st.integers(8, 23)


def estimate(registers: bytes) -> float:
    """How many different keys they have seen, by the paper's formula: linear counting while many are empty."""
    size = len(registers)
    raw = 0.7213 / (1 + 1.079 / size) * size**2 / sum(2.0**-value for value in registers)
    empty = registers.count(0)
    return size * log(size / empty) if raw <= 2.5 * size and empty else raw


def random_keys(seed: int, number: int) -> list[str]:
    source = Random(seed)
    return [source.randbytes(32).hex() for _ in range(number)]


# The same examples in every run: of random ones, one in a few hundred lies beyond three standard errors by right.
@pytest.mark.slow
@settings(max_examples=examples(60), derandomize=True)
@given(SEEDS, st.integers(1_000, 6_000), OFFSETS)
def test_an_estimate_is_within_three_standard_errors_of_the_exact_number(seed: int, number: int, offset: int) -> None:
    found = estimate(registers_of(random_keys(seed, number), offset))
    assert abs(found / number - 1) < 3 * ERROR


@pytest.mark.slow
@pytest.mark.parametrize("number", [50, 2_000])
def test_estimates_err_on_the_whole_as_much_as_they_should(number: int) -> None:
    """A register too many or too few, or a bias in what is looked at, shows here first."""
    errors = [estimate(registers_of(random_keys(seed, number), 8 + seed % 16)) / number - 1 for seed in range(150)]
    assert sqrt(sum(error**2 for error in errors) / len(errors)) < 1.2 * ERROR
    assert abs(sum(errors) / len(errors)) < ERROR / 2


@settings(max_examples=examples(50))
@given(SEEDS, st.integers(0, 300), OFFSETS)
def test_registers_are_to_the_byte_those_of_the_reference(seed: int, number: int, offset: int) -> None:
    keys = random_keys(seed, number)
    assert registers_of(keys, offset) == naive_registers(keys, offset)


@settings(max_examples=examples(50))
@given(SEEDS, st.lists(st.integers(0, 299), max_size=300), OFFSETS)
def test_neither_order_nor_repeats_change_the_registers(seed: int, places: list[int], offset: int) -> None:
    keys = random_keys(seed, 300)
    chosen = [keys[place] for place in places]
    assert registers_of(chosen, offset) == registers_of(sorted(set(chosen)), offset)


@pytest.mark.slow
@settings(max_examples=examples(20), derandomize=True)
@given(SEEDS, st.integers(0, 2_000), st.integers(0, 2_000), st.integers(500, 2_000), OFFSETS)
def test_merged_registers_of_two_relays_estimate_the_keys_of_both(
    seed: int, left: int, right: int, both: int, offset: int
) -> None:
    """The larger of each register: those of the union, to the byte."""
    keys = random_keys(seed, left + both + right)
    first, second = registers_of(keys[: left + both], offset), registers_of(keys[left:], offset)
    merged = bytes(map(max, first, second))
    assert merged == registers_of(keys, offset)
    assert abs(estimate(merged) / len(keys) - 1) < 3 * ERROR


@given(st.text("0123456789abcdef", min_size=64, max_size=64))
def test_the_character_in_the_middle_tells_where_to_look(value: str) -> None:
    assert offset_of(value) == int(value[32], 16) + 8


def test_keys_that_count_much_at_one_offset_are_as_any_others_at_the_next() -> None:
    """Whoever mines keys for one target cannot use them for another."""
    mined = [f"{Random(place).randbytes(8).hex()}{place:02x}{'00' * 6}{'ff' * 17}" for place in range(REGISTERS)]
    assert estimate(registers_of(mined, 8)) > 1e12
    assert estimate(registers_of(mined, 16)) < 300
