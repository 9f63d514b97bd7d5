"""Take texts only in certain languages, as far as a few hundred letter triples can tell.

    [plugins]
    hooks = "hooks/languages.py"
    hooks_options = { allowed = ["en", "es", "ja"] }

Scripts are told by the names of their letters, and seven languages written in Latin letters by the triples of letters
that are frequent in the samples below. Nothing is downloaded, and nothing is asked of anybody.

What it cannot do: tell languages of one other script apart (Russian and Ukrainian are both "cyrillic"), tell an eighth
Latin language from the seven, judge less than some five words, read what mixes languages, or what is written in
letters that are not its own. Whatever it is not sure of it lets pass.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from math import log
from typing import Literal
from unicodedata import name

import msgspec

from trio_relay import Event, HookedRelay, Reject, Source

Language = Literal[
    "en", "de", "fr", "es", "pt", "it", "nl", "ja", "zh", "ko", "cyrillic", "arabic", "hebrew", "greek", "devanagari",
    "bengali", "tamil", "thai", "georgian", "armenian",
]  # fmt: skip

_SAMPLES = {
    "en": (
        "When the rain had stopped we went down to the river, because the children wanted to see how high the water"
        " was and whether the old bridge would still be there. There are many things that you should know before you"
        " start, and most of them have nothing to do with money. I think that people who work with their hands are"
        " often happier than those who only talk about it. What would you do if someone gave you more time than you"
        " could use? She said that this was the first time she had been able to sleep through the night. They have"
        " always been good neighbours, but now they are leaving, and nobody knows who will come after them."
    ),
    "de": (
        "Als der Regen aufgehört hatte, gingen wir zum Fluss hinunter, weil die Kinder sehen wollten, wie hoch das"
        " Wasser stand und ob die alte Brücke noch da war. Es gibt vieles, was man wissen sollte, bevor man anfängt,"
        " und das meiste davon hat nichts mit Geld zu tun. Ich glaube, dass Menschen, die mit ihren Händen arbeiten,"
        " oft glücklicher sind als die, die nur darüber reden. Was würdest du tun, wenn dir jemand mehr Zeit"
        " schenkte, als du brauchst? Sie sagte, dass sie zum ersten Mal die ganze Nacht schlafen konnte. Sie sind"
        " immer gute Nachbarn gewesen, aber jetzt ziehen sie weg, und niemand weiß, wer nach ihnen kommen wird."
    ),
    "fr": (
        "Quand la pluie a cessé, nous sommes descendus vers la rivière, parce que les enfants voulaient voir si l'eau"
        " était haute et si le vieux pont était encore là. Il y a beaucoup de choses qu'il faut savoir avant de"
        " commencer, et la plupart n'ont rien à voir avec l'argent. Je crois que les gens qui travaillent de leurs"
        " mains sont souvent plus heureux que ceux qui ne font qu'en parler. Que ferais-tu si quelqu'un te donnait"
        " plus de temps que tu ne peux en utiliser ? Elle a dit que c'était la première fois qu'elle pouvait dormir"
        " toute la nuit. Ils ont toujours été de bons voisins, mais maintenant ils partent et personne ne sait qui"
        " viendra."
    ),
    "es": (
        "Cuando dejó de llover bajamos al río, porque los niños querían ver cuánto había subido el agua y si el"
        " puente viejo todavía estaba allí. Hay muchas cosas que conviene saber antes de empezar, y la mayoría no"
        " tiene nada que ver con el dinero. Creo que la gente que trabaja con las manos suele ser más feliz que los"
        " que solo hablan de ello. ¿Qué harías si alguien te diera más tiempo del que puedes usar? Ella dijo que era"
        " la primera vez que podía dormir toda la noche. Siempre han sido buenos vecinos, pero ahora se van, y nadie"
        " sabe quién vendrá después de ellos."
    ),
    "pt": (
        "Quando parou de chover descemos até ao rio, porque as crianças queriam ver até onde a água tinha subido e se"
        " a ponte velha ainda lá estava. Há muitas coisas que é preciso saber antes de começar, e a maior parte delas"
        " não tem nada a ver com dinheiro. Acho que as pessoas que trabalham com as mãos são muitas vezes mais"
        " felizes do que aquelas que só falam disso. O que você faria se alguém lhe desse mais tempo do que pode"
        " usar? Ela disse que era a primeira vez que conseguia dormir a noite inteira. Eles sempre foram bons"
        " vizinhos, mas agora vão embora, e ninguém sabe quem virá depois deles."
    ),
    "it": (
        "Quando ha smesso di piovere siamo scesi al fiume, perché i bambini volevano vedere quanto fosse salita"
        " l'acqua e se il vecchio ponte ci fosse ancora. Ci sono molte cose che bisogna sapere prima di cominciare, e"
        " la maggior parte non ha niente a che fare con i soldi. Credo che la gente che lavora con le mani sia spesso"
        " più felice di quelli che ne parlano soltanto. Che cosa faresti se qualcuno ti desse più tempo di quanto ne"
        " puoi usare? Lei ha detto che era la prima volta che riusciva a dormire tutta la notte. Sono sempre stati"
        " buoni vicini, ma adesso se ne vanno, e nessuno sa chi verrà dopo di loro."
    ),
    "nl": (
        "Toen de regen was opgehouden gingen we naar de rivier, omdat de kinderen wilden zien hoe hoog het water"
        " stond en of de oude brug er nog was. Er zijn veel dingen die je moet weten voordat je begint, en de meeste"
        " hebben niets met geld te maken. Ik denk dat mensen die met hun handen werken vaak gelukkiger zijn dan"
        " degenen die er alleen maar over praten. Wat zou je doen als iemand je meer tijd gaf dan je kunt gebruiken?"
        " Ze zei dat het de eerste keer was dat ze de hele nacht kon slapen. Ze zijn altijd goede buren geweest, maar"
        " nu gaan ze weg, en niemand weet wie er na hen zal komen."
    ),
}
_NOT_SAID = re.compile(r"(?:https?|wss?|nostr):\S+|[#@]\w+|\bn(?:pub|profile|ote|event|addr)1\w+")
_MOST_LETTERS = 1_000
_FEWEST_LETTERS = 24
_FEWEST_IDEOGRAMS = 6
_SHARE = 0.8
"""Of all letters, in one script."""
_EAST_ASIAN = {"HIRAGANA": "ja", "KATAKANA": "ja", "CJK": "zh", "HANGUL": "ko"}
_MARGIN = 0.35
"""How much likelier a triple must be on average, as a logarithm, than in any language that is allowed."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operator says.

    Attributes:
        allowed: languages, and scripts that stand for all of theirs.
        kinds: of the events that are looked at.
    """

    allowed: frozenset[Language]
    kinds: frozenset[int] = frozenset({1, 11, 42, 1111, 30023})


class Languages:
    """Looks at the language of texts.

    Args:
        options: which are taken, and where.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    def on_event(self, event: Event, source: Source) -> Reject | None:
        """Refuse a text that is surely in none of the languages."""
        if source.way != "client" or event.kind not in self._options.kinds:
            return None
        found = language_of(event.content, self._options.allowed)
        if found is None or found in self._options.allowed:
            return None
        return Reject(f"blocked: texts in this language ({found}) are not taken here")


def language_of(text: str, allowed: frozenset[str] = frozenset()) -> str | None:
    """Return the language of a text, or its script if that is all there is to tell; None if it is not sure.

    Args:
        text: as people write it; links, tags and names do not count.
        allowed: languages that get the benefit of the doubt.
    """
    said = _NOT_SAID.sub(" ", text[: 4 * _MOST_LETTERS]).lower()
    scripts = Counter(_script(letter) for letter in said if letter.isalpha())
    if not scripts:
        return None
    east = sum(scripts[script] for script in _EAST_ASIAN)
    if east >= _SHARE * scripts.total():
        return _east_asian(scripts) if east >= _FEWEST_IDEOGRAMS else None
    script, letters = scripts.most_common(1)[0]
    if letters < _FEWEST_LETTERS or letters < _SHARE * scripts.total():
        return None
    return _latin(said, allowed) if script == "LATIN" else script.lower()


@lru_cache(maxsize=10_000)
def _script(letter: str) -> str:
    return name(letter, "UNKNOWN").partition(" ")[0]


def _east_asian(scripts: Counter[str]) -> str:
    """Return Japanese where there is some kana, Korean where most is Hangul."""
    if scripts["HANGUL"] > scripts["CJK"]:
        return "ko"
    return "ja" if 10 * (scripts["HIRAGANA"] + scripts["KATAKANA"]) > scripts["CJK"] else "zh"


def _latin(said: str, allowed: frozenset[str]) -> str | None:
    triples = _triples(said[:_MOST_LETTERS])
    likelihoods = {
        language: sum(profile.get(triple, _RARE) for triple in triples) / len(triples)
        for language, profile in _PROFILES.items()
    }
    best = max(likelihoods, key=lambda language: likelihoods[language])
    others = [likelihoods[one] for one in likelihoods if one != best and (one in allowed or not allowed)]
    return best if likelihoods[best] - max(others, default=_RARE) >= _MARGIN else None


def _triples(text: str) -> list[str]:
    words = "".join(letter if letter.isalpha() else " " for letter in text).split()
    spaced = f" {' '.join(words)} "
    return [spaced[start : start + 3] for start in range(len(spaced) - 2)]


def _profile(sample: str) -> dict[str, float]:
    """Return how likely each triple of a sample is, as a logarithm."""
    counts = Counter(_triples(sample.lower()))
    return {triple: log((number + 0.5) / counts.total()) for triple, number in counts.items()}


_PROFILES = {language: _profile(sample) for language, sample in _SAMPLES.items()}
_RARE = log(0.5 / max(len(_triples(sample.lower())) for sample in _SAMPLES.values()))
"""The likelihood of a triple that a sample does not have."""


def start(_relay: HookedRelay, options: Options) -> Languages:
    """Make the hooks."""
    return Languages(options)
