"""Where the agent learns of services: records in the store, or the last good copy of them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from outhaul.adapters import state_files
from outhaul.errors import NotFound, OuthaulError
from outhaul.ports import ObjectStore
from outhaul.service.record import Service
from outhaul.store.records import Records

PREFIX = "services/"


class Copy(msgspec.Struct, kw_only=True):
    """What was read last."""

    schema: int = 1
    services: list[Service] = []


class ServiceSource:
    """Service records, each read again only when its ETag has changed."""

    def __init__(self, store: ObjectStore, copy: Path) -> None:
        self._store = store
        self._records = Records(store)
        self._copy = copy
        self._etags: dict[str, str] = {}
        self._known: dict[str, Service] | None = None
        self.problem: OuthaulError | None = None
        """Why the last look was not complete."""

    def services(self) -> list[Service] | None:
        """All services, deleted ones included. None when nothing could ever be read."""
        self.problem = None
        try:
            self._look()
        except OuthaulError as error:
            self.problem = error
        if self._known is None:
            copied = state_files.read(self._copy, Copy)
            self._known = {_key(s.name): s for s in copied.services} if copied else None
        return None if self._known is None else list(self._known.values())

    def _look(self) -> None:
        listed = {s.key: s.etag for s in self._store.list(PREFIX) if _is_record(s.key)}
        if listed == self._etags and self._known is not None:
            return
        known = self._known or {}
        self._known = {key: known[key] for key in listed if key in known}
        for key, etag in listed.items():
            if self._etags.get(key) != etag or key not in known:
                self._read(key)
        state_files.write(self._copy, Copy(services=list(self._known.values())))

    def _read(self, key: str) -> None:
        """One record. What cannot be understood keeps its last good form, and the others are still read."""
        assert self._known is not None
        try:
            self._known[key], self._etags[key] = self._records.read(key, Service)
        except NotFound:
            self._known.pop(key, None)
        except OuthaulError as error:
            self.problem = error


def _is_record(key: str) -> bool:
    return key.endswith(".json") and "/" not in key.removeprefix(PREFIX)


def _key(name: str) -> str:
    return f"{PREFIX}{name}.json"
