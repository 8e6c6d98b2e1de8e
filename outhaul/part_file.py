"""A file that appears whole or not at all: written under a passing name, on the disk before it takes its own."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

PART_PREFIX = ".part-"


class PartFile:
    """A binary file in `folder` (made if missing), removed at the end of the `with` block unless it was kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> PartFile:
        self._folder.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=PART_PREFIX, dir=self._folder)
        self._path = Path(name)
        self.file: IO[bytes] = open(number, "wb")
        return self

    def keep_as(self, name: str) -> Path:
        """Give the file its name in the folder, replacing what had it."""
        self.file.flush()
        os.fsync(self.file.fileno())
        target = self._folder / name
        os.replace(self._path, target)
        return target

    def __exit__(self, *_: object) -> None:
        self.file.close()
        with suppress(FileNotFoundError):  # kept: it has its own name by now
            self._path.unlink()


def fsync_folder(folder: Path) -> None:
    """Make durable which names the folder holds: a renamed file is safe from a power cut only after this."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
