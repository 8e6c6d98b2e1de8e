"""What the node keeps on disk: what it shall run, and what it last saw of each process. Pure.

Records are written before and after each step, so that a node that was killed finds its processes again.
"""

from __future__ import annotations

import hashlib
from functools import cached_property

import msgspec

from outhaul.service.replica import Replica, ReplicaState, ReplicaTemplate


class ProcessId(msgspec.Struct, frozen=True):
    """A process by pid and start, so that a recycled pid is never taken for it."""

    pid: int
    started: str
    """Boot id and start in clock ticks since that boot."""


class HttpReady(msgspec.Struct, frozen=True):
    """Ready when this URL on loopback answers with a status below 400."""

    http: str


class KeptProcess(msgspec.Struct, kw_only=True, frozen=True):
    """One program that the node keeps running: a file `services/<name>.json` in the node's folder."""

    name: str
    argv: list[str]
    env_vars: dict[str, str] = {}
    """Added to the node's own."""
    cwd: str | None = None
    ready: HttpReady | None = None
    """None: ready as soon as it has run for half a second."""
    after: list[str] = []
    """Started when these are ready."""
    order: int = 0
    """Stopped highest first; replicas are drained before anything below `REPLICAS_ORDER`."""
    port: int | None = None
    """For people: where it listens."""
    stop_signal: str = "SIGTERM"
    stop_seconds: float = 10.0
    """How long it may take to stop before it is killed."""
    ends_children: bool = True
    """Whether what it started ends with it when it crashes."""


REPLICAS_ORDER = 40


class KeptState(msgspec.Struct, kw_only=True, frozen=True):
    """What was last seen of a kept process: a file `state/<name>.json`."""

    definition: KeptProcess
    """What it was started from."""
    token: str
    """In the environment of all its processes."""
    process: ProcessId | None = None
    ready: bool = False
    since: float = 0.0
    """Unix seconds of the last change of state."""
    start_at: float = 0.0
    """Not started again before this."""
    restarts: int = 0
    streak: int = 0
    """Failures in a row; sets the back-off."""
    stop_sent_at: float | None = None
    message: str = ""
    """Why it ended last."""

    @property
    def name(self) -> str:
        return self.definition.name


class NodeRecord(msgspec.Struct, kw_only=True, frozen=True):
    """The node itself: `node.json`, written when it has adopted everything."""

    process: ProcessId
    since: float
    version: str


class Wanted(msgspec.Struct, kw_only=True, frozen=True):
    """How many replicas a deployment shall have, and which of them are idle."""

    replicas: int
    idle_first: list[str] = []


class Deployment(msgspec.Struct, kw_only=True, frozen=True, dict=True):
    """A deployment as its files say."""

    template: ReplicaTemplate
    wanted: Wanted

    @cached_property
    def digest(self) -> str:
        """Tells templates apart; asked for many times a second."""
        return digest(self.template)


class ReplicaRecord(msgspec.Struct, kw_only=True, frozen=True):
    """What was last seen of a replica: a file `replicas/<id>.json`, written by the node only."""

    id: str
    deployment: str
    template: str
    """Digest of the template it was made from."""
    token: str
    created_at: float
    drain_seconds: float
    """How long requests in flight may take after SIGTERM."""
    memory_limit_bytes: int | None = None
    state: ReplicaState = ReplicaState.STARTING
    process: ProcessId | None = None
    port: int = 0
    health: str = ""
    """URL below which `/ready` and `/live` answer."""
    started_at: float = 0.0
    ready_since: float | None = None
    failing_since: float | None = None
    failed_probes: int = 0
    good_probes: int = 0
    next_probe_at: float = 0.0
    start_at: float = 0.0
    restarts: int = 0
    streak: int = 0
    draining_since: float | None = None
    stop_sent_at: float | None = None
    killed_for: str = ""
    """Why the node killed it; becomes the message when the process has ended."""
    message: str = ""

    @property
    def seen(self) -> Replica:
        """The replica as the Cluster port shows it."""
        return Replica(
            id=self.id,
            deployment=self.deployment,
            state=self.state,
            port=self.port,
            restarts=self.restarts,
            started_at=self.started_at,
            message=self.message,
        )


class ReplicaCommand(msgspec.Struct, kw_only=True, frozen=True):
    """How to start one replica."""

    argv: list[str]
    env_vars: dict[str, str]
    """All of them; nothing is inherited."""
    cwd: str
    health: str
    """URL below which `/ready` and `/live` answer: `http://127.0.0.1:PORT` or `http+unix://PATH` (PATH quoted)."""


def digest(value: msgspec.Struct) -> str:
    """A short name for a struct's content, the same on every machine."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:12]


LEAST_BACK_OFF, MOST_BACK_OFF = 0.5, 30.0


def back_off(streak: int) -> float:
    """Seconds to wait before start number `streak` + 1 after failures in a row: 0.5, 1, 2, … 30."""
    return min(LEAST_BACK_OFF * 2.0 ** min(max(streak - 1, 0), 10), MOST_BACK_OFF)
