"""What the runs cannot say by themselves: why something does not work, and whose fault it is."""

from __future__ import annotations

from typing import Final

COLUMNS: Final = {
    "wraps, challenged at connect": "wraps, challenged",
    "AUTH to read": "AUTH, read",
    "AUTH to write": "AUTH, write",
}
"""Short names of steps, where they have one."""

_NDK: Final = "@nostr-dev-kit/ndk"

REMARKS: Final[dict[tuple[str, str], str]] = {
    (_NDK, "no such kind"): (
        "the library refuses such a filter before it is sent; its own probe, which asks for that kind, it sends."
    ),
}
"""By client and step that fails: one sentence."""

RESTARTS: Final = {
    _NDK: "the library connects again, and does not repeat the requests that were open.",
    "applesauce-relay": (
        "the library takes any close frame for the end of a subscription, and a cut connection for a fault to mend."
    ),
    "aionostr": (
        "the library connects again after what the package `websockets` calls an error, which 1000 and 1001 are not."
    ),
    "pynostr": "the library connects again after errors only, and takes every end of a connection for a good one.",
}
"""By client that does not come back from some ending."""

BESIDES: Final = (
    "Clients on **nostr-sdk** drop events of more than 2,000 tags without a word, except follow lists (kind 3), which"
    " may have 10,000: mute lists, sets and communities of that size look deleted to them.",
    "Clients on **nostr-sdk** write hashtags in lower case (`Tag.hashtag`) and ask for them as they were typed"
    " (`Filter.hashtag`), so that `#Nostr` finds nothing of their own. The relay compares tags as they are; nothing"
    " changes here.",
    "**electrum-aionostr** drops messages of more than 64,000 characters: a list of 1,000 keys is too long.",
    "**nostr-tools** with `automaticallyAuth` authenticates when the challenge comes, and does not repeat the request"
    " that was refused; with `onauth` it does.",
    "**@nostrify/nostrify**, **nostr-fetch** and **nostr-relaypool** take an EOSE of three elements for none, and wait"
    " until their time is over: a reason for `relay.eose_hints` to be off.",
    "**@welshman/net** drops each EOSE that comes between a challenge and its answer: where nobody has to authenticate,"
    " a challenge at connect (`policy.challenge`) makes every query take its whole patience.",
    "**monstr**, **aionostr**, **electrum-aionostr** and **pynostr** do not know CLOSED: a refused query waits.",
    "**aionostr** takes the OK of its authentication for that of the first event, and is one behind from then on.",
    "**monstr** subscribes again only where the program does it in `on_connect`, as its examples do.",
)
"""What else would be guessed wrong."""
