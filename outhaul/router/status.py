"""The record `router/status.json`: what the router knows, once a second, for `service show` and the status page."""

from __future__ import annotations

import msgspec


class ServiceStatus(msgspec.Struct, kw_only=True):
    """One service, all its live versions together."""

    queue_wait_ms: int
    """How long a request may really wait: the class of the slot that its leading version has."""
    utilization: float
    """(busy + queued) / (replicas × limit); above 1 where requests wait; -1 where nothing was measured."""
    busy: int = 0
    queued: int = 0
    ready: int = 0
    wanted: int = 0
    decision: int | None = None
    """Replicas that the autoscaler last found right; None where it is off or has not looked yet."""
    reason: str = ""
    requests: dict[str, int] = {}
    """`2xx`, `3xx`, `4xx`, `5xx` → answers since the data plane's start."""


class RouterStatus(msgspec.Struct, kw_only=True):
    schema: int = 1
    updated_at: float
    """Unix seconds. Older than a few seconds: the agent does not run."""
    process: str = ""
    """The data plane's worker; empty while it does not answer."""
    reloads: int = 0
    """Since the agent's start, to make more slots."""
    services: dict[str, ServiceStatus] = {}
    problems: list[dict[str, str | bool]] = []
    """What keeps the agent from doing all of its work, as errors."""
