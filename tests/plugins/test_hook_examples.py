"""The examples in config/hooks, loaded as an operator has them loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from config.hooks.languages import language_of
from config.hooks.near_duplicates import plain, simhash
from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.obedient_store import ObedientStore
from trio_relay import Event, Hooks, HooksRefused, MemoryStore, Source, Store, StoreError, open_hooks
from trio_relay.nostr import pow as work

FOLDER = Path(__file__).parents[2] / "config" / "hooks"
SOMEBODY = Source("192.0.2.7")
IMPORT = Source(way="import")


def opened(name: str, store: Store | None = None, **options: Any) -> Any:
    """An example by its name, open."""
    return open_hooks(str(FOLDER / f"{name}.py"), store or MemoryStore(), options=options, clock=lambda: now())


def now() -> float:
    """The time of day, which goes with the virtual clock."""
    return NOW + trio.current_time()


async def said(judge: Hooks, event: Event, source: Source = SOMEBODY) -> str:
    """What the sender of an event is told, or `shadow`; empty if it is accepted."""
    verdict = await judge.judge_event(event, source)
    assert not any(fault in judge.outcomes() for fault in [("on_event", "raised"), ("on_event", "wrong_answer")])
    return "shadow" if verdict.action.value == "shadowReject" else verdict.message


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
async def test_each_example_refuses_options_that_it_does_not_know(name: str) -> None:
    with pytest.raises(HooksRefused, match="hooks_options"):
        async with opened(name, colour="blue"):
            pass


REFUSED_WORD = "blocked: a word of this event is not welcome here"


@pytest.mark.parametrize(
    ("content", "is_refused"),
    [
        ("Visit our CASINO!", True),
        ("casino", True),
        ("\uff23\uff21\uff33\uff29\uff2e\uff2f in wide letters", True),
        ("free\n  money here", True),
        ("das Kasino, occasional casinos", False),
        ("free of money", False),
        ("欢迎来到赌场吧", True),
        ("STRASSE", True),
        ("", False),
    ],
)
async def test_word_list(content: str, is_refused: bool, autojump_clock: MockClock) -> None:
    async with opened("word_list", words=["casino", "Free Money", "赌场", "straße", " "]) as judge:
        assert await said(judge, ALICE.event(content)) == REFUSED_WORD * is_refused
        assert await said(judge, ALICE.event(content, kind=0)) == ""
    async with opened("word_list", words=["casino"], shadow=True) as judge:
        assert await said(judge, ALICE.event("casino")) == "shadow"
    async with opened("word_list", words=[]) as judge:
        assert await said(judge, ALICE.event(content)) == ""


def worked(bits: int, committed: int | None = None, key: Author = ALICE, kind: int = 1) -> Event:
    """An event with exactly so many bits of work."""
    for number in range(2**20):
        event = key.event(kind=kind, tags=[["nonce", str(number), str(bits if committed is None else committed)]])
        if work.difficulty_of(event.id) == bits:
            return event
    raise AssertionError("more luck was needed")


async def test_work_rises_with_the_load(autojump_clock: MockClock) -> None:
    async with opened("rising_work", comfortable=1, first_bits=4, bits_per_doubling=1, most_bits=6) as judge:
        idle = ALICE.event("no work")

        async def flood(per_second: float) -> str:
            """What an event without work is told after a minute of so many."""
            answer = ""
            for _ in range(int(60 * per_second)):
                await trio.sleep(1 / per_second)
                answer = await said(judge, idle)
            return answer

        assert await flood(0.9) == ""
        assert await flood(1.5) == "pow: 4 bits are needed while so many events come in"
        assert await said(judge, worked(4)) == ""
        assert await said(judge, worked(3)) != ""
        assert await said(judge, worked(5, committed=3)) != "", "luck is no work"
        assert await said(judge, ALICE.event(kind=5)) == ""
        assert await said(judge, idle, IMPORT) == ""
        assert await flood(2.5) == "pow: 5 bits are needed while so many events come in"
        assert await flood(8) == "pow: 6 bits are needed while so many events come in"
        await trio.sleep(60)
        assert await said(judge, idle) == ""


async def test_some_keys_need_no_work() -> None:
    async with opened("rising_work", comfortable=0.01, exempt_keys=[BOB.pubkey]) as judge:
        for _ in range(2):
            assert await said(judge, BOB.event()) == ""
        assert (await said(judge, ALICE.event())).startswith("pow: ")


def follows(who: Author, *keys: Author, at: int = 0) -> Event:
    return who.event(kind=3, created_at=NOW + at, tags=[["p", key.pubkey] for key in keys])


DAVE, ERIN = Author("dave"), Author("erin")
STRANGER = "restricted: only people that followers of this relay's owner follow may write here"


async def test_people_that_followers_follow(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    await store.save_many([follows(BOB, ALICE, DAVE, ERIN), follows(CAROL, ALICE, DAVE), follows(ERIN, DAVE)])
    async with opened("followed_by_followers", store, owner=ALICE.pubkey, seconds=60) as judge:
        for key in (ALICE, BOB, CAROL, DAVE):
            assert await said(judge, key.event()) == ""
        assert await said(judge, ERIN.event()) == STRANGER, "one follower is too few"
        assert await said(judge, ERIN.event(), IMPORT) == ""
        assert await said(judge, ERIN.event(kind=1059)) == ""
        assert await said(judge, follows(ERIN, DAVE)) == STRANGER
        assert await said(judge, follows(ERIN, ALICE)) == "", "who follows the owner becomes a follower"
        await store.save_many([follows(ERIN, ALICE, at=1), follows(CAROL, at=1)])
        await trio.sleep(61)
        assert await said(judge, ERIN.event()) == ""
        assert await said(judge, CAROL.event()) == STRANGER, "no follower any more"
        assert await said(judge, DAVE.event()) == STRANGER, "Bob alone follows Dave now"


async def test_who_is_followed_stays_as_it_was_while_the_store_fails(autojump_clock: MockClock) -> None:
    class Failing(MemoryStore):
        failure: StoreError | None = None

        async def query(self, filters: Any) -> Any:
            if self.failure is not None:
                raise self.failure
            async for page in super().query(filters):
                yield page

    store = Failing()
    await store.save_many([follows(BOB, ALICE)])
    async with opened("followed_by_followers", store, owner=ALICE.pubkey, seconds=60) as judge:
        store.failure = StoreError("no disk")
        await trio.sleep(61)
        assert await said(judge, BOB.event()) == ""
        store.failure = None
        await store.save_many([follows(BOB, at=1)])
        await trio.sleep(60)
        assert await said(judge, BOB.event()) == STRANGER


async def test_keys_that_are_remembered_are_bounded(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    crowd = [Author(str(number)) for number in range(20)]
    await store.save_many([follows(BOB, ALICE, *crowd), follows(CAROL, ALICE, *crowd)])
    async with opened("followed_by_followers", store, owner=ALICE.pubkey, most_keys=5) as judge:
        welcome = [key for key in crowd if await said(judge, key.event()) == ""]
        assert 4 <= len(welcome) <= 5


SPAM = "Dear friends, our new offer is open to everybody: send one coin to {0} and get two back at https://scam.example/{0}"
SAID_BEFORE = "blocked: this was said several times already"


async def test_near_duplicates(autojump_clock: MockClock) -> None:
    async with opened("near_duplicates", most_copies=2, seconds=60) as judge:
        assert await said(judge, ALICE.event(SPAM.format(1))) == ""
        assert await said(judge, BOB.event(SPAM.format(22).upper())) == ""
        assert await said(judge, CAROL.event(SPAM.format(333))) == SAID_BEFORE
        assert await said(judge, CAROL.event(SPAM.format(333), kind=30_023)) == ""
        assert await said(judge, CAROL.event(SPAM.format(333)), IMPORT) == ""
        assert await said(judge, CAROL.event("Nobody has said anything like that here today, I am quite sure.")) == ""
        await trio.sleep(50)
        assert await said(judge, CAROL.event(SPAM.format(4))) == SAID_BEFORE
        await trio.sleep(61)
        assert await said(judge, CAROL.event(SPAM.format(5))) == "", "forgotten since nobody has repeated it"
        for _ in range(5):
            assert await said(judge, ALICE.event("gm")) == ""


async def test_near_duplicates_forget_the_oldest(autojump_clock: MockClock) -> None:
    texts = [f"{word} " * 9 + "and then some" for word in ("one", "another", "third", "fourth-and-last")]
    async with opened("near_duplicates", most_copies=1, most_texts=3) as judge:
        for text in texts:
            assert await said(judge, ALICE.event(text)) == ""
        assert await said(judge, ALICE.event(texts[0])) == "", "it made room for the fourth"
        assert await said(judge, ALICE.event(texts[3])) == SAID_BEFORE


CHANGED = [
    "dear friends! our new offer is open to anybody: send one coin to {0} and get two back, at https://scam.example/{0}",
    "Dear friends, our new offer is open to everybody now: send one coin to {0} and get two back at {0} :)",
    "Dear nostriches, our new offer is open to everybody: send one coin to {0} and get two back at https://scam.example/{0}",
]


@pytest.mark.parametrize("changed", CHANGED)
def test_a_copy_with_other_words_here_and_there_is_one(changed: str) -> None:
    assert (simhash(plain(changed)) ^ simhash(plain(SPAM))).bit_count() <= 12


def test_what_different_people_say_is_no_copy() -> None:
    texts = [simhash(plain(sentence)) for sentences in SENTENCES.values() for sentence in sentences]
    assert min((one ^ other).bit_count() for place, one in enumerate(texts) for other in texts[:place]) > 15


SENTENCES = {
    "en": [
        "Good morning everyone, I hope you have a wonderful day",
        "Just finished building my new relay and it works better than expected",
        "Why does nobody talk about the price of bread anymore?",
        "The new version of the app is out, please update and tell me what you think",
        "The weather is terrible again today, so I am staying at home",
    ],
    "de": [
        "Guten Morgen zusammen, ich wünsche euch einen schönen Tag",
        "Gerade habe ich mein neues Relay fertig gebaut und es läuft besser als gedacht",
        "Warum redet eigentlich keiner mehr über den Brotpreis?",
        "Die neue Version der App ist da, bitte aktualisieren und sagt mir, was ihr denkt",
        "Das Wetter ist heute wieder furchtbar, ich bleibe zu Hause",
    ],
    "fr": [
        "Bonjour à tous, je vous souhaite une excellente journée",
        "Je viens de terminer mon nouveau relais et il marche mieux que prévu",
        "Pourquoi est-ce que plus personne ne parle du prix du pain ?",
        "La nouvelle version de l'application est sortie, dites-moi ce que vous en pensez",
        "Il fait encore un temps affreux aujourd'hui, je reste à la maison",
    ],
    "es": [
        "Buenos días a todos, espero que tengan un día maravilloso",
        "Acabo de terminar mi nuevo relay y funciona mejor de lo esperado",
        "¿Por qué ya nadie habla del precio del pan?",
        "Ya salió la nueva versión de la aplicación, actualicen y díganme qué les parece",
        "Hoy hace un tiempo horrible otra vez, me quedo en casa",
    ],
    "pt": [
        "Bom dia a todos, espero que tenham um dia maravilhoso",
        "Acabei de terminar o meu novo relay e funciona melhor do que eu esperava",
        "Por que ninguém mais fala do preço do pão?",
        "Saiu a nova versão do aplicativo, atualizem e me digam o que acham",
        "Hoje o tempo está horrível outra vez, vou ficar em casa",
    ],
    "it": [
        "Buongiorno a tutti, vi auguro una splendida giornata",
        "Ho appena finito il mio nuovo relay e funziona meglio del previsto",
        "Perché nessuno parla più del prezzo del pane?",
        "È uscita la nuova versione dell'app, aggiornate e ditemi cosa ne pensate",
        "Oggi il tempo è di nuovo orribile, resto a casa",
    ],
    "nl": [
        "Goedemorgen allemaal, ik wens jullie een prachtige dag",
        "Ik heb net mijn nieuwe relay afgemaakt en het werkt beter dan verwacht",
        "Waarom praat niemand meer over de prijs van brood?",
        "De nieuwe versie van de app is uit, vertel me wat je ervan vindt",
        "Het weer is vandaag weer vreselijk, ik blijf thuis",
    ],
}


def found_in(language: str, allowed: Iterable[str]) -> list[str | None]:
    return [language_of(sentence, frozenset(allowed)) for sentence in SENTENCES[language]]


@pytest.mark.parametrize("allowed", SENTENCES)
def test_what_is_allowed_is_let_pass_and_most_else_is_told(allowed: str) -> None:
    assert set(found_in(allowed, [allowed])) <= {allowed, None}
    foreign = [found for language in SENTENCES.keys() - {allowed} for found in found_in(language, [allowed])]
    assert sum(found not in (allowed, None) for found in foreign) >= 0.6 * len(foreign)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("おはようございます、今日もいい天気ですね", "ja"),
        ("大家早上好今天天气真不错", "zh"),
        ("안녕하세요 여러분 오늘도 좋은 하루 되세요", "ko"),
        ("Доброе утро всем, желаю вам отличного дня", "cyrillic"),
        ("صباح الخير جميعا، أتمنى لكم يوما رائعا", "arabic"),
        ("בוקר טוב לכולם, אני מאחל לכם יום נפלא", "hebrew"),
        ("Καλημέρα σε όλους, σας εύχομαι μια υπέροχη μέρα", "greek"),
        ("gm", None),
        ("早上好", None),
        ("GM nostr 🌞 #goodmorning https://example.com/guten/morgen/zusammen", None),
        ("12345 67890 !!! ??? ...", None),
        ("", None),
        ("\U000e0041 \U00020000 \u0300 a", None),
        ("Good morning, это наполовину по-русски", None),
    ],
)
def test_scripts(text: str, language: str | None) -> None:
    assert language_of(text) == language


async def test_languages(autojump_clock: MockClock) -> None:
    async with opened("languages", allowed=["en", "ja"]) as judge:
        assert await said(judge, ALICE.event(SENTENCES["en"][0])) == ""
        assert await said(judge, ALICE.event("おはようございます、今日もいい天気ですね")) == ""
        german = ALICE.event(SENTENCES["de"][0])
        assert await said(judge, german) == "blocked: texts in this language (de) are not taken here"
        assert await said(judge, german, IMPORT) == ""
        assert await said(judge, ALICE.event(SENTENCES["de"][0], kind=7)) == ""
    with pytest.raises(HooksRefused, match=r"^hooks_options\.allowed"):
        async with opened("languages", allowed=["klingon"]):
            pass
