"""A snapshot: the files of a project at one moment, named by a digest that is the same on every machine."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from outhaul.errors import Conflict, Refused
from outhaul.home import Home
from outhaul.part_file import PART_PREFIX, PartFile
from outhaul.snapshot.limits import Limits, check_limits
from outhaul.snapshot.reader import CHANGING, read
from outhaul.snapshot.stat_cache import Reading, StatCache, stat_of
from outhaul.snapshot.tree import FoundFile, ProjectTree, find_all_files, find_project_files

_ATTEMPTS = 3
_ZIPS_KEPT = 8
"""Zips of earlier snapshots that stay, so that going back and forth between two states of a project costs nothing."""
_ABANDONED_SECONDS = 3600


class SnapshotFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file. `path` has slashes and is relative to the root; `mode` is `0644` or `0755`."""

    path: str
    bytes: int
    mode: str
    sha256: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The record `snapshots/<digest>.json`. Files are sorted by path."""

    schema: int = 1
    digest: str
    bytes: int
    files: tuple[SnapshotFile, ...]
    redacted: tuple[str, ...] = ()
    """Files whose service keys were taken out; their sha256 is of what was left."""
    warnings: tuple[str, ...] = ()
    """A sentence for each thing that is no file and stayed out."""


def digest_of(files: Iterable[SnapshotFile]) -> str:
    """sha256 over the (path, mode, sha256) of the files by path: no times, no zip bytes, nothing of the machine.

    A path cannot contain NUL, so no two lists of files make the same lines.
    """
    lines = (f"{file.path}\0{file.mode}\0{file.sha256}\n" for file in sorted(files, key=lambda file: file.path))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def take(root: Path, *, limits: Limits, cache: StatCache) -> Snapshot:
    """The snapshot of the project at `root`, without a zip. Reads only the files that `cache` does not know.

    Refused: what `find_project_files` refuses, and a project over the limits. Conflict: a file that is being changed.
    """
    tree = _checked_tree(root, limits)
    return _snapshot(tree, _read_new(tree, cache))


def take_and_zip(root: Path, home: Home, limits: Limits) -> tuple[Snapshot, Path]:
    """The snapshot of the project at `root` and its zip, which is made when there is none of this digest.

    Refused and Conflict as in `take`; a file that changes meanwhile is given two more chances.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            cache = StatCache.of_project(home.cache / "stat", root, time.time_ns())
            return _take_and_zip(root, home.cache / "zips", limits, cache)
        except Conflict as conflict:
            if conflict.code != CHANGING or attempt == _ATTEMPTS:
                raise
        except OSError as error:
            raise _cannot_write(home, error) from error
    raise AssertionError("the last attempt returns or raises")


def snapshot_of(root: Path) -> Snapshot:
    """What an unpacked snapshot consists of: every file, whatever ignore files say. Its digest is the packed one's."""
    tree = find_all_files(root)
    return _snapshot(tree, {file.path: read(file, 0) for file in tree.files})


def _take_and_zip(root: Path, zips: Path, limits: Limits, cache: StatCache) -> tuple[Snapshot, Path]:
    tree = _checked_tree(root, limits)
    if not cache.empty:  # else everything must be read, and once is enough
        snapshot = _snapshot(tree, _read_new(tree, cache))
        known = zips / f"{snapshot.digest}.zip"
        if _use_again(known):
            return snapshot, known
    from outhaul.snapshot.pack import pack  # threads and deflate cost 20 ms, and an unchanged project needs neither

    with PartFile(zips) as part:
        readings = pack(tree.files, part.file, cache.began_ns)
        snapshot = _snapshot(tree, readings)
        made = part.keep_as(f"{snapshot.digest}.zip")
    cache.replace(readings)
    _remove_old(zips)
    return snapshot, made


def _checked_tree(root: Path, limits: Limits) -> ProjectTree:
    tree = find_project_files(root)
    check_limits({file.path: file.stat.st_size for file in tree.files}, limits)
    return tree


def _read_new(tree: ProjectTree, cache: StatCache) -> dict[str, Reading]:
    known = {file.path: cache.find(file.path, stat_of(file.stat)) for file in tree.files}
    new = [file for file in tree.files if known[file.path] is None]
    readings = {path: reading for path, reading in known.items() if reading} | _read_all(new, cache.began_ns)
    cache.replace(readings)
    return readings


def _read_all(files: list[FoundFile], began_ns: int) -> dict[str, Reading]:
    if not files:
        return {}
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        read_files = pool.map(lambda file: read(file, began_ns), files)
        return {file.path: reading for file, reading in zip(files, read_files, strict=True)}


def _snapshot(tree: ProjectTree, readings: Mapping[str, Reading]) -> Snapshot:
    files = tuple(_snapshot_file(file, readings[file.path]) for file in tree.files)
    return Snapshot(
        digest=digest_of(files),
        bytes=sum(file.bytes for file in files),
        files=files,
        redacted=tuple(file.path for file in tree.files if readings[file.path].redacted),
        warnings=tuple(tree.skipped),
    )


def _snapshot_file(file: FoundFile, reading: Reading) -> SnapshotFile:
    return SnapshotFile(path=file.path, bytes=reading.bytes, mode=f"{file.mode:04o}", sha256=reading.sha256)


def _use_again(known: Path) -> bool:
    """Whether the zip is there; if so, it counts as used now and is the last to be removed."""
    try:
        os.utime(known)
    except FileNotFoundError:
        return False
    return True


def _remove_old(zips: Path) -> None:
    """Keep the zips used last, and nothing that a killed process left half-written."""
    with os.scandir(zips) as entries:
        found = sorted(((entry.stat().st_mtime, entry.path) for entry in entries), reverse=True)
    half_written = [(at, path) for at, path in found if os.path.basename(path).startswith(PART_PREFIX)]
    whole = [path for at, path in found if path.endswith(".zip")]
    abandoned = [path for at, path in half_written if at < time.time() - _ABANDONED_SECONDS]
    for path in whole[_ZIPS_KEPT:] + abandoned:
        with suppress(FileNotFoundError):  # another process tidies up, too
            os.unlink(path)


def _cannot_write(home: Home, error: OSError) -> Refused:
    return Refused(
        "cache-unwritable",
        f"the snapshot's zip cannot be written under `{home.cache}`",
        found=str(error),
        expected="a folder that may be written to, with room for the project",
        remedy="free some space, or set OUTHAUL_HOME to another folder",
    )
