"""A replica: one process that answers for one version of a service. What is wanted, and what was seen. Pure."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from outhaul.service.record import ModelRef, Probe, Resources


class ReplicaTemplate(msgspec.Struct, kw_only=True, frozen=True):
    """Everything a replica is made of. Holds nothing that changes per run."""

    deployment: str
    """`<service>-<version>`."""
    service: str
    version: int
    environment: str
    """Environment hash; the cluster resolves it to an interpreter or an image."""
    snapshot: str
    score_script: str
    """Relative to `source_directory`."""
    source_directory: str = "."
    """Relative to the snapshot's root."""
    models: list[ModelRef] = []
    env_vars: dict[str, str] = {}
    concurrency: int = 1
    """Requests that one replica answers at once (v1's replica_max_concurrent_requests)."""
    scoring_timeout_ms: int = 60_000
    max_queue_wait_ms: int = 500
    resources: Resources = Resources()
    probe: Probe = Probe()


class ReplicaState(StrEnum):
    """STARTING → READY ⇄ UNHEALTHY → TERMINATING; FAILED when it ended by itself and is waiting to be started again."""

    STARTING = "starting"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    TERMINATING = "terminating"
    FAILED = "failed"


class Replica(msgspec.Struct, kw_only=True, frozen=True):
    """A replica as the cluster saw it last."""

    id: str
    """`digits-3-x7k2`, unique for ever."""
    deployment: str
    state: ReplicaState
    host: str = "127.0.0.1"
    port: int = 0
    """Of the scoring listener; 0 until known."""
    restarts: int = 0
    started_at: float = 0.0
    """Unix seconds."""
    message: str = ""
    """Why it is not ready: the last traceback of init(), the exit code, the signal."""
