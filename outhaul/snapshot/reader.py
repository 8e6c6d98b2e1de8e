"""Reads a project's files for a snapshot and notices when one changes meanwhile."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from outhaul.errors import Conflict, Refused
from outhaul.snapshot.redact import MAY_HOLD_KEYS, redact
from outhaul.snapshot.stat_cache import Reading, stat_of
from outhaul.snapshot.tree import FoundFile

BLOCK = 1 << 22
"""Bytes read at once. Files up to this size are held whole; larger ones pass through in blocks."""
CHANGING = "snapshot-changing"


class FileContent:
    """One reading of a file: its blocks, once, and then what they amount to."""

    def __init__(self, file: FoundFile, began_ns: int) -> None:
        self._file = file
        self._began_ns = began_ns
        self._digest = hashlib.sha256()
        self._size = 0
        self._redacted = False

    def blocks(self) -> Iterator[bytes]:
        """The content, redacted. Conflict when it is not the file that was found, or changes while it is read."""
        may_hold_keys = self._file.path.rpartition("/")[2] in MAY_HOLD_KEYS
        for block in self._redacted_content() if may_hold_keys else _raw_blocks(self._file):
            self._digest.update(block)
            self._size += len(block)
            yield block

    def reading(self) -> Reading:
        """What the blocks amounted to."""
        return Reading(stat_of(self._file.stat), self._began_ns, self._size, self._digest.hexdigest(), self._redacted)

    def _redacted_content(self) -> Iterator[bytes]:
        content = b"".join(_raw_blocks(self._file))
        redacted = redact(self._file.path, content)
        self._redacted = redacted != content
        yield redacted


def read(file: FoundFile, began_ns: int) -> Reading:
    """Read the file for its digest alone. Raises as `FileContent.blocks` does."""
    content = FileContent(file, began_ns)
    for _ in content.blocks():
        pass
    return content.reading()


def _raw_blocks(file: FoundFile) -> Iterator[bytes]:
    done = 0
    try:
        with open(file.place, "rb", buffering=0) as opened:
            _expect_same(file, os.fstat(opened.fileno()))
            while done < file.stat.st_size and (block := opened.read(min(BLOCK, file.stat.st_size - done))):
                done += len(block)
                yield block
            _expect_same(file, os.fstat(opened.fileno()))
    except FileNotFoundError as error:
        raise _changing(file) from error
    except OSError as error:
        raise Refused(
            "snapshot-unreadable",
            f"`{file.path}` cannot be read",
            found=error.strerror or str(error),
            expected="read permission on everything that belongs to the snapshot",
            remedy="change its permissions, or list it in .amlignore",
        ) from error
    if done != file.stat.st_size:
        raise _changing(file)


def _expect_same(file: FoundFile, now: os.stat_result) -> None:
    if stat_of(now) != stat_of(file.stat):
        raise _changing(file)


def _changing(file: FoundFile) -> Conflict:
    return Conflict(
        CHANGING,
        f"`{file.path}` changed while the snapshot was taken",
        found="another size, time or file than a moment before",
        expected="files that hold still until the snapshot is complete",
        remedy="stop what writes to it, or list it in .amlignore",
    )
