"""SecretStore in files: one per name, mode 0600, in a folder of mode 0700."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from outhaul.errors import Denied, Failed, Refused
from outhaul.part_file import fsync_folder
from outhaul.run.leftovers import passing_name

_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,200}")


class FileSecrets:
    """Secrets below `root`, which is made by the first write. Names are letters, digits, `.`, `_` and `-`.

    All methods raise Denied when the folder is another user's, Failed when the disk is full.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, name: str) -> bytes | None:
        """The secret, None when there is none."""
        with _mapped(name):
            try:
                return self._path(name).read_bytes()
            except FileNotFoundError:
                return None

    def put(self, name: str, value: bytes) -> None:
        """Write or replace; a reader sees the old or the new value."""
        path = self._path(name)
        part = self._root / passing_name("part")
        with _mapped(name):
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._root.chmod(0o700)  # also when somebody else made the folder, more open
            try:
                _write_private(part, value)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
            fsync_folder(self._root)

    def delete(self, name: str) -> None:
        """Remove; absent is fine."""
        with _mapped(name):
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise Refused(
                "secret-name",
                "this cannot be the name of a secret",
                found=repr(name),
                expected="up to 200 letters, digits, `.`, `_` and `-`, none of `.` and `-` first",
                remedy="choose another name",
            )
        return self._root / name


def _write_private(path: Path, value: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(value)
        file.flush()
        os.fsync(descriptor)


@contextmanager
def _mapped(name: str) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        remedy = "run the command as the user who owns Outhaul's home"
        raise Denied("secret-denied", f"access to the secret `{name}` was denied", remedy=remedy) from error
    except OSError as error:
        remedy = "free some space and check the disk, then try again"
        raise Failed("secret-failed", f"the secret `{name}` cannot be kept", found=str(error), remedy=remedy) from error
