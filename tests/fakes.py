"""Doubles of the ports. They keep the ports' promises (the contract suites run over them) and live in memory."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

from outhaul.errors import Conflict, NotFound, Refused, Unreachable
from outhaul.ports import Progress, Stored


class FakeObjectStore:
    """An ObjectStore in memory. `lose_next_answer` makes the next write arrive while its writer sees Unreachable."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, Stored]] = {}
        self._lock = threading.RLock()
        self._writes = itertools.count(1)
        self.lose_next_answer = False

    @property
    def uri(self) -> str:
        return "memory://fake"

    def get(self, key: str) -> tuple[bytes, str]:
        try:
            data, stored = self._objects[key]
        except KeyError:
            raise NotFound("object-missing", f"`{key}` does not exist") from None
        return data, stored.etag

    def put(self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        if ".." in key.split("/") or "" in key.split("/"):
            raise Refused("object-key", f"{key!r} cannot be the key of an object")
        with self._lock:
            found = self._objects[key][1].etag if key in self._objects else None
            if (if_absent and found) or (if_match is not None and found != if_match):
                raise Conflict("object-changed", f"`{key}` was changed by somebody else")
            number = next(self._writes)
            self._objects[key] = data, Stored(key, f"etag-{number}", len(data), float(number))
        if self.lose_next_answer:
            self.lose_next_answer = False
            raise Unreachable("store-unreachable", "the answer was lost")
        return f"etag-{number}"

    def upload(self, key: str, source: Path, progress: Progress | None = None) -> str:
        try:
            data = source.read_bytes()
        except FileNotFoundError as error:
            raise NotFound("object-missing", f"`{source}` does not exist") from error
        if progress:
            progress(len(data), len(data))
        return self.put(key, data)

    def download(self, key: str, target: Path, progress: Progress | None = None) -> None:
        data, _ = self.get(key)
        target.write_bytes(data)
        if progress:
            progress(len(data), len(data))

    def head(self, key: str) -> Stored | None:
        return self._objects[key][1] if key in self._objects else None

    def list(self, prefix: str) -> Iterator[Stored]:
        with self._lock:
            found = [self._objects[key][1] for key in sorted(self._objects) if key.startswith(prefix)]
        yield from found

    def delete(self, key: str) -> None:
        self._objects.pop(key, None)


class FakeSecrets:
    """A SecretStore in memory."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    def get(self, name: str) -> bytes | None:
        return self._values.get(name)

    def put(self, name: str, value: bytes) -> None:
        self._values[name] = value

    def delete(self, name: str) -> None:
        self._values.pop(name, None)
