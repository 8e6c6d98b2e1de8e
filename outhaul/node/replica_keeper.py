"""Does for replicas what the plan says, and writes down what becomes of them."""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import signal
import string
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, assert_never

from outhaul.adapters import processes, state_files
from outhaul.adapters.process_cluster import ClusterFolder
from outhaul.errors import OuthaulError
from outhaul.node import node_logs, reconcile, replica_life
from outhaul.node.local_ports import free_port, is_free
from outhaul.node.reconcile import Action, Create, Drain, Forget, Kill, Start, Stop
from outhaul.node.state import Deployment, ReplicaCommand, ReplicaRecord
from outhaul.node.watch import Watch, health, socket_of
from outhaul.service.replica import ReplicaTemplate

log = logging.getLogger("outhaul.node")
MEMORY_SECONDS = 1.0


@dataclass(frozen=True)
class Place:
    """Where one replica runs. `folder` is its own, removed when it is gone."""

    replica: str
    port: int
    folder: Path


class App(Protocol):
    """What all replicas of a template share, ready to be run."""

    def command(self, place: Place) -> ReplicaCommand:
        """How to start one of them. Quick; may write to the place's folder."""


class Launcher(Protocol):
    """Brings the app of a template to this machine."""

    def prepare(self, template: ReplicaTemplate, folder: Path) -> App:
        """Called in a thread, for one start at a time per template; what is in `folder` already is complete and of
        this template."""


@dataclass(frozen=True)
class KeeperSettings:
    """What a keeper stands on."""

    folder: ClusterFolder
    launcher: Launcher
    token_prefix: str
    clock: Callable[[], float]


class ReplicaKeeper:
    """All replicas of this machine."""

    def __init__(self, settings: KeeperSettings) -> None:
        self._folder = settings.folder
        self._launcher = settings.launcher
        self._prefix = settings.token_prefix
        self._clock = settings.clock
        self._deployments: Mapping[str, Deployment] = {}
        self._records: dict[str, ReplicaRecord] = {}
        self._written: dict[str, ReplicaRecord] = {}
        self._watches: dict[str, Watch] = {}
        self._work: dict[str, asyncio.Task[None]] = {}
        self._preparing: dict[str, asyncio.Task[App]] = {}
        self._memory_at = 0.0

    @property
    def records(self) -> Mapping[str, ReplicaRecord]:
        return self._records

    def adopt(self) -> None:
        """Take over what an earlier node started. Leftovers of replicas that are gone are ended."""
        found = processes.by_token()
        for record in state_files.CachedFolder(self._folder.replicas, ReplicaRecord).read().values():
            members = found.get(record.token, [])
            process = record.process or processes.leader(members)
            if process and processes.alive(process):
                self._save(replica_life.launched(record, process, self._clock()))
                self._watch(record.id, processes.Started(process, None))
            else:
                processes.end_all(members)
                self._save(replica_life.lost(record, self._clock()) if record.process else record)

    def tick(self, deployments: Mapping[str, Deployment]) -> None:
        """Start everything that is due now."""
        gone = self._deployments.keys() - deployments.keys()
        self._deployments = deployments
        if gone:
            self.tidy()
        self._check_memory()
        for action in reconcile.plan(deployments, list(self._records.values()), self._clock()):
            try:
                self._do(action)
            except Exception:  # one replica's trouble must not keep the node from the others
                log.exception("%s failed; it will be tried again", action)

    def kill_all(self) -> None:
        """For those that take too long to drain."""
        for record in list(self._records.values()):
            self._kill(record, "everything is being stopped")

    async def close(self) -> None:
        """Stop watching; the replicas go on."""
        for task in [*self._work.values(), *self._preparing.values()]:
            task.cancel()
        for watch in self._watches.values():
            watch.close()

    def _do(self, action: Action) -> None:
        match action:
            case Create(deployment=name):
                self._create(self._deployments[name])
            case Start(replica=name):
                self._in_background(name, self._start)
            case reconcile.Probe(replica=name):
                self._in_background(name, self._probe)
            case Drain(replica=name):
                self._save(replica_life.draining(self._records[name], self._clock()))
            case Stop(replica=name):
                self._stop(self._records[name])
            case Kill(replica=name, reason=reason):
                self._kill(self._records[name], reason)
            case Forget(replica=name):
                self._forget(name)
            case _:
                assert_never(action)

    def _create(self, deployment: Deployment) -> None:
        name = (
            f"{deployment.template.deployment}-{''.join(random.choices(string.ascii_lowercase + string.digits, k=5))}"
        )
        self._save(replica_life.new(deployment, name, f"{self._prefix}{name}", self._clock()))
        self._in_background(name, self._start)

    def _in_background(self, name: str, work: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        """One piece of work per replica at a time."""
        if name not in self._work:
            task = asyncio.ensure_future(work(name))
            self._work[name] = task
            task.add_done_callback(lambda task: self._worked(name, task))

    def _worked(self, name: str, task: asyncio.Task[None]) -> None:
        del self._work[name]
        if task.cancelled():
            return
        error = task.exception()
        if error and name in self._records:
            log.error("replica %s: %s", name, error, exc_info=None if isinstance(error, OuthaulError) else error)
            node_logs.note(self._folder.log(self._records[name]), f"cannot start: {error}")
            self._save(replica_life.ended(self._records[name], str(error), self._clock()))

    async def _start(self, name: str) -> None:
        record = self._records[name]
        app = await self._prepared(self._deployments[record.deployment])
        if self._records[name] is not record:
            return  # to be removed since
        port = record.port if record.port and is_free(record.port) else free_port(self._ports())
        place = Place(name, port, self._folder.running / name)
        place.folder.mkdir(parents=True, exist_ok=True)
        command = app.command(place)
        self._save(replica_life.launching(record, port, command.health, self._clock()))
        log_file = self._folder.log(record)
        started = processes.spawn(
            processes.Launch(command.argv, command.env_vars, Path(command.cwd), log_file, record.token)
        )
        self._save(replica_life.launched(self._records[name], started.process, self._clock()))
        self._watch(name, started)

    async def _prepared(self, deployment: Deployment) -> App:
        """What all replicas of the template share is made once, by the first that needs it."""
        key = deployment.digest
        if key not in self._preparing:
            folder = self._folder.app(deployment)
            work = asyncio.to_thread(self._launcher.prepare, deployment.template, folder)
            self._preparing[key] = asyncio.ensure_future(work)
        task = self._preparing[key]
        try:
            return await asyncio.shield(task)
        finally:
            if task.done():
                self._preparing.pop(key, None)

    def _ports(self) -> set[int]:
        return {record.port for record in self._records.values()}

    async def _probe(self, name: str) -> None:
        before = self._records[name]
        probe = self._deployments[before.deployment].template.probe
        result = await health(before.health, probe.timeout_seconds)
        record = self._records.get(name)
        if record and record.process == before.process:
            self._save(replica_life.probed(record, probe, result, self._clock()))

    def _stop(self, record: ReplicaRecord) -> None:
        self._save(replica_life.stop_sent(record, self._clock()))
        if record.process:
            processes.send(record.process, signal.SIGTERM)

    def _kill(self, record: ReplicaRecord, reason: str) -> None:
        log.warning("replica %s is killed: %s", record.id, reason)
        node_logs.note(self._folder.log(record), f"killed: {reason}")
        self._save(replica_life.killed(record, reason))
        if record.process:
            processes.end_all([record.process, *processes.by_token().get(record.token, [])])

    def _watch(self, name: str, started: processes.Started) -> None:
        self._watches[name] = Watch(started, lambda reason: self._ended(name, reason))

    def _ended(self, name: str, reason: str) -> None:
        record = self._records[name]
        processes.end_all(processes.by_token().get(record.token, []))
        words = node_logs.last_words(self._folder.log(record))
        node_logs.note(self._folder.log(record), "ended as asked" if record.stop_sent_at else reason)
        del self._watches[name]
        self._save(replica_life.ended(record, f"{reason}\n{words}".strip(), self._clock()))
        self.tick(self._deployments)

    def _forget(self, name: str) -> None:
        if name not in self._work:
            unix = socket_of(self._records[name].health)
            if unix:
                unix.unlink(missing_ok=True)
            del self._records[name], self._written[name]
            shutil.rmtree(self._folder.running / name, ignore_errors=True)
            (self._folder.replicas / f"{name}.json").unlink(missing_ok=True)
            self.tidy()

    def tidy(self) -> None:
        """Remove what no replica uses: old logs, and apps of deployments that are gone."""
        records = self._records.values()
        node_logs.prune(self._folder.logs, {self._folder.log(r) for r in records}, self._deployments.keys())
        used = {(r.deployment, r.template) for r in records}
        used |= {(name, deployment.digest) for name, deployment in self._deployments.items()}
        self._folder.remove_apps_but(used)

    def rotate_logs(self) -> None:
        for record in self._records.values():
            node_logs.rotate(self._folder.log(record))

    def _check_memory(self) -> None:
        now = self._clock()
        if now < self._memory_at:
            return
        self._memory_at = now + MEMORY_SECONDS
        for record in self._records.values():
            if record.memory_limit_bytes and record.process and not record.killed_for:
                reason = replica_life.over_memory(record, processes.memory_bytes(record.process))
                if reason:
                    self._kill(record, reason)

    def _save(self, record: ReplicaRecord) -> None:
        """Keep the record, and write it when it says something new."""
        self._records[record.id] = record
        durable = replica_life.durable(record)
        if self._written.get(record.id) != durable:
            state_files.write(self._folder.replicas / f"{record.id}.json", record)
            self._written[record.id] = durable
