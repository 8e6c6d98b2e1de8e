"""Small JSON files that several processes read and one writes: whole or not at all, and changes are cheap to notice."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from outhaul.run.leftovers import passing_name

T = TypeVar("T", bound=msgspec.Struct)
Mark = tuple[int, int, int]
"""Tells one content of a file from the next."""


def write(path: Path, value: msgspec.Struct) -> None:
    """Replace the file's content. The parent must exist.

    The time of change is set in nanoseconds, since the file system's own clock may not tell two quick writes apart.
    """
    part = path.with_name(passing_name(path.name))
    try:
        with part.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(value), indent=1))
            file.flush()
            now = time.time_ns()
            os.utime(file.fileno(), ns=(now, now))
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):  # renamed already, or its folder is gone
            part.unlink()
        raise


def read(path: Path, kind: type[T]) -> T | None:
    """The file's content, None when there is no such file."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return msgspec.json.decode(data, type=kind)


def mark(path: str | Path) -> Mark | None:
    """Changes with each `write`; None when there is no such file."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def names(folder: Path, suffix: str = ".json") -> list[str]:
    """The names (without suffix) of the files in the folder, sorted; what is being written does not count."""
    try:
        found = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(name.removesuffix(suffix) for name in found if name.endswith(suffix) and not name.startswith("."))


class CachedFolder(Generic[T]):
    """The records of a folder, each file read again only when it has changed."""

    def __init__(self, folder: Path, kind: type[T]) -> None:
        self._folder = folder
        self._kind = kind
        self._known: dict[str, tuple[Mark, T]] = {}

    def read(self) -> dict[str, T]:
        """Name → record, now."""
        entries = {name: self._entry(name) for name in names(self._folder)}
        self._known = {name: entry for name, entry in entries.items() if entry}
        return {name: value for name, (_, value) in self._known.items()}

    def _entry(self, name: str) -> tuple[Mark, T] | None:
        path = f"{self._folder}/{name}.json"  # a Path for each look would cost more than the look
        now = mark(path)
        before = self._known.get(name)
        if now is None or (before and before[0] == now):
            return before if now else None
        value = read(Path(path), self._kind)
        return (now, value) if value is not None else None
