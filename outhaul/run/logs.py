"""A run's output: live from the machine while it runs, from the object store ever after."""

from __future__ import annotations

import time
from collections.abc import Iterator

from outhaul.errors import NotFound
from outhaul.run.flow_folder import folder_of
from outhaul.run.outputs import read_manifest
from outhaul.run.record import OutputFile, Run
from outhaul.store.keys import run_files, run_record
from outhaul.workspace import Workspace

POLL_SECONDS = 0.2


def script_log(workspace: Workspace, run_id: str, follow: bool) -> Iterator[bytes]:
    """All output of all attempts; with `follow`, until the run has ended."""
    number, offset = 1, 0
    while True:
        # Read before the log, so that nothing is missed between the last line and the end.
        run = workspace.records.read(run_record(run_id), Run)[0]
        while data := _read(workspace, run, number, offset):
            offset += len(data)
            yield data
        if number < len(run.attempts):
            number, offset = number + 1, 0
        elif run.state.final or not follow:
            return
        else:
            time.sleep(POLL_SECONDS)


def flow_log(workspace: Workspace, run_id: str) -> Iterator[bytes]:
    """What the flow itself logged on this machine."""
    path = folder_of(workspace.settings.home, run_id).log
    if path.exists():
        yield path.read_bytes()


def output_files(workspace: Workspace, run_id: str) -> list[OutputFile]:
    """What the run saved of ./outputs."""
    return read_manifest(workspace.store, run_id)


def _read(workspace: Workspace, run: Run, number: int, offset: int) -> bytes:
    if number > len(run.attempts):
        return b""
    if data := workspace.compute.read_log(run.id, number, offset):
        return data
    return b"" if offset else _stored(workspace, run.id, number)


def _stored(workspace: Workspace, run_id: str, number: int) -> bytes:
    """The saved log, for a run of another machine."""
    try:
        return workspace.store.get(f"{run_files(run_id)}logs/attempt-{number}.txt")[0]
    except NotFound:
        return b""
