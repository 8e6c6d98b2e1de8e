"""Cluster on one machine: what is wanted goes to files, which the node acts on; what it sees comes back in files.

deployments/<name>/template.json, wanted.json      written here
replicas/<id>.json                                 written by the node
logs/<deployment>/<created>_<id>.log               written by the replicas, kept for a while when they are gone
apps/<deployment>/<template>/                      made by the node: score files and models
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from msgspec.structs import replace

from outhaul.adapters import processes, state_files
from outhaul.errors import Conflict, NotFound, Refused
from outhaul.home import Home
from outhaul.node.state import Deployment, ReplicaRecord, Wanted
from outhaul.run.leftovers import passing_name
from outhaul.service.replica import Replica, ReplicaState, ReplicaTemplate

OLD_LOG = ".log-old"
"""What a log is renamed to when it has grown too long."""
LOG_BYTES_PER_LINE = 400
"""How much of a log's end is read for each line asked for."""


class ClusterFolder:
    """The embedded cluster's files, for the client and for the node."""

    def __init__(self, root: Path) -> None:
        self.deployments = root / "deployments"
        self.replicas = root / "replicas"
        self.logs = root / "logs"
        self.apps = root / "apps"
        self.running = root / "running"

    def make(self) -> None:
        for folder in (self.deployments, self.replicas, self.logs, self.apps, self.running):
            folder.mkdir(parents=True, exist_ok=True)

    def deployment(self, name: str) -> Deployment | None:
        """The deployment as wanted now, None when there is none."""
        template = state_files.read(self.deployments / name / "template.json", ReplicaTemplate)
        wanted = state_files.read(self.deployments / name / "wanted.json", Wanted)
        return Deployment(template=template, wanted=wanted) if template and wanted else None

    def mark(self, name: str) -> tuple[state_files.Mark | None, state_files.Mark | None]:
        """Changes when the deployment does."""
        folder = f"{self.deployments}/{name}"  # no Path: asked for many times a second
        return state_files.mark(f"{folder}/template.json"), state_files.mark(f"{folder}/wanted.json")

    def names(self) -> list[str]:
        return state_files.names(self.deployments, suffix="")

    def log(self, record: ReplicaRecord) -> Path:
        """Named so that the newest replica sorts last."""
        return self.logs / record.deployment / f"{record.created_at:014.3f}_{record.id}.log"

    def app(self, deployment: Deployment) -> Path:
        """Where the template's score files and models stand, for all its replicas."""
        return self.apps / deployment.template.deployment / deployment.digest

    def remove_apps_but(self, used: Collection[tuple[str, str]]) -> None:
        """Remove the apps of all but these (deployment, template digest)."""
        deployments = {deployment for deployment, _ in used}
        for deployment in state_files.names(self.apps, suffix=""):
            for digest in state_files.names(self.apps / deployment, suffix=""):
                if (deployment, digest) not in used:
                    shutil.rmtree(self.apps / deployment / digest)
            if deployment not in deployments:
                shutil.rmtree(self.apps / deployment)


class ProcessCluster:
    """Asks the node for replicas. Works while no node runs, too: then nothing happens until `outhaul up`."""

    def __init__(self, home: Home) -> None:
        self._folder = ClusterFolder(home.cluster)
        self._observed = state_files.CachedFolder(self._folder.replicas, ReplicaRecord)

    def apply(self, template: ReplicaTemplate, replicas: int) -> None:
        _check_count(replicas)
        if not self._create(template, replicas):
            found = self._folder.deployment(template.deployment)
            if found is None:  # removed since
                return self.apply(template, replicas)
            _check_same(found.template, template)
            self.scale(template.deployment, replicas)
        return None

    def _create(self, template: ReplicaTemplate, replicas: int) -> bool:
        self._folder.make()
        part = self._folder.deployments / passing_name("new")
        part.mkdir()
        try:
            state_files.write(part / "template.json", template)
            state_files.write(part / "wanted.json", Wanted(replicas=replicas))
            return _renamed(part, self._folder.deployments / template.deployment)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def scale(self, deployment: str, replicas: int, idle_first: Sequence[str] = ()) -> None:
        _check_count(replicas)
        wanted = Wanted(replicas=replicas, idle_first=list(idle_first))
        try:
            state_files.write(self._folder.deployments / deployment / "wanted.json", wanted)
        except FileNotFoundError as error:
            raise NotFound(
                "deployment-missing",
                f"no deployment `{deployment}`",
                found=", ".join(self._folder.names()) or "no deployment at all",
                expected="a deployment that was applied and not removed",
                remedy="list them with `outhaul service list`",
            ) from error

    def wanted(self, deployment: str) -> int | None:
        found = self._folder.deployment(deployment)
        return found.wanted.replicas if found else None

    def deployments(self) -> Sequence[ReplicaTemplate]:
        found = (self._folder.deployment(name) for name in self._folder.names())
        return [deployment.template for deployment in found if deployment]

    def replicas(self, deployment: str | None = None) -> Sequence[Replica]:
        records = sorted(self._observed.read().values(), key=lambda record: record.created_at)
        return [_as_it_is(r) for r in records if deployment in (None, r.deployment)]

    def remove(self, deployment: str) -> None:
        gone = self._folder.deployments / passing_name("removed")
        try:
            (self._folder.deployments / deployment).rename(gone)
        except FileNotFoundError:
            return
        shutil.rmtree(gone)

    def logs(self, deployment: str, lines: int = 5000, replica: str | None = None) -> str:
        folder = self._folder.logs / deployment
        names = [n for n in state_files.names(folder, ".log") if replica in (None, _replica_of(n))]
        return "".join(f"==> {_replica_of(n)} <==\n{_tail(folder / f'{n}.log', lines)}" for n in names)


def _as_it_is(record: ReplicaRecord) -> Replica:
    """Without a node (everything was killed, a reboot) the record may speak of a process that is gone."""
    seen = record.seen
    if record.process is None or seen.state is ReplicaState.FAILED or processes.alive(record.process):
        return seen
    return replace(seen, state=ReplicaState.FAILED, message="its process is gone, and the node has not noticed yet")


def _replica_of(log: str) -> str:
    return log.partition("_")[2]


def _renamed(part: Path, target: Path) -> bool:
    """False when the target exists: folders with content are never replaced."""
    try:
        part.rename(target)
    except OSError:
        if target.is_dir():
            return False
        raise
    return True


def _check_same(found: ReplicaTemplate, given: ReplicaTemplate) -> None:
    names = [n for n in given.__struct_fields__ if getattr(found, n) != getattr(given, n)]
    if names:
        raise Conflict(
            "deployment-changed",
            f"the deployment `{given.deployment}` exists with other content",
            found="\n".join(f"{n}: {getattr(found, n)!r}" for n in names),
            expected="\n".join(f"{n}: {getattr(given, n)!r}" for n in names),
            remedy="roll the change out as a new version",
        )


def _check_count(replicas: int) -> None:
    if replicas < 0:
        raise Refused(
            "replica-count",
            f"a deployment cannot have {replicas} replicas",
            found=str(replicas),
            expected="0 or more",
            remedy="give a number of 0 or more",
        )


def _tail(path: Path, lines: int) -> str:
    """The last lines of a log, across its rotation."""
    older = path.with_suffix(OLD_LOG)
    data = b"".join(_end_of(p, lines * LOG_BYTES_PER_LINE) for p in (older, path) if p.exists())
    return b"".join(data.splitlines(keepends=True)[-lines:]).decode(errors="replace")


def _end_of(path: Path, most: int) -> bytes:
    with path.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - most))
        return log.read()
