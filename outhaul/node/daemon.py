"""The node's daemon: reads what is wanted ten times a second, has the keepers do it, and ends all of it on SIGTERM.

Killed with -9, it leaves its processes running; the next node adopts them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

import outhaul
from outhaul.adapters import processes, state_files
from outhaul.adapters.process_cluster import ClusterFolder
from outhaul.errors import Busy
from outhaul.home import Home
from outhaul.node import node_logs
from outhaul.node.files import NodeFolder, node_lock
from outhaul.node.kept_keeper import KeptKeeper
from outhaul.node.local_ports import token_prefix
from outhaul.node.replica_keeper import App, KeeperSettings, Launcher, ReplicaKeeper
from outhaul.node.state import REPLICAS_ORDER, Deployment, KeptProcess, NodeRecord, Wanted
from outhaul.service.replica import ReplicaTemplate

log = logging.getLogger("outhaul.node")
TICK_SECONDS = 0.1
ROTATE_SECONDS = 10.0


class Node:
    """Everything that runs on this machine for one home."""

    def __init__(self, home: Home, launcher: Launcher) -> None:
        self._home = home
        self._cluster = ClusterFolder(home.cluster)
        self._folder = NodeFolder(home)
        prefix = token_prefix(home)
        self._replicas = ReplicaKeeper(KeeperSettings(self._cluster, launcher, prefix, time.time))
        self._kept = KeptKeeper(self._folder, prefix, time.time)
        self._table = state_files.CachedFolder(self._folder.services, KeptProcess)
        self._known: dict[str, tuple[object, Deployment]] = {}
        self._rotate_at = 0.0

    async def run(self) -> None:
        """Keep everything running until SIGTERM or SIGINT, then stop it all in order."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        self.adopt()
        self._announce()
        while not stopping.is_set():
            self._tick()
            await _either(stopping, TICK_SECONDS)
        self._folder.record.unlink(missing_ok=True)
        await self.stop_all()

    def adopt(self) -> None:
        """Take over what an earlier node left running."""
        self._cluster.make()
        self._folder.make()
        self._kept.adopt()
        self._replicas.adopt()

    async def stop_all(self) -> None:
        """Stop the kept processes in their order, and the replicas in theirs. What is wanted stays as it is."""
        orders = {state.definition.order for state in self._kept.states.values()} | {REPLICAS_ORDER}
        for order in sorted(orders, reverse=True):
            await self._stop_kept(order)
            if order == REPLICAS_ORDER:
                await self._stop_replicas()
        await self._kept.close()

    def kill_all(self) -> None:
        """For what takes too long to stop."""
        self._kept.kill_all()
        self._replicas.kill_all()

    async def _stop_kept(self, order: int) -> None:
        """Stop those of this order and above; the others go on, but are not started again when they end now."""
        while self._kept.running(order):
            self._kept.tick({s.name: s.definition for s in self._kept.running() if s.definition.order < order})
            await asyncio.sleep(TICK_SECONDS / 2)
        self._kept.tick({s.name: s.definition for s in self._kept.running()})

    async def _stop_replicas(self) -> None:
        while self._replicas.records:
            none = Wanted(replicas=0)  # and not: no deployments, which would remove their apps
            self._replicas.tick({name: replace(found, wanted=none) for name, found in self._deployments().items()})
            await asyncio.sleep(TICK_SECONDS / 2)
        await self._replicas.close()

    def _announce(self) -> None:
        """From now on `up` may count on us."""
        process = processes.identify(os.getpid())
        if process:
            record = NodeRecord(process=process, since=time.time(), version=outhaul.__version__)
            state_files.write(self._folder.record, record)

    def _tick(self) -> None:
        try:
            self._kept.tick(self._table.read())
            self._replicas.tick(self._deployments())
            self._rotate()
        except Exception:  # a node that ends helps nobody: what it could not read now may be right the next time
            log.exception("this round failed; the next one follows")

    def _deployments(self) -> Mapping[str, Deployment]:
        """The deployments as wanted now; files are read again only when they changed."""
        known: dict[str, tuple[object, Deployment]] = {}
        for name in self._cluster.names():
            mark = self._cluster.mark(name)
            before = self._known.get(name)
            if before and before[0] == mark:
                known[name] = before
            elif found := self._cluster.deployment(name):
                known[name] = (mark, found)
        self._known = known
        return {name: deployment for name, (_, deployment) in known.items()}

    def _rotate(self) -> None:
        now = time.time()
        if now >= self._rotate_at:
            self._rotate_at = now + ROTATE_SECONDS
            self._replicas.rotate_logs()
            self._kept.rotate_logs()
            node_logs.rotate(self._folder.log("node"))


class _Nothing:
    """No replica is started while everything is being stopped."""

    def prepare(self, template: ReplicaTemplate, folder: Path) -> App:
        raise AssertionError("a replica was to be started while stopping")


def stop_leftovers(home: Home, patience: float) -> None:
    """End what a killed node left running: in order within `patience` seconds, then by force."""
    asyncio.run(_stop_leftovers(Node(home, _Nothing()), patience))


async def _stop_leftovers(node: Node, patience: float) -> None:
    node.adopt()
    try:
        async with asyncio.timeout(patience):
            await node.stop_all()
    except TimeoutError:
        node.kill_all()
        await node.stop_all()


def run_node(home: Home, launcher: Launcher) -> int:
    """Be the node of this home until SIGTERM. 0 also when there is one already: then there is nothing to do."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    try:
        with node_lock(NodeFolder(home)):
            asyncio.run(Node(home, launcher).run())
    except Busy as busy:
        log.info("%s", busy.message)
    return 0


async def _either(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set or the time is over."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
