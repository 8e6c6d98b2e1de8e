"""Writes a project's files into a zip: each is read once, hashed and deflated on all cores, in a fixed order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import IO, NamedTuple, TypeVar

from isal import isal_zlib

from outhaul.snapshot.reader import BLOCK, FileContent
from outhaul.snapshot.stat_cache import Reading
from outhaul.snapshot.tree import FoundFile
from outhaul.snapshot.zip_format import DEFLATED, STORED, ZipEntry, directory, local_header

_LEVEL = 2
"""Of ISA-L: packs as tightly as `zip -1` and is several times faster. 1 is no faster here, and 7 % larger."""
_RAW_DEFLATE = -15
_PROBE = 1 << 16
_WORTH_IT = 0.97
"""A file whose first 64 KiB do not shrink below this is stored as it is: it is compressed already, or random."""
_AHEAD_PER_CORE = 4
"""Blocks that may be read and wait to be written: the bound on memory."""
_LAST_BLOCK = b"\x03\x00"
"""An empty final block of deflate. The blocks before it end on a byte, so that they can be made independently."""

T = TypeVar("T")
R = TypeVar("R")


def pack(files: Sequence[FoundFile], out: IO[bytes], began_ns: int) -> dict[str, Reading]:
    """Write the zip of `files` (sorted by path) to `out`, an empty file. Returns what was read, by path.

    The sha256 of each reading is of the very bytes in the zip. Raises as `FileContent.blocks` does.
    """
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return _Packer(out, began_ns, pool).run(files)


class _Packed(NamedTuple):
    """A small file, ready to be written."""

    entry: ZipEntry
    data: bytes
    reading: Reading


class _Packer:
    def __init__(self, out: IO[bytes], began_ns: int, pool: ThreadPoolExecutor) -> None:
        self._out = out
        self._began_ns = began_ns
        self._pool = pool
        self._entries: list[ZipEntry] = []
        self._readings: dict[str, Reading] = {}

    def run(self, files: Sequence[FoundFile]) -> dict[str, Reading]:
        small: list[FoundFile] = []
        for file in files:
            if file.stat.st_size <= BLOCK:
                small.append(file)
                continue
            self._add_small(small)
            small = []
            self._add_large(file)
        self._add_small(small)
        self._out.write(directory(self._entries, self._out.tell()))
        return self._readings

    def _add_small(self, files: list[FoundFile]) -> None:
        for packed in in_order(self._pool, self._pack_small, files):
            entry = packed.entry._replace(offset=self._out.tell())
            self._out.write(local_header(entry))
            self._out.write(packed.data)
            self._entries.append(entry)
            self._readings[entry.path] = packed.reading

    def _pack_small(self, file: FoundFile) -> _Packed:
        content = FileContent(file, self._began_ns)
        data = b"".join(content.blocks())
        method, packed = STORED, data
        if _shrinks(data):
            method, packed = DEFLATED, _deflate(data) + _LAST_BLOCK
        entry = ZipEntry(file.path, file.mode, method, isal_zlib.crc32(data), len(data), len(packed), 0)
        return _Packed(entry, packed, content.reading())

    def _add_large(self, file: FoundFile) -> None:
        """The header is written first without, then with what is known at the end only."""
        content = FileContent(file, self._began_ns)
        blocks = content.blocks()
        first = next(blocks)
        method = DEFLATED if _shrinks(first) else STORED
        start = self._out.tell()
        entry = ZipEntry(file.path, file.mode, method, 0, file.stat.st_size, 0, start)
        begin = start + self._out.write(local_header(entry))
        crc = self._write_blocks(chain([first], blocks), method)
        end = self._out.tell()
        reading = content.reading()
        entry = entry._replace(crc=crc, size=reading.bytes, packed=end - begin)
        self._out.seek(start)
        self._out.write(local_header(entry))
        self._out.seek(end)
        self._entries.append(entry)
        self._readings[entry.path] = reading

    def _write_blocks(self, blocks: Iterable[bytes], method: int) -> int:
        """Write the blocks and return the CRC of their content."""
        crc = 0

        def counted() -> Iterator[bytes]:
            nonlocal crc
            for block in blocks:
                crc = isal_zlib.crc32(block, crc)
                yield block

        if method == STORED:
            self._out.writelines(counted())
        else:
            self._out.writelines(in_order(self._pool, _deflate, counted()))
            self._out.write(_LAST_BLOCK)
        return crc


def in_order(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The results in the order of the items, a bounded number of them in the making."""
    waiting: deque[Future[R]] = deque()
    ahead = _AHEAD_PER_CORE * len(os.sched_getaffinity(0))
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _shrinks(data: bytes) -> bool:
    probe = data[:_PROBE]
    return len(_deflate(probe)) < _WORTH_IT * len(probe)


def _deflate(data: bytes) -> bytes:
    """Raw deflate of a block, without an end, up to a whole byte."""
    made = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW_DEFLATE)
    return made.compress(data) + made.flush(isal_zlib.Z_SYNC_FLUSH)
