"""Replicas, versions and services come and go; HAProxy and its agent die. No request notices."""

from __future__ import annotations

import collections
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from outhaul.errors import Unreachable
from outhaul.router.slots import FIRST_LAYOUT
from outhaul.service.replica import ReplicaState
from tests.router.stage import Stage, fixed, running, scaled, seen_by, service, until, version

PATIENT = fixed(max_queue_wait_ms=10_000)


@contextmanager
def load(stage: Stage, clients: int = 4, query: str = "ms=5") -> Iterator[collections.Counter[int]]:
    """Clients that ask without pause, each on its own connection. Nothing is tried again: what is lost is counted."""
    codes: collections.Counter[int] = collections.Counter()
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            codes[stage.score(query).status_code] += 1

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield codes
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_replicas_come_and_go_under_load_and_no_request_is_lost(stage: Stage):
    replicas = stage.serve(service("digits", version(spec=PATIENT)))
    worker = stage.worker()
    with load(stage) as codes:
        for _ in range(4):
            replicas.append(stage.add_replica())
            time.sleep(0.15)
            stage.remove_replica(replicas.pop(0))
    assert set(codes) == {200}
    assert codes[200] > 100
    assert stage.worker() == worker


def test_services_come_and_go_without_a_reload(stage: Stage):
    stage.serve()
    worker = stage.worker()
    for number in range(3):
        stage.serve(service(f"other-{number}"))
        assert stage.score(name=f"other-{number}").status_code == 200
    gone = service("other-1")
    gone.deleted = True
    stage.put(gone)
    until(lambda: stage.score(name="other-1").status_code == 404, "a deleted service is gone")
    assert stage.score(name="other-2").status_code == 200
    assert stage.worker() == worker


def test_a_slot_is_given_to_the_next_service_when_the_last_replica_has_gone(stage: Stage):
    [replica] = stage.serve()
    gone = service("digits")
    gone.deleted = True
    stage.put(gone)
    stage.remove_replica(replica)
    until(lambda: not any(stage.agent.plane.observe().slots.values()), "no server left", 5.0)
    until(lambda: not stage.agent.plane.observe().maps["slots"], "no slot held")


def test_a_new_version_takes_over_at_once_and_without_a_lost_request(stage: Stage):
    [old] = stage.serve(service("digits", version(1, spec=PATIENT)))
    with load(stage) as codes:
        stage.put(service("digits", version(1, 100, PATIENT), version(2, 0, PATIENT)))
        new = stage.add_replica("digits-2")
        stage.settle()
        assert seen_by(new)["requests"] == 0
        stage.put(service("digits", version(1, 0, PATIENT), version(2, 100, PATIENT)))
        until(lambda: stage.score().json()["port"] == new.port, "the new version answers")
        assert {stage.score().json()["port"] for _ in range(20)} == {new.port}
        stage.remove_replica(old)
    assert set(codes) == {200}


def test_weights_split_the_requests(stage: Stage):
    spec = fixed(max_concurrent_requests_per_container=8, max_queue_wait_ms=5000)
    stage.put(service("digits", version(1, 80, spec), version(2, 20, spec)))
    replicas = [stage.add_replica(f"digits-{number}") for number in (1, 2)]
    stage.start_agent()
    stage.settle()
    until(lambda: stage.score().status_code == 200, "it answers")
    counts = collections.Counter(stage.score().json()["port"] for _ in range(400))
    assert 40 <= counts[replicas[1].port] <= 125
    assert sum(counts.values()) == 400


def test_when_slots_run_out_a_reload_doubles_them_and_loses_nothing(stage: Stage):
    stage.serve(service("digits", version(spec=PATIENT)))
    worker = stage.worker()
    few = FIRST_LAYOUT[2000]
    spec = fixed(max_queue_wait_ms=2000)
    with load(stage, clients=3, query="ms=100") as codes:
        for number in range(few + 1):
            stage.put(service(f"other-{number}", version(spec=spec)))
            stage.add_replica(f"other-{number}-1")
        until(lambda: stage.worker() != worker, "HAProxy was reloaded")
        until(lambda: stage.score(name=f"other-{few}").status_code == 200, "the last one has its slot")
        stage.settle()
        assert [stage.score(name=f"other-{n}").status_code for n in range(few + 1)] == [200] * (few + 1)
    assert set(codes) == {200}
    assert stage.agent.status.reloads == 1
    assert sum(slot.startswith("wait_2000_") for slot in stage.agent.plane.observe().slots) == 2 * few
    assert "server digits" not in (stage.home.router / "haproxy.cfg").read_text()


def test_traffic_goes_on_without_an_agent_and_a_new_one_changes_nothing(stage: Stage):
    stage.serve(replicas=2)
    stage.stop_agent()
    before = stage.agent.plane.observe()
    assert stage.score().status_code == 200
    stage.agent = stage.new_agent()
    stage.start_agent()
    stage.settle()
    after = stage.agent.plane.observe()
    assert (after.process, after.slots, after.maps) == (before.process, before.slots, before.maps)


def test_a_new_agent_catches_up_with_what_happened_while_there_was_none(stage: Stage):
    old, gone = stage.serve(replicas=2)
    stage.stop_agent()
    stage.end(gone.id)
    del stage.cluster.seen[gone.id]
    new = stage.add_replica()
    stage.agent = stage.new_agent()
    stage.start_agent()
    stage.settle()
    ports = {answer.json()["port"] for answer in stage.together(2, "ms=100")}
    assert ports == {old.port, new.port}


def test_a_half_added_server_is_put_right(stage: Stage):
    stage.serve()
    stage.stop_agent()
    second = stage.add_replica()
    slot = stage.agent.plane.observe().maps["slots"]["digits-1"]
    socket = stage.agent.plane._socket  # type: ignore[attr-defined]
    socket.tell(f"add server {slot}/{second.id} 127.0.0.1:{second.port} maxconn 1 check", "New server registered.")
    stage.start_agent()
    stage.settle()
    assert len({answer.json()["port"] for answer in stage.together(2, "ms=100")}) == 2


def test_a_replica_that_came_back_on_another_port_is_found_again(stage: Stage):
    [replica] = stage.serve()
    stage.end(replica.id)
    other = stage.add_replica()
    del stage.cluster.seen[other.id]
    stage.cluster.seen[replica.id] = type(other)(
        id=replica.id, deployment="digits-1", state=ReplicaState.READY, port=other.port
    )
    until(lambda: stage.score().status_code == 200, "it answers under its new port")


def test_a_killed_haproxy_is_filled_again_within_a_second(stage: Stage):
    stage.serve()
    worker = stage.worker()
    stage.end("haproxy", signal.SIGKILL)
    until(lambda: not running(int(worker)), "the worker has gone with its master")
    stage.start_haproxy()
    until(lambda: stage.score().status_code == 200, "it serves again", 1.0)


def test_an_outage_of_store_and_cluster_stops_nothing(stage: Stage):
    stage.serve()
    copy = (stage.home.router / "services.json").read_text()
    assert "digits" in copy
    stage.stop_agent()
    stage.store = Away()  # type: ignore[assignment]
    stage.agent = stage.new_agent()
    stage.end("haproxy", signal.SIGKILL)
    stage.start_haproxy()
    stage.start_agent()
    until(lambda: stage.score().status_code == 200, "served from the last good copy")
    until(lambda: stage.status()["problems"], "and the status says so")
    assert stage.status()["problems"][0]["code"] == "store-unreachable"


def test_an_overload_asks_for_replicas_within_a_second(stage: Stage):
    spec = scaled(1, 4, max_queue_wait_ms=5000)
    stage.serve(service("digits", version(spec=spec)))
    started = time.monotonic()
    with load(stage, query="ms=50"):
        until(lambda: stage.cluster.scaled, "a replica is asked for", 2.0)
        assert time.monotonic() - started < 1.2
    until(lambda: stage.status()["services"]["digits"]["decision"], "the status tells the decision")
    assert "need" in stage.status()["services"]["digits"]["reason"]


def test_a_replica_picked_for_removal_is_idle_and_drained_before_the_cluster_stops_it(stage: Stage):
    spec = scaled(1, 4, max_queue_wait_ms=5000)
    stage.serve(service("digits", version(spec=spec)), replicas=2)
    stage.stop_agent()
    stage.put(service("digits", version(spec=scaled(1, 1, max_queue_wait_ms=5000))))
    stage.cluster.numbers["digits-1"] = 2
    stage.agent.tick()
    name, number, order = stage.cluster.scaled[-1]
    assert (name, number) == ("digits-1", 1)
    [servers] = [servers for servers in stage.agent.plane.observe().slots.values() if servers]
    assert [replica for replica, server in servers.items() if server.draining] == [order[0]]


class Away:
    """A store that cannot be reached."""

    uri = "memory://away"

    def list(self, prefix: str) -> Iterator[object]:
        raise Unreachable("store-unreachable", "the store does not answer")
