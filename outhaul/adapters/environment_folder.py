"""EnvironmentStore as a folder: one entry per built environment, complete when its marker is there.

    <root>/<key>/env/                the environment
    <root>/<key>/environment.json    the marker, written last
    <root>/<key>.log                 what the builder said, also of a build that failed
    <root>/.locks/<key>              held while the entry is being made

An entry without marker is not there for readers, who never wait; the next build removes it under the lock. The lock is
inherited by the builder's child processes, so an entry is never cleared while an orphan of a killed build writes to it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from outhaul.adapters import state_files
from outhaul.errors import Busy, Conflict, Denied, Failed, NotFound, OuthaulError, Refused, Unreachable
from outhaul.ports import BuiltEnvironment

MARKER = "environment.json"
_SCHEMA = 1
_LONGEST_WAIT_SECONDS = 5400.0
_POLL_SECONDS = 0.1
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Entry(msgspec.Struct, kw_only=True):
    """The marker's content. `python` is relative to the environment, so that an entry can be copied."""

    schema: int = _SCHEMA
    hash: str
    kind: str
    """`venv`: can be copied. `conda`: knows its own path, so it is installed again from its list of packages."""
    python: str = "bin/python"
    python_version: str
    packages: dict[str, str]
    conda: dict[str, str] = {}
    built_at: str
    seconds: float
    definition: dict[str, Any]
    """The canonical form that was hashed."""


@cache
def this_platform() -> str:
    """What compiled packages depend on besides Python: `linux-x86_64-glibc2.36`."""
    libc = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
    libc = libc or ("musl" if sys.platform == "linux" else "")
    return "-".join(part for part in (sys.platform, os.uname().machine, libc.replace(" ", "")) if part)


class FolderEnvironmentStore:
    """Environments of this machine's kind below `root`. `name` is `workspace` or `global`."""

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def key(self, environment_hash: str, *, default_python: bool = False) -> str:
        """The entry's name. An environment that names no Python gets this one's minor, and that into its key."""
        minor = f"-py{sys.version_info.major}.{sys.version_info.minor}" if default_python else ""
        return f"{environment_hash}-{this_platform()}{minor}"

    def log_path(self, key: str) -> Path:
        return self.root / f"{key}.log"

    def find(self, environment_hash: str) -> BuiltEnvironment | None:
        keys = (self.key(environment_hash, default_python=default) for default in (False, True))
        return next((built for key in keys if (built := self._read(key)) is not None), None)

    def list(self) -> Sequence[BuiltEnvironment]:
        with self._mapped("list"):
            names = sorted(os.listdir(self.root)) if self.root.is_dir() else []
        return [built for name in names if _is_ours(name) and (built := self._read(name)) is not None]

    def adopt(self, built: BuiltEnvironment) -> BuiltEnvironment:
        source = built.python.parents[2]
        with self.lock(built.key) as held:
            known = self._read(built.key)
            if known is not None:
                return known
            entry = _entry(source / MARKER)
            if entry is None:
                raise NotFound(
                    "environment-not-found",
                    f"environment {built.hash} is gone from the {built.store} store",
                    found=f"no {source / MARKER}",
                    remedy="deploy a project that uses it, which builds it again",
                )
            with self.making(built.key) as folder:
                _copy(source, entry, folder, held)
                return self.complete(built.key, entry)

    @contextmanager
    def lock(self, key: str, waiting: Callable[[str], None] | None = None) -> Iterator[int]:
        """Hold the entry for writing; yields a descriptor for child processes to inherit. Busy after 90 minutes."""
        with self._mapped("lock"):
            (self.root / ".locks").mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.root / ".locks" / key, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _wait(descriptor, key, waiting)
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def making(self, key: str) -> Iterator[Path]:
        """An empty entry to fill, for who holds the lock. Removed again when the body fails."""
        folder = self.root / key
        with self._mapped("write"):
            try:
                _remove(folder)
                folder.mkdir(parents=True)
                yield folder
            except BaseException:
                _remove(folder)
                raise

    def complete(self, key: str, entry: Entry) -> BuiltEnvironment:
        """Make the entry visible. All its files reach the disk before the marker does."""
        os.sync()
        state_files.write(self.root / key / MARKER, entry)
        built = self._read(key)
        if built is None:
            raise Failed(
                "environment-broken",
                "the new environment has no interpreter",
                found=f"no {self.root / key / 'env' / entry.python}",
                remedy="see the build's log",
            )
        return built

    def _read(self, key: str) -> BuiltEnvironment | None:
        with self._mapped("read"):
            entry = _entry(self.root / key / MARKER)
            python = self.root / key / "env" / (entry.python if entry else "")
            # The interpreter that it was made from may have been removed; then it cannot run and is not there.
            if entry is None or not python.exists():
                return None
        return BuiltEnvironment(
            hash=entry.hash,
            key=key,
            python=python,
            python_version=entry.python_version,
            packages=entry.packages,
            store=self._name,
            built_at=entry.built_at,
            seconds=entry.seconds,
            conda=entry.conda,
        )

    @contextmanager
    def _mapped(self, what: str) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise  # who listened to the build went away; that says nothing of the store
        except OSError as error:
            raise self._error(what, error) from error

    def _error(self, what: str, error: OSError) -> OuthaulError:
        found, place = str(error), f"the {self._name} store of environments"
        if error.errno in _FULL:
            return Failed("disk-full", f"no space left for {place}", found=found, remedy="free space, then try again")
        if isinstance(error, PermissionError):
            return Denied(
                "environment-store-denied", f"{place} may not be used ({what})", found=found, remedy="correct its owner"
            )
        remedy = "check the disk or the mount that it is on, and OUTHAUL_HOME or OUTHAUL_GLOBAL_ENVIRONMENTS"
        return Unreachable("environment-store", f"{place} does not answer ({what})", found=found, remedy=remedy)


def _copy(source: Path, entry: Entry, folder: Path, held: int) -> None:
    if entry.kind == "venv":
        shutil.copytree(source / "env", folder / "env", symlinks=True, copy_function=_link)
        return
    from outhaul.adapters.uv_builder import replicate  # the builder stands above the store that it fills

    replicate(source, entry, folder, held)


def _entry(path: Path) -> Entry | None:
    try:
        entry = msgspec.json.decode(path.read_bytes(), type=Entry)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise Conflict(
            "environment-record",
            "the record of an environment cannot be read",
            found=f"{path}: {error}",
            expected=f"schema {_SCHEMA} or lower",
            remedy="upgrade outhaul on this machine, or remove that folder: it will be built again",
        ) from error
    if entry.schema > _SCHEMA:
        raise Refused(
            "environment-record",
            "an environment was built by a newer Outhaul",
            found=f"{path}: schema {entry.schema}",
            expected=f"schema {_SCHEMA} or lower",
            remedy="upgrade outhaul on this machine",
        )
    return entry


def _is_ours(name: str) -> bool:
    """Whether this is the key of an environment that can run here."""
    platform = name.partition("-")[2].partition("-py")[0]
    return platform == this_platform() and not name.endswith(".log")


def _wait(descriptor: int, key: str, waiting: Callable[[str], None] | None) -> None:
    deadline = time.monotonic() + _LONGEST_WAIT_SECONDS
    said = False
    while not _locked(descriptor):
        if not said and waiting is not None:
            waiting(f"another process is building {key}; waiting for it")
        said = True
        if time.monotonic() > deadline:
            raise Busy(
                "environment-busy",
                "another process has been building the same environment for too long",
                found=f"{key}, locked for {_LONGEST_WAIT_SECONDS:g} s",
                remedy="look at its log beside the entry; end that process if it hangs",
            )
        time.sleep(_POLL_SECONDS)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(folder: Path) -> None:
    """Remove the marker first: an entry that is going away is not there."""
    (folder / MARKER).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def _link(source: str, target: str) -> None:
    """A second name for the same file costs no space; a copy where the file system has no such thing."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        shutil.copy2(source, target, follow_symlinks=False)
