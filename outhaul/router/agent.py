"""The router's agent: observe → plan → apply → scale, five times a second. Traffic goes on without it.

It keeps no state that matters: what the data plane holds is read from the data plane, so it may be killed at any time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from outhaul.adapters import state_files
from outhaul.errors import OuthaulError
from outhaul.ports import Cluster
from outhaul.router.dataplane import Change, DataPlane, MoreSlots, ReplaceMap, View
from outhaul.router.loads import retry_after, traffic_of
from outhaul.router.routes import leading_spec, plan
from outhaul.router.scaling import Scaling, Seen
from outhaul.router.slots import wait_class
from outhaul.router.sources import ServiceSource
from outhaul.router.status import RouterStatus, ServiceStatus
from outhaul.service.autoscaler import utilization
from outhaul.service.record import Service, replica_deployment
from outhaul.service.replica import Replica

STATUS_SECONDS = 1.0
log = logging.getLogger("outhaul.router")


@dataclass(frozen=True)
class Clocks:
    """`monotonic` for decisions, `wall` for what people read."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]


@dataclass
class Agent:
    """One router's agent. `tick` is one look; whoever runs it decides how often."""

    source: ServiceSource
    cluster: Cluster
    plane: DataPlane
    status_file: Path
    clocks: Clocks
    status: RouterStatus = field(default_factory=lambda: RouterStatus(updated_at=0.0))
    _replicas: Sequence[Replica] | None = None
    _problems: dict[str, OuthaulError] = field(default_factory=dict)
    _written: float = float("-inf")

    def __post_init__(self) -> None:
        self.scaling = Scaling(self.cluster)

    def tick(self) -> None:
        """One look. What is away is skipped and named in the status; the next look starts afresh."""
        problems: dict[str, OuthaulError] = {}
        services = self.source.services()
        if self.source.problem:
            problems["services"] = self.source.problem
        view: View | None = None
        try:
            self._replicas = self.cluster.replicas()
        except OuthaulError as error:
            problems["cluster"] = error
        try:
            view = self.plane.observe()
            if services is not None and self._replicas is not None:
                self._act(services, self._replicas, view)
        except OuthaulError as error:
            problems["router"] = error
        self._report(problems)
        self._write(services or [], view)

    def _act(self, services: Sequence[Service], replicas: Sequence[Replica], view: View) -> None:
        now = self.clocks.monotonic()
        changes = plan(services, self.scaling.routable(replicas, now), view)
        if now >= self._written + STATUS_SECONDS:
            changes += _retry_map(services, self.scaling.seen, view)
        self._apply(changes)
        self.scaling.step(services, replicas, view, now)
        # Whoever was picked for removal is drained at once, before the cluster takes its time to stop it.
        self._apply([c for c in plan(services, self.scaling.routable(replicas, now), view) if c not in changes])

    def _apply(self, changes: Sequence[Change]) -> None:
        self.plane.apply(changes)
        self.status.reloads += sum(isinstance(change, MoreSlots) for change in changes)

    def _report(self, problems: dict[str, OuthaulError]) -> None:
        """Each problem once in the log, when it begins, and once when it has ended."""
        for place, error in problems.items():
            if str(self._problems.get(place)) != str(error):
                log.warning("%s: %s", place, error)
        for place in self._problems.keys() - problems.keys():
            log.info("%s: well again", place)
        self._problems = problems

    def _write(self, services: Sequence[Service], view: View | None) -> None:
        now = self.clocks.monotonic()
        if now < self._written + STATUS_SECONDS:
            return
        self._written = now
        self.status.updated_at = self.clocks.wall()
        self.status.process = view.process if view else ""
        self.status.services = {s.name: _service_status(s, self.scaling.seen, view) for s in services if not s.deleted}
        self.status.problems = [error.to_dict() for error in self._problems.values()]
        state_files.write(self.status_file, self.status)


def _retry_map(services: Sequence[Service], seen: dict[str, Seen], view: View) -> list[Change]:
    """Retry-After for each live version, as one map change where any of them has changed."""
    entries: dict[str, str] = {}
    for service in services:
        for version in service.live if not service.deleted else []:
            name = replica_deployment(service.name, version.number)
            load = seen[name].load if name in seen else None
            traffic = traffic_of(name, view)
            if load and traffic:
                places = load.ready * version.spec.max_concurrent_requests_per_container
                entries[name] = str(retry_after(traffic, places))
    return [ReplaceMap("retry", entries)] if entries != view.maps.get("retry", {}) else []


def _service_status(service: Service, seen: dict[str, Seen], view: View | None) -> ServiceStatus:
    names = [replica_deployment(service.name, version.number) for version in service.live]
    spec = leading_spec(service)
    looks = [seen[name] for name in names if name in seen]
    loads = [look.load for look in looks if look.load]
    leading = looks[0] if looks else None
    decision = leading.decision if leading else None
    return ServiceStatus(
        queue_wait_ms=wait_class(spec.max_queue_wait_ms),
        utilization=_share(leading, spec.max_concurrent_requests_per_container),
        busy=sum(load.busy for load in loads),
        queued=sum(load.queued for load in loads),
        ready=sum(load.ready for load in loads),
        wanted=sum(look.wanted for look in looks),
        decision=decision.replicas if decision and decision.valid else None,
        reason=decision.reason if decision else "",
        requests=_requests(names, view),
    )


def _share(look: Seen | None, limit: int) -> float:
    if look is None or look.load is None or look.load.replicas == 0:
        return -1.0
    return round(utilization(look.load, limit), 3)


def _requests(names: Sequence[str], view: View | None) -> dict[str, int]:
    total: dict[str, int] = {}
    for name in names if view else []:
        traffic = traffic_of(name, view) if view else None
        for code, count in (traffic.codes if traffic else {}).items():
            total[code] = total.get(code, 0) + count
    return total
