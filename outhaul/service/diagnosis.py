"""Why replicas do not serve: their observed states → an error with a remedy. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from outhaul.errors import Failed
from outhaul.service.replica import Replica, ReplicaState

HOPELESS_RESTARTS = 2
"""A replica that ended this often while starting will not come up by being started again."""


def diagnose(replicas: Sequence[Replica]) -> Failed | None:
    """The reason why a rollout cannot succeed any more; None while it still may."""
    for replica in replicas:
        if replica.state is ReplicaState.FAILED and replica.restarts >= HOPELESS_RESTARTS:
            return _failed(replica)
    return None


def _failed(replica: Replica) -> Failed:
    if "memory" in replica.message.lower() and "limit" in replica.message.lower():
        return Failed(
            "replica-memory-limit",
            f"replica {replica.id} used more memory than it may",
            found=replica.message,
            expected="less than memory_in_gb_limit",
            remedy="raise `container_resource_requirements: {memory_in_gb_limit: …}`, or load a smaller model",
        )
    return Failed(
        "replica-failed",
        f"replica {replica.id} ended {replica.restarts + 1} times before it was ready (CrashLoopBackOff)",
        found=replica.message or "no message; see the log",
        expected="init() to return",
        remedy="mend the score script, or read all of it with `outhaul service get-logs`",
    )
