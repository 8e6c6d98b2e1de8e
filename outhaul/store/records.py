"""Records: typed JSON objects with conditional writes, so that two writers never lose each other's update."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from outhaul.errors import Conflict, NotFound, Unreachable
from outhaul.ports import ObjectStore
from outhaul.store.format import NONCE, converted, encoded, merged, parsed

T = TypeVar("T", bound=msgspec.Struct)
_LONGEST_PAUSE = 0.5


class Records:
    """Reads and writes records in a store. A record is a msgspec Struct with a field `schema`.

    All methods raise the store's errors; reading raises Failed (`record-corrupt`) for what is no record and Refused
    (`record-schema`) for one that only a newer program understands.
    """

    def __init__(self, store: ObjectStore, pause: Callable[[float], None] = time.sleep) -> None:
        self._store = store
        self._pause = pause

    @property
    def store(self) -> ObjectStore:
        return self._store

    def read(self, key: str, kind: type[T]) -> tuple[T, str]:
        """The record and its ETag. NotFound when absent."""
        data, etag = self._store.get(key)
        return converted(key, parsed(key, data, kind), kind), etag

    def find(self, key: str, kind: type[T]) -> T | None:
        """The record, None when absent."""
        try:
            return self.read(key, kind)[0]
        except NotFound:
            return None

    def create(self, key: str, record: msgspec.Struct) -> str:
        """Write a new record and return its ETag. Conflict when the key is taken."""
        return self._write(key, msgspec.to_builtins(record), None)

    def update(self, key: str, kind: type[T], change: Callable[[T], T], *, attempts: int = 50) -> T:
        """Replace the record by `change(record)` and return that. NotFound when absent.

        `change` is called again for the newer record when somebody else wrote in between; Conflict after `attempts`.
        An exception of `change` passes through and nothing is written; an equal result is not written either.
        """

        def change_existing(found: T | None) -> T:
            if found is None:
                raise NotFound("record-missing", f"the record `{key}` does not exist")
            return change(found)

        return self.upsert(key, kind, change_existing, attempts=attempts)

    def upsert(self, key: str, kind: type[T], change: Callable[[T | None], T], *, attempts: int = 50) -> T:
        """As `update`, but `change` gets None when the record is absent and its result is created then."""
        for attempt in range(attempts):
            try:
                return self._change_once(key, kind, change)
            except _Lost:
                # Full jitter: writers that collided once do not collide again in step.
                self._pause(random.uniform(0, min(_LONGEST_PAUSE, 0.002 * 2 ** min(attempt, 10))))
        raise Conflict(
            "record-contended",
            f"the record `{key}` is being changed by too many writers",
            found=f"{attempts} attempts, each overtaken",
            remedy="try again",
        )

    def list(self, prefix: str, kind: type[T]) -> Iterator[T]:
        """The records below `prefix`, sorted by key. What does not end in `.json` is no record."""
        for stored in self._store.list(prefix):
            record = self.find(stored.key, kind) if stored.key.endswith(".json") else None
            if record is not None:  # else deleted since it was listed
                yield record

    def _change_once(self, key: str, kind: type[T], change: Callable[[T | None], T]) -> T:
        try:
            data, etag = self._store.get(key)
        except NotFound:
            made = change(None)
            self._swap(key, msgspec.to_builtins(made), None)
            return made
        stored = parsed(key, data, kind)
        current = converted(key, stored, kind)
        before = msgspec.to_builtins(current)  # taken first: `change` may work in place
        changed = change(current)
        after = msgspec.to_builtins(changed)
        if after != before:
            self._swap(key, merged(stored, before, after), etag)
        return changed

    def _swap(self, key: str, record: dict[str, object], etag: str | None) -> None:
        try:
            self._write(key, record, etag)
        except Conflict as error:
            raise _Lost from error

    def _write(self, key: str, record: dict[str, object], etag: str | None) -> str:
        nonce = secrets.token_hex(8)
        data = encoded(record, nonce)
        try:
            return self._store.put(key, data, if_match=etag, if_absent=etag is None)
        except (Conflict, Unreachable):
            # The write may have arrived although its answer was lost; then the nonce is ours.
            mine = self._etag_of(key, nonce)
            if mine is None:
                raise
            return mine

    def _etag_of(self, key: str, nonce: str) -> str | None:
        try:
            data, etag = self._store.get(key)
        except NotFound:
            return None
        return etag if f'"{NONCE}": "{nonce}"'.encode() in data else None


class _Lost(Exception):
    """Somebody else wrote first."""
