"""Service records and replicas → changes, as stories over a data plane in memory that only follows orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    Traffic,
    View,
)
from outhaul.router.routes import auth_mode, buckets, paths, plan
from outhaul.router.slots import doubled, slot_names, wait_class, wait_of
from outhaul.service.record import AutoScaler, Score, Service, ServiceSpec, Version
from outhaul.service.replica import Replica, ReplicaState

AT = "2026-11-22T00:00:00.000Z"
EMPTY = View("1", {slot: {} for slot in slot_names({500: 3, 1000: 2})}, {})


def service(name: str = "digits", weights: Sequence[int] = (100,), **settings: object) -> Service:
    spec = ServiceSpec(num_replicas=1, **settings)  # type: ignore[arg-type]
    score = Score(script="score.py")
    versions = [
        Version(number=n, weight=w, created_at=AT, snapshot="s", environment="e", score=score, spec=spec)
        for n, w in enumerate(weights, 1)
    ]
    return Service(name=name, created_at=AT, updated_at=AT, versions=versions, key_hashes=["hash-1", "hash-2"])


def leads_to(target: str) -> dict[str, str]:
    return dict.fromkeys(paths("digits"), target)


def replica(name: str = "digits-1-a", state: ReplicaState = ReplicaState.READY, port: int = 41001) -> Replica:
    return Replica(id=name, deployment=name.rpartition("-")[0], state=state, port=port)


def follow(view: View, changes: Sequence[Change]) -> View:
    """What an obedient data plane looks like afterwards."""
    slots = {slot: dict(servers) for slot, servers in view.slots.items()}
    maps = {name: dict(entries) for name, entries in view.maps.items()}
    for change in changes:
        match change:
            case AddServer(slot, server):
                assert server.replica not in slots[slot]
                slots[slot][server.replica] = server
            case EnableServer(slot, name):
                slots[slot][name] = replace(slots[slot][name], draining=False)
            case DrainServer(slot, name):
                slots[slot][name] = replace(slots[slot][name], draining=True)
            case LimitServer(slot, name, limit):
                slots[slot][name] = replace(slots[slot][name], limit=limit)
            case RemoveServer(slot, name):
                assert slots[slot].pop(name).draining
            case ReplaceMap(name, entries):
                maps[name] = dict(entries)
            case MoreSlots(wait):
                layout = {w: sum(wait_of(slot) == w for slot in slots) for w in map(wait_of, slots)}
                slots = {slot: slots.get(slot, {}) for slot in slot_names(doubled(layout, wait))}
    return View(view.process, slots, maps, view.traffic)


def settled(services: Sequence[Service], replicas: Sequence[Replica], view: View = EMPTY) -> View:
    """Plan and follow until nothing is left to change."""
    for _ in range(6):
        changes = plan(services, replicas, view)
        if not changes:
            return view
        view = follow(view, changes)
    raise AssertionError(f"never settles: {changes}")


def test_a_new_service_gets_its_servers_before_the_map_that_leads_to_them():
    changes = plan([service()], [replica()], EMPTY)
    assert isinstance(changes[0], AddServer)
    names = [change.name for change in changes if isinstance(change, ReplaceMap)]
    assert names == ["keys", "auth", "timeouts", "slots", "paths"]


def test_what_is_right_needs_no_change():
    view = settled([service()], [replica()])
    assert view.maps["paths"] == leads_to("digits-1")
    assert view.maps["keys"] == {"digits:HASH-1": "1", "digits:HASH-2": "1"}
    assert view.slots["wait_500_000"]["digits-1-a"] == Server("digits-1-a", "127.0.0.1:41001", 1)


@pytest.mark.parametrize("state", [ReplicaState.STARTING, ReplicaState.UNHEALTHY, ReplicaState.FAILED])
def test_only_a_ready_replica_is_added(state: ReplicaState):
    view = settled([service()], [replica(state=state)])
    assert not any(view.slots.values())


def test_a_terminating_replica_is_drained_and_removed_only_when_idle():
    view = settled([service()], [replica()])
    leaving = [replica(state=ReplicaState.TERMINATING)]
    assert plan([service()], leaving, view) == [DrainServer("wait_500_000", "digits-1-a")]
    drained = follow(view, plan([service()], leaving, view))
    assert plan([service()], leaving, drained) == []
    busy = replace(drained, traffic={"wait_500_000": Traffic(busy={"digits-1-a": 1})})
    assert plan([service()], [], busy) == []
    assert plan([service()], [], drained) == [RemoveServer("wait_500_000", "digits-1-a")]


def test_an_unhealthy_replica_keeps_its_place_and_gets_requests_again_when_well():
    view = settled([service()], [replica()])
    ill = follow(view, plan([service()], [replica(state=ReplicaState.UNHEALTHY)], view))
    assert ill.slots["wait_500_000"]["digits-1-a"].draining
    assert plan([service()], [replica()], ill) == [EnableServer("wait_500_000", "digits-1-a")]


def test_a_replica_on_another_port_is_taken_out_and_added_anew():
    view = settled([service()], [replica()])
    after = settled([service()], [replica(port=42002)], view)
    assert after.slots["wait_500_000"]["digits-1-a"].address == "127.0.0.1:42002"


def test_a_changed_limit_is_one_change():
    view = settled([service()], [replica()])
    wider = service(max_concurrent_requests_per_container=4)
    assert plan([wider], [replica()], view) == [LimitServer("wait_500_000", "digits-1-a", 4)]


def test_a_changed_queue_wait_moves_the_deployment_to_a_slot_of_that_class():
    view = settled([service()], [replica()])
    after = settled([service(max_queue_wait_ms=800)], [replica()], view)
    assert after.maps["slots"] == {"digits-1": "wait_1000_000"}
    assert after.slots["wait_500_000"] == {}


def test_an_old_version_keeps_its_slot_until_its_last_replica_has_gone():
    view = settled([service()], [replica()])
    both = [replica(), replica("digits-2-b", port=41002)]
    view = settled([service(weights=(0, 100))], both, view)
    assert view.maps["paths"] == leads_to("digits-2")
    assert set(view.maps["slots"]) == {"digits-1", "digits-2"}
    view = settled([service(weights=(0, 100))], both[1:], view)
    assert set(view.maps["slots"]) == {"digits-2"}


def test_a_slot_is_not_free_while_the_old_map_may_still_lead_to_it():
    view = settled([service()], [])
    changes = plan([service(weights=(0, 100))], [], view)
    [slots] = [change for change in changes if isinstance(change, ReplaceMap) and change.name == "slots"]
    assert set(slots.entries) == {"digits-1", "digits-2"}
    assert len(set(slots.entries.values())) == 2


def test_a_deleted_service_is_forgotten_everywhere():
    gone = service()
    gone.deleted = True
    view = settled([gone], [], settled([service()], [replica()]))
    assert not any(view.maps.values())
    assert not any(view.slots.values())


def test_a_service_without_a_live_version_leads_nowhere_and_is_known():
    assert settled([service(weights=(0,))], []).maps["paths"] == leads_to("none")


def test_weights_become_a_hundred_buckets():
    view = settled([service(weights=(90, 10))], [])
    shares = list(view.maps["buckets"].values())
    assert view.maps["paths"] == leads_to("split")
    assert (shares.count("digits-1"), shares.count("digits-2")) == (90, 10)


def test_out_of_slots_asks_for_more_and_serves_the_others_meanwhile():
    services = [service(f"s{number}") for number in range(4)]
    changes = plan(services, [], EMPTY)
    assert changes[0] == MoreSlots(500)
    assert len(follow(EMPTY, changes).maps["slots"]) == 3
    assert len(settled(services, []).maps["slots"]) == 4


def test_only_a_service_with_keys_has_hashes_and_only_one_with_nothing_is_open():
    services = [service("open", auth_enabled=False), service("token", auth_enabled=False, token_auth_enabled=True)]
    maps = settled([*services, service("keyed")], []).maps
    assert maps["auth"] == {"open": "none", "token": "token", "keyed": "key"}
    assert set(maps["keys"]) == {"keyed:HASH-1", "keyed:HASH-2"}


def test_the_mode_of_authentication_is_closed_unless_both_are_off():
    assert auth_mode(ServiceSpec(auto_scaler=AutoScaler())) == "key"


@given(st.lists(st.integers(1, 100), min_size=1, max_size=8))
def test_buckets_follow_the_weights_to_within_one(weights: list[int]):
    shares = buckets([(str(n), weight) for n, weight in enumerate(weights)])
    assert len(shares) == 100
    for number, weight in enumerate(weights):
        assert abs(shares.count(str(number)) - 100 * weight / sum(weights)) <= 1


@given(st.integers(0, 100_000))
def test_a_wait_is_never_shortened_below_a_minute(wait: int):
    assert wait_class(wait) >= min(wait, 60_000)


worlds = st.lists(
    st.tuples(
        st.sampled_from(["alpha", "beta", "gamma", "delta"]),
        st.lists(st.sampled_from([0, 10, 100]), min_size=1, max_size=3),
        st.sampled_from([100, 500, 1000]),
        st.lists(st.tuples(st.integers(1, 3), st.sampled_from(ReplicaState)), max_size=4),
        st.booleans(),
    ),
    unique_by=lambda world: world[0],
)


@settings(max_examples=40)
@given(worlds, worlds)
def test_from_any_world_to_any_other_it_settles_and_every_route_leads_to_its_own_replicas(before: list, after: list):
    view = EMPTY
    for world in (before, after):
        services, replicas = [], []
        for name, weights, wait, seen, deleted in world:
            services.append(service(name, weights, max_queue_wait_ms=wait))
            services[-1].deleted = deleted
            replicas += [replica(f"{name}-{v}-{i}", state, 41000 + i) for i, (v, state) in enumerate(seen)]
        view = settled(services, replicas, view)
        assert len(set(view.maps.get("slots", {}).values())) == len(view.maps.get("slots", {}))
        for deployment, slot in view.maps.get("slots", {}).items():
            assert all(name.startswith(f"{deployment}-") for name in view.slots[slot])
        led_to = {*view.maps.get("paths", {}).values(), *view.maps.get("buckets", {}).values()} - {"split", "none"}
        assert led_to <= set(view.maps.get("slots", {}))
        serving = {s.replica for servers in view.slots.values() for s in servers.values() if not s.draining}
        known = {f"{s.name}-{v.number}" for s in services if not s.deleted for v in s.versions}
        assert serving == {r.id for r in replicas if r.state is ReplicaState.READY and r.deployment in known}
