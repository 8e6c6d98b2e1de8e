"""One deployer per service: a lock with owner, fence and expiry.

The rules are pure functions of the lock's record and the time; `DeployerLock` applies them to the stored record. A
writer that lost its lock without noticing is stopped by the fence, which every write of the service carries.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from outhaul.errors import Conflict
from outhaul.store.keys import service_lock
from outhaul.store.records import Records

EXPIRY_SECONDS = 60.0
"""A lock that was not renewed for so long belongs to nobody."""


class Lock(msgspec.Struct, kw_only=True, frozen=True):
    """The record `locks/service-<name>.json`. Times are Unix seconds."""

    schema: int = 1
    owner: str
    """Run id."""
    fence: int
    """Grows with each acquisition, also by the same owner: a killed flow's last write may still be under way."""
    acquired_at: float
    expires_at: float
    released: bool = False


def acquired(name: str, found: Lock | None, owner: str, now: float) -> Lock:
    """The lock after `owner` took it. Conflict while another owner holds it."""
    if found is not None and found.owner != owner and not free(found, now):
        raise _in_progress(name, found)
    since = found.acquired_at if found is not None and _held(found, owner) else now
    fence = found.fence + 1 if found is not None else 1
    return Lock(owner=owner, fence=fence, acquired_at=since, expires_at=now + EXPIRY_SECONDS)


def renewed(name: str, found: Lock, owner: str, fence: int, now: float) -> Lock:
    """The lock with a later end. Conflict when it was released or taken since; not when it only expired."""
    if not _held(found, owner) or found.fence != fence:
        raise Conflict(
            "deployment-lock-lost",
            f"this deployment of `{name}` no longer holds the lock",
            found=f"held by run {found.owner} with number {found.fence}",
            expected=f"run {owner} with number {fence}",
            remedy="wait for the other deployment, then deploy again",
        )
    return msgspec.structs.replace(found, expires_at=max(found.expires_at, now + EXPIRY_SECONDS))


def released(found: Lock, owner: str, fence: int) -> Lock:
    """The lock given back; unchanged when somebody else has it by now, or the same owner with a newer fence."""
    return msgspec.structs.replace(found, released=True) if _held(found, owner) and found.fence == fence else found


def free(found: Lock, now: float) -> bool:
    """Whether anybody may take it."""
    return found.released or found.expires_at <= now


@dataclass(frozen=True)
class DeployerLock:
    """The lock of each service, kept in records. All methods raise the store's errors."""

    records: Records

    def acquire(self, name: str, owner: str, now: float) -> int:
        """Take the lock of service `name` and return its fence. Conflict while another owner holds it."""
        return self.records.upsert(service_lock(name), Lock, lambda found: acquired(name, found, owner, now)).fence

    def check_free(self, name: str, now: float) -> None:
        """Conflict while anybody holds the lock. For an early word; only `acquire` decides."""
        found = self.records.find(service_lock(name), Lock)
        if found is not None and not free(found, now):
            raise _in_progress(name, found)

    def renew(self, name: str, owner: str, fence: int, now: float) -> None:
        """Hold it for another minute. Conflict when it was lost."""
        self.records.update(service_lock(name), Lock, lambda found: renewed(name, found, owner, fence, now))

    def release(self, name: str, owner: str, fence: int) -> None:
        """Give it back; does nothing when it was lost."""
        if self.records.find(service_lock(name), Lock) is not None:
            self.records.update(service_lock(name), Lock, lambda found: released(found, owner, fence))


def _held(found: Lock, owner: str) -> bool:
    return found.owner == owner and not found.released


def _in_progress(name: str, found: Lock) -> Conflict:
    since, until = (
        datetime.fromtimestamp(t, UTC).strftime("%H:%M:%S UTC") for t in (found.acquired_at, found.expires_at)
    )
    return Conflict(
        "deployment-in-progress",
        f"another deployment of `{name}` is in progress",
        found=f"run {found.owner} holds the service since {since}",
        expected="one deployment of a service at a time",
        remedy=f"wait for it, or stop it with `outhaul run cancel {found.owner}`; if it died, its lock ends at {until}",
    )
