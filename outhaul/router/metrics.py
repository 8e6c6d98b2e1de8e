"""The agent's own metrics for Prometheus, on a Unix socket that HAProxy serves as `/agent/metrics`."""

from __future__ import annotations

import http.server
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from outhaul.router.status import RouterStatus

if TYPE_CHECKING:
    from outhaul.router.agent import Agent

GAUGES = {
    "busy": "Requests that replicas are answering",
    "queued": "Requests that wait for a replica",
    "ready": "Replicas that answer",
    "wanted": "Replicas that the cluster was asked for",
    "utilization": "(busy + queued) / (replicas x limit), -1 where not measured",
}


class StatusCollector:
    """The agent's status as metrics, made when asked for."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def collect(self) -> Iterator[Metric]:
        status: RouterStatus = self._agent.status
        yield CounterMetricFamily("outhaul_router_reloads", "Reloads to make more slots", value=status.reloads)
        yield GaugeMetricFamily("outhaul_router_problems", "What keeps the agent from its work", len(status.problems))
        yield GaugeMetricFamily("outhaul_router_updated_seconds", "Unix time of the last look", status.updated_at)
        for name, meaning in GAUGES.items():
            gauge = GaugeMetricFamily(f"outhaul_service_{name}", meaning, labels=["service"])
            for service, seen in status.services.items():
                gauge.add_metric([service], getattr(seen, name))
            yield gauge


class _Handler(http.server.BaseHTTPRequestHandler):
    registry: CollectorRegistry

    def do_GET(self) -> None:
        body = generate_latest(self.registry)
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes are not worth a line."""


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def serve(agent: Agent, path: Path) -> socketserver.UnixStreamServer:
    """Answer scrapes from a thread of its own. A socket that a dead agent left is replaced."""
    registry = CollectorRegistry()
    registry.register(StatusCollector(agent))
    handler = type("Handler", (_Handler,), {"registry": registry})
    path.unlink(missing_ok=True)
    server = _Server(str(path), handler)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
