"""Remembers what was read of each file of a project, so that an unchanged file is not read again.

One file per project folder. It can be deleted at any time, and whatever cannot be understood in it counts as absent.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from outhaul.part_file import PartFile

SCHEMA = 1
RACY_NS = 2_000_000_000
"""A file that changed less than this before it was read may have changed once more with the same time stamp: the
coarsest file systems in use (FAT, some network ones) count in two seconds."""


class Stat(msgspec.Struct, frozen=True, array_like=True):
    """What changes when a file does. Times in nanoseconds since 1970."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int


class Reading(msgspec.Struct, frozen=True, array_like=True):
    """What reading a file gave, and its state at that time."""

    stat: Stat
    read_at_ns: int
    """When the reading began, or earlier."""
    bytes: int
    """Of the content as it goes into the snapshot, after redaction."""
    sha256: str
    redacted: bool = False


class _Content(msgspec.Struct, array_like=True):
    schema: int
    root: str
    readings: dict[str, Reading]


def stat_of(found: os.stat_result) -> Stat:
    return Stat(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_mode)


def still_true(reading: Reading, now: Stat) -> bool:
    """Whether a file in the state `now` still has the content that was read. Pure."""
    settled = max(reading.stat.mtime_ns, reading.stat.ctime_ns) + RACY_NS <= reading.read_at_ns
    return settled and reading.stat == now


class StatCache:
    """The readings of the last snapshot of one project folder. `began_ns` is when this snapshot began."""

    def __init__(self, file: Path, root: Path, began_ns: int) -> None:
        self._file = file
        self._root = str(root)
        self.began_ns = began_ns
        self._readings = _load(file, self._root)

    @classmethod
    def of_project(cls, folder: Path, root: Path, began_ns: int) -> StatCache:
        """The cache of the project at `root`, among those in `folder`."""
        name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]
        return cls(folder / f"{name}.stat", root.resolve(), began_ns)

    @property
    def empty(self) -> bool:
        return not self._readings

    def find(self, path: str, now: Stat) -> Reading | None:
        """What is known of the file's content; None when it must be read."""
        reading = self._readings.get(path)
        return reading if reading and still_true(reading, now) else None

    def replace(self, readings: dict[str, Reading]) -> None:
        """Remember these and nothing else. Writes only when something is new."""
        if readings == self._readings:
            return
        with PartFile(self._file.parent) as part:
            part.file.write(msgspec.msgpack.encode(_Content(SCHEMA, self._root, readings)))
            part.keep_as(self._file.name)
        self._readings = readings


def _load(file: Path, root: str) -> dict[str, Reading]:
    try:
        content = msgspec.msgpack.decode(file.read_bytes(), type=_Content)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return {}  # a cache: without it, everything is read again
    return content.readings if (content.schema, content.root) == (SCHEMA, root) else {}
