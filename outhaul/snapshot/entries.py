"""Judges a zip by its directory, before a byte of it is written. Pure."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from outhaul.errors import Refused
from outhaul.snapshot.entry_name import name_problem
from outhaul.snapshot.limits import Limits

_DEFLATE_RATIO = 1032
"""Deflate shrinks no better than this. Highly regular data comes close, so a lower limit would refuse honest zips."""
_ENCRYPTED = 1
_LOCAL_HEADER = 30
_LONGEST_LINK = 4096
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_KINDS = {0: stat.S_IFREG, stat.S_IFREG: stat.S_IFREG, stat.S_IFDIR: stat.S_IFDIR, stat.S_IFLNK: stat.S_IFLNK}


class ArchiveEntry(NamedTuple):
    """One entry that may be unpacked. `kind` is `S_IFREG`, `S_IFDIR` or `S_IFLNK`; `path` has no `.` and no `..`."""

    path: str
    kind: int
    info: zipfile.ZipInfo

    @property
    def mode(self) -> int:
        return 0o755 if self.info.external_attr >> 16 & stat.S_IXUSR else 0o644


def check_entries(infos: Sequence[zipfile.ZipInfo], limits: Limits) -> list[ArchiveEntry]:
    """The entries, or Refused for the first that must not be unpacked."""
    entries = [_entry(info) for info in infos]
    for entry in entries:
        problem = _content_problem(entry)
        if problem:
            raise refused_entry(entry.info, problem)
    _check_totals(entries, limits)
    _check_overlaps(infos)
    _check_places(entries)
    return entries


def refused_entry(info: zipfile.ZipInfo, problem: str) -> Refused:
    """The refusal of one entry; `problem` ends the sentence `"name" …`."""
    return Refused(
        "zip-unsafe",
        "a zip with an unsafe entry is not unpacked",
        found=f"{info.orig_filename!r} {problem}",
        expected="files, folders and links that stay inside the folder",
        remedy="make the zip again from the project folder, with `outhaul snapshot` or `zip -r`",
    )


def _entry(info: zipfile.ZipInfo) -> ArchiveEntry:
    problem = name_problem(info.orig_filename)
    if problem and not (info.is_dir() and problem == "names no file"):
        raise refused_entry(info, problem)
    kind = _KINDS.get(stat.S_IFMT(info.external_attr >> 16))
    if kind is None:
        raise refused_entry(info, "is a device, a pipe or a socket")
    path = str(PurePosixPath(info.orig_filename))
    return ArchiveEntry(path, stat.S_IFDIR if info.is_dir() else kind, info)


def _content_problem(entry: ArchiveEntry) -> str | None:
    info = entry.info
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in _METHODS:
        return f"is packed by method {info.compress_type}, not by deflate"
    if info.file_size > _DEFLATE_RATIO * max(info.compress_size, 1):
        return f"claims {info.file_size} bytes from {info.compress_size}: a bomb"
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        return f"claims {info.file_size} bytes and stores {info.compress_size}"
    if entry.kind == stat.S_IFLNK and info.file_size > _LONGEST_LINK:
        return "is a link with too long a target"
    return None


def _check_totals(entries: Sequence[ArchiveEntry], limits: Limits) -> None:
    files = sum(entry.kind != stat.S_IFDIR for entry in entries)
    total = sum(entry.info.file_size for entry in entries)
    if total <= limits.bytes and files <= limits.files and len(entries) - files <= limits.files:
        return
    largest = max(entries, key=lambda entry: entry.info.file_size)
    raise Refused(
        "zip-too-large",
        "the zip would unpack to more than a snapshot may have",
        found=f"{files} files, {total} bytes; the largest is {largest.path!r} with {largest.info.file_size}",
        expected=f"at most {limits.files} files and {limits.bytes} bytes",
        remedy="leave out what the run does not need, or raise OUTHAUL_SNAPSHOT_MAX_FILES / OUTHAUL_SNAPSHOT_MAX_BYTES",
    )


def _check_overlaps(infos: Sequence[zipfile.ZipInfo]) -> None:
    """Entries that share their packed bytes are how a small zip becomes endless."""
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise refused_entry(info, "overlaps another entry: a bomb")
        end = info.header_offset + _LOCAL_HEADER + info.compress_size


def _check_places(entries: Sequence[ArchiveEntry]) -> None:
    """No two entries for one place, and nothing below a file or a link."""
    taken: dict[str, int] = {}
    for entry in entries:
        if taken.get(entry.path, stat.S_IFDIR) != stat.S_IFDIR or (entry.path in taken and entry.kind != stat.S_IFDIR):
            raise refused_entry(entry.info, "is there twice")
        taken[entry.path] = entry.kind
    for entry in entries:
        for above in _folders_above(entry.path):
            if taken.get(above, stat.S_IFDIR) != stat.S_IFDIR:
                raise refused_entry(entry.info, f"stands below {above!r}, which is no folder")


def _folders_above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
