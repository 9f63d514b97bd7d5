"""What the relay's small values are made of: structs of msgspec that do not change and hold no cycles."""

from __future__ import annotations

import msgspec


class Frozen(msgspec.Struct, frozen=True, gc=False):
    """A struct that does not change; garbage collection does not look at it, so it must not be part of a cycle.

    mypyc drops the keywords of a class statement without a word, but a struct inherits those of its base. So modules
    that are compiled derive their structs from this one, which stays interpreted.
    """


class Untracked(msgspec.Struct, eq=False, gc=False):
    """A struct that changes and is told apart by identity; garbage collection does not look at it either.

    What holds nothing else that is looked at, as a dict of texts and such structs, is not looked at itself.
    """
