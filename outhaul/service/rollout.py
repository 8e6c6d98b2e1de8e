"""Roll out a version of a service: ready → weight → shrink, so that a replica serves at every moment.

The old version keeps serving until the new one is ready; a rollout that fails leaves it as it was and says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from outhaul.errors import Conflict, Failed, NotFound, OuthaulError
from outhaul.service.diagnosis import diagnose
from outhaul.service.keys import ensure_keys
from outhaul.service.record import (
    Keys,
    ModelRef,
    Score,
    Service,
    ServiceSpec,
    ServiceState,
    Version,
    replica_deployment,
)
from outhaul.service.replica import Replica, ReplicaState, ReplicaTemplate
from outhaul.store.keys import service_record
from outhaul.times import iso
from outhaul.workspace import Workspace

POLL_SECONDS = 0.1
KEPT_VERSIONS = 10
"""Versions that stay in the record without serving, so that `service show` tells what came before."""


class Candidate(msgspec.Struct, kw_only=True, frozen=True):
    """What a version is made of. Two candidates that are equal need no rollout between them."""

    snapshot: str
    environment: str
    score: Score
    models: list[ModelRef]
    env_vars: dict[str, str] = {}
    spec: ServiceSpec = ServiceSpec()

    def same_as(self, version: Version) -> bool:
        """Whether `version` was made of exactly this."""
        return all(getattr(self, field) == getattr(version, field) for field in self.__struct_fields__)


@dataclass(frozen=True)
class Rollout:
    """What a rollout did. `unchanged`: the service served exactly this before."""

    service: Service
    version: Version
    unchanged: bool


def roll_out(
    workspace: Workspace, name: str, candidate: Candidate, run: str, fence: int, note: Callable[[str], None]
) -> Rollout:
    """Bring the candidate to all of the service's requests.

    `fence` is the deployer lock's number: a write with a lower one than the record's is a Conflict. Failed, with a
    diagnosis, when the replicas do not become ready; the new version is gone then and the old one untouched.
    """
    hashes = ensure_keys(workspace.secrets, name, candidate.spec.keys)
    candidate = msgspec.structs.replace(candidate, spec=msgspec.structs.replace(candidate.spec, keys=Keys()))
    service = _open_service(workspace, name, fence, hashes)
    if service.live and candidate.same_as(service.live[0]) and service.live[0].weight == 100:
        return Rollout(service, service.live[0], unchanged=_is_running(workspace, service, service.live[0]))
    version = _add_version(workspace, name, candidate, run, fence)
    deployment = replica_deployment(name, version.number)
    try:
        workspace.cluster.apply(replica_template(name, version), _first_size(workspace, service, candidate.spec))
        _wait_ready(workspace, deployment, candidate.spec, note)
    except BaseException as error:  # also the signal that ends a cancelled flow
        _withdraw(workspace, name, version, error, fence)
        raise
    service = _shift_weight(workspace, name, version, fence)
    return Rollout(service, version, unchanged=False)


def shrink(workspace: Workspace, service: Service) -> list[str]:
    """Remove the replicas of versions that answer no requests. Returns the deployments that were removed."""
    keep = {replica_deployment(service.name, version.number) for version in service.live}
    stale = [
        template.deployment
        for template in workspace.cluster.deployments()
        if template.service == service.name and template.deployment not in keep
    ]
    for deployment in stale:
        workspace.cluster.remove(deployment)
    return stale


def replica_template(name: str, version: Version) -> ReplicaTemplate:
    """What the replicas of a version are made of."""
    spec = version.spec
    return ReplicaTemplate(
        deployment=replica_deployment(name, version.number),
        service=name,
        version=version.number,
        environment=version.environment,
        snapshot=version.snapshot,
        score_script=version.score.script,
        source_directory=version.score.source_directory,
        models=version.models,
        env_vars=version.env_vars,
        concurrency=spec.max_concurrent_requests_per_container,
        scoring_timeout_ms=spec.scoring_timeout_ms,
        max_queue_wait_ms=spec.max_queue_wait_ms,
        resources=spec.container_resource_requirements,
        probe=spec.liveness_probe_requirements,
    )


def write_service(workspace: Workspace, name: str, fence: int, change: Callable[[Service], None]) -> Service:
    """Change the record, unless a deployer with a newer lock has written since."""

    def fenced(service: Service) -> Service:
        if service.fence > fence:
            raise Conflict(
                "deployer-replaced",
                f"another deployment of `{name}` took over",
                found=f"the record was written under lock {service.fence}",
                expected=f"lock {fence}, which this run holds",
                remedy="wait for the other deployment, then deploy again",
            )
        service.fence = fence
        service.updated_at = iso(time.time())
        change(service)
        return service

    return workspace.records.update(service_record(name), Service, fenced)


def _open_service(workspace: Workspace, name: str, fence: int, hashes: list[str]) -> Service:
    now = iso(time.time())
    if workspace.records.find(service_record(name), Service) is None:
        workspace.records.create(
            service_record(name), Service(name=name, created_at=now, updated_at=now, fence=fence, key_hashes=hashes)
        )

    def opened(service: Service) -> None:
        service.key_hashes = hashes
        if service.deleted:
            service.deleted, service.versions, service.state = False, [], ServiceState.TRANSITIONING
            service.created_at = now

    return write_service(workspace, name, fence, opened)


def _add_version(workspace: Workspace, name: str, candidate: Candidate, run: str, fence: int) -> Version:
    """A new version with weight 0; the one that this run added before, when the flow was started again."""

    def add(service: Service) -> None:
        if any(v.run == run and v.weight == 0 and candidate.same_as(v) for v in service.versions):
            return
        # The versions are looked at as well: a record of an older program has no `last_version`.
        service.last_version = max([service.last_version, *(known.number for known in service.versions)]) + 1
        fields = {field: getattr(candidate, field) for field in candidate.__struct_fields__}
        service.versions.append(Version(number=service.last_version, created_at=iso(time.time()), run=run, **fields))

    service = write_service(workspace, name, fence, add)
    return next(v for v in reversed(service.versions) if v.run == run and candidate.same_as(v))


def _first_size(workspace: Workspace, service: Service, spec: ServiceSpec) -> int:
    """As many replicas as serve now, within the new limits: a rollout must not shrink a busy service."""
    running = [workspace.cluster.wanted(replica_deployment(service.name, v.number)) or 0 for v in service.live]
    return min(max([spec.least, *running]), spec.most)


def _is_running(workspace: Workspace, service: Service, version: Version) -> bool:
    """Whether the version's replicas exist; where somebody removed them, they are brought back."""
    deployment = replica_deployment(service.name, version.number)
    if workspace.cluster.wanted(deployment) is not None:
        return True
    workspace.cluster.apply(replica_template(service.name, version), version.spec.least)
    return False


def _wait_ready(workspace: Workspace, deployment: str, spec: ServiceSpec, note: Callable[[str], None]) -> None:
    started = time.monotonic()
    while True:
        replicas = workspace.cluster.replicas(deployment)
        ready = sum(replica.state is ReplicaState.READY for replica in replicas)
        wanted = workspace.cluster.wanted(deployment) or spec.least
        note(f"{ready} of {wanted} replicas ready")
        if ready >= wanted:
            return
        if diagnosis := diagnose(replicas):
            raise diagnosis
        if time.monotonic() - started > workspace.settings.ready_seconds:
            raise _not_ready(workspace, deployment, ready, wanted, replicas)
        time.sleep(POLL_SECONDS)


def _not_ready(workspace: Workspace, deployment: str, ready: int, wanted: int, replicas: Sequence[Replica]) -> Failed:
    states = ", ".join(f"{replica.id} {replica.state}" for replica in replicas) or "no replica was started"
    return Failed(
        "rollout-timed-out",
        f"{deployment} did not become ready within {workspace.settings.ready_seconds:g} s",
        found=f"{ready} of {wanted} ready; {states}",
        expected=f"{wanted} ready replicas",
        remedy="read `outhaul service get-logs`; raise OUTHAUL_READY_SECONDS when init() is known to take long",
    )


def _shift_weight(workspace: Workspace, name: str, version: Version, fence: int) -> Service:
    def shift(service: Service) -> None:
        for known in service.versions:
            known.weight = 100 if known.number == version.number else 0
        service.versions = [v for v in service.versions if v.weight] + [v for v in service.versions if not v.weight][
            -KEPT_VERSIONS:
        ]
        service.versions.sort(key=lambda v: v.number)
        service.error = None

    return write_service(workspace, name, fence, shift)


def _withdraw(workspace: Workspace, name: str, version: Version, error: BaseException, fence: int) -> None:
    """Take the failed version out again. What answers requests is never touched, whatever number it has."""

    def withdrawn(service: Service) -> None:
        service.versions = [known for known in service.versions if known.weight or known.number != version.number]
        service.error = (error if isinstance(error, OuthaulError) else _interrupted(name, error)).to_dict()
        service.state = ServiceState.HEALTHY if service.live else ServiceState.FAILED

    shrink(workspace, write_service(workspace, name, fence, withdrawn))


def _interrupted(name: str, error: BaseException) -> Failed:
    return Failed(
        "rollout-interrupted",
        f"the rollout of `{name}` was stopped before its replicas were ready",
        found=f"{type(error).__name__}: {error}",
        expected="a rollout that goes on to its end",
        remedy="deploy again",
    )


def find_service(workspace: Workspace, name: str) -> Service:
    """The service's record. NotFound when it does not exist or was deleted."""
    service = workspace.records.find(service_record(name), Service)
    if service is None or service.deleted:
        raise NotFound(
            "service-not-found",
            f"there is no service `{name}`",
            found=_other_services(workspace),
            expected="the name of a deployed service",
            remedy="list the services with `outhaul service list`",
        )
    return service


def _other_services(workspace: Workspace) -> str:
    names = [service.name for service in workspace.records.list("services/", Service) if not service.deleted]
    return f"the services {', '.join(names[:10])}{', …' if len(names) > 10 else ''}" if names else "no service at all"


def delete_service(workspace: Workspace, name: str, fence: int) -> None:
    """Write the tombstone, remove the replicas, forget the keys: in this order no request meets a half-dead service."""

    def gone(service: Service) -> None:
        service.deleted = True
        service.versions = []
        service.key_hashes = []
        service.error = None

    service = write_service(workspace, name, fence, gone)
    shrink(workspace, service)
    workspace.secrets.delete(f"service-{name}-keys")
