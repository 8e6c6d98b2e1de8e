"""ObjectStore in a folder: one file per object, for one machine or a shared file system with working locks.

How the promises are kept:

- **Whole or nothing.** Content goes to a file under `.outhaul/uploads` first, is fsynced, and gets its name by a
  rename. A writer holds a lock on its upload, so `sweep` can tell the leftovers of dead writers from work in progress;
  it is called before the first write.
- **Conditions.** Every publication happens under a lock per key (256 shared lock files), so that checking the
  condition and renaming are one step for all processes. The kernel frees the lock of a dead writer.
- **ETag = modification time and size.** Cheap enough to be asked for many times a second. The file system's own clock
  ticks in milliseconds and inode numbers are used again at once, so neither tells two quick writes apart. The
  publisher therefore sets the time itself, in nanoseconds and always later than that of the object it replaces.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from outhaul.errors import Conflict, Denied, Failed, NotFound, OuthaulError, Refused, Unreachable
from outhaul.part_file import fsync_folder
from outhaul.ports import Progress, Stored

_OWN = ".outhaul"
_CHUNK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST)


class FolderStore:
    """Objects as files below `root`, which is made by the first write."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._uploads = self._root / _OWN / "uploads"
        self._locks = self._root / _OWN / "locks"
        self._swept = False

    @property
    def uri(self) -> str:
        return self._root.as_uri()

    def get(self, key: str) -> tuple[bytes, str]:
        with _mapped(key, _ABSENT), self._path(key).open("rb") as file:
            # A published file never changes, so what was opened is one whole object.
            return file.read(), _etag(os.fstat(file.fileno()))

    def put(self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        path = self._path(key)
        with _mapped(key), self._upload() as part:
            part.file.write(data)
            return self._publish(part, key, path, _Condition(if_match, if_absent))

    def upload(self, key: str, source: Path, progress: Progress | None = None) -> str:
        path = self._path(key)
        with _mapped(str(source), _ABSENT):
            content = source.open("rb")
        with content, _mapped(key), self._upload() as part:
            _copy(content, part.file, progress)
            return self._publish(part, key, path, _Condition())

    def download(self, key: str, target: Path, progress: Progress | None = None) -> None:
        with _mapped(key, _ABSENT):
            content = self._path(key).open("rb")
        with content, _mapped(str(target)), _new_part(target.parent) as part:
            _copy(content, part.file, progress)
            part.flush()
            part.rename(target)

    def head(self, key: str) -> Stored | None:
        path = self._path(key)
        with _mapped(key):
            try:
                found = path.stat()
            except _ABSENT:
                return None
        return None if stat.S_ISDIR(found.st_mode) else _stored(key, found)

    def list(self, prefix: str) -> Iterator[Stored]:
        for key in self._behind(prefix):
            if key.endswith("/"):
                yield from self.list(key)
            elif stored := self.head(key):  # else deleted since the folder was read
                yield stored

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _mapped(key), self._locked(key), suppress(*_ABSENT):
            path.unlink()
            fsync_folder(path.parent)

    def sweep(self) -> int:
        """Remove the uploads of writers that died. Returns how many."""
        with _mapped(str(self._uploads)):
            return sum(_remove_if_unlocked(path) for path in self._uploads.glob(".part-*"))

    def _path(self, key: str) -> Path:
        _check_key(key)
        return self._root / key

    def _behind(self, prefix: str) -> Sequence[str]:
        """The keys and folders (with a `/` at the end, as they sort) that stand directly behind `prefix`."""
        parent, slash, start = prefix.rpartition("/")
        folder = self._path(parent) if slash else self._root
        try:
            with _mapped(prefix, _ABSENT), os.scandir(folder) as found:
                entries = [e for e in found if e.name.startswith(start) and (slash or e.name != _OWN)]
                return sorted(f"{parent}{slash}{e.name}{'/' if e.is_dir() else ''}" for e in entries)
        except NotFound:
            return []

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        self._make_folder(self._locks)
        shard = hashlib.sha256(key.encode()).hexdigest()[:2]
        lock = os.open(self._locks / shard, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def _upload(self) -> Iterator[_Part]:
        self._make_folder(self._uploads)
        if not self._swept:
            self._swept = True
            self.sweep()
        while True:
            with _new_part(self._uploads) as part:
                fcntl.flock(part.file, fcntl.LOCK_EX)
                if os.fstat(part.file.fileno()).st_nlink == 0:
                    continue  # swept between its creation and its lock
                yield part
                return

    def _publish(self, part: _Part, key: str, path: Path, condition: _Condition) -> str:
        part.flush()
        with self._locked(key):
            current = self.head(key)
            condition.check(key, current)
            now = time.time_ns()
            if current is not None:
                now = max(now, _nanoseconds(current.etag) + 1)
            os.utime(part.file.fileno(), ns=(now, now))
            self._make_folder(path.parent)
            part.rename(path)
            return _etag(os.fstat(part.file.fileno()))

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            if folder != self._root:
                self._make_folder(folder.parent)
            folder.mkdir(parents=True, exist_ok=True)
            fsync_folder(folder.parent)


@dataclass(frozen=True)
class _Condition:
    """What a writer expects of the object that it replaces."""

    if_match: str | None = None
    if_absent: bool = False

    def check(self, key: str, current: Stored | None) -> None:
        found = current.etag if current else None
        expected = None if self.if_absent else self.if_match
        if (self.if_absent or self.if_match is not None) and found != expected:
            raise Conflict(
                "object-changed",
                f"`{key}` was changed by somebody else",
                found=f"ETag {found}" if found else "no such object",
                expected=f"ETag {expected}" if expected else "no such object",
                remedy="read it again and repeat the change",
            )


def _check_key(key: str) -> None:
    segments = key.split("/")
    wrong = any(s in ("", ".", "..") or len(os.fsencode(s)) > 255 for s in segments)
    if wrong or segments[0] == _OWN or any(c == "\0" or "\ud800" <= c <= "\udfff" for c in key):
        raise Refused(
            "object-key",
            f"{key!r} cannot be the key of an object",
            found=repr(key),
            expected=f"Unicode names of at most 255 bytes joined by `/`, none empty, `.` or `..`, `{_OWN}` not first",
            remedy="choose another name",
        )


def _etag(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns:x}-{found.st_size:x}"


def _nanoseconds(etag: str) -> int:
    return int(etag.partition("-")[0], 16)


def _stored(key: str, found: os.stat_result) -> Stored:
    return Stored(key=key, etag=_etag(found), bytes=found.st_size, modified=found.st_mtime)


def _copy(source: BinaryIO, target: BinaryIO, progress: Progress | None) -> None:
    total, done = os.fstat(source.fileno()).st_size, 0
    while chunk := source.read(_CHUNK):
        target.write(chunk)
        done += len(chunk)
        if progress:
            progress(done, max(done, total))


@dataclass(frozen=True)
class _Part:
    """A file on its way to its name."""

    file: BinaryIO
    path: Path

    def flush(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())

    def rename(self, target: Path) -> None:
        self.path.replace(target)
        fsync_folder(target.parent)


@contextmanager
def _new_part(folder: Path) -> Iterator[_Part]:
    """A new file that is gone afterwards unless it was renamed."""
    path = folder / f".part-{uuid.uuid4().hex}"
    with path.open("xb") as file:
        try:
            yield _Part(file, path)
        finally:
            path.unlink(missing_ok=True)


def _remove_if_unlocked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            return True
    except (BlockingIOError, FileNotFoundError):  # its writer is alive, or has just ended
        return False


@contextmanager
def _mapped(name: str, absent: tuple[type[OSError], ...] = (FileNotFoundError,)) -> Iterator[None]:
    """The operating system's errors as ours. `name` is the key or the file that was worked on."""
    try:
        yield
    except absent as error:
        raise NotFound("object-missing", f"`{name}` does not exist", found=str(error)) from error
    except OSError as error:
        raise _translated(error, name) from error


def _translated(error: OSError, name: str) -> OuthaulError:
    found = str(error)
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        remedy = "give this user the right to read and write the folder of the store"
        return Denied("store-denied", f"access to `{name}` was denied", found=found, remedy=remedy)
    if error.errno in _FULL:
        remedy = "free some space, then run the command again; nothing was half-written"
        return Failed("store-full", f"no space is left for `{name}`", found=found, remedy=remedy)
    if error.errno in _IN_THE_WAY:
        remedy = "use another name: an object and a folder of objects cannot have the same name"
        return Conflict("object-in-the-way", f"another object is in the way of `{name}`", found=found, remedy=remedy)
    remedy = "check that the disk or network share is there, then try again"
    return Unreachable("store-unreachable", f"`{name}` could not be reached", found=found, remedy=remedy)
