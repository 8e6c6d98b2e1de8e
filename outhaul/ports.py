"""What Outhaul needs of the outside, as narrow protocols. Adapters implement them; `tests/fakes.py` holds the doubles.

Every method raises only errors of `outhaul.errors`. Vendor errors are mapped and chained inside the adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from outhaul.environment.definition import Environment
from outhaul.run.record import EndReason
from outhaul.service.replica import Replica, ReplicaTemplate

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


@dataclass(frozen=True)
class Stored:
    """One object as a listing shows it. `modified` is Unix seconds."""

    key: str
    etag: str
    bytes: int
    modified: float


class ObjectStore(Protocol):
    """Objects under slash-separated keys. A reader sees a whole object or none, whatever dies in between."""

    @property
    def uri(self) -> str: ...

    def get(self, key: str) -> tuple[bytes, str]:
        """The object and its ETag. NotFound when absent."""

    def put(self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        """Write and return the new ETag. Conflict when the condition does not hold (or `if_match` on an absent key)."""

    def upload(self, key: str, source: Path, progress: Progress | None = None) -> str:
        """Write a file's content, streaming. Returns the ETag."""

    def download(self, key: str, target: Path, progress: Progress | None = None) -> None:
        """Write the object to `target` (parent must exist), complete or not at all."""

    def head(self, key: str) -> Stored | None:
        """The object's description, None when absent."""

    def list(self, prefix: str) -> Iterator[Stored]:
        """Every object whose key starts with `prefix`, sorted by key."""

    def delete(self, key: str) -> None:
        """Remove, unconditionally; absent is fine. Never for records: those get tombstones."""


@dataclass(frozen=True)
class BuiltEnvironment:
    """An environment that can run. `key` is the hash plus os, architecture and libc for local stores."""

    hash: str
    key: str
    python: Path
    """The interpreter inside it."""
    python_version: str
    """`3.11.7`."""
    packages: Mapping[str, str]
    """Installed name → version."""
    store: str
    """`workspace` or `global`."""
    built_at: str
    seconds: float = 0.0
    conda: Mapping[str, str] = field(default_factory=dict)
    """Of `packages`, those that conda installed (its own names, non-Python ones included)."""


class EnvironmentStore(Protocol):
    """Where environments are looked up by hash."""

    @property
    def name(self) -> str: ...

    def find(self, environment_hash: str) -> BuiltEnvironment | None:
        """The complete environment, or None. Unreachable and Denied are raised, never taken for None."""

    def list(self) -> Sequence[BuiltEnvironment]: ...

    def adopt(self, built: BuiltEnvironment) -> BuiltEnvironment:
        """Copy an environment from another store into this one, complete or not at all."""


class ImageBuilder(Protocol):
    """Makes an environment from its definition."""

    def build(self, environment: Environment, log: Callable[[str], None]) -> BuiltEnvironment:
        """Build into the workspace store, streaming the builder's lines to `log`. Two builds at once make one.
        Failed with the resolver's reason; Unreachable when a package index does not answer."""

    def unsupported(self, environment: Environment) -> Sequence[str]:
        """What of the definition this builder cannot honour, as sentences that name the remedy."""


@dataclass(frozen=True)
class ComputeRequest:
    """What a run asks of compute. CPU in cores, memory in bytes, None where the project does not say."""

    owner: str
    """Run id. Everything acquired carries it."""
    pool: str = "default"
    cpu: float | None = None
    memory_bytes: int | None = None
    gpu: int = 0
    expires_at: float = 0.0
    """Unix seconds after which `reap` may release it."""


@dataclass(frozen=True)
class Slot:
    """A place to run: a slot of this machine, a node of a pool."""

    name: str
    owner: str
    folder: Path | None = None
    """Temporary storage, where it is a folder of this machine."""


@dataclass(frozen=True)
class ScriptSpec:
    """`python <script> <arguments>` in the project's folder."""

    environment: BuiltEnvironment
    script: str
    arguments: Sequence[str] = ()
    env_vars: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class AttemptStatus:
    """What is known of an attempt. `running` False and `reason` None: it never started."""

    running: bool
    exit_code: int | None = None
    reason: EndReason | None = None
    started_at: float | None = None
    ended_at: float | None = None
    peak_memory_bytes: int | None = None


@dataclass(frozen=True)
class Lease:
    """A held slot, for `reap`."""

    owner: str
    slot: str
    expires_at: float


class Compute(Protocol):
    """acquire → download → unpack → start → (poll, read_log)* → release. All idempotent: each re-attaches by owner."""

    def acquire(self, request: ComputeRequest, waiting: Callable[[str], None]) -> Slot:
        """A slot for `request.owner`: the one it holds already, else a free one. Calls `waiting` with the reason
        while none is free; Busy when its time limit passes; Refused when the request can never fit."""

    def held(self, owner: str) -> Slot | None:
        """The slot that `owner` holds, None when it holds none."""

    def extend(self, owner: str, expires_at: float) -> None:
        """Move the lease's end, while the owner lives. Does nothing when nothing is held."""

    def download(self, slot: Slot, store: ObjectStore, snapshot_key: str) -> int:
        """Bring the snapshot's zip to temporary storage. Returns bytes; 0 when it was there already."""

    def unpack(self, slot: Slot) -> int:
        """Unzip into the project folder. Returns the number of files. Refused for a zip that leaves the root."""

    def start(self, slot: Slot, attempt: int, spec: ScriptSpec) -> None:
        """Start the entry script as attempt number `attempt`, or do nothing when it was started before."""

    def poll(self, owner: str, attempt: int) -> AttemptStatus: ...

    def read_log(self, owner: str, attempt: int, offset: int, most: int = 1 << 20) -> bytes:
        """The attempt's output (stdout and stderr as written) from byte `offset`. Works after release, too."""

    def cancel(self, owner: str, attempt: int) -> None:
        """Ask the script to stop (SIGTERM, then SIGKILL after ten seconds). Does nothing when it has ended."""

    def outputs(self, slot: Slot) -> Path:
        """The folder `./outputs` of the project (may be absent)."""

    def release(self, owner: str) -> None:
        """End what still runs, remove temporary storage, free the slot. Does nothing when nothing is held."""

    def leases(self) -> Sequence[Lease]: ...


class Cluster(Protocol):
    """Keeps replicas running: wanted state in, observed state out."""

    def apply(self, template: ReplicaTemplate, replicas: int) -> None:
        """Create the deployment, or change its number of replicas. A template is never changed: other content
        under the same name is a Conflict."""

    def scale(self, deployment: str, replicas: int, idle_first: Sequence[str] = ()) -> None:
        """Set the wanted number. Removal takes the ids in `idle_first` first, drains each, then stops it.
        NotFound when the deployment does not exist."""

    def wanted(self, deployment: str) -> int | None:
        """The wanted number of replicas, None when the deployment does not exist."""

    def deployments(self) -> Sequence[ReplicaTemplate]: ...

    def replicas(self, deployment: str | None = None) -> Sequence[Replica]: ...

    def remove(self, deployment: str) -> None:
        """Drain and stop all replicas, forget the deployment. Absent is fine. Returns at once."""

    def logs(self, deployment: str, lines: int = 5000, replica: str | None = None) -> str:
        """The last lines of each replica's output, the newest replica last, ended ones included."""


class SecretStore(Protocol):
    """Plain keys, readable with the caller's own rights only."""

    def get(self, name: str) -> bytes | None: ...

    def put(self, name: str, value: bytes) -> None: ...

    def delete(self, name: str) -> None: ...


@dataclass(frozen=True)
class FlowRun:
    """A Prefect flow run as the command line sees it."""

    id: str
    name: str
    state: str
    url: str


class FlowStarter(Protocol):
    """How the command line reaches Prefect without importing it."""

    def start(
        self, deployment: str, parameters: Mapping[str, object], *, idempotency_key: str | None = None
    ) -> FlowRun:
        """Create a flow run of `deploy/deploy`, … and execute it at once in a process that outlives the caller."""

    def restart(self, flow_run_id: str) -> FlowRun:
        """Execute a dead flow run again under the same id. Conflict while it is alive."""

    def show(self, flow_run_id: str) -> FlowRun: ...

    def cancel(self, flow_run_id: str) -> None:
        """Ask the flow run to stop; returns at once."""
