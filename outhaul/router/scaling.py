"""Carries out the autoscaler's decisions: measure, decide, drain whom it takes, tell the cluster."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from outhaul.ports import Cluster
from outhaul.router.dataplane import Traffic, View
from outhaul.router.loads import idle_first, measure, scaler_spec, traffic_of
from outhaul.service.autoscaler import Decision, Load, ScalerState, decide
from outhaul.service.record import Service, ServiceSpec, Version, replica_deployment
from outhaul.service.replica import Replica, ReplicaState

LEAVING_SECONDS = 10.0
log = logging.getLogger("outhaul.router")


@dataclass
class Seen:
    """One live version at the last look."""

    load: Load | None
    wanted: int
    decision: Decision | None = None


@dataclass
class Scaling:
    """One autoscaler for each live version."""

    cluster: Cluster
    seen: dict[str, Seen] = field(default_factory=dict)
    _states: dict[str, ScalerState] = field(default_factory=dict)
    _leaving: dict[str, float] = field(default_factory=dict)
    """Replicas picked for removal → when. They get no request from then on, before the cluster stops them."""

    def routable(self, replicas: Sequence[Replica], now: float) -> list[Replica]:
        """The replicas, with those that were picked for removal as good as terminating."""
        ready = {replica.id for replica in replicas if replica.state is ReplicaState.READY}
        self._leaving = {
            name: since for name, since in self._leaving.items() if name in ready and now < since + LEAVING_SECONDS
        }
        return [_terminating(replica) if replica.id in self._leaving else replica for replica in replicas]

    def step(self, services: Sequence[Service], replicas: Sequence[Replica], view: View, now: float) -> None:
        live = [(s, version) for s in services if not s.deleted for version in s.live]
        names = {replica_deployment(service.name, version.number) for service, version in live}
        self.seen = {name: seen for name, seen in self.seen.items() if name in names}
        self._states = {name: state for name, state in self._states.items() if name in names}
        for service, version in live:
            self._look(replica_deployment(service.name, version.number), version, replicas, view, now)

    def _look(self, name: str, version: Version, replicas: Sequence[Replica], view: View, now: float) -> None:
        wanted = self.cluster.wanted(name)
        load = measure(name, view, replicas, wanted)
        seen = self.seen[name] = Seen(load, wanted or 0)
        if not version.spec.autoscaled or wanted is None:
            return
        seen.decision = self._decide(name, version.spec, load, now)
        if seen.decision.valid and seen.decision.replicas != wanted:
            log.info("%s: %d → %d replicas (%s)", name, wanted, seen.decision.replicas, seen.decision.reason)
            self._scale(name, seen.decision.replicas, traffic_of(name, view) or Traffic(), replicas, now)

    def _decide(self, name: str, spec: ServiceSpec, load: Load | None, now: float) -> Decision:
        state = self._states.get(name, ScalerState())
        decision, self._states[name] = decide(scaler_spec(spec), load, state, now)
        return decision

    def _scale(self, name: str, number: int, traffic: Traffic, replicas: Sequence[Replica], now: float) -> None:
        order = idle_first(name, traffic, replicas)
        self._leaving.update(dict.fromkeys(order[: max(0, len(order) - number)], now))
        self.cluster.scale(name, number, order)


def _terminating(replica: Replica) -> Replica:
    return Replica(
        id=replica.id,
        deployment=replica.deployment,
        state=ReplicaState.TERMINATING,
        host=replica.host,
        port=replica.port,
        started_at=replica.started_at,
    )
