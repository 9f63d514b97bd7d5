"""Every kind that the relay names, with the NIP that defines it, and what the ranges of kinds mean."""

from __future__ import annotations

from typing import Final

MAX_KIND: Final = 65_535

PROFILE: Final = 0
"""NIP-01, NIP-24."""
NOTE: Final = 1
"""NIP-10."""
FOLLOWS: Final = 3
"""NIP-02: whom a key follows."""
ENCRYPTED_MESSAGE: Final = 4
"""NIP-04."""
DELETION: Final = 5
"""NIP-09."""
REPOST: Final = 6
"""NIP-18, of a note."""
REACTION: Final = 7
"""NIP-25."""
SEAL: Final = 13
"""NIP-59: what a gift wrap holds; never sent alone."""
CHAT_MESSAGE: Final = 14
"""NIP-17: what a seal holds; never signed, so never sent alone."""
FILE_MESSAGE: Final = 15
"""NIP-17, likewise."""
GENERIC_REPOST: Final = 16
"""NIP-18, of anything else."""
REPOSTS: Final = frozenset({REPOST, GENERIC_REPOST})
VANISH: Final = 62
"""NIP-62: a request to vanish."""
GIFT_WRAP: Final = 1_059
"""NIP-59; its pubkey is random, so only its `p` tags say whom it is for."""
EPHEMERAL_WRAP: Final = 21_059
"""NIP-59, delivered and never stored."""
WRAPS: Final = frozenset({GIFT_WRAP, EPHEMERAL_WRAP})
COMMENT: Final = 1_111
"""NIP-22."""
REPORT: Final = 1_984
"""NIP-56."""
LABEL: Final = 1_985
"""NIP-32."""
MEMBER_ADDED: Final = 8_000
"""NIP-43, signed by the relay, as are all of its kinds but those that ask for something."""
MEMBER_REMOVED: Final = 8_001
MEMBERS: Final = 13_534
JOIN: Final = 28_934
INVITE: Final = 28_935
LEAVE: Final = 28_936
ROLE: Final = 33_534
CLIENT_AUTH: Final = 22_242
"""NIP-42."""
HTTP_AUTH: Final = 27_235
"""NIP-98."""
FOLLOW_SET: Final = 30_000
"""NIP-51."""


_NAMED: Final = (
    *(PROFILE, NOTE, FOLLOWS, ENCRYPTED_MESSAGE, DELETION, REPOST, REACTION, GENERIC_REPOST, VANISH, GIFT_WRAP),
    *(EPHEMERAL_WRAP, COMMENT, REPORT, LABEL, JOIN, INVITE, LEAVE, CLIENT_AUTH, HTTP_AUTH, FOLLOW_SET),
    *(9_734, 9_735),  # requests for zaps, and zaps (NIP-57)
    *(10_000, 10_002, 10_050),  # lists of mutes (NIP-51), of relays (NIP-65), of relays for messages (NIP-17)
    *(24_133, 30_023, 30_078),  # remote signing (NIP-46), articles (NIP-23), data of applications (NIP-78)
)
_LABELS: Final = {kind: str(kind) for kind in _NAMED}


def kind_label(kind: int) -> str:
    """Return a kind's number if it is a common one, else the name of its range: one of a few dozen words."""
    if (label := _LABELS.get(kind)) is not None:
        return label
    if is_ephemeral(kind):
        return "other ephemeral"
    if is_replaceable(kind):
        return "other replaceable"
    return "other addressable" if is_addressable(kind) else "other regular"


def is_ephemeral(kind: int) -> bool:
    """True for kinds that are delivered and never stored (NIP-01, "Kinds")."""
    return 20_000 <= kind < 30_000


def is_replaceable(kind: int) -> bool:
    """True for kinds of which only the newest per pubkey is kept (NIP-01, "Kinds")."""
    return kind in (PROFILE, FOLLOWS) or 10_000 <= kind < 20_000


def is_addressable(kind: int) -> bool:
    """True for kinds of which only the newest per pubkey and `d` tag is kept (NIP-01, "Kinds")."""
    return 30_000 <= kind < 40_000
