"""The bytes around the files in a zip: APPNOTE 6.3's local headers and central directory, zip64 where needed. Pure.

The standard library cannot append data that was compressed elsewhere, on several cores; that is all this is for.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Sequence
from typing import NamedTuple

STORED = 0
DEFLATED = 8
ZIP64_FROM = 1 << 31
"""Sizes and offsets from here on are written in 64 bits. Half of what 32 bits hold: deflate may add a little."""
_UTF8_NAME = 1 << 11
_EPOCH_1980 = (0, 0x21)  # 1 January 1980, 00:00: zip's earliest time, the same for every file
_UNIX = 3
_PLAIN, _NEEDS_ZIP64 = 20, 45
_BIG16, _BIG32 = 0xFFFF, 0xFFFFFFFF


class ZipEntry(NamedTuple):
    """One file in the zip. `size` is of the content, `packed` of what stands for it in the zip."""

    path: str
    mode: int
    method: int
    crc: int
    size: int
    packed: int
    offset: int
    """Where its local header begins."""


def local_header(entry: ZipEntry) -> bytes:
    """What stands before the content. Its length does not depend on `crc`, `packed` and `method`."""
    name = entry.path.encode()
    big = entry.size >= ZIP64_FROM
    extra = struct.pack("<HHQQ", 1, 16, entry.size, entry.packed) if big else b""
    sizes = (_BIG32, _BIG32) if big else (entry.packed, entry.size)
    fixed = (_NEEDS_ZIP64 if big else _PLAIN, _UTF8_NAME, entry.method, *_EPOCH_1980, entry.crc)
    return struct.pack("<4s5H3L2H", b"PK\x03\x04", *fixed, *sizes, len(name), len(extra)) + name + extra


def directory(entries: Sequence[ZipEntry], offset: int) -> bytes:
    """What stands behind the last content, at `offset`: the central directory and its end."""
    central = b"".join(map(_central_header, entries))
    count, size, end = len(entries), len(central), offset + len(central)
    out = central
    if count >= _BIG16 or end >= ZIP64_FROM:
        versions = (_UNIX << 8 | _NEEDS_ZIP64, _NEEDS_ZIP64)
        out += struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, *versions, 0, 0, count, count, size, offset)
        out += struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
        count, offset = min(count, _BIG16), _BIG32
    return out + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, min(size, _BIG32), offset, 0)


def _central_header(entry: ZipEntry) -> bytes:
    name = entry.path.encode()
    big_size, big_offset = entry.size >= ZIP64_FROM, entry.offset >= ZIP64_FROM
    wide = [entry.size, entry.packed] * big_size + [entry.offset] * big_offset
    extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    version = _NEEDS_ZIP64 if wide else _PLAIN
    sizes = (_BIG32, _BIG32) if big_size else (entry.packed, entry.size)
    fixed = (_UNIX << 8 | version, version, _UTF8_NAME, entry.method, *_EPOCH_1980, entry.crc)
    attributes = (0, 0, 0, (stat.S_IFREG | entry.mode) << 16, _BIG32 if big_offset else entry.offset)
    header = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *fixed, *sizes, len(name), len(extra), *attributes)
    return header + name + extra
