"""Who holds which slot of this machine: one small file per slot, changed under one lock."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from outhaul.adapters import state_files
from outhaul.errors import Refused
from outhaul.ports import Lease, Slot

_OWNER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,100}")


class Held(msgspec.Struct, kw_only=True, frozen=True):
    """The file `<slot>/lease.json`. Times are Unix seconds."""

    owner: str
    acquired_at: float
    expires_at: float


class SlotLeases:
    """Slots `slot-1` … `slot-<slots>` below `root`. A held slot stays listed when `slots` has become smaller."""

    def __init__(self, root: Path, slots: int) -> None:
        self._root = root
        self._names = [f"slot-{number}" for number in range(1, slots + 1)]

    def take(self, owner: str, expires_at: float, now: float) -> Slot | None:
        """The slot that `owner` holds already, else a free one, else None."""
        with self._locked():
            held = self.all()
            name = next((slot for slot, lease in held.items() if lease.owner == owner), None)
            name = name or next((slot for slot in self._names if slot not in held), None)
            if name is None:
                return None
            folder = self._root / name / check_owner(owner)
            before = held.get(name, Held(owner=owner, acquired_at=now, expires_at=0.0))
            self._write(name, msgspec.structs.replace(before, expires_at=max(before.expires_at, expires_at)))
            folder.mkdir(exist_ok=True)  # after the lease, by which it is found and removed
            return Slot(name=name, owner=owner, folder=folder)

    def held(self, owner: str) -> Slot | None:
        """The owner's slot, None when it holds none."""
        return next((self._slot(name, owner) for name, held in self.all().items() if held.owner == owner), None)

    def extend(self, owner: str, expires_at: float) -> None:
        """Move the end of the owner's lease."""
        with self._locked():
            for name, held in self.all().items():
                if held.owner == owner:
                    self._write(name, msgspec.structs.replace(held, expires_at=expires_at))

    def drop(self, owner: str) -> None:
        """Free the owner's slot."""
        with self._locked():
            for name, held in self.all().items():
                if held.owner == owner:
                    (self._root / name / "lease.json").unlink()

    def all(self) -> dict[str, Held]:
        """Every held slot by name."""
        found = ((path.parent.name, state_files.read(path, Held)) for path in sorted(self._root.glob("*/lease.json")))
        return {name: held for name, held in found if held is not None}

    def leases(self) -> Sequence[Lease]:
        return [Lease(owner=held.owner, slot=name, expires_at=held.expires_at) for name, held in self.all().items()]

    def _slot(self, name: str, owner: str) -> Slot:
        return Slot(name=name, owner=owner, folder=self._root / name / check_owner(owner))

    def _write(self, name: str, held: Held) -> None:
        path = self._root / name / "lease.json"
        path.parent.mkdir(exist_ok=True)
        state_files.write(path, held)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # given back when the file is closed, whoever dies
            yield


def check_owner(owner: str) -> str:
    """The owner, when it can be the name of a folder; else Refused."""
    if not _OWNER.fullmatch(owner):
        expected = "up to 100 letters, digits, `-`, `_` and `.`, a letter or digit first"
        raise Refused("run-id", "this cannot be a run's id", found=repr(owner), expected=expected)
    return owner
