"""The one owner of what operators decide: nothing else changes the lists, or the store's metadata about them.

A change counts in memory at once, before anything waits. Then it is stored, by one write at a time, and each write
takes along all that is not stored yet, as it stands when the write begins: so no write can bring back what a later
decision has changed, however long it takes and however often the store has to try. What could not be stored is undone.

    amend ──► memory ──► waiting ──► one write for all that waits ──► stored
                                          └──► failed: undone in memory, unless a later amendment has changed it again
    defer ──► memory ──► deferred ──► store_deferred, which may fail and be called again
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeAlias

import trio

from trio_relay.nostr.signer import Signer
from trio_relay.policy.lists import Change, ListEntry, ListName, as_metadata
from trio_relay.policy.rules import Rules
from trio_relay.store.base import Metadata, ReadableMetadata, StoreError

SECRET_NAME: Final = "self"
"""The name in the store's metadata of the relay's own secret key, 32 bytes."""
CONSOLE_SECRET: Final = "console"
"""The name there of what links into the console are signed by, 32 bytes."""
_STORE_SECONDS: Final = 10.0
"""How long one write of amendments may take."""
_DEFERRED_SECONDS: Final = 5.0
"""How long one write of deferred changes may take: amendments wait behind it."""
WAIT_SECONDS: Final = _DEFERRED_SECONDS + 2 * _STORE_SECONDS
"""How long an amendment waits at most: behind what is being written, for a write that takes it along, and its own."""
_DEFERRED_AT_A_TIME: Final = 200
_TOO_LONG: Final = "the relay's store takes too long"

Follower: TypeAlias = Callable[[Sequence[Change]], None]
"""Called with each change of the lists once it is made in memory; sync."""
_Key: TypeAlias = tuple[ListName, str]


@dataclass(slots=True, eq=False)
class _Amendment:
    """Changes that one caller wants to have stored, all or none.

    Attributes:
        before: what they have replaced, and what stands again if they cannot be stored.
        after: what they have put in its place.
        is_waiting: False from the moment a write takes them along.
        error: why they were not stored.
    """

    before: dict[_Key, ListEntry | None] = field(default_factory=dict)
    after: dict[_Key, ListEntry | None] = field(default_factory=dict)
    is_waiting: bool = True
    error: StoreError | None = None


async def recall_lists(store: ReadableMetadata, rules: Rules) -> dict[str, bytes]:
    """Have rules go by the lists that a store has, for who changes none; returns all that the store keeps.

    Raises:
        StoreError: it could not be read.
    """
    metadata = await store.get_metadata()
    rules.load(metadata)
    return metadata


class ModerationState:
    """Changes the lists of `rules`, keeps them in the store, and notifies those who follow.

    Args:
        store: has the metadata.
        rules: read by everybody, changed by this object alone.
        clock: seconds since 1970.
    """

    def __init__(self, store: Metadata, rules: Rules, clock: Callable[[], float]) -> None:
        self.rules = rules
        """What verdicts go by, as it stands."""
        self.signer: Signer | None = None
        """Signs what the relay itself says (NIP-43); None where there is no membership, or before `recall`."""
        self._store = store
        self._clock = clock
        self._followers: list[Follower] = []
        self._writing = trio.Lock()
        self._waiting: list[_Amendment] = []
        # What is to be stored later, and whether the store may have an entry of it now.
        self._deferred: dict[_Key, bool] = {}
        self._unsettled: dict[_Amendment, None] = {}
        self._revision = 0

    def now(self) -> int:
        """Seconds since 1970."""
        return int(self._clock())

    def subscribe(self, follower: Follower) -> None:
        """Have a follower notified of each change of the lists, and of what undoes one."""
        self._followers.append(follower)

    async def recall(self) -> None:
        """Take over what is stored: the lists, and the key that the relay signs with, which is made the first time.

        Raises:
            StoreError: it could not be read, or a new key could not be stored.
        """
        metadata = await recall_lists(self._store, self.rules)
        if self.rules.has_membership:
            self.signer = Signer(metadata.get(SECRET_NAME) or await self._new_secret(SECRET_NAME))
            self.rules.signer = self.signer.pubkey

    async def secret(self, name: str) -> bytes:
        """A secret of 32 bytes that is kept in the store under this name; it is made the first time.

        Raises:
            StoreError: it could not be read, or a new one could not be stored.
        """
        return (await self._store.get_metadata()).get(name) or await self._new_secret(name)

    async def _new_secret(self, name: str) -> bytes:
        made = secrets.token_bytes(32)
        await self._store.put_metadata({name: made})
        # Where another relay on the same store has made one in the same moment, the later one stands.
        return (await self._store.get_metadata()).get(name, made)

    async def amend(self, changes: Sequence[Change]) -> None:
        """Change the lists, in memory before anything waits, and return once that is stored.

        It is carried on although the caller is cancelled, in bounded time. What is banned goes from the store by
        `Removals.enforce`.

        Raises:
            StoreError: it could not be stored, and the lists are as they were.
        """
        amendment = self._begin(changes)
        try:
            # To go away in the middle would leave it open what is stored.
            with trio.CancelScope(shield=True, relative_deadline=WAIT_SECONDS):
                async with self._writing:
                    if amendment.is_waiting:  # else an earlier one's write has taken it along
                        await self._store_waiting()
        finally:
            if amendment.is_waiting:  # its time was up before its turn came
                self._waiting.remove(amendment)
                self._fail([amendment], StoreError(_TOO_LONG))
            del self._unsettled[amendment]
            self._revision += 1
        if amendment.error is not None:
            raise amendment.error

    def _begin(self, changes: Sequence[Change]) -> _Amendment:
        amendment = _Amendment()
        for change in changes:
            key = (change.name, change.item)
            amendment.before.setdefault(key, self._entry(key))
            amendment.after[key] = change.entry
        self._waiting.append(amendment)
        self._unsettled[amendment] = None
        self._revision += 1
        self._apply(changes)
        return amendment

    async def _store_waiting(self) -> None:
        """Store all amendments that wait, or undo them; to be called by whoever holds the lock."""
        batch, self._waiting = self._waiting, []
        for amendment in batch:
            amendment.is_waiting = False
        try:
            await self._write([key for amendment in batch for key in amendment.after], _STORE_SECONDS)
        except StoreError as error:
            self._fail(batch, error)
        except BaseException:
            self._fail(batch, StoreError(_TOO_LONG))
            raise

    def _fail(self, batch: list[_Amendment], error: StoreError) -> None:
        """Undo amendments that could not be stored, the last one first, but for what was changed again since."""
        for amendment in reversed(batch):
            amendment.is_waiting, amendment.error = False, error
            undone = []
            for key, before in reversed(amendment.before.items()):
                later = next((waiting for waiting in self._waiting if key in waiting.before), None)
                if later is not None:
                    later.before[key] = before  # it may fail as well
                elif self._entry(key) is amendment.after[key]:
                    undone.append(Change(*key, before))
            self._apply(undone)

    def defer(self, changes: Sequence[Change]) -> None:
        """Change the lists at once and have `store_deferred` store it later; sync."""
        for change in changes:
            key = (change.name, change.item)
            is_stored = self._deferred.get(key, self._entry(key) is not None)
            if change.entry is None and not is_stored:
                self._deferred.pop(key, None)  # come and gone: else a store that fails would let these grow without end
            else:
                self._deferred[key] = is_stored
        self._apply(changes)

    async def store_deferred(self) -> None:
        """Store what was deferred, and what is meanwhile.

        Raises:
            StoreError: a part is not stored yet; call it again.
        """
        while self._deferred:
            async with self._writing:
                # What an amendment has changed as well is stored, or undone, with that: then the next round finds it.
                amended = {key for amendment in self._waiting for key in amendment.after}
                keys = list(islice((key for key in self._deferred if key not in amended), _DEFERRED_AT_A_TIME))
                await self._write(keys, _DEFERRED_SECONDS)

    def unstored(self) -> list[Change]:
        """All that has changed and is not stored yet, as it stands: who reads the store now does not find it; sync."""
        amended = (key for amendment in self._unsettled for key in amendment.after)
        return [Change(*key, self._entry(key)) for key in dict.fromkeys([*self._deferred, *amended])]

    async def _write(self, keys: Iterable[_Key], seconds: float) -> None:
        """Store these items as they stand now.

        Raises:
            StoreError: it failed, or took longer than so many seconds.
        """
        written = {key: self._entry(key) for key in keys}
        if not written:
            return
        self._deferred.update((key, True) for key in written if key in self._deferred)
        with trio.move_on_after(seconds) as patience:
            await self._store.put_metadata(as_metadata(Change(*key, entry) for key, entry in written.items()))
        if patience.cancelled_caught:
            raise StoreError(_TOO_LONG)
        for key, entry in written.items():
            if self._entry(key) is entry:
                self._deferred.pop(key, None)

    def apply_unstored(self, changes: Sequence[Change]) -> None:
        """Change the lists in this process alone: others have stored it, or nobody needs to; sync."""
        self._apply(changes)

    async def expire(self) -> None:
        """Take off what is past its time: it counts no more anyway, and leaves the store with this.

        Raises:
            StoreError: it is still stored.
        """
        if expired := self.rules.lists.expired(self._clock()):
            await self.amend(expired)

    async def learn(self) -> Sequence[Change] | None:
        """Take over what other relays on the same store have decided; gives what that has changed.

        None: nothing was taken over, since what was decided here meanwhile may be stored, or not: to be called again.

        Raises:
            StoreError: the store could not answer.
        """
        before = self._revision
        metadata = await self._store.get_metadata()
        if self._revision != before or self._unsettled:
            return None
        news = self.rules.lists.differences(metadata)
        self._apply(news)
        return news

    def trust(self, pubkeys: AbstractSet[str] | None) -> None:
        """Have these keys, and no others, be those that the web of trust reaches, None if there is none; sync."""
        self.rules.trusted = pubkeys

    def _apply(self, changes: Sequence[Change]) -> None:
        if changes:
            self.rules.apply(changes)
            for notify in self._followers:
                notify(changes)

    def _entry(self, key: _Key) -> ListEntry | None:
        return self.rules.lists.get(*key, 0)


async def restore(store: Metadata, changes: Sequence[Change], secret: bytes | None) -> None:
    """Store changes of the lists, and the relay's own key unless there is none, in a store that no relay uses now.

    All of it or nothing: where a store without transactions fails, what was there is put back.

    Raises:
        StoreError: it failed; the message says so if a part is kept all the same.
    """
    before = await store.get_metadata()
    wanted = as_metadata(changes)
    if secret:
        wanted[SECRET_NAME] = secret
    try:
        await store.put_metadata(wanted)
    except StoreError as error:
        try:
            await store.put_metadata({name: before.get(name) for name in wanted})
        except StoreError:
            raise StoreError(f"{error}; a part may be kept: the same can be done again") from error
        raise
