"""The stupid twins: obvious, slow, and written from the NIPs alone, so that they can judge the real ones."""

# ruff: noqa: RUF001  # letters of many scripts
from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from unicodedata import category, decimal, name, normalize

from trio_relay import Event, Filter
from trio_relay.nostr.search import Search, marks_of

_SPACELESS = (
    "CJK",
    "IDEOGRAPHIC",
    "HIRAGANA",
    "HENTAIGANA",
    "KATAKANA",
    "THAI",
    "LAO",
    "KHMER",
    "MYANMAR",
    "COMBINING KATAKANA",
)
_INVISIBLE = "\u00ad\u034f\u061c\u0640\u200d\u200e\u200f\u2060\ufeff"
_APOSTROPHES = "ʹʻʼʽʾʿˈˮ"
_TYPED = dict(zip("ıłøđɖðħŧŋəǝɓɗƙƴىیکةہٱँ", "ilodddhtneebdkyييكههاं", strict=True)) | {"þ": "th", "æ": "ae", "œ": "oe"}


def naive_words(text: str) -> list[str]:
    """The words of a text, character by character."""
    for _ in range(5):
        text = "".join(one for one in text if one not in _INVISIBLE and "VARIATION SELECTOR" not in name(one, ""))
        apart = normalize("NFKD", text)
        bare = [one for before, one in zip("." + apart, apart, strict=False) if not _is_left_off(before, one)]
        text = normalize("NFKC", "".join(_TYPED.get(one, one) for one in "".join(bare).casefold()))
    text = "".join(str(decimal(one, one)) if one not in _APOSTROPHES else " " for one in text)
    found: list[str] = []
    run = ""
    for one in text + " ":
        is_mark = category(one) in ("Mn", "Mc")
        if (one.isalnum() or is_mark) and (not run or _is_spaceless(one) == _is_spaceless(run[0])):
            run += one
            continue
        found += _words_of_a_run(run)
        run = one if one.isalnum() or is_mark else ""
    return found


def _words_of_a_run(run: str) -> list[str]:
    if run and _is_spaceless(run[0]):
        return [run] if len(run) == 1 else [run[at : at + 2] for at in range(len(run))]
    while run and not run[0].isalnum():
        run = run[1:]
    return [run[:64]] if run else []


def _is_spaceless(one: str) -> bool:
    return name(one, "").startswith((*_SPACELESS, "HANGUL")) and "HALFWIDTH" not in name(one)


def _is_left_off(before: str, one: str) -> bool:
    """Whether readers of a mark's script leave it off; `before` is the character that it stands on."""
    called = name(one, "")
    if category(one) != "Mn":
        return False
    if called in ("ARABIC MADDAH ABOVE", "ARABIC HAMZA ABOVE", "ARABIC HAMZA BELOW"):
        return before == "ا"
    if called.startswith("DEVANAGARI"):
        return called.endswith("NUKTA") or "STRESS SIGN" in called or "ACCENT" in called
    if called.startswith(("HEBREW", "ARABIC", "SYRIAC", "GURMUKHI SIGN NUKTA")):
        return one != "\u0711"  # an alaph, written above
    if name(before, "").startswith("CYRILLIC") and category(before)[0] == "L":
        is_stress = one in "\u0300\u0301" or 0x483 <= ord(one) <= 0x487
        return is_stress or (before in "еЕ" and one == "\u0308")
    blocks = [(0x300, 0x36F), (0x483, 0x487), (0x1AB0, 0x1ACE), (0x1DC0, 0x1DFF), (0x20D0, 0x20F0), (0xFE20, 0xFE2F)]
    return any(first <= ord(one) <= last for first, last in blocks)


def naive_search(search: Search, event: Event, known: Iterable[Event] = ()) -> bool:
    """NIP-50, for kinds whose content is text; profiles among the known events tell who is of a domain."""
    if search.is_void:
        return False
    if search.domain is not None:
        profiles = [other for other in known if other.kind == 0 and other.pubkey == event.pubkey]
        if not any(f'@{search.domain}"' in profile.content.lower() for profile in profiles):
            return False
    said = naive_words(event.content)
    if event.kind == 0 and event.content.startswith("{"):
        said = naive_words(" ".join(json.loads(event.content).values()))
    told = ["title", "subject", "summary", "name", "alt", "t", *(["description"] if event.kind >= 30_000 else [])]
    for tag in event.tags if event.kind != 0 else ():
        if len(tag) > 1 and tag[0] in told:
            said = [*said, "·", *naive_words(tag[1])]
    if event.kind in (3, 10_002):
        said = []
    conditions = [_has_phrase(said, phrase) for phrase in search.phrases]
    conditions += [not _has_phrase(said, phrase) for phrase in search.excluded]
    if search.language is not None:
        conditions.append(f"language:{search.language}" in marks_of(event))
    if not search.nsfw:
        conditions.append("nsfw" not in marks_of(event))
    return all(conditions)


def _has_phrase(said: Sequence[str], phrase: Sequence[str]) -> bool:
    if phrase[-1].endswith("*"):
        begun = [word for word in set(said) if word.startswith(phrase[-1][:-1])]
        return any(_has_phrase(said, [*phrase[:-1], word]) for word in begun)
    return any(list(said[at : at + len(phrase)]) == list(phrase) for at in range(len(said)))


def naive_match(filter_: Filter, event: Event, known: Iterable[Event] = ()) -> bool:
    """NIP-01, "filters attributes", condition by condition; and what its reader may read, if it has one."""
    conditions = []
    if filter_.ids is not None:
        conditions.append(event.id in list(filter_.ids))
    if filter_.authors is not None:
        conditions.append(event.pubkey in list(filter_.authors))
    if filter_.kinds is not None:
        conditions.append(event.kind in list(filter_.kinds))
    if filter_.since is not None:
        conditions.append(filter_.since <= event.created_at)
    if filter_.until is not None:
        conditions.append(event.created_at <= filter_.until)
    for letter, values in filter_.tags:
        carried = [tag[1] for tag in event.tags if len(tag) >= 2 and tag[0] == letter]
        conditions.append(any(value in carried for value in values))
    if filter_.search is not None:
        conditions.append(naive_search(filter_.search, event, known))
    if filter_.reader is not None:
        conditions.append(naive_may_read(event, list(filter_.reader.keys), filter_.reader.private_kinds))
    return all(conditions)


def naive_query(filters: Sequence[Filter], events: Iterable[Event]) -> list[Event]:
    """What a REQ gets: each filter's newest, together without repeats, newest first and lower ids first on ties."""
    newest_first = sorted(events, key=lambda event: event.id)
    newest_first.sort(key=lambda event: event.created_at, reverse=True)
    chosen: list[Event] = []
    for filter_ in filters:
        matching = [event for event in newest_first if naive_match(filter_, event)]
        chosen += matching if filter_.limit is None else matching[: filter_.limit]
    return [event for event in newest_first if event in chosen]


def naive_may_read(event: Event, keys: Sequence[str], private_kinds: Iterable[int]) -> bool:
    """NIP-17 and NIP-59: of private kinds only what one wrote or what names one, and of wraps only the latter."""
    if event.kind not in list(private_kinds):
        return True
    named = [tag[1] for tag in event.tags if len(tag) >= 2 and tag[0] == "p"]
    wrote = event.pubkey in keys and event.kind not in (1059, 21059)
    return wrote or any(key in named for key in keys)


def naive_registers(pubkeys: Iterable[str], offset: int) -> bytes:
    """NIP-45, bit by bit: a register for each byte at the offset, the most leading zeros seen behind it and one."""
    registers = [0] * 256
    for pubkey in pubkeys:
        bits = "".join(f"{byte:08b}" for byte in bytes.fromhex(pubkey))
        behind = bits[8 * (offset + 1) : 8 * (offset + 8)]
        zeros = len(behind) - len(behind.lstrip("0"))
        register = int(bits[8 * offset : 8 * offset + 8], 2)
        registers[register] = max(registers[register], zeros + 1)
    return bytes(registers)


class NaiveStore:
    """Keeps every event that ever came, and works out what stands by reading NIP-01 and NIP-09 to the letter.

    `save` says what a store should say: "stored", "duplicate", "superseded" or "deleted".
    """

    def __init__(self) -> None:
        self.standing: list[Event] = []
        self._requests: list[Event] = []
        self._gone: list[tuple[tuple[int, str, str], int]] = []

    def save(self, event: Event) -> str:
        if any(other.id == event.id for other in self.standing):
            return "duplicate"
        if event.kind != 5 and any(self._deletes(request, event) for request in self._requests):
            return "deleted"
        if any(self._address(event) == address and event.created_at <= until for address, until in self._gone):
            return "deleted"
        rivals = [other for other in self.standing if self._same_address(other, event)]
        if any(not self._beats(event, rival) for rival in rivals):
            return "superseded"
        self.standing = [other for other in self.standing if other not in rivals]
        self.standing.append(event)
        if event.kind == 5:
            self._requests.append(event)
            for other in self.standing:
                if other.kind != 5 and self._deletes(event, other) and (address := self._address(other)) is not None:
                    self._gone.append((address, other.created_at))
            self.standing = [other for other in self.standing if other.kind == 5 or not self._deletes(event, other)]
        return "stored"

    @staticmethod
    def _beats(event: Event, rival: Event) -> bool:
        if event.created_at != rival.created_at:
            return event.created_at > rival.created_at
        return event.id < rival.id

    @classmethod
    def _same_address(cls, one: Event, other: Event) -> bool:
        address = cls._address(one)
        return address is not None and address == cls._address(other)

    @staticmethod
    def _address(event: Event) -> tuple[int, str, str] | None:
        kind = event.kind
        if kind in (0, 3) or 10000 <= kind <= 19999:
            return kind, event.pubkey, ""
        if 30000 <= kind <= 39999:
            d_tags = [tag for tag in event.tags if tag and tag[0] == "d"]
            return kind, event.pubkey, d_tags[0][1] if d_tags and len(d_tags[0]) > 1 else ""
        return None

    @classmethod
    def _deletes(cls, request: Event, target: Event) -> bool:
        return cls.deletes(request, target)

    @classmethod
    def deletes(cls, request: Event, target: Event) -> bool:
        """NIP-09 to the letter."""
        if request.pubkey != target.pubkey:
            return False
        for tag in request.tags:
            if len(tag) >= 2 and tag[0] == "e" and tag[1] == target.id:
                return True
            if len(tag) >= 2 and tag[0] == "a" and target.created_at <= request.created_at:
                address = cls._address(target)
                if address is None:
                    continue
                kind, pubkey, d = address
                if tag[1] == f"{kind}:{pubkey}:{d}":
                    return True
        return False


class NaiveArchive(NaiveStore):
    """The same, which also expires, vanishes and removes, and remembers of all that goes why and by which event."""

    def __init__(self) -> None:
        super().__init__()
        self._went: dict[str, tuple[Event, str, str]] = {}
        self._leavers: list[Event] = []

    @property
    def archive(self) -> set[tuple[str, str, str]]:
        """(id, reason, id of the cause) of what has gone and does not stand again."""
        standing = [event.id for event in self.standing]
        return {(event.id, reason, by) for event, reason, by in self._went.values() if event.id not in standing}

    def save(self, event: Event) -> str:
        if event not in self.standing and any(self._left_by(request, event) for request in self._leavers):
            return "vanished"
        before = self.standing
        outcome = super().save(event)
        for other in before:
            if other not in self.standing:
                is_replaced = self._same_address(other, event)
                self._went[other.id] = (other, "replaced" if is_replaced else "deleted", event.id)
        if outcome == "stored" and event.kind == 62:
            self._leavers.append(event)
            self.standing = [one for one in self.standing if one == event or not self._left_by(event, one)]
            self._went = {key: went for key, went in self._went.items() if not self._left_by(event, went[0])}
        return outcome

    def sweep(self, now: int) -> int:
        """Let go what has expired; returns how many events that are."""
        gone = [event for event in self.standing if any(t[0] == "expiration" and int(t[1]) <= now for t in event.tags)]
        for event in gone:
            self._went[event.id] = (event, "expired", "")
            if (address := self._address(event)) is not None:
                self._gone.append((address, event.created_at))
        self.standing = [event for event in self.standing if event not in gone]
        return len(gone)

    def remove(self, filter_: Filter) -> None:
        """Forget what matches as if it had never been there."""
        self.standing = [event for event in self.standing if not naive_match(filter_, event)]
        self._went = {key: went for key, went in self._went.items() if not naive_match(filter_, went[0])}

    @classmethod
    def _left_by(cls, request: Event, event: Event) -> bool:
        return event.created_at <= request.created_at and request.pubkey in cls._owners(event)

    @staticmethod
    def _owners(event: Event) -> list[str]:
        named = [tag[1] for tag in event.tags if len(tag) >= 2 and tag[0] == "p"]
        return [event.pubkey, *named] if event.kind == 1059 else [event.pubkey]

    @classmethod
    def _deletes(cls, request: Event, target: Event) -> bool:
        if target.kind == 62:
            return False
        if target.kind == 1059 and request.pubkey in cls._owners(target):
            return any(tag[0] == "e" and tag[1] == target.id for tag in request.tags if len(tag) >= 2)
        return NaiveStore.deletes(request, target)
