"""`outhaul up`, `down` and `status`: starts the node, tells it what to keep running, and ends it.

Nothing heavy is imported: the command line's start depends on it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from outhaul.adapters import processes, state_files
from outhaul.adapters.process_cluster import ClusterFolder, ProcessCluster
from outhaul.errors import Failed
from outhaul.home import Home
from outhaul.node.files import NodeFolder, node_lock
from outhaul.node.local_ports import token_prefix
from outhaul.node.node_logs import last_words
from outhaul.node.state import KeptProcess, KeptState, NodeRecord, ProcessId, ReplicaRecord

START_SECONDS = 15.0
STOP_SECONDS = 90.0
"""Longer than a drain with the default scoring timeout."""
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class ProcessStatus:
    """One line of `outhaul status`."""

    name: str
    state: str
    """`ready`, `starting`, `stopping`, `failed`, or a replica's state."""
    pid: int | None
    since: float
    """Unix seconds."""
    restarts: int
    port: int | None
    log: Path
    message: str = ""


def node_argv(home: Home) -> list[str]:
    """The node's command line."""
    return [sys.executable, "-m", "outhaul.node", "--home", str(home.root)]


def up(
    home: Home, kept: Sequence[KeptProcess], *, patience: float = 60.0, argv: Sequence[str] | None = None
) -> list[ProcessStatus]:
    """Have the node keep exactly these processes running (and the replicas that are wanted), and wait until they are
    ready. Doing it again changes nothing. Failed when one is not ready after `patience` seconds."""
    folder = NodeFolder(home)
    folder.make()
    _write_table(folder, kept)
    _ensure_node(home, folder, argv or node_argv(home))
    deadline = time.monotonic() + patience
    while waiting := [k for k in kept if not _is_ready(folder, k)]:
        if time.monotonic() > deadline:
            raise _not_ready(folder, waiting[0], patience)
        time.sleep(POLL_SECONDS)
    return status(home)


def down(home: Home, *, patience: float = STOP_SECONDS) -> None:
    """Stop everything in order, within `patience` seconds, then by force. What was wanted is kept for the next `up`."""
    folder = NodeFolder(home)
    node = running_node(home)
    if node:
        processes.send(node, signal.SIGTERM)
        if not _wait_until(lambda: not processes.alive(node), patience):
            processes.send(node, signal.SIGKILL)
    with node_lock(folder, wait_seconds=patience):
        if state_files.names(folder.state) or state_files.names(ClusterFolder(home.cluster).replicas):
            from outhaul.node.daemon import stop_leftovers  # asyncio: not for every command's start

            stop_leftovers(home, 0.0 if node else patience)


def status(home: Home) -> list[ProcessStatus]:
    """The node, what it keeps, and all replicas, as they are now."""
    return [*_node_status(home), *_kept_status(home), *_replica_status(home)]


def running_node(home: Home) -> ProcessId | None:
    """The node of this home, None when none runs (or it has begun to stop)."""
    record = state_files.read(NodeFolder(home).record, NodeRecord)
    return record.process if record and processes.alive(record.process) else None


def _write_table(folder: NodeFolder, kept: Sequence[KeptProcess]) -> None:
    """Only what differs, since a changed definition means a restart."""
    for name in set(state_files.names(folder.services)) - {k.name for k in kept}:
        (folder.services / f"{name}.json").unlink()
    for definition in kept:
        path = folder.services / f"{definition.name}.json"
        if state_files.read(path, KeptProcess) != definition:
            state_files.write(path, definition)


def _ensure_node(home: Home, folder: NodeFolder, argv: Sequence[str]) -> None:
    """Start the node when none runs. While an old one is stopping, the new one ends at once: then again."""
    deadline = time.monotonic() + START_SECONDS + STOP_SECONDS
    while not running_node(home):
        if not _start_node(home, folder, argv) or time.monotonic() > deadline:
            raise _node_failed(folder)
        time.sleep(POLL_SECONDS)


def _start_node(home: Home, folder: NodeFolder, argv: Sequence[str]) -> bool:
    """False when it failed or does nothing. True when it runs, or found another one alive and ended."""
    launch = processes.Launch(argv, os.environ, folder.root, folder.log("node"), f"{token_prefix(home)}node")
    started = processes.spawn(launch)
    settled = _wait_until(lambda: bool(running_node(home)) or not processes.alive(started.process), START_SECONDS)
    return settled and not (started.child and started.child.poll())


def _node_failed(folder: NodeFolder) -> Failed:
    return Failed(
        "node-failed",
        "the node does not start",
        found=last_words(folder.log("node")) or "it says nothing",
        expected=f"{folder.record} within {START_SECONDS:g} seconds",
        remedy=f"read {folder.log('node')}",
    )


def _is_ready(folder: NodeFolder, definition: KeptProcess) -> bool:
    state = state_files.read(folder.state / f"{definition.name}.json", KeptState)
    return state is not None and state.ready and state.definition == definition


def _not_ready(folder: NodeFolder, definition: KeptProcess, patience: float) -> Failed:
    state = state_files.read(folder.state / f"{definition.name}.json", KeptState)
    said = last_words(folder.log(definition.name))
    return Failed(
        "process-not-ready",
        f"{definition.name} is not ready after {patience:g} seconds",
        found=(state.message if state and state.message else said) or "it says nothing",
        expected=f"an answer at {definition.ready.http}" if definition.ready else "a process that goes on running",
        remedy=f"read {folder.log(definition.name)}",
    )


def _wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _node_status(home: Home) -> Iterator[ProcessStatus]:
    folder = NodeFolder(home)
    record = state_files.read(folder.record, NodeRecord)
    up_now = record is not None and processes.alive(record.process)
    if record:
        pid = record.process.pid if up_now else None
        yield ProcessStatus("node", "ready" if up_now else "failed", pid, record.since, 0, None, folder.log("node"))


def _kept_status(home: Home) -> Iterator[ProcessStatus]:
    folder = NodeFolder(home)
    for name, state in sorted(folder.states().items(), key=lambda item: item[1].definition.order):
        pid = state.process.pid if state.process and processes.alive(state.process) else None
        yield ProcessStatus(
            name,
            _state_word(state, pid),
            pid,
            state.since,
            state.restarts,
            state.definition.port,
            folder.log(name),
            state.message,
        )


def _state_word(state: KeptState, pid: int | None) -> str:
    if pid is None:
        return "failed"
    if state.stop_sent_at is not None:
        return "stopping"
    return "ready" if state.ready else "starting"


def _replica_status(home: Home) -> Iterator[ProcessStatus]:
    folder = ClusterFolder(home.cluster)
    records = state_files.CachedFolder(folder.replicas, ReplicaRecord).read()
    for replica in ProcessCluster(home).replicas():
        record = records.get(replica.id)
        if record:
            pid = record.process.pid if record.process and processes.alive(record.process) else None
            yield ProcessStatus(
                replica.id,
                replica.state,
                pid,
                replica.started_at,
                replica.restarts,
                replica.port or None,
                folder.log(record),
                replica.message,
            )
