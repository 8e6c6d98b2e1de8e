"""`python -m outhaul.router --home FOLDER`: the router's agent for the embedded workspace, in the foreground."""

from __future__ import annotations

import argparse
import logging
import signal
import threading
import time
from pathlib import Path

from outhaul.adapters.folder_store import FolderStore
from outhaul.adapters.haproxy import HaproxyDataPlane, RouterFiles
from outhaul.adapters.process_cluster import ProcessCluster
from outhaul.home import Home
from outhaul.router.agent import Agent, Clocks
from outhaul.router.metrics import serve
from outhaul.router.sources import ServiceSource

TICK_SECONDS = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(prog="outhaul.router", description="The router's agent")
    parser.add_argument("--home", type=Path, required=True, help="the folder OUTHAUL_HOME")
    home = Home(parser.parse_args().home.resolve())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    home.router.mkdir(parents=True, exist_ok=True)
    home.sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
    agent = Agent(
        source=ServiceSource(FolderStore(home.store), home.router / "services.json"),
        cluster=ProcessCluster(home),
        plane=HaproxyDataPlane(home),
        status_file=home.router / "status.json",
        clocks=Clocks(time.monotonic, time.time),
    )
    server = serve(agent, RouterFiles(home).agent_socket)
    run(agent, stop)
    server.shutdown()


def run(agent: Agent, stop: threading.Event) -> None:
    """Tick until told to stop."""
    while not stop.is_set():
        started = time.monotonic()
        agent.tick()
        stop.wait(max(0.0, TICK_SECONDS - (time.monotonic() - started)))


if __name__ == "__main__":
    main()
