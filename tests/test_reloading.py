"""The configuration read again: all of it or nothing, by SIGHUP and by a call, and the files that are looked at."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.authority import certified, written
from tests.support.keys import ALICE, BOB
from trio_relay import StoreError
from trio_relay.config import Config, load_whole
from trio_relay.config_checks import ConfigError
from trio_relay.net import tls
from trio_relay.nostr import errors
from trio_relay.reloading import Reloading
from trio_relay.tls_files import tls_files

pytestmark = pytest.mark.usefixtures("inline_threads")

MIRROR = '[[mirror]]\nurl = "wss://x.example/"\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where relative paths begin."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Taken:
    """What a relay was given: configurations, certificates; and what it could not do for it, if anything."""

    def __init__(self) -> None:
        self.configs: list[Config] = []
        self.certificates: list[tls.CertifiedKey] = []
        self.failure: StoreError | None = None
        self.prepared = 0

    async def prepare(self, config: Config) -> Callable[[], None]:
        await trio.lowlevel.checkpoint()
        self.prepared += 1
        if self.failure is not None:
            raise self.failure
        return lambda: self.configs.append(config)


def configured(text: str) -> Path:
    path = Path("relay.toml")
    path.write_text(text, encoding="utf-8")
    return path


@asynccontextmanager
async def open_reloading(
    text: str = "", *, hears_hangups: bool = False, settled: Callable[[], Any] | None = None
) -> AsyncIterator[tuple[Reloading, Taken]]:
    """Of a relay that was started with this file."""
    path, taken = configured(text), Taken()
    whole = load_whole(path, {}, with_hooks=True)
    reloading = Reloading(path, {}, whole, hears_hangups=hears_hangups)
    reloading.serve(taken.prepare, tls_files(whole.config.net), taken.certificates.append, settled)
    async with trio.open_nursery() as nursery:
        await nursery.start(reloading.hear)
        await nursery.start(reloading.run)
        yield reloading, taken
        nursery.cancel_scope.cancel()


def shown(reloading: Reloading, name: str) -> tuple[object, object]:
    """The value of a setting that operators see, and the one that waits."""
    [found] = [one for one in reloading.settings() if f"{one.section}.{one.key}" == name]
    return found.value, found.waiting


async def test_what_can_change_is_taken_and_what_cannot_is_named(autojump_clock: MockClock) -> None:
    async with open_reloading() as (reloading, taken):
        configured('[relay]\nname = "another"\n[store]\nreaders = 7\n' + MIRROR)
        assert await reloading.reload_now() == {
            "changed": ["relay.name", "mirror"],
            "waiting": {"store.readers": "the store is open"},
        }
        [config] = taken.configs
        assert (config.relay.name, config.store.readers, len(config.mirror)) == ("another", 4, 1)
        assert shown(reloading, "relay.name") == ("another", None)
        assert shown(reloading, "store.readers") == (4, 7)
        again = await reloading.reload()
        assert (again.changed, again.waiting) == ((), ("store.readers",))


WRONG = {
    "not TOML": ("[relay", "relay.toml is not TOML"),
    "an unknown table": ("[nonsense]\n", "nonsense: unknown table"),
    "an unknown key": ("[limits]\nmax_filter = 7\n", "limits.max_filter: unknown key; the nearest known is"),
    "a type": ('[limits]\nmax_filters = "7"\n', "limits.max_filters: expected `int`, got `str`"),
    "a bound": ("[net]\nping_seconds = 0\n", "net.ping_seconds: expected `float` > 0"),
    "two keys": ("[limits]\nmax_limit = 7\n", "limits.default_limit: must not be above limits.max_limit"),
    "a rate": ('[rates]\ncalls_per_key = "often"\n', "rates.calls_per_key: "),
    "an address": ('[policy]\ndenied_addresses = ["x.example"]\n', "policy.denied_addresses: "),
    "a key": ('[policy]\nadmins = ["alice"]\n', "policy.admins: 'alice' is no key"),
    "a name": ('[relay]\nurl = "wss://me@x.example"\n', "relay.url: must not hold a user"),
    "a list that is gone": ('[policy]\ndenied_words = "file:none"\n', "policy.denied_words: none: No such file"),
    "a list of what is none": (
        '[policy]\ndenied_kinds = "file:words"\n',
        "policy.denied_kinds: words, line 1: 'tin' is",
    ),
    "a mirror": ('[[mirror]]\nurl = "wss://x.example"\ndirection = "up and down"\n', "mirror.direction: "),
    "a mirror's key": ('[[mirror]]\nurl = "wss://x.example"\nkey_file = "none"\n', "mirror.key_file: "),
    "retention": ("[[retention]]\nkinds = [[2, 1]]\n", "retention: rule 1: [2, 1] ends before it begins"),
    "a certificate without its place": ('[net]\ntls_certificate = "a"\n', "net.tls_certificate: needs net.tls_key"),
    "members without a name": (
        '[net]\nlisten = ["0.0.0.0:7777"]\n[members]\nenabled = true\n',
        "members.enabled: needs relay.url",
    ),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
async def test_a_file_that_is_wrong_changes_nothing_and_its_key_is_told(
    text: str, message: str, folder: Path, autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    (folder / "words").write_text("tin")
    async with open_reloading('[relay]\nname = "as it was"\n') as (reloading, taken):
        configured("[web]\nnotes = 7\n" + text)
        with pytest.raises(errors.Rejected) as refused:
            await reloading.reload_now()
        assert str(refused.value).startswith(f"invalid: {message}"), refused.value
        assert (taken.prepared, taken.configs) == (0, [])
        assert shown(reloading, "relay.name") == ("as it was", None)
        [line] = logged
        assert line["event"] == "the configuration stays as it is"
        assert str(line["error"]).startswith(message)
        configured('[relay]\nname = "mended"\n')
        assert (await reloading.reload()).changed == ("relay.name",)


@pytest.mark.parametrize("text", ["port = 7777\n", f"name = {'[' * 20_000}\n"], ids=["number", "deep"])
async def test_no_file_ends_a_relay_that_hears_a_hangup(text: str, autojump_clock: MockClock) -> None:
    async with open_reloading(hears_hangups=True) as (_, taken):
        configured(text)
        signal.raise_signal(signal.SIGHUP)
        await wait_all_tasks_blocked()
        assert taken.configs == []


async def test_a_list_of_what_is_allowed_does_not_become_empty_by_a_reload(
    folder: Path, autojump_clock: MockClock
) -> None:
    (folder / "keys").write_text(ALICE.pubkey)
    async with open_reloading('[policy]\nallowed_pubkeys = "file:keys"\n') as (reloading, taken):
        (folder / "keys").write_text("")  # as where somebody is just writing it
        with pytest.raises(ConfigError, match=r"^policy.allowed_pubkeys"):
            await reloading.reload()
        assert taken.configs == []


@pytest.mark.parametrize(
    "text",
    [
        '[web]\nicon = "none.png"\n',
        '[web]\ntemplates = "none"\n',
        '[net]\nlisten = ["tls:127.0.0.1:7777"]\ntls_certificate = "none.pem"\ntls_key = "none.key"\n',
    ],
    ids=["icon", "templates", "certificate"],
)
async def test_a_relay_is_told_of_what_it_could_not_be_started_with(text: str, autojump_clock: MockClock) -> None:
    async with open_reloading() as (reloading, _):
        configured(text)
        with pytest.raises(ConfigError):  # as check-config says
            await reloading.reload()


@pytest.mark.parametrize("text", ["", "\n", "# [policy]\n", "[policy]\n"])
async def test_a_file_of_which_nothing_is_left_changes_nothing(text: str, autojump_clock: MockClock) -> None:
    """As one is that is just being written, or was when the disk was full: nobody is to be let in by that."""
    policy = f'[policy]\nallowed_pubkeys = ["{ALICE.pubkey}"]\n'
    async with open_reloading(policy) as (reloading, taken):
        configured(text)
        with pytest.raises(ConfigError, match=r"^relay.toml: has no setting any more; "):
            await reloading.reload()
        assert taken.configs == []
        configured(policy + "[limits]\nmax_filters = 3\n")
        assert (await reloading.reload()).changed == ("limits.max_filters",)


async def test_a_relay_that_began_with_an_empty_file_may_have_one(autojump_clock: MockClock) -> None:
    async with open_reloading("# nothing yet\n") as (reloading, taken):
        configured("")
        assert (await reloading.reload()).changed == ()
        configured("[limits]\nmax_filters = 3\n")
        await reloading.reload()
        configured("")
        with pytest.raises(ConfigError):
            await reloading.reload()
        assert taken.configs[-1].limits.max_filters == 3


async def test_a_relay_goes_on_whose_working_directory_is_gone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    path, taken = configured("[limits]\nmax_filters = 3\n").absolute(), Taken()
    reloading = Reloading(path, {}, load_whole(path, {}))
    reloading.serve(taken.prepare, None, taken.certificates.append)
    (gone := folder / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match=r"^store.path: the working directory, "):
        await reloading.reload()
    assert taken.configs == []


async def test_a_file_that_is_gone_changes_nothing(folder: Path, autojump_clock: MockClock) -> None:
    async with open_reloading() as (reloading, taken):
        (folder / "relay.toml").unlink()
        with pytest.raises(ConfigError, match=r"^relay.toml: No such file or directory$"):
            await reloading.reload()
        assert taken.configs == []


async def test_what_the_relay_cannot_store_that_it_needs_changes_nothing(autojump_clock: MockClock) -> None:
    async with open_reloading() as (reloading, taken):
        taken.failure = StoreError("the disk is full")
        configured("[web]\nadmin = true\n")
        with pytest.raises(errors.Rejected, match=r"^error: the disk is full$"):
            await reloading.reload_now()
        assert shown(reloading, "web.admin") == (False, None)
        taken.failure = None
        assert (await reloading.reload()).changed == ("web.admin",)
        assert taken.configs[-1].web.admin


async def test_what_fits_alone_but_not_to_what_the_relay_keeps_waits(autojump_clock: MockClock) -> None:
    async with open_reloading('[relay]\nurl = "wss://relay.example/"\n') as (reloading, _):
        configured(
            '[relay]\nurl = "wss://relay.example/"\nname = "new"\n[members]\nenabled = true\nclaims = ["abcdefgh"]\n'
        )
        assert await reloading.reload_now() == {
            "changed": ["relay.name"],
            "waiting": {
                "members.enabled": "the relay's own key, and what it says of members, begin with it",
                "members.claims": "it needs something else that waits",
            },
        }
        assert shown(reloading, "members.claims") == ((), "(secret)")


async def test_the_environment_still_overrides_the_file(autojump_clock: MockClock) -> None:
    path, taken = configured(""), Taken()
    environment = {"TRIO_RELAY_RELAY__NAME": "of the environment"}
    reloading = Reloading(path, environment, load_whole(path, environment))
    reloading.serve(taken.prepare, None, taken.certificates.append)
    configured('[relay]\nname = "of the file"\ncontact = "mailto:me@x.example"\n')
    assert await reloading.reload_now() == {
        "changed": ["relay.contact"],
        "waiting": {},
        "overridden": {"relay.name": "TRIO_RELAY_RELAY__NAME"},
    }
    assert taken.configs[-1].relay.name == "of the environment"


async def test_whoever_asks_waits_until_all_go_by_it_and_one_reading_waits_for_the_other(
    autojump_clock: MockClock,
) -> None:
    seen: list[int] = []

    async def settled() -> None:
        await trio.sleep(5)
        seen.append(len(taken.configs))

    async with open_reloading(settled=settled) as (reloading, taken):
        configured("[web]\nnotes = 1\n")
        began = trio.current_time()
        await reloading.reload()
        assert (trio.current_time() - began, seen) == (5, [1])


async def test_all_that_happens_while_it_reads_is_told_to_be_so(autojump_clock: MockClock) -> None:
    told: list[str] = []

    @asynccontextmanager
    async def telling() -> AsyncIterator[None]:
        told.append("begins")
        try:
            yield
        finally:
            told.append("is over")

    async with open_reloading() as (reloading, taken):
        reloading.telling = telling
        await reloading.reload()
        configured("[")
        with pytest.raises(ConfigError):
            await reloading.reload()
        assert told == ["begins", "is over"] * 2
        assert len(taken.configs) == 1


async def test_sighup_is_heard_and_neither_a_wrong_file_nor_a_full_disk_ends_anything(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with open_reloading(hears_hangups=True) as (_, taken):
        for text, failure in (("[", None), ("[web]\nnotes = 1\n", StoreError("full")), ("[web]\nnotes = 2\n", None)):
            configured(text)
            taken.failure = failure
            signal.raise_signal(signal.SIGHUP)
            await wait_all_tasks_blocked()
        assert [config.web.notes for config in taken.configs] == [2]
    said = ["the configuration stays as it is"] * 2 + ["configuration read again"]
    assert [line["event"] for line in logged] == said
    assert logged[-1]["changed"] == ["web.notes"]
    assert "waiting_for_restart" not in logged[-1]


async def test_a_hangup_is_obeyed_once_the_relay_serves_and_passed_over_once_it_does_not(
    autojump_clock: MockClock,
) -> None:
    path, taken = configured(""), Taken()
    reloading = Reloading(path, {}, load_whole(path, {}), hears_hangups=True)
    async with trio.open_nursery() as process:
        await process.start(reloading.hear)
        configured("[web]\nnotes = 1\n")
        signal.raise_signal(signal.SIGHUP)
        await wait_all_tasks_blocked()
        reloading.serve(taken.prepare, None, taken.certificates.append)
        async with trio.open_nursery() as serving:
            await serving.start(reloading.run)
            await wait_all_tasks_blocked()
            serving.cancel_scope.cancel()
        signal.raise_signal(signal.SIGHUP)
        await wait_all_tasks_blocked()
        process.cancel_scope.cancel()
    assert [config.web.notes for config in taken.configs] == [1]


async def test_sighup_is_left_alone_where_nobody_wants_it() -> None:
    before = signal.getsignal(signal.SIGHUP)
    async with open_reloading():
        await wait_all_tasks_blocked()
        assert signal.getsignal(signal.SIGHUP) is before


def speaking_tls(folder: Path, pair: tls.CertifiedKey, more: str = "") -> str:
    folder.mkdir(exist_ok=True)
    named = written(folder, pair)
    texts = [f'{key} = "{text}"' for key, text in named.items()]
    return "\n".join(["[net]", 'listen = ["tls:127.0.0.1:7777"]', *texts, more])


async def test_the_certificate_is_read_with_all_else_or_not_at_all(folder: Path, autojump_clock: MockClock) -> None:
    first, second = certified(), certified()
    async with open_reloading(speaking_tls(folder / "one", first)) as (reloading, taken):
        configured(speaking_tls(folder / "two", second, "ping_seconds = 7"))
        assert set((await reloading.reload()).changed) == {"net.tls_certificate", "net.tls_key", "net.ping_seconds"}
        assert (taken.certificates, taken.configs[-1].net.ping_seconds) == ([second], 7)
        configured(speaking_tls(folder / "two", tls.CertifiedKey(first.chain, second.key), "ping_seconds = 8"))
        with pytest.raises(ConfigError, match=r"^net.tls_certificate, net.tls_key: the key is not the one of the"):
            await reloading.reload()
        assert (taken.certificates, taken.configs[-1].net.ping_seconds) == ([second], 7)
        written(folder / "two", first)  # and the files are looked at where they are now
        await trio.sleep(6)
        assert taken.certificates == [second, first]


async def test_files_of_lists_are_read_with_all_else_and_looked_at_from_then_on(
    folder: Path, autojump_clock: MockClock
) -> None:
    async with open_reloading("[policy]\nfiles_seconds = 5\n") as (reloading, taken):
        (folder / "keys").write_text(ALICE.pubkey)
        configured('[relay]\nname = "new"\n[policy]\ndenied_pubkeys = "file:keys"\nfiles_seconds = 1\n')
        found = await reloading.reload()
        assert found.changed == ("relay.name", "policy.denied_pubkeys", "policy.files_seconds")
        assert taken.configs[-1].policy.denied_pubkeys == (ALICE.pubkey,)
        await trio.sleep(30)
        assert len(taken.configs) == 1
        configured('[relay]\nname = "newer"\n')  # of which nobody has asked: it denies nobody
        (folder / "keys").write_text(BOB.pubkey)
        await trio.sleep(3)
        assert taken.configs[-1].policy.denied_pubkeys == (BOB.pubkey,)
        assert taken.configs[-1].relay.name == "new"
        await reloading.reload()
        assert not taken.configs[-1].policy.denied_pubkeys
        (folder / "keys").write_text(ALICE.pubkey)
        await trio.sleep(60)
        assert not taken.configs[-1].policy.denied_pubkeys


async def test_a_list_that_the_relay_cannot_have_is_tried_again(
    folder: Path, autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    """As where a first admin comes, for whom the console needs a secret, and the disk is full."""
    (folder / "admins").write_text("")
    async with open_reloading('[policy]\nadmins = "file:admins"\n') as (_, taken):
        await trio.sleep(20)
        taken.failure = StoreError("the disk is full")
        (folder / "admins").write_text(ALICE.pubkey)
        await trio.sleep(20)
        assert taken.configs == []
        taken.failure = None
        await trio.sleep(10)
        assert taken.configs[-1].policy.admins == (ALICE.pubkey,)
    assert [(line["event"], line.get("error")) for line in logged] == [
        ("lists stay as they are", "the disk is full"),
        ("lists read again", None),
    ]


HOOKS = """
import msgspec
class Options(msgspec.Struct, forbid_unknown_fields=True):
    word: str = ""
LOADED = []
def start(relay, options):
    return None
def judge_event(event, source):
    return None
"""


async def test_what_is_told_to_hooks_is_checked_by_the_module_that_runs(
    folder: Path, autojump_clock: MockClock
) -> None:
    (folder / "my_policy.py").write_text(HOOKS)
    text = '[plugins]\nhooks = "my_policy"\n'
    async with open_reloading(text) as (reloading, _):
        (folder / "my_policy.py").write_text("raise RuntimeError('loaded again')")
        configured(text + 'hooks_options = { word = "tin" }\n')
        assert (await reloading.reload()).waiting == ("plugins.hooks_options",)
        configured(text + "hooks_options = { word = 7 }\n")
        with pytest.raises(ConfigError, match=r"^plugins.hooks_options.word: Expected `str`, got `int`$"):
            await reloading.reload()
