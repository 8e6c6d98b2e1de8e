"""A real HAProxy, a real agent loop, scripted replicas: what the router tests play on."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from msgspec.structs import replace

from outhaul.adapters.haproxy import HaproxyDataPlane, prepare_haproxy
from outhaul.home import Home
from outhaul.router.agent import Agent, Clocks
from outhaul.router.routes import plan
from outhaul.router.sources import ServiceSource
from outhaul.service.record import AutoScaler, Score, Service, ServiceSpec, Version, replica_deployment
from outhaul.service.replica import Replica, ReplicaState
from outhaul.store.records import Records
from tests.fakes import FakeCluster, FakeObjectStore

KEYS = ("primary-key", "secondary-key")
SCRIPT = Path(__file__).with_name("scripted_replica.py")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def hashes(*keys: str) -> list[str]:
    return [hashlib.sha256(key.encode()).hexdigest() for key in keys]


def fixed(replicas: int = 1, **settings: Any) -> ServiceSpec:
    """A service without autoscaling."""
    return ServiceSpec(num_replicas=replicas, **settings)


def scaled(least: int, most: int, **settings: Any) -> ServiceSpec:
    return ServiceSpec(auto_scaler=AutoScaler(min_replicas=least, max_replicas=most), **settings)


def version(number: int = 1, weight: int = 100, spec: ServiceSpec | None = None) -> Version:
    return Version(
        number=number,
        weight=weight,
        created_at="2026-11-22T00:00:00.000Z",
        snapshot="s",
        environment="e",
        score=Score(script="score.py"),
        spec=spec or fixed(),
    )


def service(name: str = "digits", *versions: Version, keys: Sequence[str] = KEYS) -> Service:
    at = "2026-11-22T00:00:00.000Z"
    return Service(
        name=name, created_at=at, updated_at=at, versions=list(versions or [version()]), key_hashes=hashes(*keys)
    )


@dataclass
class Stage:
    """Everything a router test touches. Closed by its fixture, which ends every process it started."""

    home: Home
    port: int = field(default_factory=free_port)
    store: FakeObjectStore = field(default_factory=FakeObjectStore)
    cluster: FakeCluster = field(default_factory=FakeCluster)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    tick_seconds: float = 0.05
    _stop: threading.Event = field(default_factory=threading.Event)
    _loop: threading.Thread | None = None
    _numbers: int = 0

    def __post_init__(self) -> None:
        self.records = Records(self.store)
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=30, limits=httpx.Limits(max_connections=200))
        self.agent = self.new_agent()

    def new_agent(self) -> Agent:
        source = ServiceSource(self.store, self.home.router / "services.json")
        clocks = Clocks(time.monotonic, time.time)
        return Agent(source, self.cluster, HaproxyDataPlane(self.home), self.home.router / "status.json", clocks)

    def start_haproxy(self) -> None:
        log = (self.home.root / "haproxy.log").open("ab")
        argv = prepare_haproxy(self.home, self.port)
        self.processes["haproxy"] = subprocess.Popen(argv, stdout=log, stderr=log)
        log.close()
        until(lambda: _connects(self.port), "HAProxy listens")

    def start_agent(self) -> None:
        """Ticks in a thread until `stop_agent`; four times as often as in earnest, to keep tests short."""
        self._stop.clear()
        self._loop = threading.Thread(target=self._run, daemon=True)
        self._loop.start()

    def _run(self) -> None:
        while not self._stop.wait(self.tick_seconds):
            self.agent.tick()

    def stop_agent(self) -> None:
        self._stop.set()
        if self._loop:
            self._loop.join()
            self._loop = None

    def put(self, record: Service) -> None:
        """Write the service's record and let the agent see it."""
        self.records.upsert(f"services/{record.name}.json", Service, lambda _: record)
        for v in record.versions:
            self.cluster.numbers.setdefault(replica_deployment(record.name, v.number), v.spec.least)

    def add_replica(self, deployment: str = "digits-1") -> Replica:
        """Start a replica and report it ready."""
        self._numbers += 1
        name, port = f"{deployment}-r{self._numbers:02d}", free_port()
        process = subprocess.Popen([sys.executable, "-I", str(SCRIPT), str(port)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        self.processes[name] = process
        self.cluster.seen[name] = Replica(
            id=name, deployment=deployment, state=ReplicaState.READY, port=port, started_at=float(self._numbers)
        )
        return self.cluster.seen[name]

    def set_state(self, replica: Replica, state: ReplicaState) -> None:
        self.cluster.seen[replica.id] = replace(replica, state=state)

    def end(self, name: str, how: int = signal.SIGKILL) -> None:
        process = self.processes.pop(name)
        process.send_signal(how)
        process.wait(10)
        if process.stdout:
            process.stdout.close()

    def remove_replica(self, replica: Replica) -> None:
        """As the cluster does: announce, wait until it is idle, stop, forget."""
        self.set_state(replica, ReplicaState.TERMINATING)
        until(lambda: self.drained(replica), f"{replica.id} drained")
        self.end(replica.id, signal.SIGTERM)
        del self.cluster.seen[replica.id]

    def drained(self, replica: Replica) -> bool:
        view = self.agent.plane.observe()
        servers = [servers[replica.id] for servers in view.slots.values() if replica.id in servers]
        busy = [traffic.busy.get(replica.id, 0) for traffic in view.traffic.values()]
        return all(server.draining for server in servers) and not any(busy)

    def serve(self, record: Service | None = None, replicas: int = 1) -> list[Replica]:
        """Service and replicas up, the agent running, the first request answered."""
        record = record or service()
        self.put(record)
        added = [self.add_replica(replica_deployment(record.name, record.live[0].number)) for _ in range(replicas)]
        if self._loop is None:
            self.start_agent()
        self.settle()
        return added

    def settle(self) -> None:
        """Until the agent has nothing left to change."""

        def settled() -> bool:
            services = list(self.records.list("services/", Service))
            return not plan(services, self.cluster.replicas(), self.agent.plane.observe())

        until(settled, "the data plane is as store and cluster say")

    def score(self, query: str = "", name: str = "digits", key: str = KEYS[0], **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}", **more.pop("headers", {})}
        content = more.pop("content", b"{}")
        return self.client.post(f"/api/v1/service/{name}/score?{query}", content=content, headers=headers, **more)

    def sending(self, *headers: str) -> socket.socket:
        """A connection with a scoring request's head on it, and no body yet."""
        head = ["POST /api/v1/service/digits/score HTTP/1.1", "host: x", f"authorization: Bearer {KEYS[0]}", *headers]
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=15)
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        return connection

    def together(self, number: int, query: str, pause: float = 0.0) -> list[httpx.Response]:
        """`number` requests at once, or `pause` seconds apart; the answers in the order of sending."""

        def one(index: int) -> httpx.Response:
            time.sleep(index * pause)
            return self.score(query, headers={"x-request-id": f"n{index:03d}"})

        with ThreadPoolExecutor(number) as pool:
            return list(pool.map(one, range(number)))

    def worker(self) -> str:
        return self.agent.plane.observe().process

    def status(self) -> dict[str, Any]:
        return dict(json.loads((self.home.router / "status.json").read_text()))

    def close(self) -> None:
        self.stop_agent()
        self.client.close()
        for name in list(self.processes):
            self.end(name, signal.SIGTERM if name == "haproxy" else signal.SIGKILL)


def seen_by(replica: Replica, reset: bool = False) -> dict[str, Any]:
    """What the replica saw."""
    answer = httpx.get(f"http://127.0.0.1:{replica.port}/stat{'?reset' if reset else ''}")
    return dict(answer.json())


def until(condition: Callable[[], object], meaning: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {meaning}"
        time.sleep(0.02)


def running(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def _connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
