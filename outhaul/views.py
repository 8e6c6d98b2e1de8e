"""Records as the command line shows them: plain types, camelCase keys, stable; `docs/reference/cli/` has schemas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outhaul.model.record import Model
from outhaul.ports import BuiltEnvironment
from outhaul.router.status import ServiceStatus
from outhaul.run.record import Run, Step
from outhaul.service.record import Service, Version, replica_deployment
from outhaul.service.replica import Replica, ReplicaState
from outhaul.times import unix


def run_line(run: Run, now: float) -> dict[str, Any]:
    """A run as `run list` shows it."""
    end = unix(run.ended_at) if run.ended_at else now
    return {
        "id": run.id,
        "name": run.name,
        "project": run.project,
        "kind": run.kind,
        "state": str(run.state),
        "createdAt": run.created_at,
        "seconds": round(end - unix(run.started_at or run.created_at), 1),
        "models": [str(model) for model in run.models],
        "service": run.service,
    }


def run_view(run: Run, now: float) -> dict[str, Any]:
    """A run as `run show` shows it."""
    return {
        **run_line(run, now),
        "startedAt": run.started_at,
        "endedAt": run.ended_at,
        "snapshot": run.snapshot,
        "environment": run.environment,
        "arguments": run.arguments,
        "git": {"commit": run.git_commit, "dirty": run.git_dirty},
        "reusedFrom": run.reused_from,
        "steps": [step_view(step) for step in run.steps],
        "attempts": [
            {
                "number": attempt.number,
                "startedAt": attempt.started_at,
                "endedAt": attempt.ended_at,
                "exitCode": attempt.exit_code,
                "reason": attempt.reason.value if attempt.reason else None,
                "peakMemoryBytes": attempt.peak_memory_bytes,
            }
            for attempt in run.attempts
        ],
        "outputs": {"files": run.output_files, "bytes": run.output_bytes, "saved": run.outputs_saved},
        "metrics": run.metrics,
        "scoringUri": run.scoring_uri,
        "flowRunUrl": run.flow_run_url,
        "error": run.error,
    }


def step_view(step: Step) -> dict[str, Any]:
    return {"name": step.name, "state": step.state.value, "seconds": step.seconds, "note": step.note}


def model_line(model: Model) -> dict[str, Any]:
    """A model as `model list` shows it."""
    return {
        "name": model.name,
        "version": model.version,
        "createdAt": model.created_at,
        "bytes": model.bytes,
        "files": len(model.files),
        "run": model.provenance.run,
        "metrics": model.provenance.metrics,
    }


def model_view(model: Model) -> dict[str, Any]:
    """A model as `model show` shows it."""
    origin = model.provenance
    return {
        **model_line(model),
        "digest": model.digest,
        "description": model.description,
        "tags": model.tags,
        "files": [{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in model.files],
        "provenance": {
            "run": origin.run,
            "snapshot": origin.snapshot,
            "environment": origin.environment,
            "git": {"commit": origin.git_commit, "dirty": origin.git_dirty},
            "arguments": origin.arguments,
            "packages": origin.packages,
            "metrics": origin.metrics,
        },
    }


def service_view(service: Service, replicas: Sequence[Replica], desired: int, base_url: str) -> dict[str, Any]:
    """A service as `service show` shows it. `base_url` is the router's, empty when it does not run."""
    root = f"{base_url}/api/v1/service/{service.name}" if base_url else ""
    spec = service.live[0].spec if service.live else None
    return {
        "name": service.name,
        "state": str(service.state),
        "scoringUri": f"{root}/score" if root else None,
        "swaggerUri": f"{root}/swagger.json" if root else None,
        "authEnabled": spec.auth_enabled if spec else True,
        "replicas": {"ready": sum(r.state is ReplicaState.READY for r in replicas), "desired": desired},
        "autoscale": {"min": spec.least, "max": spec.most, "target": spec.target_utilization}
        if spec and spec.autoscaled
        else None,
        "versions": [version_view(service.name, version, replicas) for version in service.versions],
        "createdAt": service.created_at,
        "updatedAt": service.updated_at,
        "error": service.error,
    }


def router_view(found: ServiceStatus) -> dict[str, Any]:
    """What the router says of a service, in `service show`."""
    return {
        "queueWaitMs": found.queue_wait_ms,
        "utilization": found.utilization,
        "busy": found.busy,
        "queued": found.queued,
        "ready": found.ready,
        "wanted": found.wanted,
        "decision": found.decision,
        "reason": found.reason,
        "requests": found.requests,
    }


def version_view(service: str, version: Version, replicas: Sequence[Replica]) -> dict[str, Any]:
    deployment = replica_deployment(service, version.number)
    mine = [replica for replica in replicas if replica.deployment == deployment]
    return {
        "number": version.number,
        "weight": version.weight,
        "models": [str(model) for model in version.models],
        "environment": version.environment,
        "snapshot": version.snapshot,
        "run": version.run,
        "createdAt": version.created_at,
        "replicas": [{"id": r.id, "state": r.state.value, "restarts": r.restarts, "message": r.message} for r in mine],
    }


def environment_view(built: BuiltEnvironment) -> dict[str, Any]:
    """An environment as `environment list` shows it."""
    return {
        "hash": built.hash,
        "store": built.store,
        "python": built.python_version,
        "packages": dict(built.packages),
        "builtAt": built.built_at,
        "seconds": round(built.seconds, 1),
    }
