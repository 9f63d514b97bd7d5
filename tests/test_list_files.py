"""Lists of the configuration in files of their own: read line by line, and again while the relay runs."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest
import structlog
import trio
from nostr_sdk import PublicKey  # type: ignore[import-untyped]  # ships no types
from trio.testing import MockClock

from tests.support.keys import ALICE, BOB, CAROL
from tests.support.program import running
from trio_relay import PolicyOptions
from trio_relay.config import load, load_whole, read_lists
from trio_relay.config_checks import ConfigError
from trio_relay.list_files import LISTS, ListFiles


def npub(key: str) -> str:
    text: str = PublicKey.parse(key).to_bech32()
    return text


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where relative paths begin."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configured(policy: str) -> Path:
    path = Path("relay.toml")
    path.write_text(f"[policy]\n{policy}\n", encoding="utf-8")
    return path


def files_of(path: Path) -> ListFiles:
    """Those that a configuration names, which is read now."""
    whole = load_whole(path, {})
    return ListFiles(whole.lists, whole.config.policy, read_lists)


def taking(taken: list[PolicyOptions]) -> Callable[[PolicyOptions], Awaitable[None]]:
    """Takes what is handed on."""

    async def take(options: PolicyOptions) -> None:
        taken.append(options)

    return take


GOOD: Final[dict[str, tuple[str, tuple[object, ...]]]] = {
    "admins": (ALICE.pubkey, (ALICE.pubkey,)),
    "allowed_pubkeys": (f"{npub(ALICE.pubkey)}\n{BOB.pubkey}\n", (ALICE.pubkey, BOB.pubkey)),
    "denied_pubkeys": (
        f"# spam\n\n{ALICE.pubkey} # a bot\n  {BOB.pubkey}  \n#{CAROL.pubkey}",
        (ALICE.pubkey, BOB.pubkey),
    ),
    "allowed_kinds": ("0\n1\r\n65535", (0, 1, 65_535)),
    "denied_kinds": ("4 # messages\n", (4,)),
    "denied_words": ("buy now\n#crypto\nc# is a language\n", ("buy now", "c# is a language")),
    "denied_addresses": ("203.0.113.0/24\n2001:db8::1 # a scraper\n", ("203.0.113.0/24", "2001:db8::1")),
}


def test_there_is_an_example_of_each_list() -> None:
    assert GOOD.keys() == LISTS.keys()


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["", "bom"])
@pytest.mark.parametrize("key", LISTS)
def test_a_list_is_read_from_a_file_line_by_line(folder: Path, key: str, bom: bytes) -> None:
    text, items = GOOD[key]
    (folder / "list.txt").write_bytes(bom + text.encode())
    path = configured(f'{key} = "file:list.txt"')
    assert getattr(load(path, {}).policy, key) == items
    assert load_whole(path, {}).files == {key: [Path("list.txt")]}


def test_a_list_may_have_files_among_its_items_and_its_variable_may_name_one(folder: Path) -> None:
    (folder / "one").write_text(ALICE.pubkey)
    (folder / "two").write_text(CAROL.pubkey)
    path = configured(f'denied_pubkeys = ["file:one", "{npub(BOB.pubkey)}", "file:{folder}/two"]')
    assert load(path, {}).policy.denied_pubkeys == (ALICE.pubkey, BOB.pubkey, CAROL.pubkey)
    assert load_whole(path, {}).files == {"denied_pubkeys": [Path("one"), folder / "two"]}
    environment = {"TRIO_RELAY_POLICY__DENIED_PUBKEYS": "file:two"}
    assert load(path, environment).policy.denied_pubkeys == (CAROL.pubkey,)
    assert load_whole(None, {}).files == {}


@pytest.mark.parametrize(
    ("key", "data", "message"),
    [
        ("denied_pubkeys", None, "policy.denied_pubkeys: list.txt: No such file or directory"),
        ("denied_pubkeys", b"\xff", "policy.denied_pubkeys: list.txt is not UTF-8"),
        (
            "denied_pubkeys",
            b"# keys\nalice",
            "policy.denied_pubkeys: list.txt, line 2: 'alice' is no key: a key is 64 hex characters, or starts with"
            " npub1 or nprofile1",
        ),
        (
            "allowed_kinds",
            b"1\n65536",
            "policy.allowed_kinds: list.txt, line 2: '65536' is no kind: a kind is an integer from 0 to 65535",
        ),
        (
            "denied_addresses",
            b"relay.example",
            "policy.denied_addresses: list.txt, line 1: 'relay.example' does not appear to be an IPv4 or IPv6 address",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_file_and_line(
    folder: Path, key: str, data: bytes | None, message: str
) -> None:
    if data is not None:
        (folder / "list.txt").write_bytes(data)
    with pytest.raises(ConfigError) as refused:
        load(configured(f'{key} = "file:list.txt"'), {})
    assert str(refused.value) == message


def test_neither_a_folder_nor_a_pipe_is_a_list(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    for name, reason in (("pipe", "no regular file"), (".", "Is a directory")):
        with pytest.raises(ConfigError) as refused:
            load(configured(f'denied_pubkeys = "file:{name}"'), {})
        assert str(refused.value) == f"policy.denied_pubkeys: {name}: {reason}"
    with pytest.raises(ConfigError, match="embedded null byte"):
        load(configured('denied_pubkeys = "file:a\\u0000b"'), {})


def test_only_lists_stand_in_files() -> None:
    with pytest.raises(ConfigError) as refused:
        load(configured('private_kinds = "file:list.txt"'), {})
    assert str(refused.value) == "policy.private_kinds: expected `array`, got `str`"


async def test_a_file_that_changes_is_read_again_and_a_broken_one_changes_nothing(
    folder: Path, inline_threads: None, autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    path = configured(f'denied_pubkeys = "file:list.txt"\nallowed_kinds = [1]\nadmins = ["{BOB.pubkey}"]')
    file = folder / "list.txt"
    file.write_text(ALICE.pubkey)
    taken: list[PolicyOptions] = []
    lists = files_of(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lists.run, taking(taken), trio.Lock())
        await trio.sleep(60)
        assert taken == []
        file.write_text(f"{ALICE.pubkey}\n{CAROL.pubkey}")
        configured("allowed_kinds = [7]")  # of which nobody asked: it would deny nobody any more
        await trio.sleep(11)
        assert [one.denied_pubkeys for one in taken] == [(ALICE.pubkey, CAROL.pubkey)]
        assert taken[0].allowed_kinds == (1,)  # that is no file
        file.write_text("carol")
        await trio.sleep(60)
        file.unlink()
        await trio.sleep(11)
        assert len(taken) == 1
        (folder / "new").write_text("")
        os.replace(folder / "new", file)
        await trio.sleep(11)
        assert taken[1].denied_pubkeys == ()
        nursery.cancel_scope.cancel()
    said = [(line["event"], line.get("denied_pubkeys"), line.get("error")) for line in logged]
    assert said == [
        ("lists read again", 2, None),
        ("lists stay as they are", None, said[1][2]),
        ("lists stay as they are", None, "policy.denied_pubkeys: list.txt: No such file or directory"),
        ("lists read again", 0, None),
    ]
    assert "list.txt, line 1: 'carol' is no key" in str(said[1][2])


def test_what_changed_between_the_start_and_the_first_look_is_taken(folder: Path, inline_threads: None) -> None:
    path = configured('denied_kinds = "file:list.txt"')
    (folder / "list.txt").write_text("4")
    lists, taken = files_of(path), list[PolicyOptions]()
    (folder / "list.txt").write_text("4\n5")

    async def main() -> None:
        with trio.move_on_after(1):
            await lists.run(taking(taken), trio.Lock())

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert [one.denied_kinds for one in taken] == [(4, 5)]


async def test_a_list_is_read_again_while_the_configuration_is_being_edited(
    folder: Path, inline_threads: None, autojump_clock: MockClock
) -> None:
    path = configured('denied_kinds = ["file:list.txt", 6]')
    (folder / "list.txt").write_text("4")
    lists, taken = files_of(path), list[PolicyOptions]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lists.run, taking(taken), trio.Lock())
        await trio.sleep(12)
        configured("denied_kinds = [")
        (folder / "list.txt").write_text("4\n5")
        await trio.sleep(12)
        assert [one.denied_kinds for one in taken] == [(4, 5, 6)]
        nursery.cancel_scope.cancel()


async def test_a_list_is_not_read_while_it_is_being_written_and_never_opens_the_relay_to_everybody(
    folder: Path, inline_threads: None, autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    path, file = configured('allowed_pubkeys = "file:list.txt"'), folder / "list.txt"
    file.write_text(ALICE.pubkey)
    lists, taken = files_of(path), list[PolicyOptions]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lists.run, taking(taken), trio.Lock())
        await trio.sleep(12)
        for number in range(10):  # at each look it is another one
            file.write_text("# a new line\n" * number + BOB.pubkey)
            await trio.sleep(5)
        assert taken == []
        await trio.sleep(6)
        assert [one.allowed_pubkeys for one in taken] == [(BOB.pubkey,)]
        file.write_text("")
        await trio.sleep(60)
        assert len(taken) == 1
        nursery.cancel_scope.cancel()
    said = [(line["event"], line.get("error")) for line in logged]
    assert said[1:] == [
        ("lists stay as they are", "policy.allowed_pubkeys: would be empty, which would let in everybody")
    ]


@pytest.mark.slow
async def test_the_program_denies_keys_and_addresses_that_a_file_names_while_it_runs(folder: Path) -> None:
    keys, addresses = folder / "keys.txt", folder / "addresses.txt"
    keys.write_text("")
    addresses.write_text("")
    settings = {
        "policy.denied_pubkeys": "file:keys.txt",
        "policy.denied_addresses": "file:addresses.txt",
        "policy.files_seconds": "0.1",
        "log.format": "json",
    }
    note, later = ALICE.event("before"), ALICE.event("after")
    async with running(folder, settings) as program, program.client() as client:
        assert await client.publish(note) == ["OK", note.id, True, ""]
        keys.write_text(npub(ALICE.pubkey))
        assert (await program.logs("lists read again"))["denied_pubkeys"] == 1
        refused = ["OK", later.id, False, "blocked: the author of this event is banned here"]
        assert await client.publish(later) == refused
        addresses.write_text("127.0.0.0/8")
        with pytest.raises(Exception, match="1008"):
            await client.receive()
