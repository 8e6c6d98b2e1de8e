"""What can be done to a service besides rolling it out: look, score, change keys, delete."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from outhaul.errors import NotFound
from outhaul.router.status import ServiceStatus
from outhaul.service.deployer_lock import DeployerLock
from outhaul.service.endpoint import router_status, score
from outhaul.service.keys import KeyPair, changed_pair, read_keys, write_keys
from outhaul.service.record import Service, replica_deployment
from outhaul.service.replica import Replica
from outhaul.service.rollout import delete_service, find_service, write_service
from outhaul.workspace import Workspace


def list_services(workspace: Workspace) -> list[Service]:
    """All services that were not deleted, by name."""
    return [service for service in workspace.records.list("services/", Service) if not service.deleted]


def observed(workspace: Workspace, service: Service) -> tuple[list[Replica], int]:
    """(the replicas of the service's versions, how many are wanted in all)."""
    names = [replica_deployment(service.name, version.number) for version in service.versions]
    replicas = [replica for name in names for replica in workspace.cluster.replicas(name)]
    return replicas, sum(workspace.cluster.wanted(name) or 0 for name in names)


def service_keys(workspace: Workspace, name: str) -> KeyPair:
    """The service's plain keys, read with the caller's own rights."""
    find_service(workspace, name)
    pair = read_keys(workspace.secrets, name)
    if pair is None:
        raise NotFound(
            "keys-not-found",
            f"the keys of `{name}` are not in this secret store",
            found="a service whose keys were made elsewhere, or removed",
            expected="the secret store of the workspace that deployed it",
            remedy=f"make new ones with `outhaul service regen-key {name} --key primary`",
        )
    return pair


def regenerate_key(workspace: Workspace, name: str, which: str, value: str | None) -> KeyPair:
    """Replace one key, in the secret store first: a key that the router accepts can always be read."""
    with alone(workspace, name) as fence:
        pair = changed_pair(service_keys(workspace, name), which, value)
        write_keys(workspace.secrets, name, pair)
        write_service(workspace, name, fence, lambda service: setattr(service, "key_hashes", pair.hashes))
    return pair


def retire(workspace: Workspace, name: str) -> None:
    """Delete the service. Conflict while it is being deployed."""
    find_service(workspace, name)
    with alone(workspace, name) as fence:
        delete_service(workspace, name, fence)


def service_logs(workspace: Workspace, name: str, lines: int, replica: str | None) -> str:
    """The last lines of the replicas' output, the serving version's last."""
    service = find_service(workspace, name)
    parts = [
        workspace.cluster.logs(replica_deployment(name, version.number), lines, replica)
        for version in sorted(service.versions, key=lambda v: (v.weight, v.number))
    ]
    return "".join(parts)


def score_service(workspace: Workspace, name: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send one scoring request through the router with the service's own key. (status, headers, body)."""
    service = find_service(workspace, name)
    spec: Any = service.live[0].spec if service.live else None
    pair = read_keys(workspace.secrets, name) if spec is None or spec.auth_enabled else None
    return score(workspace.settings.home, name, body, pair.primary_key if pair else None)


def routing(workspace: Workspace, name: str) -> ServiceStatus | None:
    """What the router says of the service: effective queue wait, busy replicas, the autoscaler's last decision."""
    status = router_status(workspace.settings.home)
    return status.services.get(name) if status else None


@contextmanager
def alone(workspace: Workspace, name: str) -> Iterator[int]:
    """Hold the service's deployer lock for a change that takes moments. Yields the fence."""
    lock, owner = DeployerLock(workspace.records), f"command-{uuid.uuid4().hex[:8]}"
    fence = lock.acquire(name, owner, time.time())
    try:
        yield fence
    finally:
        lock.release(name, owner, fence)
