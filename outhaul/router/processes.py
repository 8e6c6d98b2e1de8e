"""The router's two programs as the node keeps them."""

from __future__ import annotations

import sys

from outhaul.home import Home
from outhaul.node.state import KeptProcess


def router_processes(home: Home, port: int) -> list[KeptProcess]:
    """HAProxy on `port` and its agent. HAProxy stops last, softly, so that requests in flight are answered."""
    from outhaul.adapters.haproxy import prepare_haproxy

    return [
        KeptProcess(
            name="haproxy",
            argv=prepare_haproxy(home, port),
            port=port,
            order=20,
            stop_signal="SIGUSR1",
        ),
        KeptProcess(
            name="router-agent",
            argv=[sys.executable, "-m", "outhaul.router", "--home", str(home.root)],
            after=["haproxy"],
            order=30,
        ),
    ]
