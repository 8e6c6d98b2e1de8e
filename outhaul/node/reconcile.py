"""What to do about replicas: deployments as wanted, replicas as observed, the time → actions. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from outhaul.node.replica_life import overdue
from outhaul.node.state import Deployment, ReplicaRecord
from outhaul.service.replica import ReplicaState

DRAIN_GRACE_SECONDS = 1.0
"""From being marked to SIGTERM. Routers see the mark within 0.5 s and send nothing more."""


@dataclass(frozen=True)
class Create:
    """Make the record of one more replica."""

    deployment: str


@dataclass(frozen=True)
class Start:
    """Start the process of a replica that has none."""

    replica: str


@dataclass(frozen=True)
class Probe:
    """Ask for its health."""

    replica: str


@dataclass(frozen=True)
class Drain:
    """Mark it, so that routers send it nothing more."""

    replica: str


@dataclass(frozen=True)
class Stop:
    """Ask it to finish its requests and end (SIGTERM)."""

    replica: str


@dataclass(frozen=True)
class Kill:
    """End it at once, with all that it started."""

    replica: str
    reason: str


@dataclass(frozen=True)
class Forget:
    """Remove the record: it was to go and is gone."""

    replica: str


Action = Create | Start | Probe | Drain | Stop | Kill | Forget


def plan(deployments: Mapping[str, Deployment], observed: Sequence[ReplicaRecord], now: float) -> list[Action]:
    """Everything that is due now. Doing it and planning again at the same time gives nothing but what is still open."""
    actions: list[Action] = []
    staying: dict[str, list[ReplicaRecord]] = {name: [] for name in deployments}
    for record in observed:
        deployment = deployments.get(record.deployment)
        if record.state is ReplicaState.TERMINATING:
            actions += _ending(record, now)
        elif deployment is None or deployment.digest != record.template:
            actions.append(Drain(record.id))
        else:
            staying[record.deployment].append(record)
    for name, deployment in deployments.items():
        actions += _balance(name, deployment, staying[name], now)
    return actions


def _ending(record: ReplicaRecord, now: float) -> Iterator[Action]:
    """Drain grace → SIGTERM → its requests' time → SIGKILL → forgotten."""
    if record.process is None:
        yield Forget(record.id)
    elif record.stop_sent_at is None:
        if now >= (record.draining_since or 0.0) + DRAIN_GRACE_SECONDS:
            yield Stop(record.id)
    elif now >= record.stop_sent_at + record.drain_seconds and not record.killed_for:
        yield Kill(record.id, f"still running {record.drain_seconds:g} seconds after SIGTERM")


def _balance(name: str, deployment: Deployment, staying: list[ReplicaRecord], now: float) -> Iterator[Action]:
    wanted = deployment.wanted.replicas
    gone = {record.id for record in victims(staying, wanted, deployment.wanted.idle_first)}
    yield from (Create(name) for _ in range(wanted - len(staying)))
    for record in staying:
        if record.id in gone:
            yield Drain(record.id)
        else:
            yield from _living(record, deployment, now)


def victims(staying: Sequence[ReplicaRecord], wanted: int, idle_first: Sequence[str]) -> list[ReplicaRecord]:
    """Which replicas go: the idle ones as listed, then those that are not ready, then the newest."""
    rank = {replica: place for place, replica in enumerate(idle_first)}

    def order(record: ReplicaRecord) -> tuple[int, bool, float, str]:
        place = rank.get(record.id, len(rank))
        return place, record.state is ReplicaState.READY, -record.created_at, record.id

    return sorted(staying, key=order)[: max(len(staying) - wanted, 0)]


def _living(record: ReplicaRecord, deployment: Deployment, now: float) -> Iterator[Action]:
    if record.process is None:
        if now >= record.start_at:
            yield Start(record.id)
        return
    if record.killed_for:
        return
    reason = overdue(record, deployment.template, now)
    if reason:
        yield Kill(record.id, reason)
    elif now >= record.next_probe_at:
        yield Probe(record.id)
