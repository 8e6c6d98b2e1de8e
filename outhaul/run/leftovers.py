"""What killed writers left below the home: files and folders under their passing names.

Whoever writes a file that must appear whole gives it a passing name first, with its own pid in it. When no process has
that pid any more, nobody will ever rename it. (The object store clears its own uploads.)
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from outhaul.home import Home

_PASSING = re.compile(r"^\..+-(?P<pid>\d+)-[0-9a-f]+$")


def passing_name(name: str) -> str:
    """A hidden name that nobody else uses, and that tells who will rename it."""
    return f".{name}-{os.getpid()}-{uuid.uuid4().hex}"


def sweep_leftovers(home: Home) -> list[Path]:
    """Remove what dead processes left half-written. Returns what was removed."""
    return [path for path in _passing(home) if _writer_is_dead(path) and _removed(path)]


def _passing(home: Home) -> Iterator[Path]:
    yield from home.secrets.glob(".*")
    yield from home.slots.glob("*/.*")
    for pattern in (".*", "*/.*"):
        yield from (home.cluster / "deployments").glob(pattern)
    for pattern in ("*/.*", "*/attempt-*/.*"):
        yield from home.runs.glob(pattern)


def _writer_is_dead(path: Path) -> bool:
    found = _PASSING.match(path.name)
    return found is not None and not Path("/proc", found["pid"]).exists()


def _removed(path: Path) -> bool:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)  # two sweeps at once: either may be the one that removes it
    else:
        path.unlink(missing_ok=True)
    return True
