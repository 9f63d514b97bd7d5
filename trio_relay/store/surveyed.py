"""The part of a store that retention needs: to go through all that is stored, and to forget some of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, Protocol

import msgspec

MOST_FORGOTTEN: Final = 500
"""Ids in one call of `forget`: the next batch does not wait for long."""
NO_KINDS: Final = frozenset[int]()


class Surveyed(msgspec.Struct, array_like=True, gc=False):
    """What a survey tells of a stored event.

    Attributes:
        created_at: seconds since 1970.
        id: 64 hex characters.
        pubkey: the same.
        kind: the number.
        bytes: of its JSON; 0 where these were not asked for and would cost.
        tags: empty where they were not asked for.
    """

    created_at: int
    id: str
    pubkey: str
    kind: int
    bytes: int = 0
    tags: list[list[str]] = []


class Surveyable(Protocol):
    """Goes through what is stored."""

    def survey(
        self, until: int | None = None, *, tagged: AbstractSet[int] | None = NO_KINDS, weighs: bool = True
    ) -> AsyncGenerator[list[Surveyed], None]:
        """Yield all that is stored, newest first and the lower id first where times are equal, in portions.

        Expired and private events are among it. Nothing is held between portions: what is stored or removed meanwhile
        may be in it or not. A portion is what takes a few milliseconds.

        Args:
            until: only what is as old as this, or older, in seconds since 1970; None: everything.
            tagged: the kinds whose tags are wanted; None: those of all.
            weighs: whether sizes are wanted.

        Raises:
            StoreError: from a step, when the store could not answer.
        """
        ...


class Forgettable(Surveyable, Protocol):
    """Forgets, too."""

    async def forget(self, ids: Sequence[str]) -> int:
        """Remove the events of these ids and everything derived from them; returns how many were stored.

        It leaves no tombstone: the same events may be stored again. What keeps deleted and vanished events away stays,
        whatever becomes of the requests (promise 4 of `base`).

        Args:
            ids: at most `MOST_FORGOTTEN`, 64 hex characters each.

        Raises:
            StoreError: it failed; a part may be gone.
        """
        ...
