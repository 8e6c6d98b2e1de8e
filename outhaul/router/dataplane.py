"""What the agent sees of a data plane, and what it may ask of it. The port behind which HAProxy stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Server:
    """A replica as a slot holds it."""

    replica: str
    address: str
    """`127.0.0.1:41001`."""
    limit: int
    """Requests sent to it at once; the others wait in the slot's queue."""
    draining: bool = False
    """Gets no new request."""


@dataclass(frozen=True)
class Traffic:
    """One slot's counters. Totals count from the data plane's start."""

    queued: int = 0
    busy: Mapping[str, int] = field(default_factory=dict)
    """Replica → requests it is answering."""
    mean_ms: int = 0
    """Mean time from the request's arrival at a replica to its answer's end, over the last 1024 requests."""
    codes: Mapping[str, int] = field(default_factory=dict)
    """`2xx`, `3xx`, `4xx`, `5xx` → answers given."""


@dataclass(frozen=True)
class View:
    """The data plane as it really is."""

    process: str
    """Changes when the data plane was started or reloaded."""
    slots: Mapping[str, Mapping[str, Server]]
    """Every declared slot → its servers by replica."""
    maps: Mapping[str, Mapping[str, str]]
    traffic: Mapping[str, Traffic] = field(default_factory=dict)


@dataclass(frozen=True)
class AddServer:
    slot: str
    server: Server


@dataclass(frozen=True)
class EnableServer:
    slot: str
    replica: str


@dataclass(frozen=True)
class DrainServer:
    slot: str
    replica: str


@dataclass(frozen=True)
class LimitServer:
    slot: str
    replica: str
    limit: int


@dataclass(frozen=True)
class RemoveServer:
    """Done only when nothing is in flight; asked for again until it is done."""

    slot: str
    replica: str


@dataclass(frozen=True)
class ReplaceMap:
    """The whole map at once: no request sees half of a change."""

    name: str
    entries: Mapping[str, str]


@dataclass(frozen=True)
class MoreSlots:
    """Twice as many slots in one class of wait. The one change that needs a reload."""

    wait_ms: int


Change = AddServer | EnableServer | DrainServer | LimitServer | RemoveServer | ReplaceMap | MoreSlots


class DataPlane(Protocol):
    """Carries requests. Goes on without an agent, with what it knew last."""

    def observe(self) -> View:
        """Unreachable when it does not answer."""

    def apply(self, changes: Sequence[Change]) -> None:
        """In the order given. Unreachable when it does not answer, Failed when it refuses a change."""
