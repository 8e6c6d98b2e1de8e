"""Doubles of the ports. They keep the ports' promises (the contract suites run over them) and live in memory."""

from __future__ import annotations

import itertools
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from outhaul.errors import Busy, Conflict, NotFound, Refused, Unreachable
from outhaul.ports import AttemptStatus, ComputeRequest, Lease, ObjectStore, Progress, ScriptSpec, Slot, Stored
from outhaul.run.record import EndReason
from outhaul.service.replica import Replica, ReplicaState, ReplicaTemplate


class FakeObjectStore:
    """An ObjectStore in memory. `lose_next_answer` makes the next write arrive while its writer sees Unreachable."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, Stored]] = {}
        self._lock = threading.RLock()
        self._writes = itertools.count(1)
        self.lose_next_answer = False

    @property
    def uri(self) -> str:
        return "memory://fake"

    def get(self, key: str) -> tuple[bytes, str]:
        try:
            data, stored = self._objects[key]
        except KeyError:
            raise NotFound("object-missing", f"`{key}` does not exist") from None
        return data, stored.etag

    def put(self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        if ".." in key.split("/") or "" in key.split("/"):
            raise Refused("object-key", f"{key!r} cannot be the key of an object")
        with self._lock:
            found = self._objects[key][1].etag if key in self._objects else None
            if (if_absent and found) or (if_match is not None and found != if_match):
                raise Conflict("object-changed", f"`{key}` was changed by somebody else")
            number = next(self._writes)
            self._objects[key] = data, Stored(key, f"etag-{number}", len(data), float(number))
        if self.lose_next_answer:
            self.lose_next_answer = False
            raise Unreachable("store-unreachable", "the answer was lost")
        return f"etag-{number}"

    def upload(self, key: str, source: Path, progress: Progress | None = None) -> str:
        try:
            data = source.read_bytes()
        except FileNotFoundError as error:
            raise NotFound("object-missing", f"`{source}` does not exist") from error
        if progress:
            progress(len(data), len(data))
        return self.put(key, data)

    def download(self, key: str, target: Path, progress: Progress | None = None) -> None:
        data, _ = self.get(key)
        target.write_bytes(data)
        if progress:
            progress(len(data), len(data))

    def head(self, key: str) -> Stored | None:
        return self._objects[key][1] if key in self._objects else None

    def list(self, prefix: str) -> Iterator[Stored]:
        with self._lock:
            found = [self._objects[key][1] for key in sorted(self._objects) if key.startswith(prefix)]
        yield from found

    def delete(self, key: str) -> None:
        self._objects.pop(key, None)


class FakeSecrets:
    """A SecretStore in memory."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    def get(self, name: str) -> bytes | None:
        return self._values.get(name)

    def put(self, name: str, value: bytes) -> None:
        self._values[name] = value

    def delete(self, name: str) -> None:
        self._values.pop(name, None)


class FakeCluster:
    """A Cluster in memory. Replicas are what a test says they are; what was asked of it is kept."""

    def __init__(self) -> None:
        self.seen: dict[str, Replica] = {}
        self.templates: dict[str, ReplicaTemplate] = {}
        self.numbers: dict[str, int] = {}
        self.made = 0
        self.scaled: list[tuple[str, int, tuple[str, ...]]] = []
        """Every call of `scale`: deployment, number, ids to take first."""

    def apply(self, template: ReplicaTemplate, replicas: int) -> None:
        if replicas < 0:
            raise Refused("replica-count", f"a deployment cannot have {replicas} replicas")
        if self.templates.setdefault(template.deployment, template) != template:
            raise Conflict("deployment-changed", f"`{template.deployment}` stands for something else")
        self.numbers[template.deployment] = replicas

    def scale(self, deployment: str, replicas: int, idle_first: Sequence[str] = ()) -> None:
        if replicas < 0:
            raise Refused("replica-count", f"a deployment cannot have {replicas} replicas")
        if deployment not in self.numbers:
            raise NotFound("deployment-missing", f"`{deployment}` does not exist")
        self.numbers[deployment] = replicas
        self.scaled.append((deployment, replicas, tuple(idle_first)))

    def wanted(self, deployment: str) -> int | None:
        return self.numbers.get(deployment)

    def deployments(self) -> Sequence[ReplicaTemplate]:
        return list(self.templates.values())

    def replicas(self, deployment: str | None = None) -> Sequence[Replica]:
        return [r for r in self.seen.values() if deployment in (None, r.deployment)]

    def remove(self, deployment: str) -> None:
        self.templates.pop(deployment, None)
        self.numbers.pop(deployment, None)
        self.seen = {name: r for name, r in self.seen.items() if r.deployment != deployment}

    def logs(self, deployment: str, lines: int = 5000, replica: str | None = None) -> str:
        return ""

    def settle(self) -> None:
        """Make what is seen what is wanted, as a node would: all ready, the idle ones and the newest removed first."""
        for gone in [r.id for r in self.seen.values() if r.deployment not in self.numbers]:
            del self.seen[gone]
        for deployment, number in self.numbers.items():
            idle = next((ids for name, _, ids in reversed(self.scaled) if name == deployment), ())
            there = sorted(self.replicas(deployment), key=lambda r: (r.id in idle, r.started_at))
            for replica in there[number:]:
                del self.seen[replica.id]
            for _ in range(number - len(there)):
                self.made += 1
                replica = Replica(
                    id=f"{deployment}-{self.made}",
                    deployment=deployment,
                    state=ReplicaState.READY,
                    port=20_000 + self.made,
                    started_at=float(self.made),
                )
                self.seen[replica.id] = replica


class FakeCompute:
    """Compute with one slot, whose scripts are functions: `script(project folder, spec)` → (exit code, output).

    A script runs to its end inside `start`. `lost` makes its attempts end as if the machine had died.
    """

    def __init__(self, root: Path, script: Callable[[Path, ScriptSpec], tuple[int, bytes]]) -> None:
        self._root = root
        self._script = script
        self._lease: Lease | None = None
        self._attempts: dict[tuple[str, int], tuple[AttemptStatus, bytes]] = {}
        self.lost: set[int] = set()

    def acquire(self, request: ComputeRequest, waiting: Callable[[str], None]) -> Slot:
        if self._lease is not None and self._lease.owner != request.owner:
            waiting(f"the only slot is taken: slot-1 by run {self._lease.owner}")
            raise Busy("no-free-slot", "no slot became free")
        self._lease = Lease(request.owner, "slot-1", request.expires_at)
        slot = self._slot(request.owner)
        (self._root / request.owner).mkdir(parents=True, exist_ok=True)
        return slot

    def held(self, owner: str) -> Slot | None:
        return self._slot(owner) if self._lease is not None and self._lease.owner == owner else None

    def extend(self, owner: str, expires_at: float) -> None:
        if self.held(owner):
            self._lease = Lease(owner, "slot-1", expires_at)

    def download(self, slot: Slot, store: ObjectStore, snapshot_key: str) -> int:
        target = self._root / slot.owner / "project.zip"
        if target.exists():
            return 0
        store.download(snapshot_key, target)
        return target.stat().st_size

    def unpack(self, slot: Slot) -> int:
        project = self._root / slot.owner / "project"
        with zipfile.ZipFile(self._root / slot.owner / "project.zip") as archive:
            archive.extractall(project)
            return sum(not info.is_dir() for info in archive.infolist())

    def start(self, slot: Slot, attempt: int, spec: ScriptSpec) -> None:
        if (slot.owner, attempt) in self._attempts:
            return
        project = self._root / slot.owner / "project"
        project.mkdir(parents=True, exist_ok=True)
        code, output = self._script(project, spec)
        status = AttemptStatus(False, code, EndReason.EXITED, started_at=1.0, ended_at=2.0, peak_memory_bytes=1000)
        if attempt in self.lost:
            status = AttemptStatus(False, reason=EndReason.LOST, started_at=1.0)
        self._attempts[slot.owner, attempt] = status, output

    def poll(self, owner: str, attempt: int) -> AttemptStatus:
        return self._attempts.get((owner, attempt), (AttemptStatus(False), b""))[0]

    def read_log(self, owner: str, attempt: int, offset: int, most: int = 1 << 20) -> bytes:
        return self._attempts.get((owner, attempt), (AttemptStatus(False), b""))[1][offset : offset + most]

    def cancel(self, owner: str, attempt: int) -> None:
        if (owner, attempt) not in self._attempts:
            self._attempts[owner, attempt] = AttemptStatus(False, reason=EndReason.CANCELLED), b""

    def outputs(self, slot: Slot) -> Path:
        return self._root / slot.owner / "project" / "outputs"

    def release(self, owner: str) -> None:
        if self.held(owner):
            shutil.rmtree(self._root / owner)
            self._lease = None

    def leases(self) -> Sequence[Lease]:
        return [self._lease] if self._lease else []

    def _slot(self, owner: str) -> Slot:
        return Slot("slot-1", owner, self._root / owner)
