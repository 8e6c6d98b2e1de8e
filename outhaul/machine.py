"""What `outhaul up` keeps running on this machine: the router, the Prefect server, its worker, and all replicas."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import msgspec

from outhaul.adapters.prefect_registration import register
from outhaul.adapters.prefect_server import own_api_url, server_process, worker_process
from outhaul.home import Home
from outhaul.node.control import ProcessStatus, down, status, up
from outhaul.node.local_ports import check_port, known_port, pick_port
from outhaul.node.state import KeptProcess
from outhaul.router.processes import router_processes
from outhaul.settings import Settings

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 180.0
"""How long the Prefect server may take: half a minute on a slow machine, more while others build."""


def bring_up(settings: Settings, say: Callable[[str], None]) -> list[ProcessStatus]:
    """Start what does not run, and wait until all of it is ready. Doing it again changes nothing.

    `say` hears, for people, of what takes long.
    """
    home = settings.home
    check_ports(settings)
    router = router_processes(home, pick_port(home, "router", settings.router_port))
    server = _server(settings)
    home.prefect.mkdir(parents=True, exist_ok=True)
    ready = _ready(settings)
    if missing := [process.name for process in [*router, *server] if process.name not in ready]:
        say(f"starting {', '.join(missing)} (the Prefect server takes up to a minute)")
    up(home, [*router, *server, *_known_worker(home)], patience=PATIENCE_SECONDS)
    api_url = prefect_api_url(settings)
    if register(home, api_url):
        say(f"registered the flows with Prefect at {api_url.removesuffix('/api')}")
    return up(home, [*router, *server, _worker(home, api_url)], patience=PATIENCE_SECONDS)


def check_ports(settings: Settings) -> None:
    """Refused when another program listens where the router or the Prefect server would. Changes nothing."""
    wanted = {"router": settings.router_port}
    if not _given(settings):
        wanted["prefect"] = settings.prefect_port
    for name, setting in wanted.items():
        if port := setting or known_port(settings.home, name):
            check_port(settings.home, name, port)


def tend_runs(settings: Settings, unfinished: Iterable[str]) -> None:
    """Settle the flow runs that died with the machine, and watch those that live on."""
    from outhaul.adapters.prefect_starter import PrefectStarter

    starter = PrefectStarter(settings.home, prefect_api_url(settings))
    for run in unfinished:
        starter.tend(run)


def ensure_router(settings: Settings) -> bool:
    """Bring the router up when it does not serve. Returns whether it had to."""
    if {"haproxy", "router-agent"} <= _ready(settings):
        return False
    bring_up(settings, logger.info)
    return True


def _ready(settings: Settings) -> set[str]:
    return {process.name for process in status(settings.home) if process.state == "ready"}


def bring_down(settings: Settings) -> None:
    """Stop everything; what was wanted is kept for the next `up`."""
    down(settings.home)


def machine_status(settings: Settings) -> list[ProcessStatus]:
    """Everything that runs for this home, as it is now."""
    return status(settings.home)


def prefect_api_url(settings: Settings) -> str:
    """The Prefect server to use: the one that `PREFECT_API_URL` names, else the one that `up` keeps."""
    if _given(settings):
        return str(settings.prefect_api_url)
    return own_api_url(pick_port(settings.home, "prefect", settings.prefect_port))


def _given(settings: Settings) -> bool:
    """Whether somebody else keeps the server. Inside a flow the variable names our own one."""
    own = known_port(settings.home, "prefect")
    return settings.prefect_api_url is not None and (own is None or settings.prefect_api_url != own_api_url(own))


def _server(settings: Settings) -> list[KeptProcess]:
    if _given(settings):
        return []
    port = pick_port(settings.home, "prefect", settings.prefect_port)
    return [msgspec.convert({**server_process(settings.home, port), "port": port, "order": 10}, KeptProcess)]


def _worker(home: Home, api_url: str) -> KeptProcess:
    return msgspec.convert({**worker_process(home, api_url), "after": [], "order": 50}, KeptProcess)


def _known_worker(home: Home) -> list[KeptProcess]:
    """The worker that is kept already: bringing up the rest must not stop it for a moment."""
    from outhaul.adapters import state_files
    from outhaul.node.files import NodeFolder

    known = state_files.read(NodeFolder(home).services / "prefect-worker.json", KeptProcess)
    return [known] if known else []
