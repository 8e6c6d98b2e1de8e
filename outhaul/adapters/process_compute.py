"""Compute on this machine: slots for nodes, a folder for temporary storage, a supervised process for the script."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from outhaul.adapters.attempts import AttemptOnDisk
from outhaul.adapters.slot_leases import SlotLeases, check_owner
from outhaul.errors import Busy, Conflict, Refused
from outhaul.home import Home
from outhaul.ports import AttemptStatus, ComputeRequest, Lease, ObjectStore, ScriptSpec, Slot
from outhaul.run.script_environment import script_environment
from outhaul.snapshot.limits import Limits

_WAIT_SECONDS = 0.2
GRACE_SECONDS = 10.0
"""Between SIGTERM and SIGKILL."""


class ProcessCompute:
    """`slots` runs at once, each in `home.slots/<slot>/<run>/`; attempts' logs and states in `home.runs`.

    `slot_wait_seconds` is how long `acquire` waits for a free slot; `grace_seconds` how long a script has to stop when
    it was asked to; `limits` how large an unpacked snapshot may be.
    """

    def __init__(
        self,
        home: Home,
        slots: int,
        slot_wait_seconds: float = 3600.0,
        grace_seconds: float = GRACE_SECONDS,
        limits: Limits | None = None,
    ) -> None:
        self._runs = home.runs.absolute()
        self._leases = SlotLeases(home.slots.absolute(), slots)
        self._slots = slots
        self._wait = slot_wait_seconds
        self._grace = grace_seconds
        self._limits = limits or Limits()

    def acquire(self, request: ComputeRequest, waiting: Callable[[str], None]) -> Slot:
        _check_fits(request)
        deadline = time.monotonic() + self._wait
        told = ""
        while True:
            slot = self._leases.take(request.owner, request.expires_at, time.time())
            if slot is not None:
                return slot
            reason = self._why_none_is_free()
            if reason != told:
                waiting(told := reason)
            if time.monotonic() >= deadline:
                raise _no_slot(reason, self._wait)
            time.sleep(_WAIT_SECONDS)

    def held(self, owner: str) -> Slot | None:
        return self._leases.held(owner)

    def extend(self, owner: str, expires_at: float) -> None:
        self._leases.extend(owner, expires_at)

    def download(self, slot: Slot, store: ObjectStore, snapshot_key: str) -> int:
        target = _storage(slot) / "project.zip"
        if target.exists():
            return 0
        store.download(snapshot_key, target)
        return target.stat().st_size

    def unpack(self, slot: Slot) -> int:
        from outhaul.snapshot.archive import unzip

        storage = _storage(slot)
        project, part, count = storage / "project", storage / "project.part", storage / "project.files"
        if not project.exists():
            remove_tree(part)
            count.write_text(str(unzip(storage / "project.zip", part, limits=self._limits)))
            os.sync()  # the name comes last: after a power cut, a folder `project` is a whole one
            part.rename(project)
        return int(count.read_text())

    def start(self, slot: Slot, attempt: int, spec: ScriptSpec) -> None:
        """Also Conflict while an earlier attempt of the run is alive, and Failed when no process can be started."""
        for earlier in AttemptOnDisk.of(self._runs, slot.owner):
            if earlier.number < attempt:
                _check_over(earlier, slot.owner)
                earlier.end_strays()
        self._attempt(slot.owner, attempt).start(
            {
                "argv": [str(spec.environment.python), spec.script, *spec.arguments],
                "cwd": str(_storage(slot) / "project"),
                "env": script_environment(os.environ, spec.env_vars, spec.environment.python, slot.owner),
                "timeout_seconds": spec.timeout_seconds,
                "memory_bytes": spec.memory_bytes,
                "grace_seconds": self._grace,
            }
        )

    def poll(self, owner: str, attempt: int) -> AttemptStatus:
        return self._attempt(owner, attempt).status()

    def read_log(self, owner: str, attempt: int, offset: int, most: int = 1 << 20) -> bytes:
        return self._attempt(owner, attempt).read_log(offset, most)

    def cancel(self, owner: str, attempt: int) -> None:
        self._attempt(owner, attempt).cancel()

    def outputs(self, slot: Slot) -> Path:
        return _storage(slot) / "project" / "outputs"

    def release(self, owner: str) -> None:
        for attempt in AttemptOnDisk.of(self._runs, check_owner(owner)):
            attempt.end(self._grace)
        slot = self._leases.held(owner)
        if slot is not None:
            remove_tree(_storage(slot))
            self._leases.drop(owner)  # last: until then a killed release is found and repeated

    def leases(self) -> Sequence[Lease]:
        return self._leases.leases()

    def _attempt(self, owner: str, number: int) -> AttemptOnDisk:
        return AttemptOnDisk(self._runs, check_owner(owner), number)

    def _why_none_is_free(self) -> str:
        holders = ", ".join(f"{name} by run {held.owner}" for name, held in sorted(self._leases.all().items()))
        return f"all {self._slots} slots of this machine are taken: {holders}"


def remove_tree(folder: Path) -> None:
    """Remove a folder with all in it, also what its owner made read-only; absent is fine."""
    if not folder.exists():
        return
    folder.chmod(0o700)
    for parent, names, _ in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder)


def _storage(slot: Slot) -> Path:
    if slot.folder is None:
        raise Refused("slot-folder", f"slot `{slot.name}` is not a slot of this machine")
    return slot.folder


def _check_over(earlier: AttemptOnDisk, owner: str) -> None:
    if earlier.status().running:
        raise Conflict(
            "attempt-running",
            f"attempt {earlier.number} of run {owner} is still running",
            expected="at most one attempt alive",
            remedy=f"wait for its end, or stop it with `outhaul run cancel {owner}`",
        )


def _check_fits(request: ComputeRequest) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = os.cpu_count() or 1
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    if request.memory_bytes is not None and request.memory_bytes > memory:
        raise _too_big("memory", f"{request.memory_bytes / 1e9:.1f} GB", f"{memory / 1e9:.1f} GB")
    if request.cpu is not None and request.cpu > cores:
        raise _too_big("cpu", f"{request.cpu:g} cores", f"{cores} cores")
    if request.gpu > gpus:
        raise _too_big("gpu", f"{request.gpu} GPUs", f"{gpus} GPUs")


def _too_big(what: str, asked: str, there: str) -> Refused:
    return Refused(
        "compute-too-small",
        f"the project asks for more {what} than this machine has",
        found=f"{asked} asked for",
        expected=f"at most {there}, which is all there is",
        remedy=f"lower `{what}` in outhaul.yaml, or choose a larger compute target",
    )


def _no_slot(reason: str, waited: float) -> Busy:
    return Busy(
        "no-free-slot",
        f"no slot became free within {waited:g} s",
        found=reason,
        expected="a free slot",
        remedy="wait for a run to end, stop one with `outhaul run cancel`, or raise OUTHAUL_SLOTS",
    )
