"""Generators: few authors, kinds, times and values, so that events collide and filters find something."""

from __future__ import annotations

from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.keys import NOW
from trio_relay import Filter
from trio_relay.nostr.event import Event, compute_id
from trio_relay.nostr.search import parse_search

PUBKEYS = [letter * 64 for letter in "abc"]
KINDS = [0, 1, 3, 5, 7, 10_002, 30_023, 30_024]
TIMES = [NOW + second for second in range(4)]
VALUES = ["", "x", "y:z", "é", "d" * 64, "long" * 40]

VOCABULARY = [
    "tea",
    "Tea,",
    "TÉA",
    "te\u0301a",
    "cake",
    "tea-cake",
    "don't",
    "猫が好き",
    "猫",
    "ティー",
    "好",
    "teatime",
    "비트코인을",
    "비트",
    "İstanbul",
    "🤙",
    "x" * 70,
]

times = st.sampled_from(TIMES)
texts = st.sampled_from(VALUES)
tag_letters = st.sampled_from(["d", "e", "t", "T", "p"])
tags = st.lists(st.tuples(tag_letters, texts).map(list), max_size=4)

unicode_texts = st.text(
    st.sampled_from('\x00\x0b\x1f\x7f\u2028\ufffe"\\/\n\r\t\b\fu0😀') | st.characters(exclude_categories=["Cs"]),
    max_size=12,
)
"""Any text that can be sent, rich in characters that JSON escapes."""


contents = st.sampled_from(["", "a", "b"])


@st.composite
def events(
    draw: st.DrawFn,
    tags: st.SearchStrategy[list[list[str]]] = tags,
    contents: st.SearchStrategy[str] = contents,
) -> Event:
    """Events with the right ids and made-up signatures."""
    pubkey = draw(st.sampled_from(PUBKEYS))
    created_at, kind, content = draw(times), draw(st.sampled_from(KINDS)), draw(contents)
    carried = draw(tags)
    return Event(
        compute_id(pubkey, created_at, kind, carried, content),
        pubkey,
        created_at,
        kind,
        carried,
        content,
        "5" * 128,
    )


@st.composite
def histories(draw: st.DrawFn, most: int = 30) -> list[Event]:
    """Events in the order in which they come: repeats, versions of one address, and deletions of each other."""
    history = draw(st.lists(events(), max_size=most))
    for target in draw(st.lists(st.sampled_from(history), max_size=5)) if history else []:
        named = draw(
            st.sampled_from(
                [
                    ["e", target.id],
                    ["a", f"{target.kind}:{target.pubkey}:"],
                    *(["a", f"{target.kind}:{target.pubkey}:{tag[1]}"] for tag in target.tags if tag[0] == "d"),
                ]
            )
        )
        author, at = draw(st.sampled_from([target.pubkey, *PUBKEYS])), draw(times)
        deletion = Event(compute_id(author, at, 5, [named], ""), author, at, 5, [named], "", "5" * 128)
        history.insert(draw(st.integers(0, len(history))), deletion)
    if history:
        history += draw(st.lists(st.sampled_from(history), max_size=3))
    return history


def filters(known: list[Event], limits: st.SearchStrategy[int | None] | None = None) -> st.SearchStrategy[Filter]:
    """Filters that ask for some of the events known, or for others like them."""
    ids = [event.id for event in known] or ["e" * 64]
    tag_keys = st.lists(
        st.tuples(tag_letters, st.frozensets(texts, max_size=6)), max_size=2, unique_by=lambda tag: tag[0]
    )
    maybe = st.none
    return st.builds(
        Filter,
        ids=maybe() | st.frozensets(st.sampled_from(ids), max_size=4),
        authors=maybe() | st.frozensets(st.sampled_from(PUBKEYS), max_size=3),
        kinds=maybe() | st.frozensets(st.sampled_from(KINDS), max_size=4),
        tags=tag_keys.map(tuple),
        since=maybe() | times,
        until=maybe() | times,
        limit=st.integers(0, 8) if limits is None else limits,
    )


def wide_filters(known: list[Event]) -> st.SearchStrategy[Filter]:
    """Filters that ask for many values of a key at once, most of which nothing has."""
    fill = st.booleans()
    return st.builds(_widened, filters(known, st.integers(0, 40)), fill, fill, fill, fill)


def _widened(filter_: Filter, ids: bool, authors: bool, kinds: bool, tags: bool) -> Filter:
    """The filter with more ids than a page has, 9 more authors, 40 more kinds, 6 more values for each tag."""
    more = range(1_000, 1_040)
    return replace(
        filter_,
        ids=filter_.ids | {f"{number:064x}" for number in more} if ids and filter_.ids else filter_.ids,
        authors=filter_.authors | {f"{number:064x}" for number in more[:9]}
        if authors and filter_.authors
        else filter_.authors,
        kinds=filter_.kinds | set(more) if kinds and filter_.kinds else filter_.kinds,
        tags=tuple((letter, values | set(map(str, more[:6])) if values else values) for letter, values in filter_.tags)
        if tags
        else filter_.tags,
    )


_labels = st.sampled_from(
    [
        *(["l", "en", "ISO-639-1"], ["l", "de", "ISO-639-1"], ["content-warning"], ["t", "nsfw"]),
        *(["title", "Tea & cake"], ["subject", "猫"], ["description", "tea"], ["summary"]),
    ]
)
_texts = st.lists(st.sampled_from(VOCABULARY), max_size=5).map(" ".join)
_profiles = st.sampled_from(['{"nip05":"tea@Example.com"}', '{"name":"Tea","nip05":"x@cake.org"}'])


def spoken() -> st.SearchStrategy[Event]:
    """Events with a few words, some that say more of themselves, some that are profiles."""
    carried = st.tuples(tags, st.lists(_labels, max_size=2)).map(lambda both: both[0] + both[1])
    return events(carried, _texts | _profiles)


_wanted = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=3).map(" ".join)
_asked = st.one_of(
    _wanted,
    _wanted.map(lambda text: f'"{text}"'),
    _wanted.map(lambda text: f'-"{text}"'),
    st.sampled_from(
        [
            "te",
            "ca",
            "istan",
            "language:en",
            "nsfw:false",
            "domain:example.com",
            "domain:cake.org",
            "foo:bar",
            "-tea",
            "-猫",
        ]
    ),
)


@st.composite
def searches(draw: st.DrawFn, known: list[Event]) -> Filter:
    """Filters with a search of those words, or of none; they may ask for nothing else."""
    search = parse_search(" ".join(draw(st.lists(_asked, max_size=3))), draw(st.sampled_from([0, 2])))
    return replace(draw(filters(known) | st.builds(Filter, limit=st.integers(1, 30))), search=search)
