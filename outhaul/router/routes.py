"""Service records and replicas → what the data plane has to change. Pure.

Order matters, so that no request meets half of a change: servers come before the maps that lead to them, and a slot is
given free only one look after the last map entry that led to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from outhaul.router.dataplane import (
    AddServer,
    Change,
    DrainServer,
    EnableServer,
    LimitServer,
    MoreSlots,
    RemoveServer,
    ReplaceMap,
    Server,
    View,
)
from outhaul.router.slots import wait_class, wait_of
from outhaul.service.record import Service, ServiceSpec, Version, replica_deployment
from outhaul.service.replica import Replica, ReplicaState

SPLIT = "split"
"""In the map `paths`, for a service whose requests go to several versions. Deployments' names end in a number."""
NOWHERE = "none"
"""In the map `paths`, for a service that has no live version yet."""

MAPS = ("keys", "auth", "timeouts", "slots", "buckets", "paths")
"""In the order of change: a name is routed only when everything that it leads to stands."""

Services = Iterable[Service]
Maps = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Deployment:
    """One version of a service, as the router needs it."""

    name: str
    wait_ms: int
    """Effective: the class of its slot."""
    limit: int


def plan(services: Services, replicas: Sequence[Replica], current: View) -> list[Change]:
    """What makes `current` right. Empty when it is; repeated until it is."""
    present = [service for service in services if not service.deleted]
    wanted = list(deployments(present, replicas, current))
    slots, missing = assign(wanted, current)
    maps = {**service_maps(present), "slots": {**_still_used(current, slots), **slots}}
    return [
        *(MoreSlots(wait) for wait in sorted(missing)),
        *_servers(wanted, slots, replicas, current),
        *(ReplaceMap(name, maps[name]) for name in MAPS if maps[name] != current.maps.get(name, {})),
    ]


def deployments(present: Services, replicas: Sequence[Replica], current: View) -> Iterator[Deployment]:
    """Versions that need a slot: the live ones, and those whose replicas get ready or go."""
    running = {replica.deployment for replica in replicas}
    for service in present:
        for version in service.versions:
            name = replica_deployment(service.name, version.number)
            if version.weight > 0 or name in running:
                spec = version.spec
                yield Deployment(name, wait_class(spec.max_queue_wait_ms), spec.max_concurrent_requests_per_container)


def assign(wanted: Sequence[Deployment], current: View) -> tuple[dict[str, str], set[int]]:
    """Deployment → slot, keeping what it has; and the classes that have no slot left."""
    held = current.maps.get("slots", {})
    slots = {d.name: held[d.name] for d in wanted if _fits(held.get(d.name), d, current)}
    taken = {*held.values(), *slots.values()}
    free = [slot for slot, servers in sorted(current.slots.items()) if slot not in taken and not servers]
    missing: set[int] = set()
    for deployment in wanted:
        if deployment.name not in slots:
            slot = next((slot for slot in free if wait_of(slot) == deployment.wait_ms), None)
            if slot is None:
                missing.add(deployment.wait_ms)
            else:
                free.remove(slot)
                slots[deployment.name] = slot
    return slots, missing


def service_maps(present: Services) -> Maps:
    """Every map but `slots`."""
    maps: Maps = {name: {} for name in MAPS}
    for service in present:
        spec = leading_spec(service)
        maps["auth"][service.name] = auth_mode(spec)
        if spec.auth_enabled:
            # Upper case, as HAProxy's `hex` writes it.
            maps["keys"].update({f"{service.name}:{key_hash.upper()}": "1" for key_hash in service.key_hashes})
        for version in service.versions:
            maps["timeouts"][replica_deployment(service.name, version.number)] = str(version.spec.scoring_timeout_ms)
        live = [(replica_deployment(service.name, v.number), v.weight) for v in service.live]
        target = SPLIT if len(live) > 1 else live[0][0] if live else NOWHERE
        maps["paths"].update(dict.fromkeys(paths(service.name), target))
        if len(live) > 1:
            maps["buckets"].update({f"{number}:{service.name}": name for number, name in enumerate(buckets(live))})
    return maps


def paths(service: str) -> tuple[str, ...]:
    """Every path that leads to a service."""
    root = f"/api/v1/service/{service}"
    return (root, f"{root}/", f"{root}/score", f"{root}/swagger.json")


def leading_spec(service: Service) -> ServiceSpec:
    """The settings that hold for the whole service: its heaviest live version's, else its newest's."""
    versions: list[Version] = service.live or sorted(service.versions, key=lambda v: -v.number)
    return versions[0].spec if versions else ServiceSpec()


def auth_mode(spec: ServiceSpec) -> str:
    """`none` only where both ways of authentication are switched off."""
    return "key" if spec.auth_enabled else "token" if spec.token_auth_enabled else "none"


def buckets(weights: Sequence[tuple[str, int]]) -> list[str]:
    """A hundred buckets, shared out by weight: (name, weight) → the name of each bucket."""
    total = sum(weight for _, weight in weights)
    shares: list[str] = []
    passed = 0
    for name, weight in weights:
        passed += weight
        shares += [name] * (round(100 * passed / total) - len(shares))
    return shares


def _fits(slot: str | None, deployment: Deployment, current: View) -> bool:
    return slot is not None and slot in current.slots and wait_of(slot) == deployment.wait_ms


def _still_used(current: View, slots: Mapping[str, str]) -> dict[str, str]:
    """Entries to keep for one more look, or until the last server has gone."""
    led_to = {*current.maps.get("paths", {}).values(), *current.maps.get("buckets", {}).values()}
    held = current.maps.get("slots", {})
    return {
        name: slot
        for name, slot in held.items()
        if slot in current.slots and name not in slots and (name in led_to or current.slots[slot])
    }


def _servers(
    wanted: Sequence[Deployment], slots: Mapping[str, str], replicas: Sequence[Replica], current: View
) -> Iterator[Change]:
    right = _right_servers(wanted, slots, replicas)
    for slot, servers in current.slots.items():
        for server in servers.values():
            yield from _correct(slot, server, right.get((slot, server.replica)), current)
    for (slot, replica), server in right.items():
        if replica not in current.slots[slot] and not server.draining:
            yield AddServer(slot, server)


def _right_servers(
    wanted: Sequence[Deployment], slots: Mapping[str, str], replicas: Sequence[Replica]
) -> dict[tuple[str, str], Server]:
    """(slot, replica) → server. Those that are not ready keep their place, without new requests."""
    limits = {deployment.name: deployment.limit for deployment in wanted}
    gone = (ReplicaState.FAILED, ReplicaState.STARTING)
    return {
        (slots[r.deployment], r.id): Server(
            r.id, f"{r.host}:{r.port}", limits[r.deployment], r.state is not ReplicaState.READY
        )
        for r in replicas
        if r.port and r.deployment in slots and r.state not in gone
    }


def _correct(slot: str, seen: Server, right: Server | None, current: View) -> Iterator[Change]:
    if right is None or right.address != seen.address:
        if not seen.draining:
            yield DrainServer(slot, seen.replica)
        elif not _busy(slot, seen.replica, current):
            yield RemoveServer(slot, seen.replica)
        return
    if right.limit != seen.limit:
        yield LimitServer(slot, seen.replica, right.limit)
    if right.draining and not seen.draining:
        yield DrainServer(slot, seen.replica)
    if seen.draining and not right.draining:
        yield EnableServer(slot, seen.replica)


def _busy(slot: str, replica: str, current: View) -> int:
    traffic = current.traffic.get(slot)
    return traffic.busy.get(replica, 0) if traffic else 0
