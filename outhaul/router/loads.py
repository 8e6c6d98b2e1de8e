"""What the data plane counted → the autoscaler's loads, whom to remove first, and when to try again. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from outhaul.router.dataplane import Traffic, View
from outhaul.service.autoscaler import Load, ScalerSpec
from outhaul.service.record import ServiceSpec
from outhaul.service.replica import Replica, ReplicaState

LONGEST_RETRY_SECONDS = 60
NO_REPLICA_RETRY_SECONDS = 2


def scaler_spec(spec: ServiceSpec) -> ScalerSpec:
    """The service's settings as the autoscaler takes them."""
    return ScalerSpec(
        least=spec.least,
        most=spec.most,
        target_percent=spec.target_utilization,
        limit=spec.max_concurrent_requests_per_container,
        refresh_seconds=spec.refresh_seconds,
    )


def traffic_of(deployment: str, view: View) -> Traffic | None:
    """The deployment's counters, None while it has no slot."""
    return view.traffic.get(view.maps.get("slots", {}).get(deployment, ""))


def measure(deployment: str, view: View, replicas: Sequence[Replica], wanted: int | None) -> Load | None:
    """The deployment's load now, None where nothing is known of it."""
    traffic = traffic_of(deployment, view)
    if traffic is None or wanted is None:
        return None
    ready = sum(r.deployment == deployment and r.state is ReplicaState.READY for r in replicas)
    return Load(sum(traffic.busy.values()), traffic.queued, ready, coming=max(0, wanted - ready))


def idle_first(deployment: str, traffic: Traffic, replicas: Sequence[Replica]) -> list[str]:
    """The deployment's replicas in the order of removal: not ready, then the least busy, then the newest."""
    own = [r for r in replicas if r.deployment == deployment and r.state is not ReplicaState.TERMINATING]
    ready = ReplicaState.READY
    own.sort(key=lambda r: (r.state is ready, traffic.busy.get(r.id, 0), -r.started_at, r.id))
    return [replica.id for replica in own]


def retry_after(traffic: Traffic, places: int) -> int:
    """Whole seconds until a place is likely to be free: those who wait, at the measured time per request."""
    if places == 0:
        return NO_REPLICA_RETRY_SECONDS
    seconds = (traffic.queued + 1) * traffic.mean_ms / 1000 / places
    return max(1, min(LONGEST_RETRY_SECONDS, math.ceil(seconds)))
