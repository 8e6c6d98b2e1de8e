"""What a run wrote, in the object store: everything under `./outputs` and the logs, with a manifest written last."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from outhaul.ports import ObjectStore, Progress
from outhaul.run.record import OutputFile
from outhaul.store.keys import run_files
from outhaul.store.records import Records

_UPLOADS_AT_ONCE = 8
"""An upload mostly waits for the disk or the network."""


class Manifest(msgspec.Struct, kw_only=True, frozen=True):
    """The record `run-files/<run>/outputs.json`. It stands only when all its files do."""

    schema: int = 1
    files: list[OutputFile] = []


def save_outputs(folder: Path, store: ObjectStore, run_id: str, progress: Progress) -> list[OutputFile]:
    """Upload every file below `folder` (may be absent) and then the manifest. Returns the files, sorted by path.

    Called again, it uploads what has changed since the last complete save. Links that leave the folder, links to
    folders, sockets and pipes are left out. Raises the store's errors, and Denied for a file that cannot be read.
    """
    records, key = Records(store), _manifest_key(run_id)
    saved = records.find(key, Manifest) or Manifest()
    known = {file.path: file for file in saved.files}
    upload = _Upload(store, run_files(run_id) + "outputs/", known, progress)
    files = upload.all(list(_files(folder, folder.resolve())))
    records.upsert(key, Manifest, lambda _: Manifest(files=files))
    return files


def read_manifest(store: ObjectStore, run_id: str) -> list[OutputFile]:
    """The files that the run saved, by paths below `outputs/`; empty when nothing was saved."""
    found = Records(store).find(_manifest_key(run_id), Manifest)
    return found.files if found else []


def save_log(log: Path, store: ObjectStore, run_id: str, attempt: int) -> None:
    """Upload an attempt's log. A log only grows, so one of equal size is there already."""
    key = f"{run_files(run_id)}logs/attempt-{attempt}.txt"
    there = store.head(key)
    if there is None or there.bytes != log.stat().st_size:
        store.upload(key, log)


def upload_tree(path: Path, store: ObjectStore, location: str, progress: Progress | None = None) -> list[OutputFile]:
    """Upload a file, or all files of a folder, below the key prefix `location`. Links to files are followed."""
    found = [(path, path.name)] if path.is_file() else list(_files(path, None))
    return _Upload(store, location, {}, progress or _ignore).all(found)


class _Upload:
    """Uploads files side by side and adds up their progress."""

    def __init__(self, store: ObjectStore, location: str, known: Mapping[str, OutputFile], progress: Progress) -> None:
        self._store = store
        self._location = location
        self._known = known
        self._progress = progress
        self._lock = threading.Lock()
        self._done = 0
        self._total = 0

    def all(self, found: Sequence[tuple[Path, str]]) -> list[OutputFile]:
        self._total = sum(path.stat().st_size for path, _ in found)
        with ThreadPoolExecutor(_UPLOADS_AT_ONCE) as pool:
            try:
                return sorted(pool.map(self._one, found), key=lambda file: file.path)
            except BaseException:
                pool.shutdown(cancel_futures=True)  # one failed: the rest need not be tried
                raise

    def _one(self, found: tuple[Path, str]) -> OutputFile:
        path, name = found
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            file = OutputFile(path=name, bytes=content.tell(), sha256=digest)
        if self._known.get(name) == file:
            self._advance(file.bytes)
        else:
            self._store.upload(self._location + name, path, self._advance_to())
        return file

    def _advance_to(self) -> Progress:
        before = 0

        def uploaded(done: int, _all: int) -> None:
            nonlocal before
            self._advance(done - before)
            before = done

        return uploaded

    def _advance(self, more: int) -> None:
        with self._lock:
            self._done += more
            self._progress(self._done, max(self._done, self._total))


def _files(root: Path, inside: Path | None) -> Iterator[tuple[Path, str]]:
    """Regular files below `root` and their portable names. Links to files count when they stay `inside` (None: all)."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            stays = inside is None or not path.is_symlink() or path.resolve().is_relative_to(inside)
            if stays and path.is_file():
                yield path, _portable(path.relative_to(root).as_posix())


def _portable(name: str) -> str:
    """The name as Unicode: bytes of it that are not UTF-8 become `%FF`, since keys are text."""
    return "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in name)


def _manifest_key(run_id: str) -> str:
    return run_files(run_id) + "outputs.json"


def _ignore(_done: int, _all: int) -> None:
    """Nobody watches."""
