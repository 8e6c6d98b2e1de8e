"""The node with real processes: what survives which death, what is left behind, how fast, and in which order."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from outhaul.adapters import processes, state_files
from outhaul.errors import Failed, Refused
from outhaul.node.control import down, status
from outhaul.node.local_ports import pick_port
from outhaul.node.state import HttpReady, KeptProcess
from outhaul.node.watch import end_reason, health
from outhaul.service.record import Probe, Resources
from outhaul.service.replica import ReplicaState
from tests.stand_ins.machine import Machine, machine, sleeper, until

SERVER, WORKER = sleeper("server", order=10), sleeper("worker", after=["server"], order=50)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path) as made:
        yield made


def test_up_again_changes_nothing(here: Machine) -> None:
    first = here.up(SERVER, WORKER)
    assert [(s.name, s.state) for s in first] == [("node", "ready"), ("server", "ready"), ("worker", "ready")]
    assert [s.pid for s in here.up(SERVER, WORKER)] == [s.pid for s in first]


def test_two_ups_at_once_start_one_node(here: Machine) -> None:
    threads = [threading.Thread(target=here.up, args=(SERVER,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: len(here.processes()) == 2)
    assert {s.name for s in status(here.home)} == {"node", "server"}


def test_a_killed_node_leaves_everything_running_and_the_next_adopts_it(here: Machine) -> None:
    here.up(SERVER, WORKER)
    here.cluster.apply(here.template(), 2)
    here.until_ready(2)
    before = here.pids()
    here.kill_node()
    assert here.pids() == before
    here.up(SERVER, WORKER)
    here.until_ready(2)
    assert here.pids() == before
    assert len(here.processes()) == 5
    assert len(here.noted("start")) == 2


def test_what_died_while_no_node_ran_is_started_again(here: Machine) -> None:
    here.up(SERVER)
    here.cluster.apply(here.template(), 1)
    (replica,) = here.until_ready(1)
    pids = here.pids()
    here.kill_node()
    for pid in pids.values():
        os.kill(pid or 0, signal.SIGKILL)
    until(lambda: not here.processes())
    (seen,) = here.cluster.replicas()
    assert seen.state is ReplicaState.FAILED
    here.up(SERVER)
    (again,) = here.until_ready(1)
    assert (again.id, again.restarts) == (replica.id, 1)
    assert len(here.processes()) == 3


def test_everything_killed_then_up_brings_everything_back(here: Machine) -> None:
    here.up(SERVER, WORKER)
    here.cluster.apply(here.template(), 2)
    here.until_ready(2)
    here.kill_everything()
    here.up(SERVER, WORKER)
    here.until_ready(2)
    assert len(here.processes()) == 5


def test_a_process_whose_pid_was_never_noted_is_found_by_its_token(here: Machine) -> None:
    here.up(SERVER)
    here.cluster.apply(here.template(), 1)
    here.until_ready(1)
    before = here.pids()
    here.kill_node()
    forget_pids(here)
    here.up(SERVER)
    here.until_ready(1)
    assert here.pids() == before
    assert len(here.processes()) == 3


def forget_pids(here: Machine) -> None:
    """As if the node had been killed between starting the processes and writing their pids down."""
    from outhaul.node.state import KeptState, ReplicaRecord

    for kind, folder in ((KeptState, here.home.node / "state"), (ReplicaRecord, here.home.cluster / "replicas")):
        for path in folder.glob("*.json"):
            record = state_files.read(path, kind)
            assert record
            state_files.write(path, replace(record, process=None))


def test_a_recycled_pid_is_neither_taken_for_ours_nor_signalled(here: Machine) -> None:
    stranger = psutil.Popen(["sleep", "600"], env={})
    try:
        found = processes.identify(stranger.pid)
        assert found
        old = processes.ProcessId(stranger.pid, "an-earlier-boot/12345")
        assert not processes.alive(old)
        assert not processes.send(old, signal.SIGKILL)
        assert processes.open_pidfd(old) is None
        assert processes.alive(found)
    finally:
        stranger.kill()
        stranger.wait()


def test_a_crashed_process_is_started_again_with_its_reason_kept(here: Machine) -> None:
    here.up(SERVER)
    pid = here.status("server").pid
    os.kill(pid or 0, signal.SIGKILL)
    until(lambda: here.status("server").pid not in (pid, None))
    assert here.status("server").restarts == 1
    assert "SIGKILL" in here.status("server").message


def test_up_says_why_a_process_does_not_become_ready(here: Machine) -> None:
    broken = KeptProcess(name="broken", argv=["sh", "-c", "echo no such file; exit 7"])
    with pytest.raises(Failed) as caught:
        here.up(broken, patience=1.0)
    assert caught.value.code == "process-not-ready"
    assert "exit status 7" in caught.value.found
    assert "no such file" in caught.value.found


def test_a_program_that_does_not_exist_is_said_so(here: Machine) -> None:
    with pytest.raises(Failed) as caught:
        here.up(KeptProcess(name="broken", argv=["/no/such/program"]), patience=1.0)
    assert "/no/such/program" in caught.value.found


def test_ready_waits_for_the_url(here: Machine) -> None:
    port = pick_port(here.home, "web", None)
    code = f"import time, http.server as s; time.sleep(0.5); s.test(s.BaseHTTPRequestHandler, port={port})"
    code = code.replace(
        "s.test(", "s.BaseHTTPRequestHandler.do_GET = lambda h: h.send_response(204) or h.end_headers(); s.test("
    )
    web = KeptProcess(name="web", argv=[sys.executable, "-c", code], ready=HttpReady(f"http://127.0.0.1:{port}/"))
    here.up(web)
    assert urllib.request.urlopen(f"http://127.0.0.1:{port}/").status == 204


def test_a_process_taken_from_the_table_is_stopped_and_a_changed_one_restarted(here: Machine) -> None:
    here.up(SERVER, WORKER)
    pid = here.status("server").pid
    here.up(replace(SERVER, argv=["sleep", "601"]))
    until(lambda: [s.name for s in status(here.home)] == ["node", "server"])
    assert here.status("server").pid != pid
    assert len(here.processes()) == 2


def test_down_leaves_nothing_and_up_brings_the_wanted_replicas_back(here: Machine) -> None:
    here.up(SERVER, WORKER)
    here.cluster.apply(here.template(CHILD="1"), 2)
    here.until_ready(2)
    down(here.home)
    assert here.processes() == []
    assert status(here.home) == []
    assert here.cluster.wanted("digits-1") == 2
    here.up(SERVER, WORKER)
    here.until_ready(2)


def test_down_after_the_node_was_killed_leaves_nothing(here: Machine) -> None:
    here.up(SERVER, WORKER)
    here.cluster.apply(here.template(), 2)
    here.until_ready(2)
    here.kill_node()
    down(here.home)
    assert here.processes() == []
    assert len(here.noted("end")) == 2


def test_down_of_what_is_down_is_fine(here: Machine) -> None:
    down(here.home)
    down(here.home)
    assert status(here.home) == []


def test_down_stops_the_worker_then_the_replicas_then_the_server(here: Machine) -> None:
    def noting(name: str, order: int) -> KeptProcess:
        script = f"trap 'echo stop {name} 0 $(date +%s.%N) >> {here.notes}; exit' TERM; while :; do sleep 0.02; done"
        return KeptProcess(name=name, argv=["sh", "-c", script], order=order)

    here.up(noting("server", 10), noting("agent", 30), noting("worker", 50))
    here.cluster.apply(here.template(), 1)
    here.until_ready(1)
    down(here.home)
    order = [line.split()[:2] for line in here.notes.read_text().splitlines()[1:]]
    assert [word if word == "term" else name for word, name in order if word != "end"] == [
        "worker",
        "term",
        "agent",
        "server",
    ]


def test_down_kills_what_does_not_stop_within_its_patience(here: Machine) -> None:
    here.up(KeptProcess(name="deaf", argv=["sh", "-c", "trap '' TERM; while :; do sleep 0.02; done"], stop_seconds=60))
    began = time.monotonic()
    down(here.home, patience=1.0)
    assert time.monotonic() - began < 5
    assert here.processes() == []


def test_one_more_replica_is_started_within_a_second(here: Machine) -> None:
    here.up()
    here.cluster.apply(here.template(), 1)
    here.until_ready(1)
    here.cluster.scale("digits-1", 2)
    assert until(lambda: len(here.noted("start")) == 2) < 1.0


def test_a_removed_replica_is_marked_before_it_is_asked_to_end_and_finishes_its_request(here: Machine) -> None:
    here.up()
    here.cluster.apply(here.template(SECONDS="2.5"), 1)
    (replica,) = here.until_ready(1)
    answers: list[int] = []
    url = f"http://127.0.0.1:{replica.port}/score"
    client = threading.Thread(target=lambda: answers.append(urllib.request.urlopen(url).status))
    client.start()
    time.sleep(0.2)
    here.cluster.scale("digits-1", 0)
    until(lambda: len(here.replicas("terminating")) == 1, 1.0)
    marked = time.time()
    until(lambda: not here.cluster.replicas())
    client.join()
    assert answers == [200]
    assert float(here.noted("term")[0][3]) - marked >= 0.8


def test_a_replica_that_fails_keeps_its_last_words_and_is_tried_again_ever_more_seldom(here: Machine) -> None:
    here.up()
    here.cluster.apply(here.template(FAIL="3"), 1)
    until(lambda: len(here.noted("start")) >= 3)
    starts = [float(line[3]) for line in here.noted("start")]
    assert starts[1] - starts[0] >= 0.5
    assert starts[2] - starts[1] >= 1.0
    until(lambda: "exit status 3" in here.cluster.replicas()[0].message)
    assert "ValueError: no model here" in here.cluster.replicas()[0].message
    assert "ValueError: no model here" in here.cluster.logs("digits-1")


def test_a_replica_that_cannot_be_prepared_says_why(here: Machine) -> None:
    here.up()
    here.cluster.apply(replace(here.template(), snapshot="gone"), 1)
    until(lambda: len(here.replicas("failed")) == 1)
    assert "the snapshot is gone" in here.replicas("failed")[0].message
    here.cluster.remove("digits-1")
    until(lambda: not here.cluster.replicas())


def test_a_replica_over_its_memory_limit_is_killed_for_that(here: Machine) -> None:
    here.up()
    limited = replace(here.template(HOLD="300000000"), resources=Resources(memory_in_gb_limit=0.2))
    here.cluster.apply(limited, 1)
    until(lambda: any("out of memory" in r.message for r in here.cluster.replicas()))


def test_a_sick_replica_is_unhealthy_and_recovers_without_a_restart(here: Machine) -> None:
    here.up()
    here.cluster.apply(replace(here.template(), probe=Probe(period_seconds=1)), 1)
    (replica,) = here.until_ready(1)
    sick = here.home.cluster / "running" / replica.id / "sick"
    sick.touch()
    until(lambda: len(here.replicas("unhealthy")) == 1)
    sick.unlink()
    assert here.until_ready(1)[0].restarts == 0


def test_a_replica_that_is_not_live_is_killed_with_its_children_and_started_again(here: Machine) -> None:
    here.up()
    probe = Probe(period_seconds=1, failure_threshold=1)
    here.cluster.apply(replace(here.template(CHILD="1"), probe=probe), 1)
    (replica,) = here.until_ready(1)
    dead = here.home.cluster / "running" / replica.id / "dead"
    dead.touch()
    until(lambda: here.cluster.replicas()[0].restarts == 1)
    dead.unlink()
    (again,) = here.until_ready(1)
    assert again.id == replica.id
    assert len(here.processes()) == 3


def test_logs_of_ended_replicas_stay_for_a_while(here: Machine) -> None:
    here.up()
    here.cluster.apply(here.template(), 2)
    ids = {replica.id for replica in here.until_ready(2)}
    here.cluster.scale("digits-1", 1)
    here.until_ready(1)
    assert ids == {line.split()[1] for line in here.cluster.logs("digits-1").splitlines() if line.startswith("==>")}


def test_apps_of_removed_deployments_are_removed(here: Machine) -> None:
    here.up()
    here.cluster.apply(here.template(), 1)
    here.cluster.apply(here.template("other-1"), 1)
    here.until_ready(2)
    here.cluster.remove("digits-1")
    here.until_ready(1)
    until(lambda: [path.name for path in (here.home.cluster / "apps").iterdir()] == ["other-1"])
    assert len(list((here.home.cluster / "running").iterdir())) == 1


def test_an_idle_node_costs_less_than_one_percent_of_a_core(here: Machine) -> None:
    here.up(SERVER)
    here.cluster.apply(here.template(), 3)
    here.until_ready(3)
    node = psutil.Process(here.status("node").pid)
    before = sum(node.cpu_times()[:2])
    time.sleep(4.0)
    assert (sum(node.cpu_times()[:2]) - before) / 4.0 < 0.01


def test_a_port_is_picked_once_and_kept(here: Machine) -> None:
    port = pick_port(here.home, "router", None)
    assert pick_port(here.home, "router", None) == port
    assert pick_port(here.home, "prefect", None) != port


def test_a_port_in_use_by_another_program_is_refused_by_name(here: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Refused) as caught:
            pick_port(here.home, "router", port)
    assert caught.value.code == "port-in-use"
    assert f"pid {os.getpid()}" in caught.value.found
    assert pick_port(here.home, "router", port) == port


def test_a_port_in_use_by_our_own_process_is_fine(here: Machine) -> None:
    port = pick_port(here.home, "web", None)
    argv = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    here.up(KeptProcess(name="web", argv=argv, ready=HttpReady(f"http://127.0.0.1:{port}/")))
    assert pick_port(here.home, "web", port) == port


def test_health_over_a_unix_socket(tmp_path: Path) -> None:
    async def scenario() -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b'HTTP/1.1 503 X\r\n\r\n{"message": "starting"}')
            writer.close()

        async with await asyncio.start_unix_server(serve, tmp_path / "s"):
            return (await health(f"http+unix://{str(tmp_path / 's').replace('/', '%2F')}", 2.0)).message

    assert asyncio.run(scenario()) == "starting"


def test_ends_are_told_apart() -> None:
    assert end_reason(3) == "it ended by itself with exit status 3"
    assert "SIGSEGV" in end_reason(-signal.SIGSEGV)
    assert "unknown" in end_reason(None)
